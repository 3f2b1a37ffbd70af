"""Weights and their gradients as images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from densegrad import Network
from densegrad.display._drawing import panels, pyplot, whole_numbers
from densegrad.display._models import estimator_network, layer_number, only_network
from densegrad.display._numbers import norm, shape_text, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class WeightsDisplay:
    """W_(l), and dLoss/dW_(l) beside it, as images: blue above 0, red below.

    Parameters
    ----------
    layer : int
    weights : ndarray of shape (n_(l-1) + 1, n_l)
    gradients : ndarray of the same shape or None
    shape : tuple of int or None
        (28, 28): the weights into each unit are an image of that shape, for inputs that are pixels. None
        draws the matrix.
    max_units : int, default 16
        With `shape`: so many units at most, those with the largest weights.

    Attributes
    ----------
    units_ : ndarray of int or None
        The units drawn, with `shape`.
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes
        Without `shape` those of the weights and of the gradients; with it one for each unit, those of the
        gradients after those of the weights.

    Examples
    --------
    >>> from densegrad import Dense, Network
    >>> from densegrad.display import WeightsDisplay
    >>> net = Network(
    ...     64, [Dense(9, "relu"), Dense(10, "softmax")], loss="log_loss", random_state=0
    ... )
    >>> WeightsDisplay.from_network(net, layer=1, shape=(8, 8)).axes_.shape
    (9,)
    """

    figure_: Figure
    axes_: NDArray[Any]

    def __init__(
        self,
        layer: int,
        weights: NDArray[Any],
        gradients: NDArray[Any] | None = None,
        *,
        shape: tuple[int, int] | None = None,
        max_units: int = 16,
    ) -> None:
        n_in = weights.shape[0] - 1
        if shape is not None and (np.shape(shape) != (2,) or math.prod(shape) != n_in):
            raise ValueError(
                f"shape must be two numbers whose product is {n_in}, the number of inputs of layer {layer};"
                f" got {shape!r}"
            )
        if max_units < 1:
            raise ValueError(f"max_units must be at least 1; got {max_units!r}")
        self.layer, self.weights, self.gradients, self.shape = layer, weights, gradients, shape
        self.units_: NDArray[np.intp] | None = None
        if shape is not None:
            strength = np.square(weights[:-1]).sum(axis=0)
            self.units_ = np.sort(np.argsort(-strength, kind="stable")[:max_units])

    @classmethod
    def from_network(
        cls,
        network: Network,
        X: Any = None,
        target: Any = None,
        *,
        layer: int = 1,
        shape: tuple[int, int] | None = None,
        max_units: int = 16,
        ax: Any = None,
    ) -> WeightsDisplay:
        """Draw the weights into a layer and, with X and target, their gradients.

        Parameters
        ----------
        network : Network
        X, target
            As for `Network.samples`, or None.
        layer : int, default 1
            1 … L.
        shape : tuple of int or None
            (28, 28): the weights into each unit are an image of that shape. None draws the matrix.
        max_units : int, default 16
            With `shape`: so many units at most, those with the largest weights.
        ax : matplotlib Axes, sequence of them or None
            One axes is divided into panels; None makes a figure.

        Returns
        -------
        WeightsDisplay

        Raises
        ------
        ValueError
            If there is no such layer, or shape does not fit its inputs.
        """
        only_network(network)
        layer = layer_number(network, layer, 1, network.depth)
        if (X is None) != (target is None):
            raise ValueError("X and target must be given together")
        weights = network.weights[layer]
        cls(layer, weights, shape=shape, max_units=max_units)  # raises errors before a long pass
        gradients = None
        if X is not None:
            network.loss_and_gradient(X, target)
            gradients = network.weight_gradients[layer]
        return cls(layer, weights, gradients, shape=shape, max_units=max_units).plot(ax)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any = None, y: Any = None, **options: Any) -> WeightsDisplay:
        """Draw the weights of a fitted estimator.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
        X, y
            As for its fit, or None.
        **options
            Those of `from_network`.

        Returns
        -------
        WeightsDisplay
        """
        network, target = estimator_network(estimator, y, options)
        return cls.from_network(network, X, target, **options)

    def plot(self, ax: Any = None) -> WeightsDisplay:
        """Draw the images.

        Parameters
        ----------
        ax
            As for `from_network`.

        Returns
        -------
        WeightsDisplay
        """
        figure, axes = self._matrices(ax) if self.units_ is None else self._pixels(ax)
        self.figure_, self.axes_ = figure, np.array(axes, dtype=object)
        return self

    def _named(self) -> list[tuple[str, NDArray[Any]]]:
        l = self.layer
        named = [(f"$W_{{({l})}}$", self.weights)]
        if self.gradients is not None:
            named.append((rf"$\partial\mathrm{{Loss}}/\partial W_{{({l})}}$", self.gradients))
        return named

    def _matrices(self, ax: Any) -> tuple[Figure, list[Axes]]:
        named = self._named()
        figure, axes = panels(ax, len(named), (5.2, 4.4), columns=len(named))
        for panel, (name, matrix) in zip(axes, named, strict=True):
            bound = _bound(matrix)
            image = panel.imshow(
                matrix, cmap="RdBu", vmin=-bound, vmax=bound, aspect="auto", interpolation="nearest"
            )
            panel.axhline(len(matrix) - 1.5, color="0.5", linewidth=0.8)
            panel.set(
                xlabel=f"unit of layer {self.layer}",
                ylabel=f"output of layer {self.layer - 1}",
            )
            panel.set_title(
                f"{name}   {shape_text(matrix.shape)}, norm {short(norm(matrix))}", fontsize="medium"
            )
            for axis in (panel.xaxis, panel.yaxis):
                whole_numbers(axis)
            if len(matrix) > 1:
                _name_bias(panel, len(matrix) - 1)
            figure.colorbar(image, ax=panel)
        return figure, axes

    def _pixels(self, ax: Any) -> tuple[Figure, list[Axes]]:
        assert self.units_ is not None
        assert self.shape is not None
        named = self._named()
        count = len(self.units_)
        columns = min(count, max(1, math.ceil(math.sqrt(count)))) if len(named) == 1 else min(count, 8)
        rows = -(-count // columns)
        # Whole rows for the weights, then whole rows for the gradients.
        if ax is None:
            height = max(rows * len(named) * 1.15 + 0.55, 2.2)
            figure = pyplot().figure(figsize=(max(columns * 1.1, 5.6), height), layout="constrained")
            figure.suptitle(self._pixels_title(), fontsize="medium")
            grid = figure.add_gridspec(rows * len(named), columns)
            axes = [
                figure.add_subplot(grid[block * rows + i // columns, i % columns])
                for block in range(len(named))
                for i in range(count)
            ]
        else:
            figure, axes = panels(ax, count * len(named), (1.1, 1.1), columns)
        for k, panel in enumerate(axes):
            name, matrix = named[k // count]
            unit = self.units_[k % count]
            bound = _bound(matrix[:-1, self.units_])
            panel.imshow(
                matrix[:-1, unit].reshape(self.shape),
                cmap="RdBu",
                vmin=-bound,
                vmax=bound,
                interpolation="nearest",
            )
            panel.set(xticks=[], yticks=[])
            panel.set_title(f"{unit}", fontsize="x-small", pad=2)
            if k % count == 0:
                panel.set_ylabel(name, fontsize="medium")
        return figure, axes

    def _pixels_title(self) -> str:
        assert self.units_ is not None
        n, shown = self.weights.shape[1], len(self.units_)
        which = f"all {n} units" if shown == n else f"the strongest {shown} of {n} units"
        return f"Weights into {which} of layer {self.layer}; blue above 0, red below"


def _name_bias(panel: Axes, last: int) -> None:
    """Name the last row "bias", in place of the numbers too near to it."""
    apart = (last + 1) / 12  # rows that a tick's label is high, at most
    numbers = [int(row) for row in panel.get_yticks() if 0 <= row <= last - apart and row == int(row)]
    panel.set_yticks([*numbers, last], labels=[*map(str, numbers), "bias"])


def _bound(matrix: NDArray[Any]) -> float:
    """Return the end of the colour scale: 0 is white, and a single outlier does not pale the others."""
    finite = np.abs(matrix[np.isfinite(matrix)])
    return float(np.quantile(finite, 0.995)) or float(finite.max()) or 1.0 if finite.size else 1.0
