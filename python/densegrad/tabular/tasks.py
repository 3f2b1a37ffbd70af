"""Tasks: head, loss and error of a network for classes, for several labels, and for values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from densegrad._losses import Loss
from densegrad.tabular.portable import exp, log

Floats = NDArray[np.float64]
Outputs = NDArray[Any]

_SMOOTHING = 0.1
_MOST_SIGNALS = 32


class Task(Protocol):
    """The kind of learning, with the targets of all rows."""

    @property
    def n_rows(self) -> int:
        """The number of rows."""

    @property
    def head(self) -> tuple[int, str]:
        """Units and activation of the head."""

    @property
    def loss(self) -> Loss:
        """The loss in training."""

    @property
    def numbers(self) -> TaskNumbers:
        """The numbers of the recipe that depend on the task."""

    def key(self) -> Floats:
        """Return the values that stratify the folds, (n_rows,)."""

    def signals(self) -> Floats:
        """Return the values that means by level are made of, (n_rows, n_signals)."""

    def scaling(self, rows: NDArray[np.int64], weight: Floats | None) -> Scaling:
        """Return the scale of the target in some rows."""

    def target(self, scaling: Scaling) -> NDArray[Any]:
        """Return the network's target of all rows."""

    def error_of(
        self, rows: NDArray[np.int64], weight: Floats | None, scaling: Scaling
    ) -> Callable[[Outputs], float]:
        """Return the error of the outputs for some rows; less is better."""


@dataclass(frozen=True)
class TaskNumbers:
    """The numbers of the recipe that depend on the task."""

    activation: str
    rate: float
    dropout: float


#: RealMLP's: for classes, and for numbers.
OF_CLASSES = TaskNumbers("selu", 0.04, 0.15)
OF_VALUES = TaskNumbers("mish", 0.07, 0.05)


@dataclass(frozen=True)
class Scaling:
    """value = offset + factor · output."""

    offset: Floats
    factor: Floats

    def values(self, outputs: Outputs) -> Outputs:
        """Return outputs in the units of the target, in float64 unless they are in these units already."""
        if not self.offset.any() and (self.factor == 1).all():
            return outputs
        return np.asarray(outputs.astype(np.float64) * self.factor + self.offset)


_UNSCALED = Scaling(np.zeros(1), np.ones(1))


@dataclass(frozen=True)
class Classes:
    """One of several classes."""

    #: (n_rows,), from 0.
    numbers_of_rows: NDArray[np.int64]
    n_classes: int

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.numbers_of_rows)

    @property
    def head(self) -> tuple[int, str]:
        """Units and activation of the head."""
        return max(2, self.n_classes), "softmax"

    @property
    def loss(self) -> Loss:
        """The loss in training."""
        return Loss.checked("log_loss", label_smoothing=_SMOOTHING)

    @property
    def numbers(self) -> TaskNumbers:
        """The numbers of the recipe that depend on the task."""
        return OF_CLASSES

    def key(self) -> Floats:
        """Return the values that stratify the folds, (n_rows,)."""
        return self.numbers_of_rows.astype(np.float64)

    def signals(self) -> Floats:
        """Return an indicator of each class: one for two classes, none if they are many."""
        if self.n_classes <= 2:
            return self.key()[:, np.newaxis]
        if self.n_classes > _MOST_SIGNALS:
            return np.empty((self.n_rows, 0))
        indicators: Floats = np.eye(self.n_classes)[self.numbers_of_rows]
        return indicators

    def scaling(self, rows: NDArray[np.int64], weight: Floats | None) -> Scaling:
        """Return no scale."""
        return _UNSCALED

    def target(self, scaling: Scaling) -> NDArray[Any]:
        """Return the class numbers."""
        return self.numbers_of_rows

    def error_of(
        self, rows: NDArray[np.int64], weight: Floats | None, scaling: Scaling
    ) -> Callable[[Outputs], float]:
        """Return the share of rows whose most probable class is wrong."""
        expected = self.numbers_of_rows[rows]

        def error(outputs: Outputs) -> float:
            if not np.isfinite(outputs).all():
                return np.nan
            return _mean(outputs.argmax(axis=1) != expected, weight)

        return error

    def log_loss_of(self, rows: NDArray[np.int64], weight: Floats | None) -> Callable[[Outputs], float]:
        """Return the log loss of probabilities for some rows."""
        own = np.arange(len(rows)), self.numbers_of_rows[rows]

        def log_loss(outputs: Outputs) -> float:
            if not np.isfinite(outputs).all():
                return np.nan
            return _mean(-log(np.maximum(outputs[own].astype(np.float64), 1e-30)), weight)

        return log_loss


