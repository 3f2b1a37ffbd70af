"""Products with matrices of weights, and the loss of single rows, by the kernels of the core.

Each sum is one chain of fused multiply-adds, so the bits are the same on any CPU and number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import _core
from densegrad._tables import LOSS_NUMBER
from densegrad.layers import Dense, core_layer
from densegrad.spec import NetworkSpec
from densegrad.typing import ActivationName


class Affine(_core.Network):
    """The map from x to [x, 1] W.

    Parameters
    ----------
    W : ndarray of shape (n_in + 1, n_out)
        float32 or float64; the bias is the last row.
    """

    def __init__(self, W: NDArray[Any]) -> None:
        super().__init__(
            len(W) - 1,
            [core_layer(Dense(W.shape[1], "identity"))],
            LOSS_NUMBER["squared_error"],
            0.0,
            (),
            0.0,
            W.dtype,
        )
        self._set_weights(1, W)

    def __call__(self, X: NDArray[Any], n_threads: int | None = None) -> NDArray[Any]:
        """Return [X, 1] W."""
        return self._predict(X, n_threads)


class Unit(_core.Network):
    """One unit, y = a(x), of an elementwise activation."""

    def __init__(self, activation: ActivationName, dtype: np.dtype[Any]) -> None:
        layer = core_layer(Dense(1, activation))
        super().__init__(1, [layer], LOSS_NUMBER["squared_error"], 0.0, (), 0.0, dtype)
        self._set_weights(1, np.array([[1], [0]], dtype))

    def __call__(self, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return a(x) and a'(x), of the shape of x."""
        column = np.ascontiguousarray(x).reshape(-1, 1)
        targets = _core.Targets(None, np.zeros_like(column), None)
        _, outputs, _, _, _, local, _ = self._backpropagate(_core.Rows(column), targets, 1, None)
        assert local[0] is not None
        return outputs[1].reshape(x.shape), local[0].reshape(x.shape)


def product(A: NDArray[Any], B: NDArray[Any], n_threads: int | None = None) -> NDArray[Any]:
    """Return A B, of two matrices of one dtype."""
    no_bias = np.zeros((1, B.shape[1]), B.dtype)
    return Affine(np.concatenate([B, no_bias]))(A, n_threads)


class Head(_core.Network):
    """The last layer of a network and its loss layer.

    Parameters
    ----------
    spec : NetworkSpec
        That of the whole network; its loss is not a custom loss.
    W : ndarray of shape (n_(L-1) + 1, n_L)
        W_(L).
    """

    def __init__(self, spec: NetworkSpec, W: NDArray[Any]) -> None:
        loss = spec.loss
        super().__init__(
            len(W) - 1,
            [core_layer(spec.head)],
            LOSS_NUMBER[loss.name],
            loss.parameter,
            loss.quantile_levels,
            loss.label_smoothing,
            spec.dtype,
        )
        self._set_weights(1, W)

    def row_losses(
        self, X: NDArray[Any], classes: NDArray[np.int64] | None, values: NDArray[Any] | None
    ) -> NDArray[np.float64]:
        """Return the loss of each row of X = y_(L-1), (batch,), as `evaluate` gives for the row alone."""

        def one(array: NDArray[Any] | None, row: int) -> NDArray[Any] | None:
            return None if array is None else array[row : row + 1]

        losses = np.empty(len(X))
        for row in range(len(X)):
            targets = _core.Targets(one(classes, row), one(values, row), None)
            losses[row] = self._evaluate(_core.Rows(X[row : row + 1]), targets, 1)
        return losses
