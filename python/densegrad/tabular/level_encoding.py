"""Levels of categories as inputs of a network: indicators of the frequent ones, and means of the target."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad.tabular.columns import Category

#: The smoothings that are tried if it is to be chosen.
_SMOOTHINGS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
#: The size of an indicator, so that one category weighs about as much as one number.
SIZE = 1.66


@dataclass(frozen=True)
class LevelEncoding:
    """The indicators of one category: the first `n_indicators` levels have one each."""

    n_indicators: int
    #: One input, of either sign, in place of two indicators.
    signed: bool

    @classmethod
    def learned(cls, category: Category, max_levels: int) -> LevelEncoding:
        """Return the encoding of a category; levels of one row get no indicator."""
        n_levels = len(category.levels)
        if n_levels == 2:
            return cls(1, True)
        if n_levels < 2:
            return cls(0, False)
        return cls(min(max_levels, int(np.count_nonzero(category.counts > 1))), False)

    def names(self, name: str, category: Category) -> list[str]:
        """Return the names of the inputs."""
        return [
            f"{name}_missing" if level is None else f"{name}={level}"
            for level in category.levels[: self.n_indicators]
        ]

    def write(self, codes: NDArray[np.int32], out: NDArray[np.float32]) -> None:
        """Write the indicators of some rows to `out`, (n_rows, n_indicators)."""
        if self.signed:
            out[:, 0] = np.where(codes == 0, SIZE, np.where(codes == 1, -SIZE, 0.0))
            return
        out[:] = 0
        rows = np.flatnonzero((codes >= 0) & (codes < self.n_indicators))
        out[rows, codes[rows]] = SIZE


@dataclass(frozen=True)
class TargetMeans:
    """Means of the target by level, shrunk towards the mean of all, of one category."""

    #: (n_levels, n_targets)
    means: NDArray[np.float64]

    @classmethod
    def learned(
        cls,
        codes: NDArray[np.int32],
        target: NDArray[np.float64],
        folds: NDArray[np.int64],
        n_levels: int,
        smoothing: float | None,
        weight: NDArray[np.float64] | None = None,
    ) -> tuple[TargetMeans, NDArray[np.float64]]:
        """Return the means, and the input of each row: means over the rows of the other folds.

        Parameters
        ----------
        codes : ndarray of shape (n_rows,)
        target : ndarray of shape (n_rows, n_targets)
            Of mean zero.
        folds : ndarray of shape (n_rows,)
            The fold of each row, from 0. At least two.
        n_levels : int
        smoothing : float or None
            As many rows of the mean of all are added to each level. None takes what foretells other folds
            best.
        weight : ndarray of shape (n_rows,) or None
            Weights of the rows, of mean 1; None stands for ones.
        """
        sums, counts = _sums(codes, target, folds, n_levels, weight)
        others = _of_others(sums, counts)
        if smoothing is None:
            misfits = _misfits(sums, counts, *others)
            smoothing = min(_SMOOTHINGS, key=lambda tried: misfits[tried])
        known = codes >= 0
        rows = np.zeros((len(codes), target.shape[1]))
        rows[known] = _shrunk(*others, smoothing)[folds[known], codes[known]]
        return cls(_shrunk(sums.sum(axis=1), counts.sum(axis=1), smoothing)), rows

    def of(self, codes: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the inputs of some rows, (n_rows, n_targets): zeros for unknown levels."""
        return self._and_unknown[codes]

    @cached_property
    def _and_unknown(self) -> NDArray[np.float64]:
        """The means, and zeros in the last place, which code -1 means."""
        return np.vstack([self.means, np.zeros((1, self.means.shape[1]))])


def foretold(
    codes: NDArray[np.int32],
    target: NDArray[np.float64],
    folds: NDArray[np.int64],
    n_levels: int,
    weight: NDArray[np.float64] | None = None,
) -> float:
    """Return by how much means over other folds, at the best smoothing, lower the target's sum of squares."""
    sums, counts = _sums(codes, target, folds, n_levels, weight)
    return -min(_misfits(sums, counts, *_of_others(sums, counts)).values())


def _sums(
    codes: NDArray[np.int32],
    target: NDArray[np.float64],
    folds: NDArray[np.int64],
    n_levels: int,
    weight: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return sums, (n_levels, n_folds, n_targets), and counts, (n_levels, n_folds), of the known rows."""
    n_folds = int(folds.max()) + 1
    known = codes >= 0
    cell = codes[known].astype(np.int64) * n_folds + folds[known]
    size = n_levels * n_folds
    of_row = None if weight is None else weight[known]
    weighted = target[known] if of_row is None else target[known] * of_row[:, np.newaxis]
    counts: NDArray[Any] = np.bincount(cell, of_row, size).reshape(n_levels, n_folds)
    sums: NDArray[np.float64] = np.stack(
        [np.bincount(cell, of_target, size).reshape(n_levels, n_folds) for of_target in weighted.T], axis=2
    )
    return sums, counts


def _of_others(sums: NDArray[np.float64], counts: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return sums, (n_folds, n_levels, n_targets), and counts, (n_folds, n_levels), over all folds but one.

    They are sums, not differences from the whole: rounding leaves no trace of a row's target.
    """
    folds = np.arange(counts.shape[1])
    return (
        np.stack([sums[:, folds != fold].sum(axis=1) for fold in folds]),
        np.stack([counts[:, folds != fold].sum(axis=1) for fold in folds]),
    )


def _misfits(
    sums: NDArray[np.float64],
    counts: NDArray[Any],
    sums_of_others: NDArray[np.float64],
    counts_of_others: NDArray[Any],
) -> dict[float, float]:
    """Return for each smoothing the squared error of the means of the other folds, less a constant.

    It is summed over all rows.

    Parameters
    ----------
    sums : ndarray of shape (n_levels, n_folds, n_targets)
    counts : ndarray of shape (n_levels, n_folds)
    sums_of_others : ndarray of shape (n_folds, n_levels, n_targets)
    counts_of_others : ndarray of shape (n_folds, n_levels)
    """
    twice, own = 2 * sums.swapaxes(0, 1), counts.T[:, :, np.newaxis]
    misfits = {}
    for smoothing in _SMOOTHINGS:
        means = _shrunk(sums_of_others, counts_of_others, smoothing)
        errors = means * (own * means - twice)
        misfits[smoothing] = 0.0
        for of_fold in errors:  # the built-in sum rounds otherwise from Python 3.12 on
            misfits[smoothing] += float(of_fold.sum())
    return misfits


def _shrunk(sums: NDArray[np.float64], counts: NDArray[Any], smoothing: float) -> NDArray[np.float64]:
    """Return sums over counts; `smoothing` is added to the counts, and no rows make 0."""
    below = (counts + smoothing)[..., np.newaxis]
    means: NDArray[np.float64] = np.divide(sums, below, out=np.zeros_like(sums), where=below > 0)
    return means
