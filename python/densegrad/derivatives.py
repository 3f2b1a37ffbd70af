"""Derivatives beyond the gradient: of each sample, and of second order."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from densegrad import _validation
from densegrad._activations import check_second_derivative
from densegrad.backpropagation import Backpropagation, read_only
from densegrad.coupled_heads import CoupledSlopes
from densegrad.elementwise import ElementwiseGradients
from densegrad.per_layer import PerLayer
from densegrad.products import Affine, product
from densegrad.samples import Samples
from densegrad.second_derivatives import activation_curvature, loss_derivative_change
from densegrad.spec import NetworkSpec

#: (y_true, y_pred, r) → the change of a custom loss's derivative by y_pred, if y_pred moves along r.
LossHessian: TypeAlias = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], ArrayLike]


def check_size(
    what: str, shape: tuple[int, ...], dtype: DTypeLike, max_bytes: int | None, selection: str
) -> None:
    """Raise MemoryError if a result of this shape is larger than `max_bytes`."""
    if max_bytes is None:
        return
    allowed = _validation.integer("max_bytes", max_bytes, 0)
    needed = math.prod(shape) * np.dtype(dtype).itemsize
    if needed > allowed:
        raise MemoryError(
            f"{what} have shape {shape} and need {needed:,} bytes; max_bytes allows {allowed:,}."
            f" Choose some rows by {selection}, or allow more by max_bytes"
        )


def some_rows(X: Any, rows: Any) -> Any:
    """Return the rows of an array, a data frame or a sparse matrix that `rows` selects; None: X itself."""
    if rows is None:
        return X
    if not isinstance(rows, slice):
        numbers = np.asarray(rows)
        if numbers.dtype.kind not in "iub" or numbers.ndim != 1:
            raise TypeError(f"rows must be a slice or a list of row numbers; got {rows!r}")
        rows = numbers
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    return X.tocsr()[rows] if hasattr(X, "tocsr") else np.asarray(X)[rows]


class PerSampleGradients(PerLayer[NDArray[Any]]):
    """The weight gradients of each sample's own loss, by layer; `Network.per_sample_gradients` makes them.

    ``gradients[l]`` has shape (batch, n_(l-1) + 1, n_l). It is the outer product of [y_(l-1), 1] and
    dLoss/dz_(l), and is built when it is asked for. Of elementwise layers it has shape (batch, 1, n_l).
    """

    def __init__(self, p: Backpropagation, max_bytes: int | None) -> None:
        super().__init__(1, p.spec.depth, self.layer)
        self._outputs = p.outputs
        self._local_gradients = p.local_gradients
        # Those of the mean times the number of samples: each delta counts for its own sample alone.
        self._deltas = [delta * len(delta) for delta in p.deltas]
        self._max_bytes = max_bytes
        self._shapes = p.spec.weight_shapes

    def layer(self, l: int, rows: Any = None) -> NDArray[Any]:
        """Return the gradients by W_(l) of some rows, (n_rows, n_(l-1) + 1, n_l).

        Parameters
        ----------
        l : int
            1 … L.
        rows : slice, array-like of int or None
            None: all.

        Raises
        ------
        MemoryError
            If the result is larger than `max_bytes`.
        """
        l = self._checked(l)
        delta = some_rows(self._deltas[l - 1], rows)
        local = self._local_gradients[l]
        if isinstance(local, ElementwiseGradients):
            of_weights: NDArray[Any] = (delta * some_rows(local.by_weight, rows))[:, np.newaxis, :]
            return of_weights
        y = some_rows(self._outputs[l - 1], rows)
        ones = np.ones((len(y), 1), y.dtype)
        shape = (len(y), y.shape[1] + 1, delta.shape[1])
        check_size(f"the gradients by W_({l})", shape, y.dtype, self._max_bytes, "`layer(l, rows)`")
        gradients: NDArray[Any] = (
            np.concatenate([y, ones], axis=1)[:, :, np.newaxis] * delta[:, np.newaxis, :]
        )
        return gradients

    @cached_property
    def squared_norms(self) -> PerLayer[NDArray[np.float64]]:
        """The squared norms of each sample's gradient by W_(l), (batch,): |[y_(l-1), 1]|² |delta_(l)|²."""
        squares = [read_only(self._squares_of(l)) for l in self._numbers]
        return PerLayer(1, len(squares), lambda l: squares[l - 1])

    def _squares_of(self, l: int) -> NDArray[np.float64]:
        local, delta = self._local_gradients[l], self._deltas[l - 1]
        if isinstance(local, ElementwiseGradients):
            return _squares(delta.astype(np.float64) * local.by_weight)
        return (_squares(self._outputs[l - 1]) + 1) * _squares(delta)

    @property
    def norms(self) -> NDArray[np.float64]:
        """The norm of each sample's gradient by all weights, (batch,), in float64."""
        norms: NDArray[np.float64] = np.sqrt(sum(self.squared_norms))
        return norms

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("per-sample gradients cannot be pickled; pickle the arrays that you need")

    def __repr__(self) -> str:
        shapes = [(len(d), *shape) for d, shape in zip(self._deltas, self._shapes, strict=True)]
        norms = self.norms
        return (
            f"{type(self).__name__} of {len(norms)} samples, norms {norms.min():.4g} ... {norms.max():.4g}; "
            + ", ".join(f"{l}: {shape}" for l, shape in enumerate(shapes, 1))
        )


