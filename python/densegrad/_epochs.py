"""The epochs of `Trainer.fit`: what each of them trains on, how it is judged, and what ends the fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad import _arrays, _validation, schedules
from densegrad.history import Best, Callback, History, ProgressBar, ask_callbacks, checked_callbacks
from densegrad.samples import Samples, nonempty, samples_of

if TYPE_CHECKING:
    from densegrad.network import Network
    from densegrad.trainer import Trainer


def fit(
    trainer: Trainer,
    X: Any,
    target: Any,
    sample_weight: Any,
    *,
    epochs: int,
    validation: Sequence[Any] | None,
    scoring: Callable[[Trainer], float] | None,
    best: Best,
    max_time: float | None,
    callbacks: Iterable[Callback],
    progress: bool,
) -> History:
    """Train for some epochs; the parameters are those of `Trainer.fit`."""
    network = trainer.network
    epochs = _validation.integer("epochs", epochs, 1)
    end = math.inf if max_time is None else monotonic() + _validation.real("max_time", max_time, 0)
    validation_samples = _validation_samples(network, validation)
    callbacks = checked_callbacks(callbacks)
    if scoring is not None and not callable(scoring):
        raise TypeError(f"scoring must be a callable or None; got {scoring!r}")
    progress = _validation.boolean("progress", progress)
    run = _runner(trainer, X, target, sample_weight, epochs, end)
    trainer._first_step = trainer.steps
    history = trainer.history = History()
    with ProgressBar(epochs, progress) as bar:
        for epoch in range(epochs):
            history.stopped = run(history)
            if len(history.loss) == epoch:  # no time for a single update
                break
            if not math.isfinite(history.loss[-1]):
                raise divergence(network)
            if validation_samples is not None:
                loss = network.evaluate(validation_samples, n_threads=trainer.n_threads)
                history.validation_loss.append(loss)
            if scoring is not None:
                if not _arrays.all_finite(network.parameters):
                    raise divergence(network)
                history.score.append(_validation.score(scoring(trainer), epoch))
            monitored = -history.score[-1] if history.score else (history.validation_loss or history.loss)[-1]
            out_of_patience = best.see(epoch, monitored, network)
            history.best_epoch = best.epoch
            if isinstance(trainer.schedule, schedules.Schedule) and trainer.schedule.after_epoch(
                trainer._memory, monitored
            ):
                history.stopped = history.stopped or "schedule"
            if out_of_patience:
                history.stopped = history.stopped or "patience"
            if callbacks or progress:
                logs = history.last()
                bar.update(logs)
                if ask_callbacks(callbacks, epoch, logs):
                    history.stopped = history.stopped or "callback"
            if not history.stopped and monotonic() >= end:
                history.stopped = "max_time"
            if history.stopped:
                break
    history.stopped = history.stopped or "epochs"
    best.restore(network)
    if not _arrays.all_finite(network.parameters):
        raise divergence(network)
    return history


def divergence(network: Network, rate: str = "learning rate") -> ValueError:
    """Return the error of a training whose weights are no numbers any more; `rate` is what sets its steps."""
    own_loss = (
        " Or the loss, a function of your own, returned NaN or infinity, or derivatives that are not those of"
        " its losses."
    )
    return ValueError(
        "Solver produced non-finite parameter weights. The input data may contain large values and need to be"
        f" preprocessed. Try columns of X scaled to mean 0 and variance 1, a smaller {rate}, or clip_norm=1."
        + ("" if network.custom_loss is None else own_loss)
    )


def _validation_samples(network: Network, validation: Sequence[Any] | None) -> Samples | None:
    if validation is None:
        return None
    if isinstance(validation, Samples):
        X, target, sample_weight = validation, None, None
    elif isinstance(validation, (tuple, list)) and len(validation) in (2, 3):
        X, target, sample_weight = (*validation, None)[:3]
    else:
        raise TypeError(
            "validation must be (X, target) or (X, target, sample_weight); "
            f"got {_validation.outline(validation)}"
        )
    try:
        samples = nonempty(samples_of(network.spec, X, target, sample_weight))
        samples.check_finite()
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"validation: {error}") from error
    return samples


def _runner(
    trainer: Trainer, X: Any, target: Any, sample_weight: Any, epochs: int, end: float
) -> Callable[[History], str]:
    """Return what trains for one epoch, notes its loss, and returns why the fit must end, or ""."""
    if target is None and not isinstance(X, Samples):
        return _batches_runner(trainer, _checked_batches(X, epochs), sample_weight, epochs, end)
    samples = nonempty(samples_of(trainer.network.spec, X, target, sample_weight))
    samples.check_finite()
    batch_size = trainer._batch_size(samples.n_rows)
    n_steps = math.ceil(samples.n_rows / batch_size)
    last = trainer.steps + epochs * n_steps

    def run(history: History) -> str:
        rates = trainer._learning_rates(n_steps, last)
        order = trainer._order(samples.n_rows)
        began = monotonic()
        loss, steps_done, stopped = trainer._run(samples, order, rates, batch_size, end)
        if steps_done == 0:
            return "max_time"
        history.seconds.append(monotonic() - began)
        history.loss.append(loss)
        history.learning_rate.append(float(rates[-1]))
        trainer.epochs += 1
        return "max_time" if stopped else ""

    return run


def _batches_runner(
    trainer: Trainer, batches: Iterable[Any], sample_weight: Any, epochs: int, end: float
) -> Callable[[History], str]:
    if sample_weight is not None:
        raise ValueError("sample_weight must come with each batch: (X, target, sample_weight)")
    last = trainer.steps + epochs * len(batches) if isinstance(batches, Sized) else None

    def run(history: History) -> str:
        began, total, n_rows = monotonic(), 0.0, 0
        rates = np.zeros(1)
        for samples in _samples_of_batches(trainer.network, batches):
            rates = trainer._learning_rates(1, last)
            loss, _, _ = trainer._run(samples, None, rates, samples.n_rows)
            total += loss * samples.n_rows
            n_rows += samples.n_rows
            if monotonic() >= end:
                break
        if n_rows == 0:
            raise ValueError("X must give at least one batch of at least one row in each epoch; got none")
        history.seconds.append(monotonic() - began)
        history.loss.append(total / n_rows)
        history.learning_rate.append(float(rates[-1]))
        trainer.epochs += 1
        return ""

    return run


def _checked_batches(X: Any, epochs: int) -> Iterable[Any]:
    if hasattr(X, "shape") or isinstance(X, (str, bytes)) or not isinstance(X, Iterable):
        raise TypeError(
            f"target must be given with X, unless X is an iterable of batches; got X of type {type(X)}"
        )
    if epochs > 1 and iter(X) is X:
        raise ValueError(
            f"X is an iterator, which can be gone over only once, for {epochs} epochs: give something that "
            "starts anew at each iter(X), such as a list or a class with __iter__"
        )
    return X


def _samples_of_batches(network: Network, batches: Iterable[Any]) -> Iterator[Samples]:
    for batch in batches:
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            raise TypeError(
                "X must come with a target, or give batches: (X, target) or (X, target, sample_weight); "
                f"got a batch that is {_validation.outline(batch)}"
            )
        samples = samples_of(network.spec, batch[0], batch[1], batch[2] if len(batch) == 3 else None)
        if samples.n_rows:
            samples.check_finite()
            yield samples
