"""Which worker gets which shards: arithmetic, without Dask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Placement:
    """Which worker holds which shards.

    Attributes
    ----------
    addresses : list of str
        Workers by rank.
    threads : list of int
        Threads of each worker.
    cuts : list of int
        Rank r holds shards cuts[r] … cuts[r + 1] - 1.
    """

    addresses: list[str]
    threads: list[int]
    cuts: list[int]

    def rows(self, rank: int, n_rows: int) -> tuple[int, int]:
        """Return the first row of a rank, and the one after its last, of `n_rows` in all."""
        shards = self.cuts[-1]
        return self.cuts[rank] * n_rows // shards, self.cuts[rank + 1] * n_rows // shards


def cuts_by_threads(shards: int, threads: Sequence[int]) -> list[int]:
    """Return cuts of the shards, at least one for each worker, in proportion to the workers' threads."""
    ends = np.cumsum(threads)
    cuts = [0, *(round(shards * end / ends[-1]) for end in ends.tolist())]
    for rank in range(1, len(cuts) - 1):
        cuts[rank] = max(cuts[rank], cuts[rank - 1] + 1)
    for rank in range(len(cuts) - 2, 0, -1):
        cuts[rank] = min(cuts[rank], cuts[rank + 1] - 1)
    return cuts


def placed(
    shards: int, threads: dict[str, int], held: Sequence[dict[str, int]], n_rows: Sequence[int]
) -> Placement:
    """Return a placement that moves few rows.

    Parameters
    ----------
    shards : int
    threads : dict
        Threads of each worker, by address.
    held : sequence of dict
        For each partition, the workers that hold it.
    n_rows : sequence of int
        Rows of each partition.
    """
    from scipy.optimize import linear_sum_assignment

    # If there are more workers than shards: those that hold most rows.
    rows_on = dict.fromkeys(threads, 0)
    for holders, rows in zip(held, n_rows, strict=True):
        for address in holders:
            rows_on[address] = rows_on.get(address, 0) + rows
    chosen = sorted(threads, key=lambda address: (-rows_on[address], address))[:shards]
    counts = sorted((threads[address] for address in chosen), reverse=True)
    cuts = cuts_by_threads(shards, counts)
    total = sum(n_rows)
    overlap = np.zeros((len(chosen), len(chosen)))  # of the rows of a rank and those on a worker
    firsts = np.cumsum([0, *n_rows])
    for rank in range(len(chosen)):
        begin, end = cuts[rank] * total // shards, cuts[rank + 1] * total // shards
        for number, holders in enumerate(held):
            common = min(end, firsts[number + 1]) - max(begin, firsts[number])
            if common > 0:
                for column, address in enumerate(chosen):
                    overlap[rank, column] += common * (address in holders)
    # A run is for a worker of so many threads.
    fits = np.array([[threads[address] == count for address in chosen] for count in counts])
    _, columns = linear_sum_assignment(np.where(fits, -overlap, 1 + total * len(chosen)))
    addresses = [chosen[column] for column in columns]
    return Placement(addresses, [threads[address] for address in addresses], cuts)


def pieces(n_rows: Sequence[int], first: int, last: int) -> list[tuple[int, int, int]]:
    """Return the partitions that have the rows first … last - 1, and which of their rows these are."""
    found, begin = [], 0
    for number, rows in enumerate(n_rows):
        low, high = max(first - begin, 0), min(last - begin, rows)
        if low < high:
            found.append((number, low, high))
        begin += rows
    return found
