"""Training over the workers of a cluster, from the client's side."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

from densegrad import _validation
from densegrad.dask.attempts import Attempts
from densegrad.dask.packages import imported
from densegrad.dask.rank import Outcome
from densegrad.dask.rows import Rows
from densegrad.training.communicator import PeerLost
from densegrad.training.history import History
from densegrad.training.trainer import Trainer

_LOG = logging.getLogger("densegrad.dask")

_FUTILE = 3  # attempts in a row without an update after which training ends


def train(
    client: Any,
    trainer: Trainer,
    X: Any,
    target: Any,
    *,
    sample_weight: Any = None,
    validation: Sequence[Any] | None = None,
    recover: bool | Literal["grow"] = True,
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
    recover : bool or "grow", default True
        Continue without the workers that are lost, and with those that have joined by then. "grow": also
        continue with workers as soon as they join. False: raise `PeerLost`.
    timeout : float, default 300
        Seconds for which a rank waits for another one, and for which a worker may be busy or paused.
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
        If a worker is lost and `recover` is False, or if training cannot continue without it. If the
        scheduler is lost, as soon as Dask itself gives it up.
    TimeoutError
        If a worker does not begin its part within `timeout`.
    KeyboardInterrupt
        On Ctrl-C. All workers end before the next update, and the trainer keeps those made so far. A second
        Ctrl-C ends at once, and the trainer is unchanged.
    """
    if not isinstance(trainer, Trainer):
        raise TypeError(f"trainer must be a Trainer; got {type(trainer).__name__}")
    distributed = imported("distributed")
    if not isinstance(client, distributed.Client):
        raise TypeError(f"client must be a distributed.Client; got {type(client).__name__}")
    if client.asynchronous:
        raise ValueError(
            "client must not be asynchronous; make a second one for this call, distributed.Client(address)"
        )
    if recover not in (True, False, "grow"):
        raise ValueError(f'recover must be True, False or "grow"; got {recover!r}')
    timeout = _validation.real("timeout", timeout, 0, closed="neither")
    for name in ("checkpoint", "checkpoint_every", "resume"):
        if name in options:
            raise TypeError(
                f"{name} is not for a cluster: its workers keep the state of the training themselves"
            )
    if not client.nthreads():
        raise ValueError("client must be of a cluster with workers; got one without")
    spec = trainer.network.spec
    given = Rows(client, "X", X, target, sample_weight, spec, timeout)
    judged = None
    if validation is not None:
        if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
            raise TypeError(
                "validation must be (X, target) or (X, target, sample_weight) of Dask collections"
            )
        X_val, target_val, weight_val = (*validation, None)[:3]
        judged = Rows(client, "validation", X_val, target_val, weight_val, spec, timeout)
        judged.load()
    given.load()
    run = Attempts(client, trainer, given, judged, timeout, recover, options)
    end: Outcome | None = None
    most_steps, futile = -1, 0
    with client.as_current(), _bar(client, progress, options) as callback:
        if callback is not None:
            options["callbacks"] = [*options.get("callbacks", ()), callback]
        while True:
            try:
                end = run.attempt()
            except BaseException as error:
                _take(trainer, end)
                if isinstance(error, OSError) and client.status != "running":
                    raise PeerLost(
                        "the scheduler does not answer any more; the trainer keeps the updates made before"
                        " its workers last began"
                    ) from error
                raise
            if end.kind == "stopped" and not run.interrupted:
                _LOG.info(
                    "training goes on with %d workers after %d updates", len(client.nthreads()), end.steps
                )
                continue
            if end.kind != "lost":
                break
            futile = 0 if end.steps > most_steps else futile + 1
            most_steps = max(most_steps, end.steps)
            if not recover or run.interrupted or futile == _FUTILE:
                break
            _LOG.warning("%s; training goes on without it after %d updates", end.error, end.steps)
    _take(trainer, end)
    if run.interrupted:
        raise KeyboardInterrupt
    if end.error is not None:
        raise end.error
    assert trainer.history is not None
    return trainer.history


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
