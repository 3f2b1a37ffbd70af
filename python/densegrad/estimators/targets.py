"""Targets: from y to the network's target, and from its outputs back."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import type_of_target, unique_labels

from densegrad import _validation
from densegrad._losses import Loss
from densegrad._tables import LOSSES
from densegrad.layers import Dense
from densegrad.samples import check_lowest

CLASSIFICATION_LOSSES = [name for name, row in LOSSES.items() if row["target"] != "values"]
#: Losses of regression, and those among them whose predictions are positive.
REGRESSION_LOSSES = [name for name, row in LOSSES.items() if row["target"] == "values" and name != "custom"]
POSITIVE_LOSSES = [name for name in REGRESSION_LOSSES if "identity" not in LOSSES[name]["heads"]]


class Targets(Protocol):
    """The targets in y."""

    #: Whether y holds numbers, and not labels.
    is_numeric: ClassVar[bool]

    @classmethod
    def learnt(cls, y: NDArray[Any], known: Self | None, classes: Any, incremental: bool) -> Self:
        """Return the targets in y; `known` ones if the training goes on and y fits.

        Training by mini-batches is `incremental`: `classes` are then all that will come.
        """

    def row_weights(
        self,
        y: NDArray[Any],
        sample_weight: NDArray[np.float64] | None,
        class_weight: Any,
        counted: NDArray[Any] | None,
    ) -> NDArray[np.float64] | None:
        """Return the weights of the rows multiplied by those of their classes.

        'balanced' counts the rows of `counted`; None if not all of them are known.
        """

    def head(self, loss: Loss) -> Dense:
        """Return the layer whose outputs stand for these targets."""

    def check_validation(self, y: NDArray[Any]) -> None:
        """Raise ValueError if validation data is not of these targets."""

    def target(self, y: NDArray[Any], loss: Loss) -> NDArray[Any]:
        """Return the network's target for y."""

    def to_state(self) -> dict[str, Any]:
        """Return plain data; `from_state` makes the targets from it again."""


TargetsT = TypeVar("TargetsT", bound=Targets)


