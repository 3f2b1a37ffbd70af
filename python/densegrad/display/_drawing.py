"""Parts that all pictures share: matplotlib when first used, axes and panels, colours, light and dark."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad.extras import imported

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Colours:
    """Colours of one picture; blue, orange and green stay apart for colour-blind readers."""

    ink: str
    faint: str
    paper: str
    block: str
    forward: str
    backward: str
    weights: str


_LIGHT = Colours("#1a1a1a", "#5c5c5c", "#ffffff", "#eef1f5", "#0062a3", "#b04000", "#00734f")
_DARK = Colours("#f2f2f2", "#b4b4b4", "#000000", "#262b33", "#6cbcf5", "#ff9b57", "#43cf9f")


def pyplot() -> Any:
    """Return matplotlib.pyplot, or say which extra brings it."""
    return imported("matplotlib.pyplot", extra="plot")


def figure_of(ax: Axes) -> Figure:
    """Return the figure that `ax` is drawn in, the outermost if it is in a part of one."""
    figure: Figure = ax.figure.figure
    return figure


def colours_on(ax: Axes) -> Colours:
    """Return colours that stand out on the background of `ax`."""
    from matplotlib.colors import to_hex, to_rgba

    backgrounds = (ax.get_facecolor(), figure_of(ax).get_facecolor())
    red, green, blue, alpha = to_rgba(backgrounds[0])
    if alpha == 0:
        red, green, blue, alpha = to_rgba(backgrounds[1])
    dark = alpha > 0 and 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
    chosen = _DARK if dark else _LIGHT
    return Colours(**{**vars(chosen), "paper": to_hex((red, green, blue)) if alpha else chosen.paper})


def panels(ax: Any, count: int, size: tuple[float, float], columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure and `count` axes: new ones, the given ones, or a grid in place of the one given.

    `size` is that of one panel of a new figure, in inches.
    """
    plt = pyplot()
    rows = -(-count // columns)
    if ax is None:
        figure = plt.figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
        grid = figure.add_gridspec(rows, columns)
        return figure, [figure.add_subplot(grid[divmod(i, columns)]) for i in range(count)]
    if isinstance(ax, Iterable):
        axes = list(np.ravel(np.asarray(ax, dtype=object)))
        if len(axes) < count:
            raise ValueError(f"ax must hold {count} axes, one for each panel, or be one; got {len(axes)}")
        for unused in axes[count:]:
            unused.set_axis_off()
        return figure_of(axes[0]), axes[:count]
    figure = figure_of(ax)
    if count == 1:
        return figure, [ax]
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError(
            f"ax must be made by plt.subplots, to be divided into {count} panels, or be {count} axes"
        )
    ax.set_axis_off()
    grid = place.subgridspec(rows, columns)
    return figure, [figure.add_subplot(grid[divmod(i, columns)]) for i in range(count)]


def plain(ax: Axes) -> Axes:
    """Take the frame's upper and right lines away."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def whole_numbers(axis: Any) -> None:
    """Put an axis's ticks at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def series_colours(count: int, colours: Colours) -> list[Any]:
    """Return one colour for each of `count` layers, from the input's side to the loss's."""
    cmap = pyplot().get_cmap("viridis")
    low, high = (0.02, 0.78) if colours.ink == _LIGHT.ink else (0.3, 0.98)
    return [
        cmap((low + high) / 2 if count == 1 else low + (high - low) * i / (count - 1)) for i in range(count)
    ]
