"""How large gradients and updates are, layer by layer, over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad.display._drawing import colours_on, panels, plain, series_colours, whole_numbers
from densegrad.display.diagnostics import QUANTITIES, Diagnostics

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_LABELS = {
    "outputs": r"$\Vert y_{(l)} \Vert$",
    "loss_gradients": r"$\Vert L'_{(l)} \Vert$",
    "weight_gradients": r"$\Vert \partial\mathrm{Loss}/\partial W_{(l)} \Vert$",
    "update_ratio": r"$\Vert \Delta W_{(l)} \Vert\ /\ \Vert W_{(l)} \Vert$",
    "dead": "dead units",
    "saturated": "saturated outputs",
}
_SHARES = ("dead", "saturated")
_MOST_IN_LEGEND = 10


class GradientFlowDisplay:
    """Norms of L'_(l) and dLoss/dW_(l) and the updates' sizes, one line a layer, over the epochs.

    Parameters
    ----------
    diagnostics : Diagnostics
        With at least one record.
    quantities : sequence of str
        One panel each, of "outputs", "loss_gradients", "weight_gradients", "update_ratio", "dead" and
        "saturated".

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from densegrad import Dense, Network, Trainer
    >>> from densegrad.display import Diagnostics, GradientFlowDisplay
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> net = Network(
    ...     3, [Dense(8, "tanh"), Dense(8, "tanh"), Dense(1, "identity")], random_state=0
    ... )
    >>> diagnostics = Diagnostics(net, X, X[:, :1])
    >>> history = Trainer(net, random_state=0).fit(
    ...     X, X[:, :1], epochs=5, callbacks=[diagnostics]
    ... )
    >>> display = GradientFlowDisplay.from_diagnostics(diagnostics)
    >>> len(display.axes_), len(display.axes_[0].lines)
    (3, 3)
    """

    figure_: Figure
    axes_: NDArray[Any]

    def __init__(
        self,
        diagnostics: Diagnostics,
        *,
        quantities: Sequence[str] = ("loss_gradients", "weight_gradients", "update_ratio"),
    ) -> None:
        unknown = [name for name in quantities if name not in QUANTITIES]
        if unknown or not quantities:
            raise ValueError(
                f"quantities must be some of {', '.join(map(repr, QUANTITIES))}; got {list(quantities)!r}"
            )
        if not diagnostics.epochs:
            raise ValueError(
                "diagnostics must have a record: give them to callbacks of a fit, or call record"
            )
        self.diagnostics, self.quantities = diagnostics, tuple(quantities)

    @classmethod
    def from_diagnostics(
        cls, diagnostics: Diagnostics, *, ax: Any = None, **options: Any
    ) -> GradientFlowDisplay:
        """Draw the records of `Diagnostics`.

        Parameters
        ----------
        diagnostics : Diagnostics
        ax : matplotlib Axes, sequence of them or None
            One axes is divided into panels; several take a panel each. None makes a figure.
        **options
            ``quantities``.

        Returns
        -------
        GradientFlowDisplay
        """
        return cls(diagnostics, **options).plot(ax)

    def plot(self, ax: Any = None) -> GradientFlowDisplay:
        """Draw one panel a quantity, one line a layer.

        Parameters
        ----------
        ax
            As for `from_diagnostics`.

        Returns
        -------
        GradientFlowDisplay
        """
        figure, axes = panels(ax, len(self.quantities), (7.4, 2.5))
        d = self.diagnostics
        layers = list(d.outputs)
        colours = series_colours(len(layers), colours_on(axes[0]))
        for panel, name in zip(axes, self.quantities, strict=True):
            values = getattr(d, name)
            for l, color in zip(layers, colours, strict=True):
                panel.plot(
                    d.epochs,
                    values[l],
                    color=color,
                    label=f"layer {l}",
                    linewidth=1.4,
                    marker="o" if len(d.epochs) < 3 + (name == "update_ratio") else "",
                )
            finite = [v for l in layers for v in values[l] if np.isfinite(v)]
            if name in _SHARES:
                panel.set_ylim(-0.03, 1.03)
                panel.yaxis.set_major_formatter("{x:.0%}")
                if not finite:
                    panel.text(0.5, 0.5, "no layer has such units", ha="center", transform=panel.transAxes)
            elif any(v > 0 for v in finite):
                panel.set_yscale("log")
            panel.set_ylabel(_LABELS[name])
            first, last = d.epochs[0], d.epochs[-1]
            margin = 0.03 * (last - first) or 0.5
            panel.set_xlim(first - margin, last + margin)  # the first update ratio is no number
            whole_numbers(panel.xaxis)
            plain(panel)
            if panel is not axes[-1]:
                panel.tick_params(labelbottom=False)
        axes[-1].set_xlabel(d.unit)
        handles, labels = axes[0].get_legend_handles_labels()
        step = -(-len(handles) // _MOST_IN_LEGEND)
        chosen = sorted({*range(0, len(handles), step), len(handles) - 1})
        axes[0].legend(
            [handles[i] for i in chosen],
            [labels[i] for i in chosen],
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            frameon=False,
            fontsize="small",
        )
        self.figure_, self.axes_ = figure, np.array(axes, dtype=object)
        return self
