"""Rows of Dask collections as checked partitions on the workers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from time import monotonic, time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from densegrad._arrays import first_bad_row, readable_rows
from densegrad.dask.packages import imported
from densegrad.samples import Samples
from densegrad.spec import NetworkSpec
from densegrad.training.communicator import PeerLost

_POLL = 0.5  # seconds between two looks at who is there
_ANSWER = 5.0  # seconds to wait for an answer that needs no work


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


class Rows:
    """The partitions of a collection of rows, its target and its sample weights.

    They are loaded where neighbours are. `load` waits for them.

    Parameters
    ----------
    client : distributed.Client
    name : str
        "X" or "validation", for errors.
    X, target, sample_weight
        As for `train`.
    spec : NetworkSpec
        The network that they are for.
    timeout : float
        Seconds for which a worker may be silent, or there may be none.

    Attributes
    ----------
    partitions : list of Future
    n_rows : list of int
        Of each partition, once they are loaded.
    """

    def __init__(
        self,
        client: Any,
        name: str,
        X: Any,
        target: Any,
        sample_weight: Any,
        spec: NetworkSpec,
        timeout: float,
    ) -> None:
        self._client, self._name, self._timeout = client, name, timeout
        self.n_rows: list[int] = []
        self._held: list[Sequence[str]] = []
        make = imported("dask").delayed(_partition, pure=False)
        columns = _columns(name, X, target, sample_weight)
        tasks = [make(name, spec, number, *blocks) for number, blocks in enumerate(columns)]
        self.partitions: list[Any] = []
        if imported("distributed").futures_of(X):
            self.partitions += client.compute(tasks)
            return
        workers = sorted(client.nthreads())
        for k, address in enumerate(workers):
            run = tasks[k * len(tasks) // len(workers) : (k + 1) * len(tasks) // len(workers)]
            self.partitions += client.compute(run, workers=[address], allow_other_workers=True)

    @property
    def total(self) -> int:
        """Rows of all partitions."""
        return sum(self.n_rows)

    def load(self) -> None:
        """Wait until all partitions are there; errors name one."""
        submit = self._client.submit
        sizes = submit(list, [submit(_n_rows, part, pure=False) for part in self.partitions], pure=False)
        while True:
            self.wait([sizes])
            # It may be on a worker that has stopped answering since.
            with suppress(TimeoutError, CancelledError):
                self.n_rows = sizes.result(timeout=_ANSWER)
                return

    def wait(self, futures: list[Any]) -> None:
        """Wait for futures that are made of the partitions; errors name one."""
        distributed = imported("distributed")
        seen = monotonic()  # when a worker was last there
        while True:
            # The scheduler may have given some up: the checks below say why.
            with suppress(TimeoutError, distributed.client.FuturesCancelledError), self._client.as_current():
                distributed.wait(futures, timeout=_POLL)
            self.check()
            for future in futures:
                if future.status == "error":
                    raise future.exception()
            n_workers, silent = self._client.run_on_scheduler(_let_run, self._timeout)
            for address in silent:
                give_up(self._client, address)
            if n_workers > len(silent):
                seen = monotonic()
            elif monotonic() > seen + self._timeout:
                raise PeerLost(f"no worker has been there for {self._timeout:g} s")
            if not silent and all(future.status == "finished" for future in futures):
                return

    def check(self) -> None:
        """Raise the error of a partition, or RuntimeError if one is lost that Dask cannot make again."""
        for number, part in enumerate(self.partitions):
            if part.status == "error":
                raise part.exception()
            if part.cancelled():
                where = ", ".join(self._held[number] if self._held else ()) or "its worker"
                raise RuntimeError(
                    f"partition {number} of {self._name} was lost with {where} and cannot be computed again:"
                    " `client.scatter` keeps no way to make it. Read the rows on the workers, by"
                    " dask.dataframe.read_parquet or the like. The trainer keeps the updates made so far"
                )

    def holders(self) -> list[Sequence[str]]:
        """Return the workers that hold each partition."""
        self.check()
        held = self._client.who_has(self.partitions)
        self._held = [held[part.key] for part in self.partitions]
        return self._held

    def part(self, number: int, first: int, last: int) -> Any:
        """Return a future of rows of a partition, cut where it lies, so that only what is wanted travels."""
        part = self.partitions[number]
        if last - first == self.n_rows[number]:
            return part
        return self._client.submit(_rows_of_partition, part, first, last, pure=False)


def give_up(client: Any, address: str) -> None:
    """Let the scheduler forget a worker that does not answer, so that others make its rows again."""
    client.sync(client.scheduler.unregister, address=address, stimulus_id="densegrad")


def _let_run(timeout: float, dask_scheduler: Any) -> tuple[int, list[str]]:
    """Let tasks run that prefer a worker that is gone; return the number of workers, and the silent ones.

    The scheduler does so by itself, but not for tasks that came while there was no worker at all.
    """
    silent = unseen(timeout, dask_scheduler)
    there = dask_scheduler.workers.keys()
    waiting = [task for task in list(dask_scheduler.unrunnable) if task.loose_restrictions]
    waiting = [task for task in waiting if there.isdisjoint(task.worker_restrictions or ())]
    if there:
        for task in waiting:
            task.worker_restrictions = None
        dask_scheduler.transitions({task.key: "waiting" for task in waiting}, stimulus_id="densegrad")
    return len(there), silent


def unseen(seconds: float, dask_scheduler: Any) -> list[str]:
    """Return the workers that the scheduler has not heard of for so long."""
    latest = time() - seconds
    return [address for address, one in dask_scheduler.workers.items() if one.last_seen < latest]


def _columns(name: str, X: Any, target: Any, sample_weight: Any) -> list[tuple[Any, Any, Any]]:
    """Return the blocks of X, target and sample weights, side by side."""
    X_parts = _delayed_blocks(name, X)
    columns = [X_parts]
    for what, part in {"target": target, "sample_weight": sample_weight}.items():
        columns.append(
            [None] * len(X_parts) if part is None else _blocks_like(name, what, X, part, len(X_parts))
        )
    return list(zip(*columns, strict=True))


def _delayed_blocks(name: str, X: Any) -> list[Any]:
    if not imported("dask").is_dask_collection(X) or not hasattr(X, "to_delayed") or X.ndim != 2:
        raise TypeError(
            f"{name} must be a Dask Array of two dimensions or a Dask DataFrame; got"
            f" {type(X).__module__}.{type(X).__name__}"
        )
    if hasattr(X, "chunks") and X.numblocks[1] > 1:
        X = X.rechunk({1: -1})
    return _blocks(X)


def _blocks_like(name: str, what: str, X: Any, part: Any, n_blocks: int) -> list[Any]:
    if not imported("dask").is_dask_collection(part) or not hasattr(part, "to_delayed"):
        raise TypeError(f"{what} must be a Dask collection, as {name} is; got {type(part).__name__}")
    if hasattr(part, "chunks") and hasattr(X, "chunks") and not math.isnan(X.shape[0] + part.shape[0]):
        if part.shape[0] != X.shape[0]:
            raise ValueError(f"{what} must have {X.shape[0]} rows, as {name} has; got {part.shape[0]}")
        part = part.rechunk({0: X.chunks[0], **({1: -1} if part.ndim > 1 else {})})
    found = _blocks(part)
    if len(found) != n_blocks:
        raise ValueError(
            f"{what} must have as many partitions as {name}, {n_blocks}; got {len(found)}. Repartition one of"
            " them"
        )
    return found


def _blocks(X: Any) -> list[Any]:
    blocks = X.to_delayed()
    return list(blocks.ravel()) if hasattr(blocks, "ravel") else list(blocks)


# On the workers.


def _partition(name: str, spec: NetworkSpec, number: int, X: Any, target: Any, weight: Any) -> Partition:
    """Return a partition as arrays that fit the network; an error names partition and worker."""
    try:
        X = readable_rows(X)
        partition = Partition(X, np.asarray(target), None if weight is None else np.asarray(weight))
        for what, part in (("target", partition.target), ("sample_weight", partition.sample_weight)):
            if part is not None and len(part) != X.shape[0]:
                raise ValueError(f"{what} must have {X.shape[0]} rows, as X has there; got {len(part)}")
        samples = Samples(spec, *partition, is_part=True)
        try:
            samples.check_finite()
        except ValueError as error:
            raise ValueError(
                f"{error}, first in row {first_bad_row(X, spec.dtype)} of the partition. Drop such rows, or"
                " fill them"
            ) from None
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        worker = imported("distributed").get_worker().address
        raise kind(f"partition {number} of {name}: {error} (on worker {worker})") from None
    return partition


def _n_rows(partition: Partition) -> int:
    n_rows: int = partition.X.shape[0]
    return n_rows


def _rows_of_partition(partition: Partition, first: int, last: int) -> Partition:
    return partition.rows(first, last)


def blocks_of(
    parts: Sequence[Partition],
) -> tuple[list[Any], list[NDArray[Any]], list[NDArray[Any]] | None]:
    """Return X, target and sample weights of several parts as lists, for `Network.samples`."""
    weights = [part.sample_weight for part in parts if part.sample_weight is not None]
    return [part.X for part in parts], [part.target for part in parts], weights or None
