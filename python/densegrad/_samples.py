"""X, targets and sample weights, checked once and then read in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densegrad import _core, _validation

if TYPE_CHECKING:
    from densegrad.network import Network

#: The numbers that a loss allows in its targets: lowest, and whether it is allowed itself.
LOWEST_TARGET = {"poisson": (0.0, True), "tweedie": (0.0, True), "gamma": (0.0, False)}


class Samples:
    """Rows of X with their targets and weights, checked for one network.

    Made by `Network.samples`; taken by `Network.evaluate`, `Trainer.epoch` and the like in place of `X`, so
    that work done again and again on the same data checks it once. The arrays are read in place: change
    nothing in them.

    Attributes
    ----------
    n_rows : int
    """

    __slots__ = ("X", "custom_target", "finite", "n_rows", "network", "rows", "sample_weight", "targets")

    def __init__(self, network: Network, X: Any, target: Any, sample_weight: ArrayLike | None) -> None:
        self.network = network
        self.X, self.finite = X, False  # until check_finite has looked through it
        self.rows = _core.Rows(X, network.n_inputs, "X")
        self.n_rows: int = self.rows.n_rows
        self.sample_weight = _validation.weights_of_rows("sample_weight", sample_weight, self.n_rows)
        self.custom_target: NDArray[Any] | None = None
        classes = values = None
        if network.loss == "custom":
            _validation.not_sparse("target", target)
            self.custom_target = np.asarray(target)
            _check_length(self.custom_target, self.n_rows)
            if self.custom_target.ndim == 1 and network.layers[-1].units == 1:
                self.custom_target = self.custom_target[
                    :, np.newaxis
                ]  # as y_pred, so that they do not broadcast
        else:
            classes, values = _targets(network, target, self.n_rows)
        self.targets = _core.Targets(classes, values, self.sample_weight)

    def check_finite(self) -> None:
        """Raise ValueError where X has NaN or infinity; X is looked through once."""
        if not self.finite:
            _validation.finite_rows("X", self.X, self.network.dtype)
            self.finite = True


def samples_of(network: Network, X: Any, target: Any, sample_weight: Any) -> Samples:
    """Return X, target and sample_weight as Samples of `network`; X may be such already."""
    if not isinstance(X, Samples):
        return Samples(network, X, target, sample_weight)
    if X.network is not network:
        raise ValueError("these samples were checked for another network")
    if target is not None or sample_weight is not None:
        raise ValueError("target and sample_weight must be None where X is Samples: they hold their own")
    return X


def some_rows(samples: Samples) -> Samples:
    """Return `samples` if they hold at least one row."""
    if samples.n_rows == 0:
        raise ValueError("X must have at least one row; got 0")
    return samples


def _check_length(target: NDArray[Any], n_rows: int) -> None:
    if target.ndim == 0 or len(target) != n_rows:
        raise ValueError(f"target must have {n_rows} rows, as X has; got shape {target.shape}")


def _targets(
    network: Network, target: Any, n_rows: int
) -> tuple[NDArray[np.int64] | None, NDArray[Any] | None]:
    """Return class numbers and values, of which one is None."""
    array = _validation.real_array("target", target)
    _check_length(array, n_rows)
    n_targets = network.n_targets
    kind = network.target_kind
    if (
        kind != "values"
        and array.ndim == 1
        and (n_targets > 1 or array.dtype.kind in "iub" or kind == "classes")
    ):
        return _class_numbers(network, array), None
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2 or array.shape[1] != n_targets:
        allowed = f"({n_rows}, {n_targets})"
        if n_targets == 1 or (kind != "values" and network.layers[-1].activation != "logistic"):
            allowed = f"({n_rows},) or {allowed}"
        raise ValueError(f"target must have shape {allowed}; got {np.shape(target)}")
    values = _validation.finite("target", array, network.dtype)
    if kind != "values":
        if np.any((values < 0) | (values > 1)):
            raise ValueError(
                f"target must be probabilities in [0, 1]; got {values.min():g} ... {values.max():g}"
            )
        if network.layers[-1].activation == "softmax" and np.any(np.abs(values.sum(axis=1) - 1) > 1e-3):
            raise ValueError("target must be probabilities that sum to 1 in each row")
        if kind == "classes" and np.any((values != 0) & (values != 1)):
            raise ValueError(f"target must be 0 or 1 in each column for the loss {network.loss}")
    elif network.loss in LOWEST_TARGET and n_rows:
        low, closed = LOWEST_TARGET[network.loss]
        lowest = values.min()
        if lowest < low or (lowest == low and not closed):
            raise ValueError(
                f"target must be {'at least' if closed else 'above'} {low:g} for the loss "
                f"{network.loss}; got {lowest:g}"
            )
    return None, values


def _class_numbers(network: Network, array: NDArray[Any]) -> NDArray[np.int64]:
    n_classes = max(network.layers[-1].units, 2)
    if network.layers[-1].activation == "logistic" and network.layers[-1].units > 1:
        raise ValueError(
            f"target must be 0 or 1 in each of {network.layers[-1].units} columns; got {array.shape}"
        )
    if array.dtype.kind == "f":
        _validation.finite("target", array, array.dtype)
        if np.any(array != np.floor(array)):
            raise ValueError(f"target must hold class numbers in [0, {n_classes - 1}]; got fractions")
    if len(array) and not 0 <= array.min() <= array.max() < n_classes:
        wrong = array.min() if array.min() < 0 else array.max()
        raise ValueError(f"target must hold class numbers in [0, {n_classes - 1}]; got {wrong:g}")
    return _validation.readable_array(array, np.int64)