@dataclass(frozen=True)
class LabelSets:
    """Any number of several labels."""

    #: (n_rows, n_labels), 0 or 1.
    indicators: NDArray[np.int64]

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.indicators)

    @property
    def head(self) -> tuple[int, str]:
        """Units and activation of the head."""
        return self.indicators.shape[1], "logistic"

    @property
    def loss(self) -> Loss:
        """The loss in training."""
        return Loss.checked("log_loss")

    @property
    def numbers(self) -> TaskNumbers:
        """The numbers of the recipe that depend on the task."""
        return OF_CLASSES

    def key(self) -> Floats:
        """Return the values that stratify the folds, (n_rows,): the number of labels."""
        counts: Floats = self.indicators.sum(axis=1).astype(np.float64)
        return counts

    def signals(self) -> Floats:
        """Return an indicator of each label."""
        return self.indicators.astype(np.float64)

    def scaling(self, rows: NDArray[np.int64], weight: Floats | None) -> Scaling:
        """Return no scale."""
        return _UNSCALED

    def target(self, scaling: Scaling) -> NDArray[Any]:
        """Return the indicators."""
        return self.indicators

    def error_of(
        self, rows: NDArray[np.int64], weight: Floats | None, scaling: Scaling
    ) -> Callable[[Outputs], float]:
        """Return the share of labels that are wrong."""
        expected = self.indicators[rows] > 0

        def error(outputs: Outputs) -> float:
            if not np.isfinite(outputs).all():
                return np.nan
            return _mean(((outputs > 0.5) != expected).mean(axis=1), weight)

        return error


@dataclass(frozen=True)
class Values:
    """Numbers."""

    #: (n_rows, n_targets)
    values: Floats
    training_loss: Loss

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.values)

    @property
    def positive(self) -> bool:
        """Whether the loss is for positive means, with an exponential as head."""
        return self.training_loss.name in ("poisson", "gamma")

    @property
    def head(self) -> tuple[int, str]:
        """Units and activation of the head."""
        n_outputs = self.values.shape[1] * self.training_loss.outputs_per_target
        return n_outputs, "exp" if self.positive else "identity"

    @property
    def loss(self) -> Loss:
        """The loss in training."""
        return self.training_loss

    @property
    def numbers(self) -> TaskNumbers:
        """The numbers of the recipe that depend on the task."""
        return OF_VALUES

    def key(self) -> Floats:
        """Return the values that stratify the folds, (n_rows,): the first target."""
        first: Floats = self.values[:, 0]
        return first

    def signals(self) -> Floats:
        """Return the values."""
        return self.values

    def scaling(self, rows: NDArray[np.int64], weight: Floats | None) -> Scaling:
        """Return mean and deviation of the target; for positive losses no offset, and the mean."""
        values = self.values[rows]
        share = np.full(len(rows), 1 / len(rows)) if weight is None else weight[rows] / weight[rows].sum()
        mean = (share[:, np.newaxis] * values).sum(axis=0)
        deviation = np.sqrt((share[:, np.newaxis] * np.square(values - mean)).sum(axis=0))
        offset, factor = (np.zeros_like(mean), mean) if self.positive else (mean, deviation)
        factor = np.where(factor > 1e-9 * np.abs(mean), factor, 1.0)
        if self.training_loss.name == "gaussian_nll":  # log-variances after the means
            offset = np.concatenate([offset, 2 * log(factor)])
            return Scaling(offset, np.concatenate([factor, np.ones_like(factor)]))
        n_levels = self.training_loss.outputs_per_target
        return Scaling(np.repeat(offset, n_levels), np.repeat(factor, n_levels))

    def target(self, scaling: Scaling) -> NDArray[Any]:
        """Return the values on the network's scale."""
        if self.training_loss.name == "gaussian_nll":
            first = slice(self.values.shape[1])
        else:
            first = slice(None, None, self.training_loss.outputs_per_target)
        return ((self.values - scaling.offset[first]) / scaling.factor[first]).astype(np.float32)

    def error_of(
        self, rows: NDArray[np.int64], weight: Floats | None, scaling: Scaling
    ) -> Callable[[Outputs], float]:
        """Return the mean of the loss, on the network's scale."""
        target = self.target(scaling)[rows].astype(np.float64)

        def error(outputs: Outputs) -> float:
            if not np.isfinite(outputs).all():
                return np.nan
            return _mean(_losses(self.training_loss, target, outputs.astype(np.float64)), weight)

        return error


def _losses(loss: Loss, target: Floats, outputs: Floats) -> Floats:
    """Return the loss of each row, (n_rows,)."""
    if loss.name == "quantile":
        levels = np.array(loss.quantile_levels or (loss.parameter,))
        residual = target[:, :, np.newaxis] - outputs.reshape(len(target), -1, len(levels))
        return np.asarray(np.maximum(levels * residual, (levels - 1) * residual).sum(axis=(1, 2)))
    if loss.name == "gaussian_nll":
        mean, log_variance = np.split(outputs, 2, axis=1)
        return np.asarray(((log_variance + np.square(target - mean) * exp(-log_variance)) / 2).sum(axis=1))
    residual = target - outputs
    if loss.name == "absolute_error":
        return np.asarray(np.abs(residual).sum(axis=1))
    if loss.name == "huber":
        size, delta = np.abs(residual), loss.parameter
        return np.asarray(
            np.where(size <= delta, residual * residual / 2, delta * (size - delta / 2)).sum(axis=1)
        )
    if loss.name == "poisson":
        return np.asarray((outputs - target * log(np.maximum(outputs, 1e-300))).sum(axis=1))
    if loss.name == "gamma":
        positive = np.maximum(outputs, 1e-300)
        return np.asarray((target / positive + log(positive)).sum(axis=1))
    return np.asarray((residual * residual).sum(axis=1))


def _mean(errors: NDArray[Any], weight: Floats | None) -> float:
    if weight is None:
        return float(errors.mean())
    return float((weight * errors).sum() / weight.sum())
