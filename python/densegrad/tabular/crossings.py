"""Levels of one column or of two together, and the pairs of columns that tell the target most.

A network learns from few rows what single columns mean, and needs many to learn what two mean together. Means
of the target by pairs of levels tell it the latter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from densegrad.tabular.columns import Category, Parsed
from densegrad.tabular.level_encoding import TargetMeans, foretold

Floats = NDArray[np.float64]

#: So many means of the target by pairs, of all targets together.
MOST_PAIRS = 12
#: Bins of a number alone, and in a pair.
BINS_ALONE, BINS_IN_PAIR = 32, 8
#: Pairs are chosen among so many columns, and by so many rows.
_COLUMNS, _ROWS = 24, 20_000
#: Chosen pairs foretell at least this share of the variance.
_LEAST_SHARE = 5e-4


@dataclass(frozen=True)
class Crossing:
    """The levels of a category, of a number in bins, or all pairs of levels of two columns."""

    #: Numbers of the columns: categories come first, then numbers.
    columns: tuple[int, ...]
    #: The number of levels of each column.
    sizes: tuple[int, ...]
    #: The edges of the bins of each column; none for a category.
    edges: tuple[Floats, ...]

    @property
    def n_levels(self) -> int:
        """The number of levels."""
        return math.prod(self.sizes)

    def with_(self, other: Crossing) -> Crossing:
        """Return the pairs of levels of this one and another."""
        return Crossing(self.columns + other.columns, self.sizes + other.sizes, self.edges + other.edges)

    def codes(self, parsed: Parsed) -> NDArray[np.int32]:
        """Return the level's number of each row, -1 for an unknown one; a missing number has its own bin."""
        n_rows, n_categories = parsed.codes.shape
        codes, known = np.zeros(n_rows, np.int64), np.ones(n_rows, bool)
        for column, size, edges in zip(self.columns, self.sizes, self.edges, strict=True):
            if column < n_categories:
                part = parsed.codes[:, column].astype(np.int64)
            else:
                values = parsed.numbers[:, column - n_categories]
                part = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, "right"))
            known &= part >= 0
            codes = codes * size + part
        return np.where(known, codes, -1).astype(np.int32)


def of_categories(categories: Sequence[Category], above: int) -> list[Crossing]:
    """Return the categories of more than `above` levels."""
    return [
        Crossing((j,), (len(category.levels),), (np.empty(0),))
        for j, category in enumerate(categories)
        if len(category.levels) > above
    ]


def of_numbers(parsed: Parsed, n_bins: int) -> list[Crossing]:
    """Return the numbers in bins, but constant ones."""
    found = []
    for j in range(parsed.numbers.shape[1]):
        values = parsed.numbers[:, j]
        edges = _edges(values[~np.isnan(values)], n_bins)
        if len(edges):
            found.append(Crossing((parsed.codes.shape[1] + j,), (len(edges) + 2,), (edges,)))
    return found


def _edges(present: Floats, n_bins: int) -> Floats:
    distinct = np.unique(present)
    if len(distinct) <= n_bins:
        between: Floats = (distinct[1:] + distinct[:-1]) / 2
        return between
    return np.unique(np.quantile(present, np.arange(1, n_bins) / n_bins))


def best_pairs(
    singles: Sequence[Crossing],
    parsed: Parsed,
    target: Floats,
    folds: NDArray[np.int64],
    weight: Floats | None,
    most: int,
) -> list[Crossing]:
    """Return the pairs that foretell best what is left of the target after all single columns, best first.

    Parameters
    ----------
    singles : sequence of Crossing
    parsed : Parsed
        Training rows.
    target : ndarray of shape (n_rows, n_targets)
        Of mean 0 and deviation 1.
    folds : ndarray of shape (n_rows,)
        A mean foretells rows of other folds than it is made of.
    weight : ndarray of shape (n_rows,) or None
    most : int
        So many pairs at most.
    """
    rest = target
    if len(target) > _ROWS:
        # Not every k-th row: the folds may follow such a pattern.
        some = np.sort(np.random.RandomState(0).permutation(len(target))[:_ROWS])
        parsed, rest, folds = parsed.take(some), target[some], folds[some]
        weight = None if weight is None else weight[some]
    codes = [single.codes(parsed) for single in singles]
    worth = np.zeros(len(singles))
    for _ in range(2):  # the second round corrects the first
        for i, single in enumerate(singles):
            learned, _ = TargetMeans.learned(codes[i], rest, folds, single.n_levels, None, weight)
            means = learned.of(codes[i])
            rest = rest - means
            worth[i] += np.square(means).sum()
    columns = sorted(np.argsort(-worth, kind="stable")[:_COLUMNS])
    found = []
    for a, b in combinations(columns, 2):
        pair = singles[a].with_(singles[b])
        if pair.n_levels > len(rest):
            continue
        both = np.where((codes[a] < 0) | (codes[b] < 0), -1, codes[a] * singles[b].n_levels + codes[b])
        share = foretold(both, rest, folds, pair.n_levels, weight) / rest.size
        if share > _LEAST_SHARE:
            found.append((share, pair))
    found.sort(key=lambda item: -item[0])
    return [pair for _, pair in found[:most]]
