"""Training over the workers of a cluster, from the client's side."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import Any

from densegrad import _validation
from densegrad.dask import streams
from densegrad.dask.packages import imported
from densegrad.dask.placement import (
    Placement,
    Summary,
    partitions,
    pieces,
    placed,
    rows_of_partition,
    summary,
)
from densegrad.dask.rank import Job, Outcome, train_rank
from densegrad.training.communicator import PeerLost
from densegrad.training.history import History
from densegrad.training.trainer import Trainer

_LOG = logging.getLogger("densegrad.dask")

_POLL = 0.2  # seconds between two looks at who is there
_LOOK = 5.0  # seconds between two looks for a new checkpoint
_FUTILE = 3  # attempts in a row without an update after which training ends


def train(
    client: Any,
    trainer: Trainer,
    X: Any,
    target: Any,
    *,
    sample_weight: Any = None,
    validation: Sequence[Any] | None = None,
    recover: bool = True,
    timeout: float = 300.0,
    progress: bool = False,
    **options: Any,
) -> History:
    """Fit a trainer to Dask collections, on all workers of a cluster.

    Any number of workers gives the same bits as ``trainer.fit`` on one machine with the same `shards`. If a
    worker is lost, the others continue from the last update, with the same bits. Dask computes the lost rows
    again.

    Parameters
    ----------
    client : distributed.Client
    trainer : Trainer
        With ``shards=``; no more workers than shards take part. The network and the trainer are changed in
        place, as by `fit`.
    X : dask.array.Array or dask.dataframe.DataFrame
        Rows, dense or with blocks of CSR. Chunks may be of unknown size or empty.
    target : dask.array.Array, dask.dataframe.Series or dask.dataframe.DataFrame
        As for `Network.samples`, with the partitions of `X`.
    sample_weight : like target, or None
    validation : (X, target) or (X, target, sample_weight) or None
        Dask collections of validation rows.
    recover : bool, default True
        Continue without the workers that are lost. False: raise `PeerLost`.
    timeout : float, default 300
        Seconds for which a rank waits for another one.
    progress : bool, default False
        Show a progress bar here.
    **options
        Further arguments of `Trainer.fit`, such as `epochs`, `patience`, `max_time` and `callbacks`.
        Callbacks run on one worker.

    Returns
    -------
    History

    Raises
    ------
    ImportError
        If Dask is not installed.
    TypeError, ValueError
        If an argument is not as described. Errors of rows name the partition.
    densegrad.distributed.PeerLost
        If a worker is lost and `recover` is False, or if training cannot continue without it.
    KeyboardInterrupt
        On Ctrl-C. All workers end with the epoch, and the trainer keeps the updates made so far. A second
        Ctrl-C ends at once, and the trainer is unchanged.
    """
    if not isinstance(trainer, Trainer):
        raise TypeError(f"trainer must be a Trainer; got {type(trainer).__name__}")
    distributed = imported("distributed")
    if not isinstance(client, distributed.Client):
        raise TypeError(f"client must be a distributed.Client; got {type(client).__name__}")
    if client.asynchronous:
        raise ValueError("client must not be asynchronous")
    recover = _validation.boolean("recover", recover)
    timeout = _validation.real("timeout", timeout, 0, closed="neither")
    for name in ("checkpoint", "checkpoint_every", "resume"):
        if name in options:
            raise TypeError(
                f"{name} is not for a cluster: its workers keep the state of the training themselves"
            )
    given = _given_rows(client, trainer, "X", X, target, sample_weight)
    judged = None
    if validation is not None:
        if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
            raise TypeError(
                "validation must be (X, target) or (X, target, sample_weight) of Dask collections"
            )
        judged = _given_rows(client, trainer, "validation", *(*validation, None)[:3])
    run = _Run(client, trainer, given, judged, timeout, recover, options)
    end: Outcome | None = None
    most_steps, futile = -1, 0
    with client.as_current(), _bar(client, progress, options) as callback:
        if callback is not None:
            options["callbacks"] = [*options.get("callbacks", ()), callback]
        while True:
            try:
                end = run.attempt()
            except BaseException:
                _take(trainer, end)
                raise
            if end.kind != "lost":
                break
            futile = 0 if end.steps > most_steps else futile + 1
            most_steps = max(most_steps, end.steps)
            if not recover or run.interrupted or futile == _FUTILE:
                break
            _LOG.warning("%s; training goes on without it", end.error)
    _take(trainer, end)
    if run.interrupted:
        raise KeyboardInterrupt
    if end.error is not None:
        raise end.error
    assert trainer.history is not None
    return trainer.history


@dataclass(frozen=True)
class _Rows:
    """Partitions on the workers, and their sizes."""

    partitions: list[Any]
    n_rows: list[int]

    @property
    def total(self) -> int:
        return sum(self.n_rows)


def _given_rows(client: Any, trainer: Trainer, name: str, X: Any, target: Any, sample_weight: Any) -> _Rows:
    workers = sorted(_threads(client))
    futures = partitions(client, name, X, target, sample_weight, trainer.network.dtype, workers)
    summaries: list[Summary] = client.gather([client.submit(summary, part, False) for part in futures])
    return _Rows(futures, [part.n_rows for part in summaries])


def _threads(client: Any) -> dict[str, int]:
    """Return the threads of each worker that is there, by address."""
    threads: dict[str, int] = client.nthreads()
    if not threads:
        raise ValueError("client must be of a cluster with workers; got one without")
    return threads


class _Run:
    """The attempts of one training; each is made by the workers that are there when it begins."""

    def __init__(
        self,
        client: Any,
        trainer: Trainer,
        given: _Rows,
        judged: _Rows | None,
        timeout: float,
        recover: bool,
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
        self._held: dict[str, Sequence[str]] = {}  # by the key of a partition
        self._written = 0.0  # when the checkpoint was written, of the attempt that is under way

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._asked

    def attempt(self) -> Outcome:
        """Train to the end, or until a worker is lost; return how it ended, with the trainer."""
        client, distributed = self._client, imported("distributed")
        names = self._call(streams.install, workers=list(_threads(client)))
        threads = {address: count for address, count in _threads(client).items() if address in names}
        if not threads:
            raise PeerLost(f"no worker has answered for {self._timeout:g} s")
        held = [dict.fromkeys(holders, 1) for holders in self._holders()]
        placement = placed(self._trainer.shards, threads, held, self._given.n_rows)
        job = Job(
            f"densegrad-{uuid.uuid4().hex}",
            placement,
            [names[address] for address in placement.addresses],
            self._timeout,
            self._recover,
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
                    self._on_workers(streams.stop, job)
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

    def _holders(self) -> list[Sequence[str]]:
        """Return the workers that hold each partition."""
        self._check_rows_are_there()
        self._held = self._client.who_has(self._given.partitions)
        return [self._held[part.key] for part in self._given.partitions]

    def _submit(self, job: Job) -> list[Any]:
        """Start a task for each rank, and return their futures."""
        client, addresses = self._client, job.placement.addresses
        if self._checkpoint is not None:
            self._on_workers(streams.deliver, job, self._checkpoint)
        ranks = range(len(addresses))
        parts = [self._parts(self._given, job.placement, rank) for rank in ranks]
        judged = None
        if self._judged is not None:
            judged = [self._parts(self._judged, job.placement, rank) for rank in ranks]
        # A rank takes a thread that these may need: they come first.
        self._computed([part for run in [*parts, *(judged or ())] for part in run])
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

    def _computed(self, parts: list[Any]) -> None:
        """Wait until all parts are there; an error names a partition."""
        distributed = imported("distributed")
        with suppress(distributed.client.FuturesCancelledError):
            distributed.wait(parts)
        self._check_rows_are_there()
        for part in parts:
            if part.status == "error":
                raise part.exception()

    def _check_rows_are_there(self) -> None:
        """Raise RuntimeError if rows are lost that Dask cannot make again."""
        for name, rows in (("X", self._given), ("validation", self._judged)):
            for number, part in enumerate([] if rows is None else rows.partitions):
                if part.cancelled():
                    where = ", ".join(self._held.get(part.key, ())) or "its worker"
                    raise RuntimeError(
                        f"partition {number} of {name} was lost with {where} and cannot be computed again:"
                        " `client.scatter` keeps no way to make it. Read the rows on the workers, by"
                        " dask.dataframe.read_parquet or the like. The trainer keeps the epochs made so far"
                    )

    def _parts(self, rows: _Rows, placement: Placement, rank: int) -> list[Any]:
        """Return futures of the rows of a rank: partitions, or parts of those that are cut."""
        found = []
        for number, first, last in pieces(rows.n_rows, *placement.rows(rank, rows.total)):
            part = rows.partitions[number]
            if last - first < rows.n_rows[number]:
                # Cut where the partition lies, so that only what is wanted travels.
                part = self._client.submit(rows_of_partition, part, first, last, pure=False)
            found.append(part)
        return found

    def _wait(self, job: Job, futures: list[Any], ends: dict[int, Outcome]) -> None:
        """Wait until each rank has ended or is lost, and note how, without the trainers."""
        client, distributed = self._client, imported("distributed")
        addresses = job.placement.addresses
        first_end = None
        self._written, looked = 0.0, monotonic()
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
            there = _threads(self._client)
            overdue = first_end is not None and monotonic() > first_end + self._timeout
            for rank, address in enumerate(addresses):
                if rank in ends or not (overdue or address not in there):
                    continue
                what = "is gone" if address not in there else f"has not answered for {self._timeout:g} s"
                if address in there:
                    # It lives and holds rows: the scheduler forgets it, so that they are made elsewhere.
                    client.sync(client.scheduler.unregister, address=address, stimulus_id="densegrad")
                ends[rank] = Outcome(
                    "gone", rank, error=PeerLost(f"rank {rank} on worker {address} {what}", rank)
                )
                self._client.cancel([futures[rank]])
            if self._recover and 0 not in ends and monotonic() > looked + _LOOK:
                self._look_at_checkpoint(job)
                looked = monotonic()
            pending = [future for rank, future in enumerate(futures) if rank not in ends]
            if pending:
                # A task that the scheduler gave up counts as done: its end is looked at above.
                with suppress(TimeoutError, distributed.client.FuturesCancelledError):
                    distributed.wait(pending, timeout=_POLL, return_when="FIRST_COMPLETED")

    def _look_at_checkpoint(self, job: Job) -> None:
        """Get the newest checkpoint of rank 0, whose worker may be lost next."""
        address = job.placement.addresses[0]
        found = self._call(streams.newest_checkpoint, job.group, self._written, workers=[address]).get(
            address
        )
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
        for kind in ("failed", "done", "lost"):
            ranks = sorted(
                rank for rank, end in ends.items() if end.kind == kind
            )  # rank 0 has the checkpoint
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
        if address not in _threads(self._client):
            return None
        whole: Outcome | None = self._call(streams.kept, job.group, workers=[address]).get(address)
        return whole

    def _on_workers(self, function: Callable[..., Any], job: Job, *arguments: Any) -> None:
        """Call a function on those workers of a job that are there."""
        there = [address for address in job.placement.addresses if address in _threads(self._client)]
        self._call(function, job.group, *arguments, workers=there)

    def _call(self, function: Callable[..., Any], *arguments: Any, workers: list[str]) -> dict[str, Any]:
        """Call a function on workers, and return their answers; none if one does not answer in time."""
        if not workers:
            return {}
        try:
            answers: dict[str, Any] = self._client.run(
                function, *arguments, workers=workers, on_error="ignore", callback_timeout=self._timeout
            )
        except TimeoutError:
            return {}
        return answers


def _take(trainer: Trainer, end: Outcome | None) -> None:
    """Give the trainer what the workers have trained, if there is anything."""
    if end is None or end.trainer is None:
        return
    trained = end.trainer
    trainer.network.parameters = trained.network.parameters
    trainer.load_state_dict(trained.state_dict())
    trainer.history = trained.history


@contextmanager
def _bar(client: Any, progress: bool, options: dict[str, Any]) -> Iterator[Callable[..., None] | None]:
    """Show a progress bar, moved by the callback that this gives for rank 0."""
    if not _validation.boolean("progress", progress):
        yield None
        return
    from tqdm import tqdm

    topic = f"densegrad-{uuid.uuid4().hex}"
    bar = tqdm(total=options.get("epochs", 10), unit="epoch")

    def move(event: tuple[float, dict[str, float]]) -> None:
        bar.set_postfix({name: f"{value:.4g}" for name, value in event[1].items()}, refresh=False)
        bar.update()

    client.subscribe_topic(topic, move)
    try:
        yield partial(_log, topic)
    finally:
        client.unsubscribe_topic(topic)
        bar.close()


def _log(topic: str, epoch: int, logs: dict[str, float]) -> None:
    """Tell the client the figures of an epoch: a callback."""
    imported("distributed").get_worker().log_event(topic, logs)
