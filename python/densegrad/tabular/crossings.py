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

    @property
    def singles(self) -> list[Crossing]:
        """The columns, each alone."""
        parts = zip(self.columns, self.sizes, self.edges, strict=True)
        return [Crossing((column,), (size,), (edges,)) for column, size, edges in parts]

    def with_(self, other: Crossing) -> Crossing:
        """Return the pairs of levels of this one and another."""
        return Crossing(self.columns + other.columns, self.sizes + other.sizes, self.edges + other.edges)


class LevelCodes:
    """The codes of some rows by crossings. What several crossings share is made once."""

    def __init__(self, parsed: Parsed) -> None:
        self._parsed = parsed
        self._known: dict[tuple[tuple[int, bytes], ...], NDArray[np.int32]] = {}

    def of(self, crossing: Crossing) -> NDArray[np.int32]:
        """Return the level's number of each row, -1 for an unknown one; a missing number has its own bin."""
        single = len(crossing.columns) == 1
        key = tuple(
            (column, edges.tobytes()) for column, edges in zip(crossing.columns, crossing.edges, strict=True)
        )
        if key not in self._known:
            self._known[key] = self._of_column(crossing) if single else self._of_pair(crossing)
        return self._known[key]

    def _of_column(self, single: Crossing) -> NDArray[np.int32]:
        column, n_categories = single.columns[0], self._parsed.codes.shape[1]
        if column < n_categories:
            return self._parsed.codes[:, column]
        values, edges = self._parsed.numbers[:, column - n_categories], single.edges[0]
        bins = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, "right"))
        return bins.astype(np.int32)

    def _of_pair(self, pair: Crossing) -> NDArray[np.int32]:
        a, b = (self.of(single) for single in pair.singles)
        return _pairs(a, b, pair.sizes[1])


def _pairs(a: NDArray[np.int32], b: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    """Return the numbers of pairs of levels, the second of which has `size` levels."""
    return np.where((a < 0) | (b < 0), np.int32(-1), a * np.int32(size) + b)


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
    level_codes = LevelCodes(parsed)
    codes = [level_codes.of(single) for single in singles]
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
        both = _pairs(codes[a], codes[b], singles[b].n_levels)
        share = foretold(both, rest, folds, pair.n_levels, weight) / rest.size
        if share > _LEAST_SHARE:
            found.append((share, pair))
    found.sort(key=lambda item: -item[0])
    return [pair for _, pair in found[:most]]
