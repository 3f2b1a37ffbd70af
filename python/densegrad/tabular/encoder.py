"""TabularEncoder: from a table of any columns to the inputs of a network."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import assert_all_finite, check_consistent_length, check_is_fitted

from densegrad import _versions
from densegrad.estimators.decorators import validated
from densegrad.tabular.columns import Columns, Parsed
from densegrad.tabular.constraints import RANDOM_STATE, Numbers
from densegrad.tabular.folds import drawn_folds
from densegrad.tabular.frame import table_of
from densegrad.tabular.inputs import ENCODINGS, Inputs, write_last
from densegrad.tabular.level_encoding import TargetMeans
from densegrad.tabular.saving import columns_of, columns_state, inputs_of, inputs_state
from densegrad.tabular.standard_target import standard_target


class TabularEncoder(TransformerMixin, BaseEstimator):
    """Turns a data frame into inputs of a network: no NaN, no text, all columns on one scale.

    A frame of pandas, polars or Arrow, or an array, is taken as it is. Columns are matched by name.

    - Numbers, also of nullable types, become a robust scale with a smooth clip, and a standardised copy.
    - Text, booleans and categories become indicators of their most frequent levels. A missing value is a
      level of its own. A level that the training did not have becomes zeros.
    - Dates become days since 1970, year, month from 1, and weekday from Monday = 0; also the hour if some
      have one. Each is then a number.
    - A missing number becomes the median, with an indicator beside it.
    - Columns that are constant or wholly missing give no inputs.

    If `fit` gets y, categories of more levels than get an indicator have means of the target by level, too.
    `fit_transform` gives each row means over the rows of other folds, so its own target is not among its
    inputs.

    Parameters
    ----------
    encoding : {'plain', 'bins', 'values'}, default='plain'
        Inputs of numbers beside their two scales. 'bins': piecewise linear functions between quantiles, for
        targets that change at thresholds. 'values': indicators of values that occur often, for numbers that
        are codes in disguise.
    categorical_features : list of str, list of int, boolean mask or None, default=None
        Columns of numbers that are categories. Text, booleans and the frames' own categories always are.
    max_levels : int, default=64
        So many of the most frequent levels of a category get an indicator.
    n_bins : int, default=16
        Functions for each number with encoding='bins'; fewer if there were more than 1,024 inputs in all.
    target_means : bool, default=True
        Make means of the target for categories of more than `max_levels` levels.
    smoothing : float or 'auto', default=10.0
        The mean of a level is shrunk as if it had so many rows more, with the mean of all. 'auto' takes what
        foretells the rows of other folds best, for each category.
    n_folds : int, default=5
        Folds of the means in `fit_transform`.
    random_state : int, RandomState or None, default=None
        Source of these folds.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if the columns have names.
    kinds_ : list of str
        The kind that each column was taken for: 'number', 'category', 'date', or 'empty' if it has no value.

    Examples
    --------
    >>> import numpy as np
    >>> from densegrad import TabularEncoder
    >>> X = np.array([[1.5, "red"], [None, "blue"], [2.5, "red"]], dtype=object)
    >>> encoder = TabularEncoder().fit(X)
    >>> encoder.kinds_
    ['number', 'category']
    >>> print(*encoder.get_feature_names_out())
    x0 x0_standard x0_missing x1=red
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "encoding": [StrOptions(set(ENCODINGS))],
        "categorical_features": ["array-like", None],
        "max_levels": [Numbers(Integral, 1, None, closed="left")],
        "n_bins": [Numbers(Integral, 1, None, closed="left")],
        "target_means": ["boolean"],
        "smoothing": [Numbers(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "n_folds": [Numbers(Integral, 2, None, closed="left")],
        "random_state": RANDOM_STATE,
    }

    n_features_in_: int
    feature_names_in_: NDArray[Any]
    kinds_: list[str]

    def __init__(
        self,
        encoding: str = "plain",
        *,
        categorical_features: Any = None,
        max_levels: int = 64,
        n_bins: int = 16,
        target_means: bool = True,
        smoothing: float | str = 10.0,
        n_folds: int = 5,
        random_state: Any = None,
    ) -> None:
        self.encoding = encoding
        self.categorical_features = categorical_features
        self.max_levels = max_levels
        self.n_bins = n_bins
        self.target_means = target_means
        self.smoothing = smoothing
        self.n_folds = n_folds
        self.random_state = random_state

    @validated
    def fit(self, X: Any, y: Any = None) -> TabularEncoder:
        """Learn the columns.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Only for the means of the target: class labels or numbers.

        Returns
        -------
        self : TabularEncoder

        Raises
        ------
        ValueError, TypeError
            If a column cannot be read; the message names it.
        """
        self._fit(X, y)
        return self

    @validated
    def fit_transform(self, X: Any, y: Any = None) -> NDArray[np.float32]:
        """Learn the columns and return the inputs of the same rows, with cross-fitted means of the target.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None

        Returns
        -------
        inputs : ndarray of shape (n_samples, n_inputs), float32
            Or a frame, after `set_output`.
        """
        parsed, means = self._fit(X, y)
        return self._joined(parsed, means)

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the inputs of new rows.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            With the columns of `fit`, in any order if they have names.

        Returns
        -------
        inputs : ndarray of shape (n_samples, n_inputs), float32
            Or a frame, after `set_output`.

        Raises
        ------
        ValueError, TypeError
            If a column is lost, new, or not of the kind that it was; the message names it.
        """
        check_is_fitted(self)
        parsed = self._columns.read(X, type(self).__name__)
        return self._joined(parsed, [means.of(parsed.codes[:, j]) for j, means in self._means.items()])

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the inputs.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns; None takes those of `fit`.

        Returns
        -------
        names : ndarray of str of shape (n_inputs,)
        """
        check_is_fitted(self)
        names = self._columns.input_names()
        if input_features is not None:
            given = list(input_features)
            if self._columns.names is not None and given != names:
                raise ValueError("input_features is not equal to feature_names_in_")
            if len(given) != self.n_features_in_:
                raise ValueError(
                    "input_features should have length equal to number of features"
                    f" ({self.n_features_in_}), got {len(given)}"
                )
            names = given
        numbers, categories = self._columns.names_of(names)
        outputs = self._inputs.names(numbers, categories, self._columns.categories)
        for j, means in self._means.items():
            n_targets = means.means.shape[1]
            outputs += [f"{categories[j]}_mean{k if n_targets > 1 else ''}" for k in range(n_targets)]
        return np.array(outputs, dtype=object)

    def __getstate__(self) -> dict[str, Any]:
        members = {**super().__getstate__()}
        fitted = None
        if "_columns" in members:
            fitted = {
                "columns": columns_state(members.pop("_columns")),
                "inputs": inputs_state(members.pop("_inputs")),
                "means": {j: means.means for j, means in members.pop("_means").items()},
            }
        return _versions.stamped({"members": members, "fitted": fitted})

    def __setstate__(self, state: Any) -> None:
        state = _versions.read(type(self).__name__, state)
        self.__dict__.update(state["members"])
        if fitted := state["fitted"]:
            self._columns = columns_of(fitted["columns"])
            self._inputs = inputs_of(fitted["inputs"], self._columns)
            self._means = {j: TargetMeans(means) for j, means in fitted["means"].items()}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.target_tags.required = False
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _fit(self, X: Any, y: Any) -> tuple[Parsed, list[NDArray[np.float64]]]:
        columns, parsed = Columns.learned(table_of(X), self.categorical_features)
        inputs = Inputs.learned(parsed, columns.categories, self.encoding, self.max_levels, self.n_bins)
        means: dict[int, TargetMeans] = {}
        rows: list[NDArray[np.float64]] = []
        many = [j for j, category in enumerate(columns.categories) if len(category.levels) > self.max_levels]
        if y is not None:
            check_consistent_length(X, y)
        if y is not None and many and self.target_means and len(parsed.codes) > 1:
            target = _checked_target(y)
            random = check_random_state(self.random_state)
            folds = drawn_folds(target[:, 0], min(self.n_folds, len(target)), random)
            smoothing = None if isinstance(self.smoothing, str) else self.smoothing
            for j in many:
                n_levels = len(columns.categories[j].levels)
                means[j], of_rows = TargetMeans.learned(
                    parsed.codes[:, j], target, folds, n_levels, smoothing
                )
                rows.append(of_rows)
        self.n_features_in_ = columns.n_features
        if columns.names is None:
            self.__dict__.pop("feature_names_in_", None)
        else:
            self.feature_names_in_ = np.array(columns.names, dtype=object)
        self.kinds_ = list(columns.kinds)
        self._columns, self._inputs, self._means = columns, inputs, means
        return parsed, rows

    def _joined(self, parsed: Parsed, means: list[NDArray[np.float64]]) -> NDArray[np.float32]:
        X = self._inputs.of(parsed, sum(part.shape[1] for part in means))
        write_last(X, means)
        return X


def _checked_target(y: Any) -> NDArray[np.float64]:
    """Return y as numbers of mean 0 and deviation 1, (n_samples, n_targets)."""
    kind = type_of_target(y, input_name="y")
    if kind in ("binary", "multiclass"):
        classes, numbers = np.unique(column_or_1d(y), return_inverse=True)
        if len(classes) <= 2:
            return standard_target(numbers[:, np.newaxis])
        return standard_target(numbers[:, np.newaxis] == np.arange(len(classes)))
    if kind == "unknown":
        raise ValueError(
            f"Unknown label type: {kind}. y must hold class labels or numbers; to leave it out of the"
            " encoding, pass target_means=False"
        )
    values = np.asarray(y, np.float64)
    assert_all_finite(values, input_name="y")
    return standard_target(values.reshape(len(values), -1))
