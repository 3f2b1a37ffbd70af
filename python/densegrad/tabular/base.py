"""The common base of the two tabular estimators: reading tables, fitting, predicting by blocks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from numbers import Integral, Real
from time import monotonic
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from densegrad import Network, _core, _validation
from densegrad._validation import MOST_THREADS
from densegrad.estimators.decorators import validated
from densegrad.estimators.warn import warn
from densegrad.tabular.arguments import (
    group_numbers,
    hidden_layers,
    refuse_name,
    row_weights,
    warn_of_groups,
)
from densegrad.tabular.columns import Columns, Parsed
from densegrad.tabular.constraints import RANDOM_STATE, Numbers
from densegrad.tabular.ensemble import Ensemble, Part, Problem
from densegrad.tabular.fitting import Settings, fitted, folds_of
from densegrad.tabular.frame import table_of
from densegrad.tabular.inputs import ENCODINGS
from densegrad.tabular.memory import available_memory, fit_memory
from densegrad.tabular.persistence import Persistence
from densegrad.tabular.race import Interrupted
from densegrad.tabular.recipe import epochs_for
from densegrad.tabular.tasks import Classes, Task

Floats = NDArray[np.float64]

CONSTRAINTS: dict[str, list[Any]] = {
    "n_members": [Numbers(Integral, 1, None, closed="left")],
    "hidden_layer_sizes": ["array-like", Numbers(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    "max_epochs": [Numbers(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    "encodings": ["array-like", StrOptions(set(ENCODINGS))],
    "categorical_features": ["array-like", None],
    "time_limit": [Numbers(Real, 0, None, closed="neither"), None],
    "random_state": RANDOM_STATE,
    "n_threads": [Numbers(Integral, 1, MOST_THREADS, closed="both"), None],
    "progress": ["boolean"],
}
# Inputs and outputs that are predicted at a time, but at least of so many rows.
_INPUTS, _OUTPUTS, _LEAST = 1 << 21, 1 << 20, 512


class BaseTabular(Persistence):
    """Base of the two estimators."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    n_members: int
    hidden_layer_sizes: Any
    max_epochs: int | str
    encodings: Any
    categorical_features: Any
    time_limit: float | None
    random_state: Any
    n_threads: int | None
    progress: bool

    n_features_in_: int
    feature_names_in_: NDArray[Any]
    kinds_: list[str]
    encoding_: str
    hidden_layer_sizes_: tuple[int, ...]
    race_: dict[str, float]
    history_: list[list[float]]
    member_epochs_: list[int]
    oof_prediction_: NDArray[Any] | None
    oof_score_: float
    fit_seconds_: float

    # The parts that depend on the kind of target.

    @abstractmethod
    def _read_targets(self, y: Any) -> NDArray[Any]:
        """Return y checked, and learn from it as a new fit does."""

    @abstractmethod
    def _task(self, y: NDArray[Any], known: bool) -> Task:
        """Return the task; with `known`, of targets for validation."""

    @abstractmethod
    def _loss_weight(self, y: NDArray[Any], weight: Floats | None, training_y: NDArray[Any]) -> Floats | None:
        """Return the weights of rows in the loss; `training_y` tells how frequent classes are."""

    @abstractmethod
    def _finish(self, ensemble: Ensemble, part: Part, judged: NDArray[np.bool_], outputs: list[Any]) -> Any:
        """Learn from predictions for rows that members were judged by, and return these predictions."""

    @abstractmethod
    def _score_of(self, part: Part, judged: NDArray[np.bool_], prediction: Any) -> float:
        """Return the score of that prediction."""

    # The parts that both share.

    @property
    def members_(self) -> list[Network]:
        """The networks of the ensemble. Their inputs are encoded and scaled."""
        check_is_fitted(self)
        return [member.network for member in self._ensemble.members]

    @validated
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Fit the ensemble.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            As it is: numbers, text, categories, booleans, dates, and missing values in all of them.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, none negative. Rows of weight zero are left out.
        groups : array-like of shape (n_samples,), default=None
            Rows of one group are all in the same fold. Give it if rows belong together, as those of one
            patient do. Otherwise members are judged by rows that they have nearly seen.
        X_val, y_val : like X and y, default=None
            Rows to judge by in place of folds. All members then train on all of X.
        sample_weight_val : array-like of shape (n_val,), default=None

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described. The message names it, and the column; the estimator is left as
            it was.
        """
        start = monotonic()
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
            )
        refuse_name("y", y, "one target")
        before = dict(vars(self))
        try:
            self._fit(X, y, sample_weight, groups, (X_val, y_val, sample_weight_val))
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        self.fit_seconds_ = monotonic() - start
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any, groups: Any, validation: tuple[Any, Any, Any]) -> None:
        table = table_of(X)
        target = self._read_targets(y)
        check_consistent_length(table.columns[0], target)
        weight, kept = row_weights(sample_weight, table.n_rows)
        if np.count_nonzero(kept) < 2:
            raise ValueError(
                f"n_samples={np.count_nonzero(kept)} of positive weight are too few: {type(self).__name__}"
                " needs at least 2, one to train on and one to judge by"
            )
        if not kept.all():
            table, target = table.take(kept), target[kept]
            weight = None if weight is None else weight[kept]
            groups = None if groups is None else np.asarray(groups)[kept]
        columns, parsed = Columns.learned(table, self.categorical_features)
        task = self._task(target, known=False)
        training = Part(parsed, task, weight, self._loss_weight(target, weight, target))
        random = check_random_state(self.random_state)
        numbers = None if groups is None else group_numbers(groups, len(target))
        folds = folds_of(task, self.n_members, numbers, random)
        if groups is None and isinstance(task, Classes):
            warn_of_groups(columns, parsed, task)
        settings = self._settings()
        hidden, deeper = hidden_layers(self.hidden_layer_sizes)
        problem = Problem(
            columns,
            training,
            folds,
            self._validation(columns, target, *validation),
            hidden,
            epochs_for(len(target) * 4 // 5) if isinstance(self.max_epochs, str) else int(self.max_epochs),
            deeper,
        )
        self._warn_of_memory(problem, settings)
        try:
            result = fitted(problem, settings, random)
        except Interrupted:
            raise KeyboardInterrupt from None
        if result.interrupted:
            warn(f"Training interrupted by user: {len(result.ensemble.members)} members were ready.")
        elif result.cut_off:
            warn(
                f"time_limit={self.time_limit} seconds ended the fit before its last epoch: predictions are"
                " the best that there are, and worse than with more time",
                ConvergenceWarning,
            )
        self._publish(columns, problem, result.ensemble, kept)

    def _settings(self) -> Settings:
        encodings = [self.encodings] if isinstance(self.encodings, str) else list(self.encodings)
        unknown = [encoding for encoding in encodings if encoding not in ENCODINGS]
        if unknown or not encodings:
            raise ValueError(f"encodings must be some of {', '.join(ENCODINGS)}; got {self.encodings!r}")
        n_threads = _core.available_threads() if self.n_threads is None else int(self.n_threads)
        return Settings(int(self.n_members), encodings, n_threads, self.time_limit, self.progress)

    def _validation(
        self, columns: Columns, training_y: NDArray[Any], X: Any, y: Any, sample_weight: Any
    ) -> Part | None:
        if X is None and y is None and sample_weight is None:
            return None
        if X is None or y is None:
            raise ValueError("X_val and y_val must be given together")
        try:
            parsed = columns.read(X, type(self).__name__)
            target = self._read_targets_again(y)
            check_consistent_length(parsed.codes, target)
            weight, kept = row_weights(sample_weight, len(parsed.codes))
            target, weight = target[kept], None if weight is None else weight[kept]
            loss_weight = self._loss_weight(target, weight, training_y)
            return Part(parsed.take(kept), self._task(target, known=True), weight, loss_weight)
        except (TypeError, ValueError) as error:
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(f"in the validation data X_val, y_val, sample_weight_val: {error}") from error

    @abstractmethod
    def _read_targets_again(self, y: Any) -> NDArray[Any]:
        """Return y_val checked."""

    def _publish(
        self, columns: Columns, problem: Problem, ensemble: Ensemble, kept: NDArray[np.bool_]
    ) -> None:
        self._describe(columns, ensemble)
        part = problem.training if problem.validation is None else problem.validation
        judged = np.zeros(part.task.n_rows, bool)
        shape = part.task.n_rows, ensemble.members[0].judged_outputs.shape[1]
        # Of folds each row is judged by one member; of validation data by all, or by none in a short fit.
        own = [member.scaling.values(member.judged_outputs) for member in ensemble.members]
        n_arrays = 1 if problem.validation is None else len(own)
        outputs = [np.zeros(shape, own[0].dtype) for _ in range(n_arrays)]
        for k, member in enumerate(ensemble.members):
            judged[member.judged] = True
            outputs[k % n_arrays][member.judged] = own[k]
        prediction = self._finish(ensemble, part, judged, outputs)
        self.oof_score_ = self._score_of(part, judged, prediction)
        counts = kept if problem.validation is None else np.ones(len(judged), bool)
        if counts.all() and judged.all():  # of many classes a copy would be large
            self.oof_prediction_ = np.ascontiguousarray(prediction, np.float64)
            return
        rows = np.flatnonzero(counts)
        self.oof_prediction_ = np.full((len(counts), *prediction.shape[1:]), np.nan)
        self.oof_prediction_[rows[judged]] = prediction[judged]

    def _describe(self, columns: Columns, ensemble: Ensemble) -> None:
        """Set the attributes that follow from columns and ensemble."""
        self._columns = columns
        self.n_features_in_ = columns.n_features
        if columns.names is None:
            self.__dict__.pop("feature_names_in_", None)  # of an earlier fit
        else:
            self.feature_names_in_ = np.array(columns.names, dtype=object)
        self.kinds_ = list(columns.kinds)
        self.encoding_, self.race_ = ensemble.encoding, ensemble.race
        *hidden, _ = ensemble.members[0].network.spec.layers
        self.hidden_layer_sizes_ = tuple(layer.units for layer in hidden)
        self.history_ = [member.curve for member in ensemble.members]
        self.member_epochs_ = [member.best_epoch + 1 for member in ensemble.members]

    def _member_outputs(self, X: Any) -> Iterator[list[NDArray[Any]]]:
        """Yield the outputs of every member, in the units of the target, block by block of rows."""
        check_is_fitted(self)
        parsed = self._columns.read(X, type(self).__name__)
        spec = self._ensemble.members[0].network.spec
        step = max(_LEAST, min(_INPUTS // spec.n_inputs, _OUTPUTS // spec.head.units))
        for start in range(0, len(parsed.codes), step):
            rows = slice(start, start + step)
            block = Parsed(parsed.numbers[rows], parsed.codes[rows])
            of_members = self._ensemble.outputs(block, self.n_threads)
            yield [
                member.scaling.values(outputs)
                for member, outputs in zip(self._ensemble.members, of_members, strict=True)
            ]

    def slim(self) -> Self:
        """Forget `oof_prediction_`, the only thing that has a number for each training row.

        Returns
        -------
        self : estimator
        """
        check_is_fitted(self)
        self.oof_prediction_ = None
        return self

    def estimate_memory(self, X: Any, n_outputs: int = 1) -> int:
        """Return about how many bytes `fit` takes beside X.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
        n_outputs : int, default=1
            Classes, labels or targets.
        """
        n_outputs = _validation.integer("n_outputs", n_outputs, 1)
        columns, parsed = Columns.learned(table_of(X), self.categorical_features)
        settings = self._settings()
        hidden, deeper = hidden_layers(self.hidden_layer_sizes)
        return fit_memory(
            columns,
            parsed,
            settings.encodings,
            deeper or hidden,
            n_outputs,
            settings.n_threads,
        )

    def _warn_of_memory(self, problem: Problem, settings: Settings) -> None:
        needed = fit_memory(
            problem.columns,
            problem.training.parsed,
            settings.encodings,
            problem.deeper or problem.hidden,
            problem.training.task.head[0],
            settings.n_threads,
        )
        available = available_memory()
        if needed > available:
            warn(
                f"the fit takes about {needed / 1e9:.1f} GB of memory, and the process may use"
                f" {available / 1e9:.1f} GB. Fewer rows, n_threads=1 or encodings='plain' take less",
                ResourceWarning,
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.non_deterministic = self.time_limit is not None
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return "_ensemble" in vars(self)
