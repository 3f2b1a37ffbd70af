"""A gradient check as a picture: the largest error of each layer, and its place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad import GradientReport, Network, check_gradients
from densegrad.display._drawing import colours_on, panels, plain
from densegrad.display._models import network_of
from densegrad.display._numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Errors below this are rounding, by the precision of the network.
TOLERANCE = {"float64": 1e-6, "float32": 1e-3}
_LOWEST = 1e-16


class GradientCheckDisplay:
    """The largest relative error of each layer's gradient on a logarithmic scale.

    Parameters
    ----------
    report : GradientReport
    tolerance : float, default 1e-6
        Errors above it are drawn as wrong. In float32 rounding alone comes to about 1e-3.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from densegrad import Dense, Network
    >>> from densegrad.display import GradientCheckDisplay
    >>> net = Network(
    ...     2, [Dense(3, "tanh"), Dense(1, "identity")], dtype="float64", random_state=0
    ... )
    >>> display = GradientCheckDisplay.from_network(net, np.ones((4, 2)), np.zeros(4))
    >>> display.axes_.get_title()
    'no gradient is wrong: all errors are below 1e−06'
    """

    figure_: Figure
    axes_: Axes

    def __init__(self, report: GradientReport, *, tolerance: float = TOLERANCE["float64"]) -> None:
        if not tolerance > 0:
            raise ValueError(f"tolerance must be above 0; got {tolerance!r}")
        self.report, self.tolerance = report, tolerance

    @classmethod
    def from_report(
        cls, report: GradientReport, *, tolerance: float = TOLERANCE["float64"], ax: Axes | None = None
    ) -> GradientCheckDisplay:
        """Draw the result of `check_gradients`.

        Parameters
        ----------
        report : GradientReport
        tolerance : float, default 1e-6
            Errors above it are drawn as wrong.
        ax : matplotlib Axes or None
            None makes a figure.

        Returns
        -------
        GradientCheckDisplay
        """
        return cls(report, tolerance=tolerance).plot(ax)

    @classmethod
    def from_network(
        cls,
        network: Network,
        X: Any,
        target: Any,
        sample_weight: Any = None,
        *,
        tolerance: float | None = None,
        ax: Axes | None = None,
        **options: Any,
    ) -> GradientCheckDisplay:
        """Check the gradients of a network and draw the result.

        Parameters
        ----------
        network : Network
        X, target, sample_weight
            As for `check_gradients`; a few rows are enough.
        tolerance : float or None
            None: 1e-6 in float64, 1e-3 in float32.
        ax : matplotlib Axes or None
            None makes a figure.
        **options
            Those of `check_gradients`.

        Returns
        -------
        GradientCheckDisplay
        """
        return cls._from_model(network, X, target, sample_weight, tolerance=tolerance, ax=ax, **options)

    @classmethod
    def _from_model(
        cls,
        model: Any,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        tolerance: float | None = None,
        ax: Axes | None = None,
        **options: Any,
    ) -> GradientCheckDisplay:
        if tolerance is None:
            tolerance = TOLERANCE[network_of(model).dtype.name]
        report = check_gradients(model, X, y, sample_weight, **options)
        return cls(report, tolerance=tolerance).plot(ax)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: Any, **options: Any) -> GradientCheckDisplay:
        """Check the gradients of a fitted estimator's network.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
        X, y
            As for its fit; a few rows are enough.
        **options
            Those of `from_network`.

        Returns
        -------
        GradientCheckDisplay
        """
        return cls._from_model(estimator, X, y, **options)

    def plot(self, ax: Axes | None = None) -> GradientCheckDisplay:
        """Draw one bar a layer.

        Parameters
        ----------
        ax : matplotlib Axes or None
            None makes a figure.

        Returns
        -------
        GradientCheckDisplay
        """
        layers = self.report.layers
        figure, (panel,) = panels(ax, 1, (7.4, max(2.0, 1.1 + 0.42 * len(layers))))
        colours = colours_on(panel)
        errors = [check.max_relative_error for check in layers]
        wrong = [not error <= self.tolerance for error in errors]
        shown = [max(error, _LOWEST) if math.isfinite(error) else 1.0 for error in errors]
        numbers = [check.layer for check in layers]
        lowest = min(min(shown), self.tolerance) / 30
        panel.barh(
            numbers,
            shown,
            left=lowest,
            height=0.6,
            color=[colours.backward if bad else colours.forward for bad in wrong],
        )
        panel.set_xscale("log")
        highest = max([*shown, self.tolerance])
        decades = math.log10(highest / lowest)
        # Room for the words beside the longest bar.
        panel.set_xlim(lowest, highest * 10 ** (1.15 * max(decades, 2.0)))
        panel.axvline(self.tolerance, color=colours.ink, linestyle="--", linewidth=1)
        panel.text(
            self.tolerance,
            min(numbers) - 0.62,
            f" tolerance {short(self.tolerance)}",
            fontsize="small",
            color=colours.faint,
            va="center",
        )
        for check, error, length in zip(layers, errors, shown, strict=True):
            row, column = check.index
            panel.text(
                max(length, self.tolerance) * 1.6,
                check.layer,
                f"{short(error, 2)} at [{row}, {column}]: {short(check.analytic, 4)}, by differences"
                f" {short(check.numeric, 4)}",
                va="center",
                fontsize="small",
            )
        panel.set_yticks(numbers, [f"$W_{{({l})}}$" for l in numbers])
        panel.set_ylim(max(numbers) + 0.6, min(numbers) - 0.85)  # layer 1 above
        ticks = 10.0 ** np.arange(math.ceil(math.log10(lowest)), 1)
        panel.set_xticks(ticks[:: -(-len(ticks) // 6)])
        panel.minorticks_off()
        panel.set_xlabel("largest relative error of the gradient")
        panel.set_title(self._title(numbers, wrong), fontsize="medium")
        plain(panel)
        self.figure_, self.axes_ = figure, panel
        return self

    def _title(self, numbers: list[int], wrong: list[bool]) -> str:
        bad = [str(l) for l, is_bad in zip(numbers, wrong, strict=True) if is_bad]
        if not bad:
            return f"no gradient is wrong: all errors are below {short(self.tolerance)}"
        return f"the gradient of layer{'s' * (len(bad) > 1)} {', '.join(bad)} is wrong"
