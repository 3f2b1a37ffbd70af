"""The attempts of a training over the workers of a cluster: who takes part, who is lost, what is left."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import monotonic, sleep
from typing import Any, Literal

from densegrad.dask import streams
from densegrad.dask.packages import imported
from densegrad.dask.placement import Placement, pieces, placed
from densegrad.dask.rank import Job, Outcome, train_rank
from densegrad.dask.rows import Rows, give_up, unseen
from densegrad.training.communicator import PeerLost
from densegrad.training.trainer import Trainer

_POLL = 0.2  # seconds between two looks at who is there
_LOOK = 5.0  # seconds between two looks for a new checkpoint
_ANSWER = 5.0  # seconds to wait for an answer that needs no work


class Attempts:
    """The attempts of one training; each is made by the workers that are there when it begins."""

    def __init__(
        self,
        client: Any,
        trainer: Trainer,
        given: Rows,
        judged: Rows | None,
        timeout: float,
        recover: bool | Literal["grow"],
        options: dict[str, Any],
    ) -> None:
        self._client = client
        self._trainer = trainer
        self._given = given
        self._judged = judged
        self._timeout = timeout
        self._recover = recover
        self._options = options
        self._checkpoint: bytes | None = None
        self._asked = False
        # Of the attempt that is under way: the workers that were there when it began, and when its checkpoint
        # was written.
        self._known: set[str] = set()
        self._written = 0.0

    @property
    def _soon(self) -> float:
        """Seconds in which a worker that lives answers a question."""
        return min(_ANSWER, self._timeout)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._asked

    def attempt(self) -> Outcome:
        """Train to the end, or until a worker is lost; return how it ended, with the trainer."""
        client, distributed = self._client, imported("distributed")
        threads, names = self.workers()
        held = [dict.fromkeys(holders, 1) for holders in self._given.holders()]
        placement = placed(self._trainer.shards, threads, held, self._given.n_rows)
        job = Job(
            f"densegrad-{uuid.uuid4().hex}",
            placement,
            [names[address] for address in placement.addresses],
            self._timeout,
            bool(self._recover),
            self._options,
        )
        locks = [f"densegrad-{address}" for address in placement.addresses]
        with distributed.MultiLock(names=locks, client=client):
            futures = self._submit(job)
            ends: dict[int, Outcome] = {}
            try:
                try:
                    self._wait(job, futures, ends)
                except KeyboardInterrupt:
                    self._asked = True
                    self._stop(job)
                    self._wait(job, futures, ends)
                end = self._chosen(job, ends)
                self._checkpoint = end.unfinished or self._checkpoint
                return end
            finally:
                if len(ends) < len(futures):
                    self._on_workers(streams.abandon, job, len(futures))
                else:
                    self._on_workers(streams.forget, job)
                client.cancel(futures)

    def workers(self) -> tuple[dict[str, int], dict[str, str]]:
        """Return the threads of the workers that answer, and the names of their processes, by address."""
        # If one does not answer, it takes a second question to leave it out.
        end = monotonic() + max(self._timeout, 2 * _ANSWER)
        while True:
            threads: dict[str, int] = self._client.nthreads()
            self._known = set(threads)
            names: dict[str, str] = self._ask(streams.install, workers=list(threads))
            if names:
                return {address: threads[address] for address in names}, names
            if monotonic() > end:
                raise PeerLost(f"no worker has answered for {self._timeout:g} s")
            sleep(_POLL)  # others may come

    def _submit(self, job: Job) -> list[Any]:
        """Start a task for each rank, and return their futures."""
        client, addresses = self._client, job.placement.addresses
        if self._checkpoint is not None:
            self._call(streams.deliver, job.group, self._checkpoint, workers=addresses[:1])
        ranks = range(len(addresses))
        parts = [self._parts(self._given, job.placement, rank) for rank in ranks]
        judged = None
        if self._judged is not None:
            judged = [self._parts(self._judged, job.placement, rank) for rank in ranks]
            self._judged.wait([part for run in judged for part in run])
        # A rank takes a thread that these may need: they come first.
        self._given.wait([part for run in parts for part in run])
        return [
            client.submit(
                train_rank,
                job,
                rank,
                self._trainer,
                parts[rank],
                None if judged is None else judged[rank],
                workers=[addresses[rank]],
                pure=False,
                key=f"{job.group}-{rank}",
            )
            for rank in ranks
        ]

    def _parts(self, rows: Rows, placement: Placement, rank: int) -> list[Any]:
        """Return futures of the rows of a rank: partitions, or parts of those that are cut."""
        return [rows.part(*piece) for piece in pieces(rows.n_rows, *placement.rows(rank, rows.total))]

    def _wait(self, job: Job, futures: list[Any], ends: dict[int, Outcome]) -> None:
        """Wait until each rank has ended or is lost, and note how, without the trainers."""
        client, distributed = self._client, imported("distributed")
        addresses = job.placement.addresses
        first_end, waits_for_all = None, True
        growing = self._asked
        asked: set[int] = set()
        self._written = 0.0
        began = looked = monotonic()
        while True:
            for rank, future in enumerate(futures):
                if rank not in ends and future.done():
                    ends[rank] = self._end(future, rank)
                    if (
                        ends[rank].kind == "failed"
                        and ends[rank].trainer is None
                        and future.status == "error"
                    ):
                        # The task did not begin, so that the other ranks do not know.
                        self._on_workers(streams.lose, job, rank)
            if len(ends) == len(futures):
                return
            if ends and first_end is None:
                first_end = monotonic()
            if waits_for_all and monotonic() > began + self._timeout:
                waits_for_all = not self._all_run(job, ends)
                began = monotonic()
            there = self._client.nthreads()
            if self._recover == "grow" and not growing and self._can_grow(job, there):
                growing = True
                self._stop(job)
            silent = self._silent(job, ends, asked)
            overdue = first_end is not None and monotonic() > first_end + self._timeout
            for rank, address in enumerate(addresses):
                if rank in ends or not (overdue or rank in silent or address not in there):
                    continue
                what = "is gone" if address not in there else f"has not answered for {self._timeout:g} s"
                if address in there:
                    give_up(client, address)
                ends[rank] = Outcome(
                    "gone", rank, error=PeerLost(f"rank {rank} on worker {address} {what}", rank)
                )
                self._client.cancel([futures[rank]])
                self._on_workers(streams.lose, job, rank)  # those that are connecting to it
            if self._recover and 0 not in ends and monotonic() > looked + _LOOK:
                self._look_at_checkpoint(job)
                looked = monotonic()
            pending = [future for rank, future in enumerate(futures) if rank not in ends]
            if pending:
                # A task that the scheduler gave up counts as done: its end is looked at above.
                with suppress(TimeoutError, distributed.client.FuturesCancelledError):
                    distributed.wait(pending, timeout=_POLL, return_when="FIRST_COMPLETED")

    def _silent(self, job: Job, ends: dict[int, Outcome], asked: set[int]) -> set[int]:
        """Return the ranks that another one has waited for in vain, and whose workers are silent here, too.

        `asked` are those that were looked at before: they are alive, and only slow.
        """
        named = {rank for end in ends.values() for rank in end.silent} - ends.keys() - asked
        asked |= named
        if not named:
            return set()
        workers = {rank: job.placement.addresses[rank] for rank in named}
        answers = self._ask(streams.waiting, job.group, workers=[*workers.values()])
        return {rank for rank, address in workers.items() if address not in answers}

    def _stop(self, job: Job) -> None:
        """Ask rank 0 to end the training before its next update."""
        self._call(streams.stop, job.group, workers=job.placement.addresses[:1])

    def _can_grow(self, job: Job, there: dict[str, int]) -> bool:
        """Tell whether workers have joined that could take shards."""
        return len(job.placement.addresses) < self._trainer.shards and not there.keys() <= self._known

    def _all_run(self, job: Job, ends: dict[int, Outcome]) -> bool:
        """Give up frozen workers of the training; without one, raise TimeoutError if a rank has not begun."""
        addresses = job.placement.addresses
        # A rank that has not begun may wait for rows that lie on one.
        frozen = set(self._client.run_on_scheduler(unseen, self._soon)) & self._known
        for address in frozen:
            give_up(self._client, address)
        if frozen:
            return False
        there = [address for address in addresses if address in self._client.nthreads()]
        states = self._ask(streams.waiting, job.group, workers=there)
        for rank, address in enumerate(addresses):
            if rank not in ends and states.get(address):
                raise TimeoutError(
                    f"rank {rank} on worker {address} has not begun for {self._timeout:g} s. The worker is"
                    f" {states[address]}: its threads have other tasks, or its memory is full. Wait until it"
                    " is free, start more workers, or give a longer timeout"
                )
        return True

    def _look_at_checkpoint(self, job: Job) -> None:
        """Get the newest checkpoint of rank 0, whose worker may be lost next."""
        address = job.placement.addresses[0]
        found = self._ask(streams.newest_checkpoint, job.group, self._written, workers=[address]).get(address)
        if found is not None:
            self._written, self._checkpoint = found

    def _end(self, future: Any, rank: int) -> Outcome:
        if future.status == "error":
            return Outcome("failed", rank, error=future.exception())
        try:
            end: Outcome = future.result(timeout=5)
        except (TimeoutError, OSError, imported("concurrent.futures").CancelledError):
            return Outcome("gone", rank)  # its worker went after it had ended
        return end

    def _chosen(self, job: Job, ends: dict[int, Outcome]) -> Outcome:
        """Return the end that counts, with the trainer."""
        for kind in ("failed", "stopped", "done", "lost"):
            ranks = [rank for rank, end in ends.items() if end.kind == kind]
            ranks.sort(key=lambda rank: (-ends[rank].steps, rank))  # one may have made an update more
            if kind == "failed" and ranks:
                ranks += [rank for rank, end in ends.items() if end.kind == "interrupted"]
            for rank in ranks:
                whole = self._fetched(job, rank)
                if whole is not None:
                    error = ends[ranks[0]].error
                    if kind == "failed" and error is not None:
                        where = f"rank {ranks[0]} on worker {job.placement.addresses[ranks[0]]} raised this"
                        error.add_note(where)
                    return replace(whole, kind=kind, error=error)
            if kind == "failed" and ranks:
                return ends[ranks[0]]
        gone = next((end.error for end in ends.values() if end.error is not None), None)
        return Outcome("lost", 0, error=gone or PeerLost("all workers of the training were lost"))

    def _fetched(self, job: Job, rank: int) -> Outcome | None:
        """Return the whole outcome of a rank from its worker; None if it is not there any more."""
        address = job.placement.addresses[rank]
        if address not in self._client.nthreads():
            return None
        whole: Outcome | None = self._call(streams.kept, job.group, workers=[address]).get(address)
        return whole

    def _on_workers(self, function: Callable[..., Any], job: Job, *arguments: Any) -> None:
        """Call a function on those workers of a job that are there."""
        there = [address for address in job.placement.addresses if address in self._client.nthreads()]
        self._call(function, job.group, *arguments, workers=there)

    def _ask(self, function: Callable[..., Any], *arguments: Any, workers: list[str]) -> dict[str, Any]:
        """Call a function that needs no work on workers; return the answers of those that are not frozen."""
        frozen = self._client.run_on_scheduler(unseen, self._soon)
        awake = [address for address in workers if address not in frozen]
        return self._call(function, *arguments, workers=awake, timeout=self._soon)

    def _call(
        self, function: Callable[..., Any], *arguments: Any, workers: list[str], timeout: float | None = None
    ) -> dict[str, Any]:
        """Call a function on workers, and return their answers; none if one does not answer in time."""
        if not workers:
            return {}
        try:
            answers: dict[str, Any] = self._client.run(
                function,
                *arguments,
                workers=workers,
                on_error="ignore",
                callback_timeout=timeout or self._timeout,
            )
        except TimeoutError:
            return {}
        return answers
