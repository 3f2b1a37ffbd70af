"""The rows that the epochs are judged by, and their score."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split

from densegrad import _core, _validation
from densegrad.network import Network
from densegrad.samples import Samples

#: Returns the score of a network on the validation rows; called with the network and the epoch's number.
Score: TypeAlias = Callable[[Network, int], float]


@dataclass(frozen=True)
class Validation:
    """Validation rows."""

    samples: Samples
    #: None stands for minus the loss.
    score: Score | None

    def judge(self, network: Network, epoch: int, n_threads: int | None) -> tuple[float, float]:
        """Return the loss of the rows and their score, NaN if the network's weights are not finite."""
        loss = network.evaluate(self.samples, n_threads=n_threads)
        if self.score is None:
            return loss, -loss
        if not (math.isfinite(loss) and _core.has_finite_weights(network)):
            return loss, math.nan  # its predictions are not fit for a scorer
        return loss, self.score(network, epoch)


def split_rows(
    n_rows: int, fraction: float, stratify: NDArray[Any] | None, random: np.random.RandomState
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row numbers to train on and those to validate on: scikit-learn's draws.

    Parameters
    ----------
    n_rows : int
    fraction : float
        Share of the rows to validate on.
    stratify : ndarray of bool, shape (n_rows,), or None
        Whose share shall be the same in both parts.
    random : numpy.random.RandomState
    """
    # Strings, because scikit-learn's own error names the classes so.
    names = None if stratify is None else np.where(stratify, "True", "False")
    training, validation = train_test_split(
        np.arange(n_rows), random_state=random, test_size=fraction, stratify=names
    )
    if validation.shape[0] < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
        )
    return training, validation


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

    Equals :func:`sklearn.metrics.r2_score` with its defaults. The part without predictions is computed once.
    NaN if a prediction is not finite.
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
        """Return the score of predictions of the shape of y."""
        residual = self._sum_of_squares(self._y - prediction.reshape(self._y.shape))
        if not np.isfinite(residual).all():
            return math.nan
        score = np.where(residual == 0, 1.0, 0.0)  # of a constant target
        varies = self._total != 0
        score[varies] = 1.0 - residual[varies] / self._total[varies]
        return float(score.mean())


def by_scorer(
    estimator: Callable[[], Any],
    scoring: Any,
    X: Any,
    y: Any,
    sample_weight: NDArray[np.float64] | None,
) -> Score:
    """Return the score of validation rows by a scikit-learn scorer, its name or a callable.

    `estimator` returns the estimator to score, which has the network of the epoch.
    """
    scorer = check_scoring(estimator(), scoring=scoring)
    arguments: dict[str, Any] = {}
    if sample_weight is not None:
        parameters = inspect.signature(scorer).parameters.values()
        if not any(p.name == "sample_weight" or p.kind is p.VAR_KEYWORD for p in parameters):
            raise ValueError(
                f"scoring={scoring!r} takes no sample_weight, but the validation rows have weights."
            )
        arguments["sample_weight"] = sample_weight

    def score(_: Any, epoch: int) -> float:
        try:
            return _validation.score(scorer(estimator(), X, y, **arguments), epoch)
        except ValueError as error:
            note = f"raised by scoring={scoring!r}, which is called with the validation rows"
            if "pos_label" in str(error):
                note += ". make_scorer(…, pos_label=…) names the label that counts as positive"
            error.add_note(note)
            raise

    return score
