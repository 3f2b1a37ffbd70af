"""Histograms of the outputs of each layer, with its dead and saturated units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from densegrad import Dense, Network
from densegrad.display._drawing import colours_on, panels, plain
from densegrad.display._models import count_rows, network_of, rows_of, some_of
from densegrad.display.diagnostics import dead_units, saturated_share

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class LayerActivations:
    """The outputs of one layer on some rows.

    Attributes
    ----------
    layer : int
    activation : str
    outputs : ndarray of shape (n_rows, n_l)
    dead : ndarray of bool of shape (n_l,) or None
        The units that pass no gradient on for any row; None if a'(z) is not one number a unit.
    saturated : float
        The share of outputs on a flat end of tanh or logistic; NaN for other activations.
    """

    layer: int
    activation: str
    outputs: NDArray[Any]
    dead: NDArray[np.bool_] | None
    saturated: float


class ActivationDisplay:
    """One histogram a layer of y_(l), with the share of dead and saturated units.

    Parameters
    ----------
    layers : list of LayerActivations

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from densegrad import Dense, Network
    >>> from densegrad.display import ActivationDisplay
    >>> net = Network(3, [Dense(16, "relu"), Dense(1, "identity")], random_state=0)
    >>> display = ActivationDisplay.from_network(
    ...     net, np.random.default_rng(0).normal(size=(50, 3))
    ... )
    >>> len(display.axes_), display.layers[0].dead.shape
    (2, (16,))
    """

    figure_: Figure
    axes_: NDArray[Any]

    def __init__(self, layers: list[LayerActivations]) -> None:
        if not layers:
            raise ValueError("layers must hold at least one layer; got none")
        self.layers = layers

    @classmethod
    def from_network(
        cls, network: Network, X: Any, *, max_rows: int | None = 1000, bins: int = 40, ax: Any = None
    ) -> ActivationDisplay:
        """Run a forward pass on some rows of X and draw the outputs of each layer.

        Parameters
        ----------
        network : Network
        X : array-like of shape (n_rows, n_0)
        max_rows : int or None, default 1000
            At most so many rows, spread evenly over X.
        bins : int, default 40
        ax : matplotlib Axes, sequence of them or None
            One axes is divided into panels; several take a panel each. None makes a figure.

        Returns
        -------
        ActivationDisplay
        """
        n_rows = count_rows(X)
        if n_rows == 0:
            raise ValueError("X must have at least one row; got 0")
        rows = rows_of(X, some_of(n_rows, max_rows))
        outputs, slopes = _outputs_and_slopes(network, rows)
        layers = []
        for l, layer in enumerate(network.layers, 1):
            name = layer.activation_name
            slope = slopes[l - 1]
            layers.append(
                LayerActivations(
                    l,
                    name,
                    outputs[l - 1],
                    None if slope is None else dead_units(slope),
                    math.nan if slope is None else saturated_share(slope, name),
                )
            )
        return cls(layers).plot(ax, bins=bins)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, **options: Any) -> ActivationDisplay:
        """Draw the outputs of each layer of a fitted estimator.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
        X : array-like
        **options
            Those of `from_network`.

        Returns
        -------
        ActivationDisplay
        """
        return cls.from_network(network_of(estimator), X, **options)

    def plot(self, ax: Any = None, *, bins: int = 40) -> ActivationDisplay:
        """Draw the histograms.

        Parameters
        ----------
        ax, bins
            As for `from_network`.

        Returns
        -------
        ActivationDisplay
        """
        count = len(self.layers)
        columns = min(count, 3 if count != 4 else 2)
        figure, axes = panels(ax, count, (3.6, 2.6), columns)
        for panel, layer in zip(axes, self.layers, strict=True):
            colours = colours_on(panel)
            values = np.ravel(layer.outputs[:, ~layer.dead] if layer.dead is not None else layer.outputs)
            everything = np.ravel(layer.outputs)
            low, high = float(everything.min()), float(everything.max())
            if low == high:
                low, high = low - 0.5, high + 0.5
            edges = np.linspace(low, high, bins + 1).tolist()
            panel.hist(everything, edges, color=colours.backward, label="of dead units")
            panel.hist(values, edges, color=colours.forward, label="of the others")
            panel.set_title(
                f"$y_{{({layer.layer})}}$  {layer.activation}, {_units(layer.outputs.shape[1])}",
                fontsize="medium",
            )
            panel.set_ylabel("number of outputs", fontsize="small")
            panel.tick_params(labelsize="small")
            panel.set_xlabel(self._remark(layer), fontsize="small")
            plain(panel)
        if any(layer.dead is not None and layer.dead.any() for layer in self.layers):
            axes[0].legend(frameon=False, fontsize="small")
        self.figure_, self.axes_ = figure, np.array(axes, dtype=object)
        return self

    @staticmethod
    def _remark(layer: LayerActivations) -> str:
        parts = ["value"]
        if layer.dead is not None:
            parts.append(f"{int(layer.dead.sum())} of {_units(len(layer.dead))} dead")
        if math.isfinite(layer.saturated):
            parts.append(f"{layer.saturated:.0%} saturated")
        return "\n".join(parts)  # a line each: a panel may be narrow


def _units(count: int) -> str:
    return f"{count} unit{'s' * (count != 1)}"


def _outputs_and_slopes(network: Network, X: Any) -> tuple[list[NDArray[Any]], list[NDArray[Any] | None]]:
    """Return y_(l) and a'(z_(l)), l = 1 … L, of a forward pass; None for a head whose a' is no vector.

    A pass that keeps everything needs a target. None is at hand here, and a custom loss may want one in any
    form. So the same layers run as the hidden ones of another network, whose target is zero.
    """
    head = network.layers[-1]
    last = network.depth - (head.activation_name in ("softmax", "exp"))  # these are not allowed before a head
    twin = Network(network.n_inputs, [*network.layers[:last], Dense(1, "identity")], dtype=network.dtype)
    for l in range(1, last + 1):
        twin.weights[l] = network.weights[l]
    p = twin.backpropagate(X, np.zeros((count_rows(X), 1)))
    outputs = [p.outputs[l] for l in range(1, network.depth)] + [network.predict(X)]
    slopes: list[NDArray[Any] | None] = [p.local_gradients[l].wrt_preactivation for l in range(1, last + 1)]
    if last < network.depth:
        slopes.append(outputs[-1] if head.activation_name == "exp" else None)
    return outputs, slopes
