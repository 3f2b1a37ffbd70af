"""Layers 0 … L+1 as a graph: blocks with arrows between them and, of small networks, the units above."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from densegrad.display._canvas import Canvas
from densegrad.display._numbers import norm, shape_text, short
from densegrad.display._passes import Passes
from densegrad.display._units import MOST_NUMBERS, ROW, Units, has_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_COLUMNS = 11  # a deeper network is drawn without its middle layers
PITCH = 2.15  # inches from a layer to the next; more if units and numbers are between them
UNITS_PITCH = 2.6
MARGIN = 1.5

TITLES = {
    "layers": "The layers and their notation:  "
    r"$y_{(l)} = a_{(l)}(\,[\,y_{(l-1)}, 1\,] \cdot W_{(l)}\,)$",
    "loss_layer": r"The loss as a layer of its own:  $y_{(L+1)} = \mathrm{loss}(y_{(L)}, \mathrm{target})$",
    "forward": "Forward pass, from the input to the loss; local gradients are cached on the way",
    "backward": r"Backward pass, from the loss to the weights:  "
    r"$L'_{(l-1)} = L'_{(l)} \cdot \partial y_{(l)}/\partial y_{(l-1)}$",
}


def columns_of(passes: Passes, last: int) -> list[int | None]:
    """Return the layers to draw, 0 … last; None stands for those left out."""
    if last < MOST_COLUMNS:
        return list(range(last + 1))
    side = MOST_COLUMNS // 2
    return [*range(side), None, *range(last + 1 - side, last + 1)]


def shows_units(passes: Passes, last: int, max_units: int) -> bool:
    """Tell whether the network is small enough to draw each unit."""
    return max(passes.widths) <= max_units and last < MOST_COLUMNS


class Graph:
    """One of the pictures "layers", "loss_layer", "forward" and "backward".

    Parameters
    ----------
    passes : Passes
    kind : str
    sample : int
        Whose numbers stand in the units.
    max_units : int
        Networks with wider layers are drawn as blocks alone.
    """

    def __init__(self, passes: Passes, kind: str, sample: int, max_units: int) -> None:
        self.passes, self.kind, self.sample = passes, kind, sample
        self.last = passes.depth + (kind != "layers")
        self.columns = columns_of(passes, self.last)
        self.units = shows_units(passes, self.last, max_units)
        rows = max(passes.widths) + 1 if self.units else 0
        self.block_height = 0.8 if self.units else 1.9
        self.bottom = 1.65  # of the blocks
        self.middle = self.bottom + self.block_height / 2
        self.units_bottom = self.bottom + self.block_height + 0.8
        units_height = rows * ROW if self.units else 0.0
        self.height = self.bottom + self.block_height + 0.6 + units_height + 0.6
        self.pitch = UNITS_PITCH if self.units else PITCH
        self.width = max(2 * MARGIN + (len(self.columns) - 1) * self.pitch, 7.6)
        self.start = (self.width - (len(self.columns) - 1) * self.pitch) / 2

    def x(self, l: int) -> float:
        """Return the middle of a layer's column."""
        return self.start + self.columns.index(l) * self.pitch

    def draw(self, ax: Axes) -> None:
        """Draw on `ax`, which is emptied of its frame."""
        self.canvas = Canvas(ax, self.width, self.height)
        self.canvas.text(self.width / 2, self.height - 0.28, TITLES[self.kind], 12, "title")
        for column, l in enumerate(self.columns):
            if l is None:
                self._gap(column)
            else:
                self._block(l)
                self._weights(l)
        for left, right in zip(self.columns[:-1], self.columns[1:], strict=True):
            self._between(left, right)
        self._ends()
        if self.units:
            Units(self.canvas, self.passes, self.kind, self.sample, self.x, self.units_bottom).draw(self.last)
        self._caption()

    # --- blocks ---

    def _half(self, l: int) -> float:
        """Return half the height of a block: more units, more height, by the logarithm."""
        if self.units:
            return self.block_height / 2
        n = 1 if l > self.passes.depth else self.passes.widths[l]
        return 0.42 + 0.53 * min(1.0, math.log10(n) / 3.3)

    def _strong(self, l: int) -> bool:
        """Tell whether a picture is about this layer."""
        return self.kind != "loss_layer" or l > self.passes.depth

    def _block(self, l: int) -> None:
        c, passes = self.canvas, self.passes
        L = passes.depth
        edge = c.colours.ink if self._strong(l) else c.colours.faint
        c.box(self.x(l), self.middle, 0.95, 2 * self._half(l), edge, f"layer {l}", 2.0 if l > L else 1.2)
        top = self.bottom + self.block_height + 0.42
        name = "input" if l == 0 else "loss layer" if l > L else f"layer {l}"
        extra = {"zorder": 5}
        c.text(self.x(l), top, name, 10, f"name {l}", fontweight="bold")
        if l > L:
            c.text(self.x(l), top - 0.2, passes.loss_name, 8.5, f"loss {l}", color=c.colours.faint)
            c.text(self.x(l), self.middle, f"$l = {l}$", 11, f"number {l}", **extra)
            return
        kind = r"$y_{(0)} = x$" if l == 0 else passes.activations[l - 1]
        c.text(self.x(l), top - 0.2, kind, 8.5, f"activation {l}", color=c.colours.faint)
        n = passes.widths[l]
        c.text(self.x(l), self.middle + 0.12, f"$l = {l}$", 11, f"number {l}", **extra)
        c.text(
            self.x(l),
            self.middle - 0.15,
            f"{n} unit{'s' * (n != 1)}",
            9,
            f"units {l}",
            color=c.colours.faint,
            **extra,
        )

    def _gap(self, column: int) -> None:
        c = self.canvas
        x = self.start + column * self.pitch
        before, after = self.columns[column - 1], self.columns[column + 1]
        assert before is not None
        assert after is not None
        c.text(x, self.middle + 0.1, "· · ·", 16, "gap")
        c.text(
            x, self.middle - 0.2, f"layers {before + 1} – {after - 1}", 8.5, "left out", color=c.colours.faint
        )

    def _weights(self, l: int) -> None:
        """Draw the node W_(l) under its layer; its arrow goes up, in the backward pass down."""
        c, passes = self.canvas, self.passes
        L = passes.depth
        if l == 0:
            return
        x, y = self.x(l), 0.8
        block = self.middle - self._half(l)
        if l > L:
            if self.kind in ("loss_layer", "forward") or passes.target is not None:
                c.text(x, y + 0.1, "target", 10, "target")
                if passes.target is not None:
                    of_sample = f" of sample {self.sample}" if len(passes.target) > 1 else ""
                    c.text(
                        x,
                        y - 0.14,
                        passes.target_text(self.sample, 3) + of_sample,
                        8.5,
                        "target value",
                        color=c.colours.faint,
                    )
                c.arrow((x, y + 0.25), (x, block), c.colours.ink, 1.3, "target arrow")
            return
        colour = c.colours.weights if self._strong(l) else c.colours.faint
        c.box(x, y, 1.25, 0.46, colour, f"W_({l})")
        c.text(x, y + 0.09, f"$W_{{({l})}}$", 11, f"W_({l}) name", zorder=5)
        c.text(
            x,
            y - 0.13,
            shape_text(passes.weight(l).shape),
            8,
            f"W_({l}) shape",
            color=c.colours.faint,
            zorder=5,
        )
        if self.kind != "backward":
            c.arrow((x, y + 0.24), (x, block), colour, 1.5, f"W_({l}) arrow")
            return
        assert passes.p is not None
        size = norm(passes.p.weight_gradients[l])
        c.arrow(
            (x, block),
            (x, y + 0.24),
            c.colours.backward,
            self._arrow_width(size, "dW"),
            f"dLoss/dW_({l}) arrow",
        )
        label = rf"$\partial \mathrm{{Loss}} / \partial W_{{({l})}}$"
        c.text(
            x - 0.14,
            (block + y + 0.24) / 2 + 0.06,
            label,
            9,
            f"dLoss/dW_({l})",
            ha="right",
            color=c.colours.backward,
        )
        c.text(x + 0.14, (block + y + 0.24) / 2 + 0.06, short(size), 8.5, f"|dLoss/dW_({l})|", ha="left")

    # --- arrows between the layers ---

    def _arrow_width(self, size: float, quantity: str) -> float:
        """Return points by the share in the largest norm; by the logarithm if the norms lie far apart."""
        p = self.passes.p
        assert p is not None
        L = self.passes.depth
        if quantity == "dW":
            sizes = [norm(p.weight_gradients[l]) for l in range(1, L + 1)]
        elif quantity == "L'":
            sizes = [norm(p.loss_gradients[l]) for l in range(L + 1)]
        else:
            sizes = [norm(p.outputs[l]) for l in range(L + 1)]
        positive = [s for s in sizes if s > 0 and math.isfinite(s)]
        if not positive or not size > 0 or not math.isfinite(size):
            return 1.0
        low, high = min(positive), max(positive)
        if high <= 30 * low:
            return 1.0 + 5.0 * min(1.0, size / high)
        return 1.0 + 5.0 * max(0.0, 1 + math.log10(min(1.0, size / high)) / max(4.0, math.log10(high / low)))

    def _between(self, left: int | None, right: int | None) -> None:
        """Draw y_(l) going right and L'_(l) going left, between layer l and the next."""
        c, passes = self.canvas, self.passes
        L = passes.depth
        l = left if left is not None else (right or 0) - 1
        start = self.start + self.columns.index(left) * self.pitch + (0.48 if left is not None else 0.62)
        end = self.start + self.columns.index(right) * self.pitch - (0.48 if right is not None else 0.62)
        middle = (start + end) / 2
        both = self.kind == "backward" or (self.kind == "loss_layer" and l == L)
        up = self.middle + (0.2 if both else 0.0)
        down = self.middle - 0.2
        p = passes.p
        if self.kind != "backward":
            strong = self.kind != "loss_layer" or l == L
            colour = c.colours.forward if strong else c.colours.faint
            size = norm(p.outputs[l]) if p is not None else None
            width = self._arrow_width(size, "y") if size is not None and self.kind == "forward" else 1.8
            c.arrow((start, up), (end, up), colour, width, f"y_({l}) arrow")
            c.text(middle, up + 0.19, f"$y_{{({l})}}$", 11, f"y_({l})", color=colour)
            if size is not None and self.kind == "forward":
                c.text(middle, up - 0.17, short(size), 8.5, f"|y_({l})|")
            if self.kind == "forward" and l < self.last and right is not None:
                self._cached(l + 1)
        if both:
            size = norm(p.loss_gradients[l]) if p is not None else None
            width = 1.8 if size is None else self._arrow_width(size, "L'")
            y = self.middle if self.kind == "backward" else down
            c.arrow((end, y), (start, y), c.colours.backward, width, f"L'_({l}) arrow")
            above = self.kind == "backward"
            c.text(
                middle,
                y + 0.22 if above else y - 0.2,
                f"$L'_{{({l})}}$",
                11,
                f"L'_({l})",
                color=c.colours.backward,
            )
            if size is not None:
                c.text(middle, y - 0.19 if above else y - 0.42, short(size), 8.5, f"|L'_({l})|")

    def _cached(self, l: int) -> None:
        """Name the local gradients that a layer keeps in the forward pass."""
        c = self.canvas
        x, y = self.x(l), 0.34
        if l > self.passes.depth:
            text = rf"cached: $\partial y_{{({l})}}/\partial y_{{({l - 1})}}$"
        else:
            text = (
                rf"cached: $\partial y_{{({l})}}/\partial y_{{({l - 1})}},"
                rf"\ \partial y_{{({l})}}/\partial W_{{({l})}}$"
            )
        c.text(x, y, text, 8.5, f"cached {l}", color=c.colours.faint)

    def _ends(self) -> None:
        """Draw the values that enter and leave at the two ends."""
        c, passes = self.canvas, self.passes
        L = passes.depth
        right = self.x(self.last) + 0.48
        end = right + 0.8
        if self.kind == "layers":
            c.arrow((right, self.middle), (end, self.middle), c.colours.forward, 1.8, f"y_({L}) arrow")
            c.text(
                (right + end) / 2,
                self.middle + 0.19,
                f"$y_{{({L})}}$",
                11,
                f"y_({L})",
                color=c.colours.forward,
            )
            return
        loss = "" if passes.p is None else short(passes.p.loss, 4)
        both = self.kind == "loss_layer"
        up = self.middle + (0.2 if both else 0.0)
        if self.kind != "backward":
            c.arrow((right, up), (end, up), c.colours.forward, 1.8, f"y_({L + 1}) arrow")
            c.text(
                (right + end) / 2 + 0.05,
                up + 0.19,
                f"$y_{{({L + 1})}}$",
                11,
                f"y_({L + 1})",
                color=c.colours.forward,
            )
            if loss:
                c.text((right + end) / 2, up - 0.17, loss, 8.5, "loss value")
        if self.kind != "forward":
            down = self.middle - 0.2 if both else self.middle
            c.arrow((end, down), (right, down), c.colours.backward, 1.8, f"L'_({L + 1}) arrow")
            c.text(
                (right + end) / 2 + 0.05,
                down - 0.2 if both else down + 0.22,
                f"$L'_{{({L + 1})}} = 1$",
                10,
                f"L'_({L + 1})",
                color=c.colours.backward,
            )

    def _caption(self) -> None:
        """Explain the numbers and widths below the picture."""
        passes, parts = self.passes, []
        weights = "dLoss/dW" if self.kind == "backward" else "weight"
        if self.units:
            parts.append(f"lines: {weights}, blue above 0, orange below")
            if not all(has_numbers(passes, l) for l in range(1, passes.depth + 1)):
                parts[-1] += f" (numbers up to {MOST_NUMBERS} lines)"
            if passes.p is not None:
                what = "L'" if self.kind == "backward" else "y"
                parts.append(f"in the units: {what} of sample {self.sample}")
        if passes.p is not None and self.kind in ("forward", "backward"):
            parts.append(f"at the arrows, and their width: norm over the batch of {passes.batch}")
        if parts:
            self.canvas.text(
                self.width / 2, 0.08, ";  ".join(parts), 8, "caption", color=self.canvas.colours.faint
            )
