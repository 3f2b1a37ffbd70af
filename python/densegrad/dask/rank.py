"""What a rank of a training does on its worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from densegrad.dask.packages import imported
from densegrad.dask.placement import Placement
from densegrad.dask.rows import Partition, blocks_of
from densegrad.dask.streams import Mail, WorkerCommunicator
from densegrad.training.communicator import Interrupted, PeerLost
from densegrad.training.trainer import Trainer


@dataclass(frozen=True)
class Job:
    """A training: the same for all ranks.

    Attributes
    ----------
    group : str
        Its name; another attempt has another one.
    placement : Placement
    workers : list of str
        Names of the workers' processes, by rank: a worker that was started again is another one.
    timeout : float
        Seconds that a movement between ranks may take.
    recover : bool
        Whether the ranks write checkpoints for another attempt.
    options : dict
        Further arguments of `Trainer.fit`.
    """

    group: str
    placement: Placement
    workers: list[str]
    timeout: float
    recover: bool
    options: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How a rank ended.

    Attributes
    ----------
    kind : str
        "done", "lost" if another rank was lost, "failed" with an error of this rank, "stopped" by the client,
        "interrupted" by another rank, or "gone" with its worker.
    rank : int
    steps : int
        Updates made.
    error : BaseException or None
    trainer : Trainer or None
    silent : tuple of int
        Ranks that have not answered within the time-out.
    unfinished : bytes or None
        After a loss or a stop: the contents of the checkpoint from which another attempt goes on.
    """

    kind: str
    rank: int
    steps: int = 0
    error: BaseException | None = None
    trainer: Trainer | None = None
    silent: tuple[int, ...] = ()
    unfinished: bytes | None = None

    def brief(self) -> Outcome:
        """Return this without what may be large."""
        return replace(self, trainer=None, unfinished=None)


def train_rank(
    job: Job,
    rank: int,
    trainer: Trainer,
    parts: Sequence[Partition],
    validation: Sequence[Partition] | None,
) -> Outcome:
    """Train as one rank, in a task of the worker that it is for; the worker keeps the whole outcome."""
    worker = imported("distributed").get_worker()
    if worker.id != job.workers[rank]:
        return Outcome("gone", rank)
    outcome = _outcome(job, worker, rank, trainer, parts, validation)
    Mail.of(worker).keep(job.group, outcome)
    return outcome.brief()


def _outcome(
    job: Job,
    worker: Any,
    rank: int,
    trainer: Trainer,
    parts: Sequence[Partition],
    validation: Sequence[Partition] | None,
) -> Outcome:
    trainer.n_threads = trainer.n_threads or job.placement.threads[rank]
    mail = Mail.of(worker)
    mail.begin(job.group)
    comm = WorkerCommunicator(
        worker, job.group, rank, job.placement.addresses, job.placement.cuts, job.timeout
    )
    kind = "done"
    error: BaseException | None = None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        try:
            options = dict(job.options)
            if job.recover:
                options.update(checkpoint=path)
            checkpoint = mail.delivered(job.group)
            if checkpoint is not None:
                path.write_bytes(checkpoint)
            comm.connect()
            trainer.comm = comm
            if rank == 0:
                mail.checkpoint(job.group, path)
            if validation is not None:
                options["validation"] = blocks_of(validation)
            X, target, weight = blocks_of(parts)
            trainer.fit(X, target, sample_weight=weight, **options)
        except PeerLost as lost:
            kind, error = "lost", lost
        except Interrupted:
            kind = "interrupted"
        except BaseException as failure:
            asked = comm.interrupted and isinstance(failure, KeyboardInterrupt)
            kind, error = ("stopped", None) if asked else ("failed", failure)
        finally:
            comm.close()
        trainer.comm = None
        unfinished = path.read_bytes() if kind in ("lost", "stopped") and path.exists() else None
    return Outcome(kind, rank, trainer.steps, error, trainer, comm.silent, unfinished)
