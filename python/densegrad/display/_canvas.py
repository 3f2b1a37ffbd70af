"""Axes that are drawn on in inches, and scaled as a whole if they are smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from densegrad.display._drawing import colours_on, figure_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text


class Canvas:
    """An empty picture of width × height inches; in smaller axes everything shrinks, letters too.

    Parameters
    ----------
    ax : Axes
    width, height : float
    """

    def __init__(self, ax: Axes, width: float, height: float) -> None:
        self.ax = ax
        self.colours = colours_on(ax)
        figure = figure_of(ax)
        place = ax.get_position()
        in_inches = figure.get_size_inches()
        self.scale = min(in_inches[0] * place.width / width, in_inches[1] * place.height / height)
        ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")
        ax.set_axis_off()

    def text(self, x: float, y: float, text: str, size: float = 9, name: str = "", **options: Any) -> Text:
        """Write text, centred unless something else is said."""
        options = {"ha": "center", "va": "center", "color": self.colours.ink, **options}
        artist = self.ax.text(x, y, text, fontsize=size * self.scale, **options)
        artist.set_gid(name or None)
        return artist

    def box(
        self, x: float, y: float, width: float, height: float, edge: str, name: str = "", line: float = 1.2
    ) -> None:
        """Draw a box with rounded corners around (x, y)."""
        from matplotlib.patches import FancyBboxPatch

        patch = FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=self.colours.block,
            edgecolor=edge,
            linewidth=line * self.scale,
            zorder=3,
        )
        patch.set_gid(name or None)
        self.ax.add_patch(patch)

    def circle(self, x: float, y: float, radius: float, edge: str, name: str = "") -> None:
        """Draw a unit."""
        from matplotlib.patches import Circle

        patch = Circle(
            (x, y),
            radius,
            facecolor=self.colours.block,
            edgecolor=edge,
            linewidth=1.2 * self.scale,
            zorder=3,
        )
        patch.set_gid(name or None)
        self.ax.add_patch(patch)

    def arrow(
        self, start: tuple[float, float], end: tuple[float, float], color: str, width: float, name: str = ""
    ) -> None:
        """Draw an arrow of `width` points."""
        from matplotlib.patches import FancyArrowPatch

        patch = FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=(7 + 2.2 * width) * self.scale,
            linewidth=width * self.scale,
            color=color,
            shrinkA=0,
            shrinkB=0,
            joinstyle="miter",
            capstyle="butt",
            zorder=4,
        )
        patch.set_gid(name or None)
        self.ax.add_patch(patch)

    def line(
        self, start: tuple[float, float], end: tuple[float, float], color: str, width: float, name: str = ""
    ) -> None:
        """Draw a connection."""
        (line,) = self.ax.plot(
            [start[0], end[0]],
            [start[1], end[1]],
            color=color,
            linewidth=width * self.scale,
            zorder=1,
            solid_capstyle="round",
        )
        line.set_gid(name or None)
