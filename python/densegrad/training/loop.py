"""The one loop over the epochs, which `Trainer.fit` and the estimators drive."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

from densegrad.network import Network
from densegrad.training.history import Epoch
from densegrad.training.sources import Source
from densegrad.training.stopping import Stopping

#: Returns the loss of the validation rows and their score, each None if there is none.
Validate: TypeAlias = Callable[[int], tuple[float | None, float | None]]


def epochs(
    network: Network,
    source: Source,
    stopping: Stopping,
    *,
    limit: int,
    done: int = 0,
    deadline: float = math.inf,
    validate: Validate | None = None,
    after_epoch: Callable[[Epoch], bool] | None = None,
) -> Iterator[Epoch]:
    """Train epoch after epoch, and yield the results of each.

    The network has the weights of the epoch that is yielded. Leaving the loop ends the training. The last
    epoch says in `stopped` why the training ends: "max_time", "schedule", "patience", or "diverged". An epoch
    that diverges is neither validated nor judged. If the time is up before the first update ends, no epoch is
    yielded.

    Parameters
    ----------
    network : Network
        The one that `source` trains.
    source : Source
        Makes the updates.
    stopping : Stopping
        Judges the epochs.
    limit : int
        Largest number of epochs, with those of `done`.
    done : int
        Epochs that an earlier run of the same training has done.
    deadline : float
        Reading of `time.monotonic` that ends the training, also in the middle of an epoch. It is looked at
        some 20 times a second, so a first epoch that is shorter is trained in full.
    validate : callable or None
        Called with the epoch's number after its updates.
    after_epoch : callable or None
        Sees each epoch; True ends the training: a schedule.
    """
    for number in range(done, limit):
        if number > done and source.is_late(deadline):
            return
        run = source.epoch(deadline)
        if run.n_rows == 0:
            return
        epoch = Epoch(number, run.loss, run.learning_rate, run.seconds, run.n_rows)
        if not math.isfinite(run.loss):
            epoch.stopped = "diverged"
            yield epoch
            return
        if validate is not None:
            epoch.validation_loss, epoch.score = validate(number)
        out_of_patience = stopping.update(epoch, network)
        ended_by_schedule = after_epoch is not None and after_epoch(epoch)
        if run.time_is_up:
            epoch.stopped = "max_time"
        elif ended_by_schedule:
            epoch.stopped = "schedule"
        elif out_of_patience:
            epoch.stopped = "patience"
        yield epoch
        if epoch.stopped:
            return


def advice_on_divergence(rate: str, custom_loss: bool) -> str:
    """Return advice after a training whose weights became NaN or infinite; `rate` sets its steps."""
    advice = (
        "The input data may contain large values and need to be preprocessed. Try columns of X scaled to mean"
        f" 0 and variance 1, a smaller {rate}, or clip_norm=1."
    )
    if custom_loss:
        advice += (
            " Or the custom loss returned NaN or infinity, or derivatives that are not those of its losses."
        )
    return advice
