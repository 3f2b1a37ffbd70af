"""Rows of Dask collections as partitions on the workers, and which worker gets which shards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from densegrad.dask.packages import imported


class Partition(NamedTuple):
    """Rows as arrays, on a worker."""

    X: Any
    target: NDArray[Any]
    sample_weight: NDArray[Any] | None

    def rows(self, first: int, last: int) -> Partition:
        """Return some of the rows, in place."""
        weight = self.sample_weight
        part = slice(first, last)
        return Partition(self.X[part], self.target[part], None if weight is None else weight[part])


class Summary(NamedTuple):
    """What the client must know of a partition."""

    n_rows: int
    #: Distinct labels, if they were asked for.
    labels: NDArray[Any] | None
    n_bytes: int


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


# Collections.


def partitions(
    client: Any,
    name: str,
    X: Any,
    target: Any,
    sample_weight: Any,
    dtype: np.dtype[Any] | None,
    workers: list[str],
) -> list[Any]:
    """Return futures of the partitions of X, target and sample weights as arrays.

    Partitions that no worker holds yet are loaded where neighbours are. `name` is "X" or "X_val".
    """
    delayed = imported("dask").delayed
    X_parts = _delayed_blocks(name, X)
    parts = {"target": target, "sample_weight": sample_weight}
    columns = [X_parts]
    for what, part in parts.items():
        columns.append(
            [None] * len(X_parts) if part is None else _blocks_like(name, what, X, part, len(X_parts))
        )
    make = delayed(_partition, pure=False)
    tasks = [
        make(name, number, X_block, y_block, w_block, dtype)
        for number, (X_block, y_block, w_block) in enumerate(zip(*columns, strict=True))
    ]
    if imported("distributed").futures_of(X):
        return list(client.compute(tasks))
    futures: list[Any] = []
    for k, address in enumerate(workers):
        run = tasks[k * len(tasks) // len(workers) : (k + 1) * len(tasks) // len(workers)]
        futures += client.compute(run, workers=[address], allow_other_workers=True)
    return futures


def _delayed_blocks(name: str, X: Any) -> list[Any]:
    if not imported("dask").is_dask_collection(X) or not hasattr(X, "to_delayed") or X.ndim != 2:
        raise TypeError(
            f"{name} must be a Dask Array of two dimensions or a Dask DataFrame; got"
            f" {type(X).__module__}.{type(X).__name__}"
        )
    if hasattr(X, "chunks") and X.numblocks[1] > 1:
        X = X.rechunk({1: -1})
    blocks = X.to_delayed()
    return list(blocks.ravel()) if hasattr(blocks, "ravel") else list(blocks)


def _blocks_like(name: str, what: str, X: Any, part: Any, n_blocks: int) -> list[Any]:
    if not imported("dask").is_dask_collection(part) or not hasattr(part, "to_delayed"):
        raise TypeError(f"{what} must be a Dask collection, as {name} is; got {type(part).__name__}")
    if hasattr(part, "chunks") and hasattr(X, "chunks") and not math.isnan(X.shape[0] + part.shape[0]):
        if part.shape[0] != X.shape[0]:
            raise ValueError(f"{what} must have {X.shape[0]} rows, as {name} has; got {part.shape[0]}")
        part = part.rechunk({0: X.chunks[0], **({1: -1} if part.ndim > 1 else {})})
    blocks = part.to_delayed()
    found = list(blocks.ravel()) if hasattr(blocks, "ravel") else list(blocks)
    if len(found) != n_blocks:
        raise ValueError(
            f"{what} must have as many partitions as {name}, {n_blocks}; got {len(found)}. Repartition one of"
            " them"
        )
    return found


# On the workers.


def _partition(
    name: str, number: int, X: Any, target: Any, weight: Any, dtype: np.dtype[Any] | None
) -> Partition:
    """Return a partition as arrays; an error names it."""
    from densegrad._arrays import check_finite_rows, readable_rows

    where = f"partition {number} of {name}"
    try:
        X = readable_rows(X, name)
        check_finite_rows(name, X, np.dtype(np.float64) if dtype is None else dtype)
        for what, part in (("target", target), ("sample_weight", weight)):
            if part is not None and len(part) != X.shape[0]:
                raise ValueError(f"{what} must have {X.shape[0]} rows, as {name} has there; got {len(part)}")
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{where}: {error}") from None
    return Partition(X, np.asarray(target), None if weight is None else np.asarray(weight))


def summary(partition: Partition, labels: bool) -> Summary:
    """Return the summary of a partition."""
    X = partition.X
    n_bytes = X.nbytes if hasattr(X, "nbytes") else X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    return Summary(X.shape[0], np.unique(partition.target) if labels else None, n_bytes)


def rows_of_partition(partition: Partition, first: int, last: int) -> Partition:
    """Return some rows of a partition."""
    return partition.rows(first, last)


def blocks_of(
    parts: Sequence[Partition],
) -> tuple[list[Any], list[NDArray[Any]], list[NDArray[Any]] | None]:
    """Return X, target and sample weights of several parts as lists, for `Network.samples`."""
    weights = [part.sample_weight for part in parts if part.sample_weight is not None]
    return [part.X for part in parts], [part.target for part in parts], weights or None
