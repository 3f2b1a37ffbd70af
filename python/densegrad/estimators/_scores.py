"""Scores of the validation rows after each epoch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import _validation

Score = Callable[[], float]


def accuracy(
    encoded: NDArray[Any], expected: NDArray[Any], sample_weight: NDArray[np.float64] | None
) -> float:
    """Weighted share of rows that are right in all their labels.

    Parameters
    ----------
    encoded, expected : ndarray of shape (n_rows,) or (n_rows, n_labels)
        Class numbers, or 0/1 a label.
    sample_weight : ndarray of shape (n_rows,) or None
    """
    right = encoded == expected
    if right.ndim == 2:
        right = right.all(axis=1)
    if sample_weight is None:
        return float(np.count_nonzero(right) / len(right))
    return float(np.sum(sample_weight, where=right) / sample_weight.sum())


class R2:
    """Coefficient of determination against fixed targets, the mean over the outputs.

    Equals :func:`sklearn.metrics.r2_score` with its defaults; the part that the predictions do not enter is
    computed once. NaN when a prediction is not finite.
    """

    def __init__(self, y: NDArray[Any], sample_weight: NDArray[np.float64] | None) -> None:
        self._y = y.reshape(y.shape[0], -1).astype(np.float64)
        self._weight = None if sample_weight is None else sample_weight[:, None]
        mean = np.average(self._y, axis=0, weights=sample_weight)
        self._total = self._sum_of_squares(self._y - mean)

    def _sum_of_squares(self, error: NDArray[np.float64]) -> NDArray[np.float64]:
        squares: NDArray[np.float64] = error**2
        sums: NDArray[np.float64] = (squares if self._weight is None else squares * self._weight).sum(axis=0)
        return sums

    def __call__(self, prediction: NDArray[Any]) -> float:
        residual = self._sum_of_squares(self._y - prediction.reshape(self._y.shape))
        if not np.isfinite(residual).all():
            return math.nan
        score = np.where(residual == 0, 1.0, 0.0)  # of a constant target
        varies = self._total != 0
        score[varies] = 1.0 - residual[varies] / self._total[varies]
        return float(score.mean())


def scorer_score(
    estimator: Any, scoring: Any, X: Any, y: Any, sample_weight: NDArray[np.float64] | None
) -> Score:
    """Bind a scikit-learn scorer, by name or callable, to the validation rows."""
    from sklearn.metrics import check_scoring

    scorer = check_scoring(estimator, scoring=scoring)
    arguments: dict[str, Any] = {}
    if sample_weight is not None:
        parameters = inspect.signature(scorer).parameters.values()
        if not any(p.name == "sample_weight" or p.kind is p.VAR_KEYWORD for p in parameters):
            raise ValueError(
                f"scoring={scoring!r} takes no sample_weight, but the validation rows have weights."
            )
        arguments["sample_weight"] = sample_weight

    def score() -> float:
        # X has been checked, and has no names of columns any more: the scorer must not miss them.
        nameless = object.__new__(type(estimator))
        nameless.__dict__.update(estimator.__dict__)
        nameless.__dict__.pop("feature_names_in_", None)
        return _validation.score(scorer(nameless, X, y, **arguments), estimator.n_iter_ - 1)

    return score
