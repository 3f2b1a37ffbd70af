"""X, targets and sample weights, checked once and then read in place."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densegrad import _arrays, _core
from densegrad._tables import LOSSES
from densegrad.spec import NetworkSpec

_FROM_LABELS = "Labels of an estimator clf become class numbers by np.searchsorted(clf.classes_, y)"


class Samples:
    """Rows of X with their targets and weights, checked for networks of one description.

    `Network.samples` makes them. `Network.evaluate`, `Trainer.epoch` and the like accept them in place of
    `X`, so that repeated work on the same data checks it once. The arrays are read in place: do not change
    them.

    Attributes
    ----------
    n_rows : int
    """

    __slots__ = (
        "X",
        "classes",
        "custom_target",
        "finite",
        "given_target",
        "n_rows",
        "rows",
        "sample_weight",
        "spec",
        "targets",
        "values",
    )

    def __init__(
        self,
        spec: NetworkSpec,
        X: Any,
        target: Any,
        sample_weight: ArrayLike | None,
        *,
        is_part: bool = False,
    ) -> None:
        self.spec = spec
        if _is_blocks(X):
            parts = tuple(_core.Rows(block, spec.n_inputs, f"X[{k}]") for k, block in enumerate(X))
            target = _joined("target", target, parts)
            sample_weight = None if sample_weight is None else _joined("sample_weight", sample_weight, parts)
            self.rows = _core.Rows(parts, spec.n_inputs, "X")
        else:
            self.rows = _core.Rows(X, spec.n_inputs, "X")
        self.given_target = target
        self.X, self.finite = X, False  # until check_finite has looked through it
        self.n_rows: int = self.rows.n_rows
        self.sample_weight = sample_weights(sample_weight, self.n_rows, is_part)
        self.custom_target: NDArray[Any] | None = None
        self.classes: NDArray[np.int64] | None = None
        self.values: NDArray[Any] | None = None
        if spec.loss.custom is not None:
            _arrays.check_not_sparse("target", target)
            self.custom_target = np.asarray(target)
            _check_length(self.custom_target, self.n_rows)
            if self.custom_target.ndim == 1 and spec.head.units == 1:
                # As y_pred, so that they do not broadcast.
                self.custom_target = self.custom_target[:, np.newaxis]
        else:
            self.classes, self.values = _targets(spec, target, self.n_rows)
        self.targets = _core.Targets(self.classes, self.values, self.sample_weight)

    def astype(self, dtype: np.dtype[Any]) -> Samples:
        """Return the same rows, targets and weights for a network of another precision."""
        other = copy.copy(self)
        other.spec = self.spec.astype(dtype)
        other.values = None if self.values is None else self.values.astype(dtype)
        other.targets = _core.Targets(self.classes, other.values, self.sample_weight)
        return other

    def unweighted(self) -> Samples:
        """Return the same rows and targets without weights."""
        other = copy.copy(self)
        other.sample_weight = None
        other.targets = _core.Targets(self.classes, self.values, None)
        return other

    def check_finite(self) -> None:
        """Raise ValueError if X has NaN or infinity; X is looked through once."""
        if self.finite:
            return
        if _is_blocks(self.X):
            for k, block in enumerate(self.X):
                _arrays.check_finite_rows(f"X[{k}]", block, self.spec.dtype)
        else:
            _arrays.check_finite_rows("X", self.X, self.spec.dtype)
        self.finite = True


def samples_of(
    spec: NetworkSpec, X: Any, target: Any, sample_weight: Any, *, is_part: bool = False
) -> Samples:
    """Return X, target and sample_weight as Samples for networks of `spec`; X may be such already.

    `is_part`: there are further rows elsewhere, so these may all have the weight zero.
    """
    if not isinstance(X, Samples):
        return Samples(spec, X, target, sample_weight, is_part=is_part)
    if X.spec is not spec and X.spec != spec:
        raise ValueError("these samples were checked for another network: make them by `samples` of this one")
    if target is not None or sample_weight is not None:
        raise ValueError("target and sample_weight must be None if X is Samples, which hold their own")
    return X


def _is_blocks(X: Any) -> bool:
    """Tell blocks of rows from one matrix; a list of lists of numbers is one matrix."""
    return isinstance(X, (list, tuple)) and len(X) > 0 and all(getattr(block, "ndim", 0) == 2 for block in X)


def _joined(name: str, given: Any, parts: tuple[_core.Rows, ...]) -> NDArray[Any]:
    """Return the targets or weights of all blocks in one array."""
    if not isinstance(given, (list, tuple)) or len(given) != len(parts):
        got = f"{len(given)}" if isinstance(given, (list, tuple)) else f"{type(given).__name__}"
        raise ValueError(f"{name} must be a list of {len(parts)} arrays, one for each block of X; got {got}")
    arrays = [_arrays.real_array(f"{name}[{k}]", block) for k, block in enumerate(given)]
    for k, (array, part) in enumerate(zip(arrays, parts, strict=True)):
        if array.ndim == 0 or len(array) != part.n_rows:
            raise ValueError(f"{name}[{k}] must have {part.n_rows} rows, as X[{k}] has; got {array.shape}")
        if array.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(f"{name}[{k}] must have as many columns as {name}[0]; got {array.shape}")
    return np.concatenate(arrays)


def nonempty(samples: Samples) -> Samples:
    """Return `samples` if they hold at least one row."""
    if samples.n_rows == 0:
        raise ValueError("X must have at least one row; got 0")
    return samples


def sample_weights(value: ArrayLike | None, n_rows: int, is_part: bool = False) -> NDArray[np.float64] | None:
    """Return sample weights as float64 of shape (n_rows,): finite, none negative.

    Not all of them are zero, unless there are further rows elsewhere.
    """
    name = "sample_weight"
    if value is None:
        return None
    array = _arrays.real_array(name, value)
    if array.shape != (n_rows,):
        raise ValueError(
            f"{name} must have shape ({n_rows},), one weight a row of X; got shape {array.shape}"
        )
    with np.errstate(over="ignore"):
        weights = _arrays.readable_array(array, np.float64)
    if not np.all(np.isfinite(weights)):
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    if np.any(weights < 0):
        raise ValueError(f"{name} must not be negative; got {weights.min():g}")
    if n_rows and not np.any(weights):
        if is_part:
            return weights
        raise ValueError(f"{name} must not be zero for every row")
    with np.errstate(over="ignore"):
        total = weights.sum()
    if n_rows and not np.finfo(np.float64).tiny <= total < math.inf:
        raise ValueError(
            f"{name} must have a sum that float64 can hold; got numbers that are too large or small"
        )
    return weights


def _check_length(target: NDArray[Any], n_rows: int) -> None:
    if target.ndim == 0 or len(target) != n_rows:
        raise ValueError(f"target must have {n_rows} rows, as X has; got shape {target.shape}")


def _targets(
    spec: NetworkSpec, target: Any, n_rows: int
) -> tuple[NDArray[np.int64] | None, NDArray[Any] | None]:
    """Return class numbers and values; one of them is None."""
    try:
        array = _arrays.real_array("target", target)
    except TypeError as error:
        raise TypeError(error if spec.target_kind == "values" else f"{error}. {_FROM_LABELS}") from None
    _check_length(array, n_rows)
    n_targets = spec.n_targets
    kind = spec.target_kind
    if (
        kind != "values"
        and array.ndim == 1
        and (n_targets > 1 or array.dtype.kind in "iub" or kind == "classes")
    ):
        return _class_numbers(spec, array), None
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2 or array.shape[1] != n_targets:
        allowed = f"({n_rows}, {n_targets})"
        if n_targets == 1 or (kind != "values" and spec.head.activation != "logistic"):
            allowed = f"({n_rows},) or {allowed}"
        raise ValueError(f"target must have shape {allowed}; got {np.shape(target)}")
    values = _arrays.finite_array("target", array, spec.dtype)
    if kind != "values":
        if np.any((values < 0) | (values > 1)):
            raise ValueError(
                f"target must be probabilities in [0, 1]; got {values.min():g} ... {values.max():g}"
            )
        if spec.head.activation == "softmax" and np.any(np.abs(values.sum(axis=1) - 1) > 1e-3):
            raise ValueError("target must be probabilities that sum to 1 in each row")
        if kind == "classes" and np.any((values != 0) & (values != 1)):
            raise ValueError(f"target must be 0 or 1 in each column for the loss {spec.loss.name}")
    else:
        check_lowest("target", values, spec.loss.name)
    return None, values


def check_lowest(name: str, values: NDArray[Any], loss: str) -> None:
    """Raise ValueError if a target is below the lowest that the loss allows."""
    low, closed = LOSSES[loss]["lowest_target"], LOSSES[loss]["lowest_allowed"]
    if math.isinf(low) or values.size == 0:
        return
    lowest = values.min()
    if lowest < low or (lowest == low and not closed):
        raise ValueError(
            f"{name} must be {'at least' if closed else 'above'} {low:g} for the loss {loss}; got {lowest:g}"
        )


def _class_numbers(spec: NetworkSpec, array: NDArray[Any]) -> NDArray[np.int64]:
    n_classes = max(spec.head.units, 2)
    if spec.head.activation == "logistic" and spec.head.units > 1:
        raise ValueError(f"target must be 0 or 1 in each of {spec.head.units} columns; got {array.shape}")
    if array.dtype.kind == "f":
        _arrays.finite_array("target", array, array.dtype)
        if np.any(array != np.floor(array)):
            raise ValueError(f"target must hold class numbers in [0, {n_classes - 1}]; got fractions")
        with np.errstate(invalid="ignore"):  # what int64 cannot hold is no class number either
            numbers = _arrays.readable_array(array, np.int64)
    else:
        numbers = _arrays.readable_array(array, np.int64)
    # As unsigned numbers, those below zero are above all classes.
    if len(array) and numbers.view(np.uint64).max() >= n_classes:
        wrong = array.min() if array.min() < 0 else array.max()
        raise ValueError(
            f"target must hold class numbers in [0, {n_classes - 1}]; got {wrong:g}. {_FROM_LABELS}"
        )
    return numbers
