"""Folds: which rows a member of the ensemble is judged on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def drawn_folds(
    key: NDArray[np.float64],
    n_folds: int,
    random: np.random.RandomState,
) -> NDArray[np.int64]:
    """Return the fold of each row, from 0, such that every fold has about the same distribution of `key`.

    Parameters
    ----------
    key : ndarray of shape (n_rows,)
        Class numbers or values of the target.
    n_folds : int
    random : RandomState
    """
    n_rows = len(key)
    shuffled = random.permutation(n_rows)
    ordered = shuffled[np.argsort(key[shuffled], kind="stable")]
    n_blocks = -(-n_rows // n_folds)
    # Each block of neighbours by target has one row of every fold.
    numbers = random.random_sample((n_blocks, n_folds)).argsort(axis=1, kind="stable").reshape(-1)
    folds = np.empty(n_rows, np.int64)
    folds[ordered] = numbers[:n_rows]
    return folds


def grouped_folds(
    groups: NDArray[np.int64], n_folds: int, random: np.random.RandomState
) -> NDArray[np.int64]:
    """Return the fold of each row such that no group is split; folds have about as many rows each.

    Parameters
    ----------
    groups : ndarray of shape (n_rows,)
        The number of each row's group, from 0.
    """
    counts = np.bincount(groups)
    shuffled = random.permutation(len(counts))
    fold_of = np.zeros(len(counts), np.int64)
    sizes = np.zeros(n_folds, np.int64)
    for group in shuffled[np.argsort(-counts[shuffled], kind="stable")]:
        fold_of[group] = fold = int(sizes.argmin())
        sizes[fold] += counts[group]
    return fold_of[groups]
