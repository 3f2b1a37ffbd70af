"""A network as an inline SVG: blocks for the layers 0 … L + 1, arrows both ways, nodes for the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from densegrad.display._numbers import shape_text

PITCH, BLOCK = 146, 88
MIDDLE, HEIGHT = 96, 206
_LONGEST_NAME = 14


@dataclass(frozen=True)
class Outline:
    """The facts about a network that the drawing needs.

    Attributes
    ----------
    widths : sequence of int
        n_0 … n_L.
    activations : sequence of str
        Of the layers 1 … L.
    loss_name : str
    """

    widths: Sequence[int]
    activations: Sequence[str]
    loss_name: str

    def describe(self) -> str:
        """Return a sentence for those who do not see the picture."""
        layers = "; ".join(
            f"layer {l} of {n} unit{'s' * (n != 1)}, {name}"
            for l, (n, name) in enumerate(zip(self.widths[1:], self.activations, strict=True), 1)
        )
        L = len(self.activations)
        n = self.widths[0]
        return f"Network of {n} input{'s' * (n != 1)}; {layers}; loss layer {L + 1}, {self.loss_name}"


def cut(name: str) -> str:
    """Return a name of at most 14 letters, escaped."""
    return escape(name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…")


def network_svg(outline: Outline, *, backward: bool, most_columns: int | None = None) -> str:
    """Return the SVG.

    Parameters
    ----------
    outline : Outline
    backward : bool
        Whether the arrows of the backward pass are drawn as well.
    most_columns : int or None
        If there are more layers, those in the middle are left out.
    """
    L = len(outline.activations)
    columns: list[int | None] = list(range(L + 2))
    if most_columns is not None and len(columns) > most_columns:
        side = (most_columns - 1) // 2
        columns = [*range(side), None, *range(L + 2 - side, L + 2)]
    width = len(columns) * PITCH + (56 if backward else 0)
    parts = []
    for i, l in enumerate(columns):
        x = PITCH / 2 + i * PITCH
        if l is None:
            parts.append(_text(x, MIDDLE + 5, "⋯", 22))
            parts.append(_text(x, MIDDLE + 26, f"{L + 3 - len(columns)} more layers", 11, "faint"))
            continue
        parts += _column(outline, l, x)
        if i + 1 < len(columns):
            parts += _between(x + BLOCK / 2, x + PITCH - BLOCK / 2, l, backward)
        elif backward:
            parts += _between(x + BLOCK / 2, x + BLOCK / 2 + 50, l, backward)
    return (
        f'<svg viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(outline.describe(), quote=True)}" xmlns="http://www.w3.org/2000/svg" '
        f'font-family="system-ui, sans-serif" style="max-width:none">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, size: float, kind: str = "") -> str:
    look = ' opacity="0.72"' if kind == "faint" else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" text-anchor="middle" fill="currentColor"{look}>'
        f"{text}</text>"
    )


def _sub(letter: str, l: int) -> str:
    return f'<tspan font-style="italic">{letter}</tspan><tspan dy="3" font-size="9">({l})</tspan>'


def _column(outline: Outline, l: int, x: float) -> list[str]:
    """Return the block of a layer and the text above and below it."""
    L = len(outline.activations)
    if l > L:
        above, inside, below = "loss layer", "", cut(outline.loss_name)
        height = 52.0
    else:
        n = outline.widths[l]
        above = "input" if l == 0 else f"layer {l}"
        inside = f"{n} unit{'s' * (n != 1)}"
        below = "" if l == 0 else cut(outline.activations[l - 1])
        height = 52.0 + 30.0 * min(1.0, math.log10(n) / 3.3)
    block = (
        f'<g data-part="layer-{l}"><rect x="{x - BLOCK / 2:g}" y="{MIDDLE - height / 2:g}" width="{BLOCK}" '
        f'height="{height:g}" rx="7" fill="currentColor" fill-opacity="0.07" stroke="currentColor" '
        f'stroke-width="{2 if l > L else 1.3}"/>'
        + _text(x, MIDDLE + (-3 if inside else 5), f'<tspan font-style="italic">l</tspan> = {l}', 13)
        + (_text(x, MIDDLE + 15, inside, 11, "faint") if inside else "")
        + _text(x, 18, f'<tspan font-weight="600">{above}</tspan>', 12)
        + (_text(x, 34, below, 11, "faint") if below else "")
        + "</g>"
    )
    if l == 0:
        return [block]
    top = MIDDLE + height / 2
    if l > L:
        node = _text(x, 186, "target", 12)
        return [block, f'<g data-part="target">{node}{_arrow(x, 172, x, top + 1, "currentColor", 1.3)}</g>']
    shape = shape_text((outline.widths[l - 1] + 1, outline.widths[l]))
    node = (
        f'<g data-part="weights-{l}"><rect x="{x - 44:g}" y="162" width="88" height="38" rx="7" fill="none" '
        f'stroke="#17805a" stroke-width="1.4"/>'
        f"{_text(x, 178, _sub('W', l), 12)}{_text(x, 194, shape, 10, 'faint')}"
        f"{_arrow(x, 162, x, top + 1, '#17805a', 1.4)}</g>"
    )
    return [block, node]


def _between(start: float, end: float, l: int, backward: bool) -> list[str]:
    """Return the arrow y_(l), and the arrow L'_(l) if both passes are drawn."""
    middle = (start + end) / 2
    up = MIDDLE - (11 if backward else 0)
    parts = [
        f'<g data-part="forward-{l}">{_arrow(start + 2, up, end - 2, up, "#2f7fc1", 2)}'
        f"{_text(middle, up - 8, _sub('y', l), 12)}</g>"
    ]
    if backward:
        down = MIDDLE + 11
        parts.append(
            f'<g data-part="backward-{l}">{_arrow(end - 2, down, start + 2, down, "#d9602b", 2)}'
            f"{_text(middle, down + 18, _sub('L′', l), 12)}</g>"
        )
    return parts


def _arrow(x0: float, y0: float, x1: float, y1: float, color: str, width: float) -> str:
    """Return a line with a head at its end; level or upright."""
    length = math.hypot(x1 - x0, y1 - y0)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    head = 5 + 2 * width
    bx, by = x1 - head * ux, y1 - head * uy
    side = 0.45 * head
    points = f"{x1:g},{y1:g} {bx - side * uy:g},{by + side * ux:g} {bx + side * uy:g},{by - side * ux:g}"
    return (
        f'<line x1="{x0:g}" y1="{y0:g}" x2="{bx:g}" y2="{by:g}" stroke="{color}" stroke-width="{width:g}"/>'
        f'<polygon points="{points}" fill="{color}"/>'
    )
