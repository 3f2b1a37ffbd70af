"""Numbers as inputs of a network: robust scale with a smooth clip, standardised, in bins, frequent values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Beyond this many columns, which are then likely pixels or measurements of one kind, only the robust scale.
MANY = 100
#: Frequent values that get an indicator, and the share of the rows that they must have together.
MOST_VALUES = 64
_LEAST_SHARE = 0.02


@dataclass(frozen=True)
class NumberEncoding:
    """The inputs that are made of one column of numbers."""

    median: float
    robust_factor: float
    mean: float
    #: 0: no standardised copy.
    standard_factor: float
    low: float
    high: float
    #: Whether an indicator of missing values is an input.
    missing: bool
    edges: NDArray[np.float64]
    values: NDArray[np.float64]

    @classmethod
    def learned(
        cls, column: NDArray[np.float64], *, alone: bool, n_bins: int, values: bool, missing: bool
    ) -> NumberEncoding:
        """Return the encoding of a column, (n_rows,).

        Parameters
        ----------
        column : ndarray of shape (n_rows,)
            NaN if a value is missing, but not all are NaN.
        alone : bool
            Make the robust scale only.
        n_bins : int
            Piecewise linear inputs; 0 for none.
        values : bool
            Make an indicator for each frequent value.
        missing : bool
            Make an indicator of missing values.
        """
        present = column[~np.isnan(column)]
        present = present if len(present) else np.zeros(1)
        low, first, median, third, high = (float(q) for q in np.quantile(present, [0, 0.25, 0.5, 0.75, 1]))
        scale = third - first if third > first else (high - low) / 2
        filled = np.where(np.isnan(column), median, column)
        mean = float(filled.mean())
        deviation = float(np.sqrt(np.square(filled - mean).mean()))
        constant = not high > low
        robust = 0.0 if constant or scale < 1e-300 else 1 / scale
        standard = 0.0 if constant or alone or deviation < 1e-300 else 1 / deviation
        distinct = np.unique(present) if n_bins or values else present[:0]
        no = np.empty(0)
        return cls(
            median,
            robust,
            mean,
            standard,
            low,
            high,
            missing,
            _edges(present, distinct, n_bins) if n_bins and len(distinct) > 2 else no,
            _frequent(present, len(column)) if values and len(distinct) > 2 else no,
        )

    @property
    def width(self) -> int:
        """The number of inputs."""
        n_scales = int(self.robust_factor != 0) + int(self.standard_factor != 0)
        return n_scales + int(self.missing) + max(0, len(self.edges) - 1) + len(self.values)

    def names(self, name: str) -> list[str]:
        """Return the names of the inputs."""
        return [
            *([name] if self.robust_factor else []),
            *([f"{name}_standard"] if self.standard_factor else []),
            *([f"{name}_missing"] if self.missing else []),
            *(f"{name}_bin{i}" for i in range(len(self.edges) - 1)),
            *(f"{name}={value:g}" for value in self.values),
        ]

    def write(self, column: NDArray[np.float64], out: NDArray[np.float32]) -> None:
        """Write the inputs of some rows to `out`, (n_rows, width)."""
        absent = np.isnan(column)
        x = np.where(absent, self.median, column)
        at = 0
        if self.robust_factor:
            # The smooth clip keeps small numbers and never exceeds 3.
            z = np.clip((x - self.median) * self.robust_factor, -1e100, 1e100)
            out[:, at] = z / np.sqrt(1 + np.square(z / 3))
            at += 1
        if self.standard_factor:
            out[:, at] = (np.clip(x, self.low, self.high) - self.mean) * self.standard_factor
            at += 1
        if self.missing:
            out[:, at] = absent
            at += 1
        if n_bins := max(0, len(self.edges) - 1):
            lowest, highest = np.zeros(n_bins), np.ones(n_bins)
            lowest[0], highest[-1] = -1.0, 2.0
            parts = x[:, np.newaxis] - self.edges[:-1]
            parts /= np.diff(self.edges)
            np.maximum(parts, lowest, out=parts)
            np.minimum(parts, highest, out=out[:, at : at + n_bins], casting="same_kind")
            at += n_bins
        out[:, at:] = column[:, np.newaxis] == self.values


def _edges(present: NDArray[np.float64], distinct: NDArray[np.float64], n_bins: int) -> NDArray[np.float64]:
    """Return the edges of the bins: quantiles, or all values if they are few."""
    if len(distinct) <= n_bins + 1:
        return distinct
    edges: NDArray[np.float64] = np.unique(np.quantile(present, np.arange(n_bins + 1) / n_bins))
    return edges


def _frequent(present: NDArray[np.float64], n_rows: int) -> NDArray[np.float64]:
    """Return the most frequent values if they are frequent enough."""
    distinct, counts = np.unique(present, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_VALUES]
    order = order[counts[order] >= max(10, n_rows / 2000)]
    if counts[order].sum() < _LEAST_SHARE * n_rows:
        return distinct[:0]
    chosen: NDArray[np.float64] = distinct[order]
    return chosen
