"""TabularRegressor."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import d2_pinball_score, r2_score
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _check_y, assert_all_finite, check_is_fitted, column_or_1d

from densegrad import _validation
from densegrad._losses import Loss
from densegrad.samples import check_lowest
from densegrad.spec import NetworkSpec
from densegrad.tabular.base import CONSTRAINTS, BaseTabular
from densegrad.tabular.columns import LARGEST
from densegrad.tabular.constraints import Numbers
from densegrad.tabular.ensemble import Ensemble, Part, slim_and_cooled
from densegrad.tabular.portable import exp, log
from densegrad.tabular.saving import check_array
from densegrad.tabular.tasks import Task, Values

Floats = NDArray[np.float64]

_LOSSES = {"squared_error", "absolute_error", "huber", "quantile", "poisson", "gamma", "gaussian_nll"}
#: Residuals are kept as so many quantiles.
_KEPT = 1001


class TabularRegressor(RegressorMixin, BaseTabular):
    """Regressor of tables that takes a data frame as it is and needs no tuning.

    An ensemble of five networks by the recipe of RealMLP, each trained on four fifths of the rows and judged
    by the others. A race on two folds chooses the depth, how numbers are encoded, and whether means of the
    target by category and by pairs of columns help. The target may be on any scale. Results are the same
    bits for any number of threads.

    Parameters
    ----------
    loss : str, default='squared_error'
        'squared_error', 'absolute_error', 'huber', 'quantile', 'poisson', 'gamma' or 'gaussian_nll', as for
        `MLPRegressor`. 'huber' turns into a line at one deviation of the target. 'gaussian_nll' also predicts
        how far each row may be off; see `predict` and `predict_interval`.
    quantile : float or list of float, default=0.5
        Of the loss 'quantile': a level, or several increasing ones, whose predictions never cross.
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
    clamp : bool, default=True
        Keep predictions within the range of the training targets, and deviations below its width.
    time_limit : float or None, default=None
        Seconds for the fit: two layers, then fewer epochs, then no race, then fewer members.
    random_state : int, RandomState or None, default=None
    n_threads : int or None, default=None
        So many members are trained side by side. None: as many as the process may use.
    progress : bool, default=False
        Show a progress bar.

    Attributes
    ----------
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
        The validation error of each member after each epoch.
    member_epochs_ : list of int
        The epoch of each member that was best, from 1.
    oof_prediction_ : ndarray of shape (n_samples,) or as predictions are
        For each training row, by the member that has not seen it. For rows of X_val if they are given.
    oof_score_ : float
        R² of these, or D² of the pinball loss for quantiles.
    fit_seconds_ : float

    Examples
    --------
    >>> from densegrad import TabularRegressor
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> reg = TabularRegressor(random_state=0, max_epochs=8).fit(X, y)
    >>> reg.predict_interval(X, coverage=0.8).shape
    (442, 2)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        "loss": [StrOptions(_LOSSES)],
        "quantile": [Numbers(Real, 0, 1, closed="neither"), "array-like"],
        "clamp": ["boolean"],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        *,
        quantile: float | list[float] = 0.5,
        n_members: int = 5,
        hidden_layer_sizes: Any = "auto",
        max_epochs: int | str = "auto",
        encodings: Any = ("plain", "bins", "values"),
        categorical_features: Any = None,
        clamp: bool = True,
        time_limit: float | None = None,
        random_state: Any = None,
        n_threads: int | None = None,
        progress: bool = False,
    ) -> None:
        self.loss = loss
        self.quantile = quantile
        self.n_members = n_members
        self.hidden_layer_sizes = hidden_layer_sizes
        self.max_epochs = max_epochs
        self.encodings = encodings
        self.categorical_features = categorical_features
        self.clamp = clamp
        self.time_limit = time_limit
        self.random_state = random_state
        self.n_threads = n_threads
        self.progress = progress

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return predictions.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
        return_std : bool, default=False
            Whether to return the standard deviations as well, which needs loss='gaussian_nll'. They hold the
            noise that each member expects, and how far the members are apart.

        Returns
        -------
        y : ndarray of shape (n_samples,), or (n_samples, n_targets) for several targets
            For several quantiles (n_samples, n_levels), or (n_samples, n_targets, n_levels).
        std : ndarray of the shape of y
            Only with return_std.
        """
        check_is_fitted(self)
        if return_std and not self._gaussian:
            raise ValueError(
                f"return_std=True needs a fit with loss='gaussian_nll'; got loss={self._loss.name!r}"
            )
        blocks = [
            (self._mean(outputs), self._deviation(outputs) if return_std else None)
            for outputs in self._member_outputs(X)
        ]
        mean = np.concatenate([mean for mean, _ in blocks])
        return (mean, np.concatenate([std for _, std in blocks if std is not None])) if return_std else mean

    def predict_interval(self, X: Any, coverage: float = 0.9) -> Floats:
        """Return intervals that hold about this share of new values.

        They are as wide as the residuals of the training rows, each predicted by the member that has not seen
        it. The width is the same for all rows. For widths that depend on the row, fit with
        loss='gaussian_nll': then they are so many standard deviations wide as the residuals were. Or fit with
        loss='quantile', whose predictions are the ends of intervals.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
        coverage : float, default=0.9
            In (0, 1).

        Returns
        -------
        intervals : ndarray of shape (n_samples, 2), or (n_samples, n_targets, 2) for several targets
        """
        check_is_fitted(self)
        coverage = _validation.real("coverage", coverage, 0, 1, closed="neither")
        if self._loss.name == "quantile":
            raise ValueError(
                "predict_interval does not go with loss='quantile': the columns of predict are the bounds,"
                f" one for each level of quantile={self.quantile!r}"
            )
        centre: Floats
        unit: Floats | float
        if self._gaussian:
            centre, unit = (part.reshape(-1, self._n_targets) for part in self.predict(X, return_std=True))
        else:
            centre, unit = self.predict(X).reshape(-1, self._n_targets), 1.0
        n = self._n_residuals
        # One more row, as far off as can be, makes up for the residuals being a sample.
        high = min(1.0, (1 + coverage) / 2 * (n + 1) / n)
        ends = np.quantile(self._residuals, [1 - high, high], axis=0)
        intervals = np.stack([centre + ends[0] * unit, centre + ends[1] * unit], axis=2)
        return intervals[:, 0] if self._flat else intervals

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R²; for quantiles D² of the pinball loss, the mean over the levels.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
            At most 1; 0 for the best constant.
        """
        return self._score(np.asarray(y), self.predict(X), sample_weight)

    def _score(self, y: NDArray[Any], prediction: Floats, weight: Any) -> float:
        if self._loss.name != "quantile":
            return float(r2_score(y, prediction, sample_weight=weight)) if len(y) > 1 else np.nan
        levels = self._loss.quantile_levels or (self._loss.parameter,)
        by_level = prediction if self._loss.quantile_levels else prediction[..., np.newaxis]
        scores = [
            d2_pinball_score(y, by_level[..., k], sample_weight=weight, alpha=level)
            for k, level in enumerate(levels)
        ]
        return float(np.mean(scores))

    def _mean(self, outputs: list[Floats]) -> Floats:
        """Return the mean over the members, within the range of the training, as `predict` shows it."""
        mean = _average(self._clamped(outputs))
        if self._gaussian:
            mean = mean[:, : self._n_targets]
        n_levels = len(self._loss.quantile_levels)
        if n_levels and self._n_targets > 1:
            return np.asarray(mean.reshape(len(mean), self._n_targets, n_levels))
        if n_levels or not self._flat:
            return mean
        return mean[:, 0]

    def _deviation(self, outputs: list[Floats]) -> Floats:
        """Return the standard deviations of the mixture of the members' normal distributions."""
        n = self._n_targets
        outputs = self._clamped(outputs)
        mean = _average([of_member[:, :n] for of_member in outputs])
        variance = _average(
            [exp(of_member[:, n:]) + np.square(of_member[:, :n] - mean) for of_member in outputs]
        )
        deviation = np.sqrt(variance)
        return np.asarray(deviation[:, 0] if self._flat else deviation)

    def _clamped(self, outputs: list[Floats]) -> list[Floats]:
        if not self.clamp:
            return outputs
        return [np.clip(of_member, self._low, self._high) for of_member in outputs]

    @property
    def _gaussian(self) -> bool:
        return self._loss.name == "gaussian_nll"

    # The base's parts, for regression.

    def _read_targets(self, y: Any) -> NDArray[Any]:
        level = self.quantile if self.loss == "quantile" else None
        self._loss = Loss.checked(self.loss, quantile=level)
        target = self._checked(y)
        self._flat = target.ndim == 1
        self._n_targets = 1 if target.ndim == 1 else target.shape[1]
        return target

    def _read_targets_again(self, y: Any) -> NDArray[Any]:
        target = self._checked(y)
        if (1 if target.ndim == 1 else target.shape[1]) != self._n_targets:
            raise ValueError(
                f"y_val must have as many columns as y, {self._n_targets}; got shape {target.shape}"
            )
        return target

    def _checked(self, y: Any) -> Floats:
        if (kind := getattr(getattr(y, "dtype", None), "kind", "")) and kind in "mM":
            raise TypeError(
                f"y must hold numbers, not dates or durations; got {y.dtype}. Pass numbers of days"
            )
        try:
            y = _check_y(y, multi_output=True, y_numeric=True)
            y = y.toarray() if hasattr(y, "toarray") else y
            values = np.asarray(y, np.float64)
            assert_all_finite(values, input_name="y")
        except TypeError as error:
            raise TypeError(f"y must hold numbers: {error}. For dates pass numbers of days") from None
        except ValueError as error:
            if "NaN" in str(error):
                raise ValueError(f"{error} Leave the rows out whose target is missing") from None
            if not str(error).startswith("could not convert"):
                raise
            raise ValueError(
                f"y must hold numbers: {error}. For labels fit a TabularClassifier; leave out rows where text"
                " stands for a number"
            ) from None
        if values.ndim == 2 and values.shape[1] == 1:
            values = column_or_1d(values, warn=True)
        check_lowest("y", values, self._loss.name)
        size = np.abs(values).max(initial=0.0)
        if size > LARGEST or 0 < size < 1 / LARGEST:
            raise ValueError(
                f"y must have its largest absolute value between {1 / LARGEST:g} and {LARGEST:g}; got"
                f" {size:g}. Scale it, or take its logarithm"
            )
        return values

    def _task(self, y: NDArray[Any], known: bool) -> Task:
        values = y.reshape(len(y), -1)
        if not known:
            n_levels = self._loss.outputs_per_target
            low, high = values.min(axis=0), values.max(axis=0)
            self._low, self._high = np.repeat(low, n_levels), np.repeat(high, n_levels)
            if self._gaussian:
                # No deviation is larger than the range; a constant target has no range to tell.
                highest = 2 * log(np.where(high > low, high - low, 1.0))
                self._low = np.concatenate([low, np.full_like(low, -np.inf)])
                self._high = np.concatenate([high, np.where(high > low, highest, np.inf)])
        return Values(values, self._loss)

    def _loss_weight(self, y: NDArray[Any], weight: Floats | None, training_y: NDArray[Any]) -> Floats | None:
        return weight

    def _finish(self, ensemble: Ensemble, part: Part, judged: NDArray[np.bool_], outputs: list[Any]) -> Any:
        self._ensemble = slim_and_cooled(ensemble, 1.0)
        prediction = self._mean(outputs)
        task = part.task
        assert isinstance(task, Values)
        self._n_residuals = int(np.count_nonzero(judged))
        if self._loss.name != "quantile":
            residuals = (task.values - prediction.reshape(task.values.shape))[judged]
            if self._gaussian:
                residuals /= self._deviation(outputs).reshape(task.values.shape)[judged]
            levels = np.linspace(0, 1, min(_KEPT, len(residuals)))
            self._residuals = np.quantile(residuals, levels, axis=0)
        return prediction

    def _score_of(self, part: Part, judged: NDArray[np.bool_], prediction: Any) -> float:
        task = part.task
        assert isinstance(task, Values)
        y = task.values[judged, 0] if self._flat else task.values[judged]
        return self._score(y, prediction[judged], None if part.weight is None else part.weight[judged])

    def _own_state(self) -> dict[str, Any]:
        return {
            "flat": self._flat,
            "n_targets": self._n_targets,
            "low": self._low,
            "high": self._high,
            "residuals": vars(self).get("_residuals"),
            "n_residuals": self._n_residuals,
        }

    def _restore_own(self, state: dict[str, Any], spec: NetworkSpec) -> None:
        self._loss = spec.loss
        self._flat = _validation.boolean("flat", state["flat"])
        self._n_targets = _validation.integer("n_targets", state["n_targets"], 1)
        n_outputs = self._n_targets * self._loss.outputs_per_target
        if spec.head.units != n_outputs or (self._flat and self._n_targets > 1):
            raise ValueError(f"n_targets={self._n_targets} does not go with {spec.head.units} outputs")
        for limit in (state["low"], state["high"]):
            check_array("low and high", limit, np.float64, (n_outputs,), finite=False)
        self._low, self._high = state["low"], state["high"]
        self._n_residuals = _validation.integer("n_residuals", state["n_residuals"], 1)
        if self._loss.name != "quantile":
            shape = None, self._n_targets
            self._residuals = check_array("residuals", state["residuals"], np.float64, shape)
            if not len(self._residuals):
                raise ValueError("residuals must be one or more")


def _average(arrays: list[Floats]) -> Floats:
    return np.asarray(sum(arrays[1:], arrays[0]) / len(arrays))
