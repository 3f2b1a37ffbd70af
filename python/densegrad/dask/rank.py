"""What a rank of a training does on its worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from densegrad import files
from densegrad.dask.packages import imported
from densegrad.dask.placement import Partition, Placement, blocks_of
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
        Whether rank 0 writes checkpoints for another attempt.
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
        "done", "lost" if another rank was lost, "failed" with an error of this rank, "interrupted" by another
        rank, or "gone" with its worker.
    rank : int
    steps : int
        Updates made.
    error : BaseException or None
    trainer : Trainer or None
    unfinished : bytes or None
        Of rank 0 after a loss: the contents of the checkpoint from which another attempt goes on.
    """

    kind: str
    rank: int
    steps: int = 0
    error: BaseException | None = None
    trainer: Trainer | None = None
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
    comm = WorkerCommunicator(
        worker, job.group, rank, job.placement.addresses, job.placement.cuts, job.timeout
    )
    kind = "done"
    error: BaseException | None = None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        try:
            options = dict(job.options)
            checkpoint = mail.delivered(job.group)
            if checkpoint is not None:
                path.write_bytes(checkpoint)
                _load(trainer, path)
            if job.recover:
                options.update(checkpoint=path, resume=checkpoint is not None)
            comm.connect()
            trainer.comm = comm
            if rank == 0:
                mail.checkpoint(job.group, path)
                # All ranks end with the epoch at whose end rank 0 sees the request.
                stops = partial(_asked_to_stop, mail, job.group)
                options["callbacks"] = [*options.get("callbacks", ()), stops]
            if validation is not None:
                options["validation"] = blocks_of(validation)
            X, target, weight = blocks_of(parts)
            trainer.fit(X, target, sample_weight=weight, **options)
        except PeerLost as lost:
            kind, error = "lost", lost
        except Interrupted:
            kind = "interrupted"
        except BaseException as failure:
            kind, error = "failed", failure
        finally:
            comm.close()
        trainer.comm = None
        unfinished = path.read_bytes() if kind == "lost" and path.exists() else None
    return Outcome(kind, rank, trainer.steps, error, trainer, unfinished)


def _load(trainer: Trainer, path: Path) -> None:
    """Give a trainer the state in a checkpoint: ranks that meet have made equally many updates."""
    schedule = None if files.is_writable(trainer.schedule) else trainer.schedule
    stored = Trainer.load(path, loss=trainer.network.custom_loss, schedule=schedule)
    trainer.network.parameters = stored.network.parameters
    trainer.load_state_dict(stored.state_dict())


def _asked_to_stop(mail: Mail, group: str, epoch: int, logs: dict[str, float]) -> bool:
    """Tell whether the client asked the training to end: a callback."""
    return mail.stops(group)
