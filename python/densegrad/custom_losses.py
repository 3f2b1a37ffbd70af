"""Calls of a custom loss: of rows, of a batch, of parts of the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from densegrad import _arrays, _validation
from densegrad._losses import CustomLoss
from densegrad.samples import Samples

#: From y_(L) to the loss of a batch and L'_(L).
BatchLoss: TypeAlias = Callable[[NDArray[Any]], tuple[float, NDArray[Any]]]
#: From row numbers and their y_(L) to the losses of these rows and their derivatives by y_(L).
RowLosses: TypeAlias = Callable[[NDArray[np.int64], NDArray[Any]], tuple[NDArray[np.float64], NDArray[Any]]]


def custom_rows(
    loss: CustomLoss, y_true: NDArray[Any], y_pred: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Call a custom loss and check its losses, (batch,), and derivatives, (batch, n_L)."""
    try:
        returned: Any = loss(y_true, y_pred)
    except (TypeError, ValueError) as error:
        error.add_note("raised by the loss function, which is called with (y_true, y_pred)")
        raise
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        raise TypeError(
            "loss must return a tuple of the loss of each row and its derivative by y_pred; "
            f"got {_validation.outline(returned)}"
        )
    losses, derivative = returned
    losses = _real_numbers("the losses that loss returns", losses, np.float64)
    derivative = _real_numbers("the derivative that loss returns", derivative, y_pred.dtype)
    if losses.shape != y_pred.shape[:1]:
        raise ValueError(f"loss must return one loss a row, of shape {y_pred.shape[:1]}; got {losses.shape}")
    if derivative.shape == losses.shape and y_pred.shape[1] == 1:
        derivative = derivative[:, np.newaxis]
    if derivative.shape != y_pred.shape:
        raise ValueError(f"loss must return derivatives of shape {y_pred.shape}; got {derivative.shape}")
    return losses, derivative


def _real_numbers(name: str, numbers: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    return np.asarray(_arrays.real_array(name, numbers), dtype, order="C")


def row_losses(samples: Samples) -> RowLosses | None:
    """Return the custom loss of rows by their numbers; None if the core knows the loss."""
    loss, y_true = samples.spec.loss.custom, samples.custom_target
    if loss is None:
        return None
    assert y_true is not None
    return lambda rows, y_pred: custom_rows(loss, y_true[rows], y_pred)


def batch_loss(samples: Samples, seen: list[NDArray[np.float64]] | None = None) -> BatchLoss | None:
    """Return the custom loss of all rows; None if the core knows the loss.

    With each call it appends the losses of the rows to `seen`.
    """
    loss, y_true = samples.spec.loss.custom, samples.custom_target
    if loss is None:
        return None
    assert y_true is not None

    def of_batch(y_pred: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        # A copy, as in training: the function may write to its arguments.
        losses, derivative = custom_rows(loss, y_true.copy(), y_pred)
        if seen is not None:
            seen.append(losses.copy())
        return _weighted_mean(losses, derivative, samples.sample_weight)

    return of_batch


def sums_of_parts(
    samples: Samples, y_pred: NDArray[Any], ends: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return sums of weighted losses and of weights, of the rows up to each of `ends`."""
    loss, target = samples.spec.loss.custom, samples.custom_target
    assert loss is not None
    assert target is not None
    y_true = target.copy()
    weights = np.ones(samples.n_rows) if samples.sample_weight is None else samples.sample_weight
    sums = np.zeros((2, len(ends)))
    begin = 0
    for part, end in enumerate(ends):
        rows = slice(begin, end)
        if begin < end:
            losses, _ = custom_rows(loss, y_true[rows], y_pred[rows])
            weighted = np.where(weights[rows] > 0, weights[rows] * losses, 0.0)
            sums[:, part] = np.add.accumulate([weighted, weights[rows]], axis=1)[:, -1]
        begin = end
    return sums[0], sums[1]


def _weighted_mean(
    losses: NDArray[np.float64], derivative: NDArray[Any], sample_weight: NDArray[np.float64] | None
) -> tuple[float, NDArray[Any]]:
    """Return the weighted mean of the rows' losses, and L'_(L) of that mean."""
    if sample_weight is None:
        weights = np.ones(len(losses))
    else:
        weights = sample_weight
        counts = weights > 0  # the other rows do not count, even if they are NaN
        losses = np.where(counts, losses, 0.0)
        derivative = np.where(counts[:, np.newaxis], derivative, 0)
    total = weights.sum()
    loss_gradient = derivative * (weights / total)[:, np.newaxis].astype(derivative.dtype)
    return float(np.sum(weights * losses) / total), loss_gradient
