"""All inputs that are made of a table without a look at the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from densegrad.tabular.columns import Category, Parsed
from densegrad.tabular.level_encoding import LevelEncoding
from densegrad.tabular.number_encoding import MANY, NumberEncoding

#: The inputs that an encoding makes of numbers beside their two scales.
ENCODINGS = ("plain", "bins", "values")
MOST_INPUTS = 1024
#: So many bins a column are tried, one after the other, until the inputs are not too many.
_BINS = (16, 8, 4, 0)
_BLOCK = 1024  # rows that are encoded at a time, to go through a matrix that is in the cache


@dataclass(frozen=True)
class Inputs:
    """The encodings of the columns of numbers and of the categories."""

    numbers: tuple[NumberEncoding, ...]
    categories: tuple[LevelEncoding, ...]

    @classmethod
    def learned(
        cls, parsed: Parsed, categories: Sequence[Category], encoding: str, max_levels: int, n_bins: int = 16
    ) -> Inputs:
        """Return the encodings of the rows of a table.

        Parameters
        ----------
        parsed : Parsed
        categories : sequence of Category
        encoding : {"plain", "bins", "values"}
        max_levels : int
            So many levels of a category get an indicator.
        n_bins : int, default 16
            Fewer if the inputs would be more than 1,024.
        """
        levels = tuple(LevelEncoding.learned(category, max_levels) for category in categories)
        n_numbers = parsed.numbers.shape[1]
        alone = n_numbers > MANY
        missing = _distinct_patterns(parsed.numbers)
        inputs = cls((), levels)
        for bins in [n_bins, *(bins for bins in _BINS if bins < n_bins)] if encoding == "bins" else [0]:
            numbers = tuple(
                NumberEncoding.learned(
                    parsed.numbers[:, j],
                    alone=alone,
                    n_bins=0 if alone else bins,
                    values=encoding == "values" and not alone,
                    missing=missing[j],
                )
                for j in range(n_numbers)
            )
            inputs = cls(numbers, levels)
            if inputs.width <= MOST_INPUTS:
                break
        return inputs

    @property
    def width(self) -> int:
        """The number of inputs; one that is always 0 if the columns tell nothing."""
        width = sum(number.width for number in self.numbers)
        return max(1, width + sum(level.n_indicators for level in self.categories))

    def names(
        self, number_names: Sequence[str], category_names: Sequence[str], categories: Sequence[Category]
    ) -> list[str]:
        """Return the names of the inputs."""
        names = [
            name
            for number, column in zip(self.numbers, number_names, strict=True)
            for name in number.names(column)
        ]
        for level, column, category in zip(self.categories, category_names, categories, strict=True):
            names += level.names(column, category)
        return _unique(names or ["nothing"])

    def of(self, parsed: Parsed, further: int = 0) -> NDArray[np.float32]:
        """Return the inputs of some rows, (n_rows, width + further); the further columns are zero."""
        n_rows = len(parsed.numbers)
        X = np.zeros((n_rows, self.width + further), np.float32)
        for start in range(0, n_rows, _BLOCK):
            rows = slice(start, min(n_rows, start + _BLOCK))
            at = 0
            for j, number in enumerate(self.numbers):
                number.write(parsed.numbers[rows, j], X[rows, at : at + number.width])
                at += number.width
            for j, level in enumerate(self.categories):
                level.write(parsed.codes[rows, j], X[rows, at : at + level.n_indicators])
                at += level.n_indicators
        return X


def write_last(X: NDArray[np.float32], parts: Sequence[NDArray[np.float64]]) -> None:
    """Write further inputs of the same rows to the last columns of X."""
    at = X.shape[1] - sum(part.shape[1] for part in parts)
    for part in parts:
        X[:, at : at + part.shape[1]] = part
        at += part.shape[1]


def _distinct_patterns(numbers: NDArray[np.float64]) -> list[bool]:
    """Return for each column whether values are missing, and not in the same rows as of an earlier column."""
    seen: set[bytes] = set()
    fresh = []
    for j in range(numbers.shape[1]):
        missing = np.isnan(numbers[:, j])
        pattern = np.packbits(missing).tobytes()
        fresh.append(bool(missing.any()) and pattern not in seen)
        seen.add(pattern)
    return fresh


def _unique(names: list[str]) -> list[str]:
    """Return names, no two equal: a column may have the name of an input of another one."""
    counts: dict[str, int] = {}
    for i, name in enumerate(names):
        counts[name] = number = counts.get(name, 0) + 1
        if number > 1:
            names[i] = f"{name}_{number}"
    return names
