"""TabularClassifier."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_y, column_or_1d

from densegrad import _validation
from densegrad.estimators.targets import Labels
from densegrad.spec import NetworkSpec
from densegrad.tabular.base import CONSTRAINTS, BaseTabular
from densegrad.tabular.calibration import best_temperature
from densegrad.tabular.ensemble import Ensemble, Part, slim_and_cooled
from densegrad.tabular.frame import is_missing
from densegrad.tabular.portable import exp, log, log_softmax
from densegrad.tabular.tasks import Classes, LabelSets, Task

Floats = NDArray[np.float64]

#: Probabilities that the temperature is chosen by; of more, only some rows are taken.
_CALIBRATED = 4_000_000
_ROWS = 1024


def _logarithms(probabilities: NDArray[Any]) -> Floats:
    return log(np.maximum(probabilities.astype(np.float64), 1e-30))


class TabularClassifier(ClassifierMixin, BaseTabular):
    """Classifier of tables that takes a data frame as it is and needs no tuning.

    An ensemble of five networks by the recipe of RealMLP, each trained on four fifths of the rows and judged
    by the others. A race on two folds chooses the depth, how numbers are encoded, and whether means of the
    target by category and by pairs of columns help. One temperature makes the probabilities honest. Results
    are the same bits for any number of threads.

    Parameters
    ----------
    n_members : int, default=5
        Networks in the ensemble. Fewer are faster, and predict a little worse.
    hidden_layer_sizes : int, sequence of int or 'auto', default='auto'
        'auto' is two layers of 256, or three if the race shows that these pay.
    max_epochs : int or 'auto', default='auto'
        Epochs of each member; 'auto' is 64, and fewer above 40,000 rows.
    encodings : sequence of {'plain', 'bins', 'values'}, or one of them, default=('plain', 'bins', 'values')
        The encodings that race; see `TabularEncoder`. 'values' joins in from 5,000 rows on.
    categorical_features : list of str, list of int, boolean mask or None, default=None
        Columns of numbers that are categories. Text, booleans and the frames' own categories always are.
    class_weight : dict, 'balanced', list of dict or None, default=None
        Weights of the classes in the loss, and in the error that epochs are judged by. The temperature is
        chosen without them.
    calibrate : bool, default=True
        Choose a temperature by the rows that each member has not seen.
    time_limit : float or None, default=None
        Seconds for the fit: two layers, then fewer epochs, then no race, then fewer members.
    random_state : int, RandomState or None, default=None
    n_threads : int or None, default=None
        So many members are trained side by side. None: as many as the process may use.
    progress : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if the columns have names.
    kinds_ : list of str
        The kind that each column was taken for: 'number', 'category', 'date' or 'empty'.
    members_ : list of Network
    hidden_layer_sizes_ : tuple of int
        The widths of the hidden layers.
    encoding_ : str
        The encoding that won.
    race_ : dict
        The validation error of each encoding that raced; on the first fold only if it was far behind there.
    history_ : list of list of float
        The validation error of each member after each epoch: the share of wrong labels, or the log loss if
        the fit does without label smoothing.
    member_epochs_ : list of int
        The epoch of each member that was best, from 1.
    temperature_ : float
    oof_prediction_ : ndarray of shape (n_samples, n_classes)
        Probabilities for each training row by the member that has not seen it. NaN for rows that all have
        seen. For rows of X_val if they are given.
    oof_score_ : float
        The accuracy of these.
    fit_seconds_ : float

    Examples
    --------
    >>> from densegrad import TabularClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = TabularClassifier(random_state=0, max_epochs=8).fit(X, y)
    >>> clf.predict_proba(X).shape
    (150, 3)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "calibrate": ["boolean"],
    }

    classes_: NDArray[Any]
    temperature_: float

    def __init__(
        self,
        n_members: int = 5,
        *,
        hidden_layer_sizes: Any = "auto",
        max_epochs: int | str = "auto",
        encodings: Any = ("plain", "bins", "values"),
        categorical_features: Any = None,
        class_weight: Any = None,
        calibrate: bool = True,
        time_limit: float | None = None,
        random_state: Any = None,
        n_threads: int | None = None,
        progress: bool = False,
    ) -> None:
        self.n_members = n_members
        self.hidden_layer_sizes = hidden_layer_sizes
        self.max_epochs = max_epochs
        self.encodings = encodings
        self.categorical_features = categorical_features
        self.class_weight = class_weight
        self.calibrate = calibrate
        self.time_limit = time_limit
        self.random_state = random_state
        self.n_threads = n_threads
        self.progress = progress

    def predict_proba(self, X: Any) -> Floats:
        """Return probabilities.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`. For several labels, the probability of each.
        """
        parts = [self._probabilities(outputs) for outputs in self._member_outputs(X)]
        return np.concatenate(parts)

    def predict_log_proba(self, X: Any) -> Floats:
        """Return the logarithm of `predict_proba`.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
        """
        return log(self.predict_proba(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable classes.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            For several labels an indicator matrix, (n_samples, n_labels).
        """
        return self._chosen(self.predict_proba(X))

    def _chosen(self, probabilities: Floats) -> NDArray[Any]:
        if self._labels.multilabel:
            return (probabilities > 0.5).astype(np.int64)
        chosen: NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return chosen

    def _probabilities(self, outputs: list[Floats]) -> Floats:
        """Return the mean over the members, a little away from 0 and 1."""
        mean = sum((of_member.astype(np.float64) for of_member in outputs[1:]), outputs[0].astype(np.float64))
        mean /= len(outputs)
        if self._labels.multilabel:
            return np.asarray((1 - self._doubt) * mean + self._doubt / 2)
        n_classes = len(self.classes_)
        mean = mean[:, :n_classes]
        mean /= mean.sum(axis=1, keepdims=True)
        return np.asarray((1 - self._doubt) * mean + self._doubt / n_classes)

    # The base's parts, for classification.

    def _read_targets(self, y: Any) -> NDArray[Any]:
        target = _checked(y)
        self._labels = Labels.of(target)
        self.classes_ = self._labels.classes
        return target

    def _read_targets_again(self, y: Any) -> NDArray[Any]:
        target = _checked(y)
        self._labels.check(target)
        return target

    def _task(self, y: NDArray[Any], known: bool) -> Task:
        numbers = np.asarray(self._labels.expected(y)).astype(np.int64)
        return LabelSets(numbers) if self._labels.multilabel else Classes(numbers, len(self.classes_))

    def _loss_weight(self, y: NDArray[Any], weight: Floats | None, training_y: NDArray[Any]) -> Floats | None:
        if self.class_weight is None:
            return weight
        of_class = self._labels.weights(y, self.class_weight, training_y)
        if not np.isfinite(of_class).all() or (of_class < 0).any():
            raise ValueError(f"class_weight must be finite and not negative; got {self.class_weight}")
        product = of_class if weight is None else of_class * weight
        if not product.any():
            raise ValueError(f"class_weight={self.class_weight} leaves every row with weight zero")
        return product

    def _finish(self, ensemble: Ensemble, part: Part, judged: NDArray[np.bool_], outputs: list[Any]) -> Any:
        self.temperature_ = 1.0
        self._doubt = 1 / (part.task.n_rows + 1)
        task = part.task
        if isinstance(task, Classes) and self.calibrate and len(self.classes_) > 1:
            rows = np.flatnonzero(judged)
            rows = rows[:: max(1, len(rows) * task.n_classes // _CALIBRATED)]
            logarithms = np.stack([_logarithms(of_member[rows]) for of_member in outputs])
            weight = None if part.weight is None else part.weight[rows]
            self.temperature_, _ = best_temperature(logarithms, task.numbers_of_rows[rows], weight)
        self._ensemble = slim_and_cooled(ensemble, self.temperature_)
        prediction = np.zeros((task.n_rows, len(self.classes_)))
        rows = np.flatnonzero(judged)
        for start in range(0, len(rows), _ROWS):
            some = rows[start : start + _ROWS]
            block = [of_member[some] for of_member in outputs]
            if self.temperature_ != 1:
                block = [exp(log_softmax(_logarithms(of_member) / self.temperature_)) for of_member in block]
            prediction[some] = self._probabilities(block)
        return prediction

    def _score_of(self, part: Part, judged: NDArray[np.bool_], prediction: Any) -> float:
        task = part.task
        if isinstance(task, Classes):
            right = prediction.argmax(axis=1) == task.numbers_of_rows
        else:
            assert isinstance(task, LabelSets)
            right = ((prediction > 0.5) == task.indicators).all(axis=1)
        return float(np.average(right[judged], weights=None if part.weight is None else part.weight[judged]))

    def _own_state(self) -> dict[str, Any]:
        return {"labels": self._labels.to_state(), "temperature": self.temperature_, "doubt": self._doubt}

    def _restore_own(self, state: dict[str, Any], spec: NetworkSpec) -> None:
        labels = Labels.from_state(state["labels"])
        n_outputs = len(labels.classes) if labels.multilabel else max(2, len(labels.classes))
        if spec.head.units != n_outputs:
            raise ValueError(f"labels must be {spec.head.units}, as the outputs; got {n_outputs}")
        self.temperature_ = _validation.number("temperature", state["temperature"])
        self._doubt = _validation.number("doubt", state["doubt"])
        self._labels, self.classes_ = labels, labels.classes

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _checked(y: Any) -> NDArray[Any]:
    """Return labels, (n_samples,), or an indicator matrix."""
    if not hasattr(y, "tocsr"):
        y = _labels(np.asarray(y))
    y = _check_y(y, multi_output=True, y_numeric=False)
    y = y.toarray() if hasattr(y, "toarray") else y
    check_classification_targets(y)
    kind = type_of_target(y)
    if kind == "multiclass-multioutput":
        raise ValueError(
            "Multi-output classes are not supported: y must be labels, or an indicator matrix of 0 and 1"
        )
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    return np.asarray(y)


def _labels(y: NDArray[Any]) -> NDArray[Any]:
    """Return objects that are all booleans, or all whole numbers, as such, and text as it is."""
    kinds = set(map(type, y.ravel())) if y.dtype.kind == "O" else set()
    if n_missing := sum(map(is_missing, y.ravel())) if kinds else 0:
        raise ValueError(
            f"y must not have missing labels; got NaN or None {n_missing} times. Leave these rows out"
        )
    if kinds and kinds <= {bool, np.bool_}:
        return y.astype(bool)
    if kinds and bool not in kinds and all(issubclass(kind, int | np.integer) for kind in kinds):
        try:
            return y.astype(np.int64)
        except OverflowError:
            raise ValueError(
                "y must hold whole numbers below 2**63. Make text of larger ones: y.astype(str)"
            ) from None
    if y.dtype.kind in "mM" or (kinds and not all(issubclass(kind, str) for kind in kinds)):
        held = " and ".join(sorted(kind.__name__ for kind in kinds)) or str(y.dtype)
        raise ValueError(
            f"Unknown label type: {held}. y must hold labels of one kind: text, whole numbers or booleans."
            " Make text of them: y.astype(str)"
        )
    return y