@dataclass(frozen=True)
class Labels:
    """The labels of a classifier, in the order of its outputs."""

    is_numeric: ClassVar[bool] = False
    binarizer: LabelBinarizer

    @classmethod
    def of(cls, y: NDArray[Any]) -> Self:
        """Return the labels in y: classes, (n_samples,), or indicators, (n_samples, n_labels)."""
        try:
            return cls(LabelBinarizer().fit(y))
        except ValueError as error:
            if y.ndim == 2:
                error.add_note("MultiOutputClassifier of scikit-learn fits one network for each column of y")
            raise

    @classmethod
    def learnt(cls, y: NDArray[Any], known: Self | None, classes: Any, incremental: bool) -> Self:
        """Return the labels in y, or `known` ones; by mini-batches the announced `classes`."""
        if incremental:
            known = cls.announced(y, classes, known)
        if known is None:
            return cls.of(y)
        known.check(y, all_of_them=not incremental)
        return known

    @classmethod
    def announced(cls, y: Any, classes: Any, known: Self | None) -> Self:
        """Return the labels of a training by mini-batches; `classes` may be None once they are known."""
        if known is not None:
            if classes is not None and not np.array_equal(known.classes, unique_labels(classes)):
                raise ValueError(
                    f"`classes={classes!r}` is not the same as on last call to partial_fit, was:"
                    f" {known.classes!r}"
                )
            return known
        if classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return cls(LabelBinarizer().fit(y if type_of_target(y).startswith("multilabel") else classes))

    def to_state(self) -> dict[str, Any]:
        """Return plain data; `from_state` makes the labels from it again."""
        sparse = bool(self.binarizer.sparse_input_)
        return {"classes": self.classes, "multilabel": self.multilabel, "sparse": sparse}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Labels:
        """Return the labels that gave `to_state`."""
        classes = np.asarray(state["classes"])
        if _validation.boolean("multilabel", state["multilabel"]):
            indicators = np.eye(1, len(classes), dtype=np.int64)  # one row shows how many labels there are
            labels = cls.of(csr_matrix(indicators) if state["sparse"] else indicators)
        else:
            labels = cls.of(classes)
        if not np.array_equal(labels.classes, classes):
            raise ValueError(f"classes must be the labels in order; got {reprlib.repr(classes.tolist())}")
        return labels

    @property
    def classes(self) -> NDArray[Any]:
        """The labels, (n_classes,)."""
        classes: NDArray[Any] = self.binarizer.classes_
        return classes

    @property
    def multilabel(self) -> bool:
        """Whether y is an indicator matrix."""
        return bool(self.binarizer.y_type_.startswith("multilabel"))

    @property
    def multiclass(self) -> bool:
        """Whether y is one of more than two classes."""
        return bool(self.binarizer.y_type_ == "multiclass")

    def head(self, loss: Loss) -> Dense:
        """Return the layer whose outputs stand for these labels."""
        n_outputs = len(self.classes) if self.multiclass or self.multilabel else 1
        if LOSSES[loss.name]["margin"]:
            return Dense(n_outputs, "identity")
        return Dense(n_outputs, "softmax" if self.multiclass else "logistic")

    def check_validation(self, y: NDArray[Any]) -> None:
        """Raise ValueError if validation data has other labels."""
        self.check(y)

    def check(self, y: NDArray[Any], *, all_of_them: bool = False) -> None:
        """Raise ValueError if y is not of these labels; `all_of_them`: or does not have every one."""
        if self.multilabel:
            allowed, fits = f"(n_samples, {len(self.classes)})", y.shape[1:] == self.classes.shape
        else:
            allowed, fits = "(n_samples,)", y.ndim == 1
        if not fits:
            raise ValueError(
                f"y must have shape {allowed}, as in the training before; got {y.shape}. One column holds"
                " labels, several are an indicator matrix"
            )
        if not all_of_them and _are_known(y, self.classes):
            return
        seen = unique_labels(y)
        if all_of_them and set(seen) != set(self.classes):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to"
                f" fit. Previously got {self.classes}, `y` has {seen}"
            )
        if len(np.setdiff1d(seen, self.classes, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes}. 'y' has {seen}."
            )

    def target(self, y: NDArray[Any], loss: Loss) -> NDArray[Any]:
        """Return the network's target for y: class numbers, or 0/1 for each output."""
        if loss.custom is not None or self.multilabel:
            indicators: NDArray[Any] = self.binarizer.transform(y)
            if not np.isin(indicators, (0, 1)).all():
                raise ValueError(
                    "y with several columns must be a label indicator matrix of 0 and 1; got"
                    f" {indicators.min()} ... {indicators.max()}"
                )
            return indicators
        return self._class_numbers(y)

    def _class_numbers(self, y: NDArray[Any]) -> NDArray[np.int64]:
        if len(self.classes) == 1:
            return np.zeros(y.shape[0], np.int64)
        return np.searchsorted(self.classes, y)

    def expected(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return the result of `codes` for outputs that are right."""
        return np.asarray(self.binarizer.transform(y)) if self.multilabel else self._class_numbers(y)

    def codes(self, outputs: NDArray[Any], loss: Loss) -> NDArray[Any]:
        """Return class numbers, (n_samples,), or 0/1 for each label, (n_samples, n_labels)."""
        if self.multiclass:
            numbers: NDArray[Any] = outputs.argmax(axis=1)
            return numbers
        threshold = 0 if LOSSES[loss.name]["margin"] else 0.5
        chosen: NDArray[Any] = (outputs > threshold).astype(np.int64)
        if self.multilabel:
            return chosen
        return np.zeros(len(chosen), np.int64) if len(self.classes) == 1 else chosen[:, 0]

    def labels(self, outputs: NDArray[Any], loss: Loss) -> NDArray[Any]:
        """Return the labels that the outputs stand for."""
        codes = self.codes(outputs, loss)
        labels: NDArray[Any] = (
            self.classes[codes] if codes.ndim == 1 else self.binarizer.inverse_transform(codes)
        )
        return labels

    def row_weights(
        self,
        y: NDArray[Any],
        sample_weight: NDArray[np.float64] | None,
        class_weight: Any,
        counted: NDArray[Any] | None,
    ) -> NDArray[np.float64] | None:
        """Return the weights of the rows multiplied by those of their classes."""
        if class_weight is None:
            return sample_weight
        if counted is None and isinstance(class_weight, str):
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which does not see all rows. Pass"
                " the weights that compute_class_weight('balanced', classes=classes, y=y) gives for all of y,"
                " as a dict."
            )
        of_class = self.weights(y, class_weight, y if counted is None else counted)
        if not np.isfinite(of_class).all() or (of_class < 0).any():
            raise ValueError(f"class_weight must be finite and not negative; got {class_weight}")
        product = of_class if sample_weight is None else of_class * sample_weight
        if not product.any():
            raise ValueError(f"class_weight={class_weight} leaves every row with weight zero")
        return product

    def weights(self, y: NDArray[Any], class_weight: Any, counted: NDArray[Any]) -> NDArray[np.float64]:
        """Return the weight of each row by its class.

        Parameters
        ----------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels)
        class_weight : dict, 'balanced' or list of dict
            As for the classifier. A class that is not named weighs 1.
        counted : ndarray
            Rows that 'balanced' counts.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        if not self.multilabel:
            if isinstance(class_weight, list):
                raise ValueError("class_weight must be a dict or 'balanced' for labels in one column")
            return _weights_of_column(y, self.classes, class_weight, counted)
        y, counted = _dense(y), _dense(counted)
        n_labels = y.shape[1]
        each = [class_weight] * n_labels if isinstance(class_weight, str) else class_weight
        if not isinstance(each, list) or len(each) != n_labels:
            raise ValueError(
                f"class_weight must be 'balanced' or a list of {n_labels} dicts, one for each column of the"
                f" label indicator matrix; got {class_weight!r}"
            )
        weight = np.ones(y.shape[0])
        for k, of_label in enumerate(each):
            weight *= _weights_of_column(y[:, k], np.arange(2), of_label, counted[:, k])
        return weight