def _squares(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sum of the squares of each row."""
    squares: NDArray[np.float64] = np.sum(np.square(values, dtype=np.float64), axis=1)
    return squares


def check_second_derivatives(spec: NetworkSpec, loss_hessian: LossHessian | None) -> None:
    """Raise ValueError or TypeError if the loss or an activation has no second derivative."""
    if spec.loss.custom is None and loss_hessian is not None:
        raise ValueError(f"loss_hessian is of a custom loss; the loss is {spec.loss.name}")
    if spec.loss.custom is not None and not callable(loss_hessian):
        raise TypeError(
            "loss_hessian must be a callable for a custom loss: (y_true, y_pred, r) → how the loss's"
            f" derivative changes along r; got {loss_hessian!r}"
        )
    for layer in spec.layers:
        check_second_derivative(layer.activation)


def hessian_vector_product(
    p: Backpropagation,
    samples: Samples,
    v: list[NDArray[Any]],
    loss_hessian: LossHessian | None,
    n_threads: int | None,
) -> NDArray[Any]:
    """Return the Hessian times v; R q is the change of q as the weights move along v (Pearlmutter).

    Both passes of `p` are followed once more, and every step is differentiated. R dLoss/dW_(l) is the result.
    For a product, R(A B) = R A · B + A · R B: one product of matrices side by side.
    """
    L = p.spec.depth
    preactivation_changes: list[NDArray[Any]] = []  # R z_(1), …
    output_changes: list[NDArray[Any]] = []  # R y_(1), …
    for l in range(1, L + 1):
        V, W, y = v[l - 1], p.weights[l], p.outputs[l - 1]
        local = p.local_gradients[l]
        if isinstance(local, ElementwiseGradients):
            preactivation_change = V * local.by_weight
            if l > 1:
                preactivation_change += local.by_input * output_changes[-1]
        elif l == 1:  # the input does not change
            preactivation_change = Affine(V)(y, n_threads)
        else:
            map_of_both = Affine(np.concatenate([V[:-1], W[:-1], V[-1:]]))
            preactivation_change = map_of_both(np.hstack([y, output_changes[-1]]), n_threads)
        preactivation_changes.append(preactivation_change)
        output_changes.append(_along(local.slopes, preactivation_change))
    delta_change = _head_change(p, samples, preactivation_changes[-1], output_changes[-1], loss_hessian)
    products: list[NDArray[Any]] = []
    for l in range(L, 0, -1):
        local = p.local_gradients[l]
        if isinstance(local, ElementwiseGradients):
            change = output_changes[l - 2] if l > 1 else np.zeros_like(p.outputs[0])
            of_weights = delta_change * local.by_weight + p.deltas[l] * local.mixed * change
            products.append(of_weights.sum(axis=0, dtype=np.float64).astype(p.spec.dtype))
            if l > 1:
                gradient_change = delta_change * local.by_input + p.deltas[l] * local.mixed * v[l - 1]
                if local.curvature is not None:
                    gradient_change += p.deltas[l] * local.curvature * change
                delta_change = _below(p, l - 1, gradient_change, preactivation_changes[l - 2])
            continue
        extended = np.concatenate([p.outputs[l - 1], np.ones((len(delta_change), 1), p.spec.dtype)], axis=1)
        if l == 1:
            products.append(product(extended.T, delta_change, n_threads))
            break
        change = np.concatenate([output_changes[l - 2], np.zeros_like(extended[:, -1:])], axis=1)
        both = np.concatenate([delta_change, p.deltas[l]])
        products.append(product(np.concatenate([extended, change]).T, both, n_threads))
        W, V = p.weights[l][:-1], v[l - 1][:-1]
        gradient_change = product(
            np.hstack([delta_change, p.deltas[l]]), np.concatenate([W.T, V.T]), n_threads
        )
        delta_change = _below(p, l - 1, gradient_change, preactivation_changes[l - 2])
    return np.concatenate([of_layer.reshape(-1) for of_layer in reversed(products)])


def _below(
    p: Backpropagation, l: int, gradient_change: NDArray[Any], preactivation_change: NDArray[Any]
) -> NDArray[Any]:
    """Return R dLoss/dz_(l) of a hidden layer from R dLoss/dy_(l) and R z_(l)."""
    delta_change: NDArray[Any] = p.local_gradients[l].wrt_preactivation * gradient_change
    curvature = _curvature(p, l)
    if curvature is not None:
        delta_change += curvature * preactivation_change * p.loss_gradients[l]
    return delta_change


def _along(slopes: NDArray[Any] | CoupledSlopes, direction: NDArray[Any]) -> NDArray[Any]:
    """Return the change of y_(l) if z_(l) moves along `direction`."""
    if not isinstance(slopes, np.ndarray):
        return slopes.along(direction)
    change: NDArray[Any] = slopes * direction
    return change


def _curvature(p: Backpropagation, l: int) -> NDArray[Any] | None:
    """Return a''(z_(l)), or None if it is zero everywhere."""
    if isinstance(p.local_gradients[l], ElementwiseGradients):
        return None  # y_(l) = z_(l)
    return activation_curvature(
        p.spec.layers[l - 1].activation,
        lambda: p.preactivations[l],
        p.outputs[l],
        p.local_gradients[l].wrt_preactivation,
    )


def _head_change(
    p: Backpropagation,
    samples: Samples,
    preactivation_change: NDArray[Any],
    change: NDArray[Any],
    loss_hessian: LossHessian | None,
) -> NDArray[Any]:
    """Return R dLoss/dz_(L) from R z_(L) and R y_(L)."""
    L = p.spec.depth
    y = p.outputs[L]
    slopes: NDArray[Any] | CoupledSlopes = p.local_gradients[L].slopes
    weight = np.ones(len(y)) if samples.sample_weight is None else samples.sample_weight
    share = (weight / weight.sum())[:, np.newaxis].astype(y.dtype)
    if p.spec.loss.name == "log_loss":
        change_of_delta: NDArray[Any] = share * change  # dLoss/dz_(L) is y_(L) - target
        return change_of_delta
    if loss_hessian is None:
        rate = loss_derivative_change(p.spec, y, samples, change)
    else:
        assert samples.custom_target is not None
        rate = np.asarray(loss_hessian(samples.custom_target.copy(), y.copy(), change.copy()), y.dtype)
        if rate.shape == y.shape[:1] and y.shape[1] == 1:
            rate = rate[:, np.newaxis]
        if rate.shape != y.shape:
            raise ValueError(f"loss_hessian must return an array of shape {y.shape}; got {rate.shape}")
    gradient_change = np.where(share > 0, share * rate, 0).astype(y.dtype)
    gradient = p.loss_gradients[L]
    if isinstance(slopes, np.ndarray):
        delta_change: NDArray[Any] = slopes * gradient_change
        curvature = _curvature(p, L)
        if curvature is not None:
            delta_change += curvature * preactivation_change * gradient
        return delta_change
    through, moved = slopes.back(gradient_change), slopes.change_of_back(gradient, preactivation_change)
    total: NDArray[Any] = through + moved
    return total
