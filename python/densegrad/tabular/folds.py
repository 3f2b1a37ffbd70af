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


def names_groups(codes: NDArray[np.int32], classes: NDArray[np.int64]) -> bool:
    """Tell whether levels of a category seem to be names of groups of rows, each of one class.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,)
    classes : ndarray of shape (n_rows,)
    """
    n_rows, n_levels, n_classes = len(codes), int(codes.max(initial=-1)) + 1, int(classes.max()) + 1
    if n_levels < _LEVELS_OF_GROUPS or n_levels > n_rows / 2:
        return False
    known = codes >= 0
    counts = np.bincount(
        codes[known].astype(np.int64) * n_classes + classes[known], minlength=n_levels * n_classes
    )
    of_level = counts.reshape(n_levels, n_classes)
    of_level = of_level[of_level.sum(axis=1) > 1]
    n_largest = np.bincount(classes).max()
    return bool(
        of_level.max(axis=1, initial=0).sum() > 0.97 * of_level.sum() > 0 and n_largest < 0.9 * n_rows
    )


_LEVELS_OF_GROUPS = 20
