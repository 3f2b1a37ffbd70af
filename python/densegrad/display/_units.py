"""The units of a small network with the connections between them, and their numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad.display._canvas import Canvas
from densegrad.display._numbers import short
from densegrad.display._passes import Passes

ROW = 0.7  # inches from a unit to the next
RADIUS = 0.29
BIAS_RADIUS = 0.17
MOST_NUMBERS = 12  # on the connections between two layers


def has_numbers(passes: Passes, l: int) -> bool:
    """Tell whether there is room for numbers on the connections into layer l."""
    return passes.weight(l).size <= MOST_NUMBERS


def places_on_lines(
    ends: dict[tuple[int, int], tuple[tuple[float, float], tuple[float, float]]],
) -> dict[tuple[int, int], tuple[float, float]]:
    """Return a place on each line for a number, as far as can be from those of the others.

    Distances count in units of a number's size, which is wider than high.
    """
    places: dict[tuple[int, int], tuple[float, float]] = {}
    along = np.linspace(0.12, 0.88, 39)
    for key, (start, end) in ends.items():
        x = start[0] + along * (end[0] - start[0])
        y = start[1] + along * (end[1] - start[1])
        nearest = np.full(len(along), np.inf)
        for other_x, other_y in places.values():
            apart = np.maximum(np.abs(x - other_x) / 0.55, np.abs(y - other_y) / 0.19)
            nearest = np.minimum(nearest, apart)
        # Far enough is enough; among such places the one nearest to a third of the way is taken.
        best = int(np.argmin(np.abs(along - 0.33) - 10 * np.minimum(nearest, 1.0)))
        places[key] = float(x[best]), float(y[best])
    return places


@dataclass(frozen=True)
class Units:
    """The upper half of a `Graph`: circles for units, lines for connections.

    Attributes
    ----------
    canvas : Canvas
    passes : Passes
    kind : str
        "layers", "loss_layer", "forward" or "backward".
    sample : int
        Whose numbers stand in the units.
    x : callable
        Returns the middle of a layer's column.
    bottom : float
        Below the lowest row.
    """

    canvas: Canvas
    passes: Passes
    kind: str
    sample: int
    x: Callable[[int], float]
    bottom: float

    def draw(self, last: int) -> None:
        """Draw layers 0 … last."""
        self._connections()
        self._circles(last)

    def _unit_y(self, l: int, unit: int) -> float:
        """Return the height of a unit; the layers are centred, the bias is below each of them."""
        rows = max(self.passes.widths)
        n = self.passes.widths[l]
        return self.bottom + (1 + (rows - n) / 2 + (n - 1 - unit)) * ROW + RADIUS

    def _bias_y(self, l: int) -> float:
        return self._unit_y(l, self.passes.widths[l] - 1) - ROW

    def _values(self, l: int) -> NDArray[Any] | None:
        p = self.passes.p
        if p is None:
            return None
        per_layer = p.loss_gradients if self.kind == "backward" else p.outputs
        values: NDArray[Any] = per_layer[l][self.sample]
        return values

    def _circles(self, last: int) -> None:
        c, passes = self.canvas, self.passes
        L = passes.depth
        for l in range(L + 1):
            values = self._values(l)
            for unit in range(passes.widths[l]):
                x, y = self.x(l), self._unit_y(l, unit)
                c.circle(
                    x,
                    y,
                    RADIUS,
                    c.colours.backward if self.kind == "backward" else c.colours.forward,
                    f"unit {l} {unit}",
                )
                if values is not None:
                    text = short(float(values[unit]), 2)
                    size = 8.5 if len(text) < 6 else 7.5
                    c.text(x, y, text, size, f"value {l} {unit}", zorder=5)
            if l < L:
                c.circle(self.x(l), self._bias_y(l), BIAS_RADIUS, c.colours.faint, f"bias {l}")
                c.text(self.x(l), self._bias_y(l), "1", 8, zorder=5, color=c.colours.faint)
        if last > L:
            y = self._unit_y(L, 0) / 2 + self._unit_y(L, passes.widths[L] - 1) / 2
            for unit in range(passes.widths[L]):
                c.line(
                    (self.x(L) + RADIUS, self._unit_y(L, unit)),
                    (self.x(L + 1) - 0.3, y),
                    c.colours.faint,
                    1.0,
                )
            c.box(self.x(L + 1), y, 0.78, 0.5, c.colours.ink, "loss unit")
            text = "loss"
            if passes.p is not None:
                text = "1" if self.kind == "backward" else short(passes.p.loss)
            c.text(self.x(L + 1), y, text, 9, "loss unit value", zorder=5)
            if passes.batch > 1 and self.kind != "backward":
                rows = f"mean of {passes.batch} rows"
                c.text(self.x(L + 1), y - 0.4, rows, 8, "loss unit rows", color=c.colours.faint)

    def _connections(self) -> None:
        c, passes = self.canvas, self.passes
        for l in range(1, passes.depth + 1):
            W = self._on_the_lines(l)
            sizes = np.nan_to_num(np.abs(W).astype(np.float64))  # a gradient may be no number: a thin line
            largest = float(sizes.max()) or 1.0
            ends = {}
            # From unit i to unit j; of an elementwise layer to the unit beside it.
            places = {(j if passes.is_elementwise(l) else i, j): (i, j) for i, j in np.ndindex(W.shape)}
            for (i, j), at in places.items():
                w = float(W[at])
                bias = i == passes.widths[l - 1]
                y = self._bias_y(l - 1) if bias else self._unit_y(l - 1, i)
                start = (self.x(l - 1) + (BIAS_RADIUS if bias else RADIUS), y)
                ends[i, j] = start, (self.x(l) - RADIUS, self._unit_y(l, j))
                colour = c.colours.forward if w >= 0 else c.colours.backward
                c.line(*ends[i, j], colour, 0.5 + 2.2 * float(sizes[at]) / largest, f"w {l} {i} {j}")
            if not has_numbers(passes, l):
                continue
            for (i, j), (x, y) in places_on_lines(ends).items():
                c.text(
                    x,
                    y,
                    short(float(W[places[i, j]]), 2),
                    7.5,
                    f"weight {l} {i} {j}",
                    zorder=4,
                    bbox={"facecolor": c.colours.paper, "edgecolor": "none", "pad": 0.8 * c.scale},
                )

    def _on_the_lines(self, l: int) -> NDArray[Any]:
        """Return the numbers of the connections into layer l: weights, or their gradients on the way back."""
        if self.kind == "backward":
            assert self.passes.p is not None
            return self.passes.p.weight_gradients[l]
        return self.passes.weight(l)