def _are_known(y: NDArray[Any], classes: NDArray[Any]) -> bool:
    """Tell whether y, (n_samples,), surely has no label but `classes`, which are sorted.

    scikit-learn's way takes longer than a step with a single row.
    """
    if y.ndim != 1 or y.dtype.kind not in "biuU" or y.dtype.kind != classes.dtype.kind:
        return False
    nearest = classes.take(np.searchsorted(classes, y), mode="clip")
    return bool((nearest == y).all())


def _weights_of_column(
    y: NDArray[Any], classes: NDArray[Any], class_weight: Any, counted: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the weight of each label of y; 'balanced' gives the classes in `counted` the same weight."""
    if isinstance(class_weight, str):
        counts = np.bincount(np.searchsorted(classes, counted), minlength=len(classes))
        share = np.count_nonzero(counts) * counts.astype(np.float64)
        of_class = np.divide(len(counted), share, out=np.zeros(len(classes)), where=counts > 0)
    else:
        names = classes.tolist()
        for key in class_weight:
            if key not in names:
                raise ValueError(f"class_weight names {key!r}, which is no class; the classes are {names}")
        of_class = np.array([class_weight.get(name, 1.0) for name in names], np.float64)
    by_row: NDArray[np.float64] = of_class[np.searchsorted(classes, y)]
    return by_row


def _dense(y: Any) -> NDArray[Any]:
    array: NDArray[Any] = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
    return array


@dataclass(frozen=True)
class Values:
    """The targets of a regressor."""

    is_numeric: ClassVar[bool] = True
    n_targets: int

    @classmethod
    def learnt(cls, y: NDArray[Any], known: Self | None, classes: Any, incremental: bool) -> Self:
        """Return the targets in y; a network with others refuses to go on."""
        return cls.of(y)

    @classmethod
    def of(cls, y: NDArray[Any]) -> Self:
        """Return the targets in y, (n_samples,) or (n_samples, n_targets)."""
        return cls(1 if y.ndim == 1 else y.shape[1])

    def row_weights(
        self,
        y: NDArray[Any],
        sample_weight: NDArray[np.float64] | None,
        class_weight: Any,
        counted: NDArray[Any] | None,
    ) -> NDArray[np.float64] | None:
        """Return the weights of the rows: there are no classes."""
        return sample_weight

    def head(self, loss: Loss) -> Dense:
        """Return the layer whose outputs stand for these targets."""
        units = self.n_targets * loss.outputs_per_target
        return Dense(units, loss.head_activation(units))

    def check_validation(self, y: NDArray[Any]) -> None:
        """Raise ValueError if validation data has another number of columns."""
        if self.of(y) != self:
            raise ValueError(f"y_val must have as many columns as y; got shape {y.shape}")

    def to_state(self) -> dict[str, Any]:
        """Return plain data; `from_state` makes the targets from it again."""
        return {"n_targets": self.n_targets}

    def target(self, y: NDArray[Any], loss: Loss) -> NDArray[Any]:
        """Return the network's target for y, (n_samples, n_targets)."""
        check_lowest("y", y, loss.name)
        return y.reshape(y.shape[0], -1)

    def predictions(self, outputs: NDArray[Any], loss: Loss) -> NDArray[Any]:
        """Return the result of `predict`: means, or quantiles along the last axis if there are several."""
        if loss.name == "gaussian_nll":
            return flat(outputs[:, : self.n_targets])
        n_levels = len(loss.quantile_levels)
        if n_levels and outputs.shape[1] != n_levels:
            return outputs.reshape(len(outputs), -1, n_levels)
        return outputs if n_levels else flat(outputs)

    def deviations(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return the standard deviations that the loss 'gaussian_nll' predicts."""
        return flat(np.exp(0.5 * outputs[:, self.n_targets :]))


def from_state(state: dict[str, Any]) -> Labels | Values:
    """Return the targets that gave this state, of either kind."""
    if "n_targets" in state:
        return Values(_validation.integer("n_targets", state["n_targets"], 1))
    return Labels.from_state(state)


def same_targets(a: Any, b: Any) -> bool:
    """Tell whether two trainings have the same targets."""
    if isinstance(a, Labels) and isinstance(b, Labels):
        return a.multilabel == b.multilabel and np.array_equal(a.classes, b.classes)
    return bool(a == b)


def flat(outputs: NDArray[Any]) -> NDArray[Any]:
    """Return one column as (n_samples,), several as they are."""
    return outputs.ravel() if outputs.shape[1] == 1 else outputs
