"""Trainer: an optimizer with its state, batches, orders and a schedule; updates, epochs and fits."""

from __future__ import annotations

import math
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densegrad import _core, _validation
from densegrad._optimizers import LBFGS, Adam, AnyOptimizer
from densegrad.network import Network
from densegrad.samples import Samples, nonempty, samples_of
from densegrad.training.arguments import (
    checked_limit,
    checked_optimizer,
    checked_order,
    checked_rhythm,
    checked_settings,
    checked_shards,
    checked_validation,
    drawn_seed,
)
from densegrad.training.averaged_rows import AveragedRows
from densegrad.training.checkpoint import Checkpoint, Progress, Saving
from densegrad.training.communicator import Communicator, Interrupted, PeerLost
from densegrad.training.descent import GradientDescent, Part, Regularisation
from densegrad.training.history import History
from densegrad.training.loop import Validate, advice_on_divergence
from densegrad.training.loop import epochs as epochs_of
from densegrad.training.minimisation import FullBatch, Minimisation, check_shards, descent_of, refuse
from densegrad.training.observers import Callback, Observers, StepObservers, callbacks_from
from densegrad.training.ranks import Ranks
from densegrad.training.rates import AnySchedule
from densegrad.training.sharded_rows import RowsInShards, ShardedRows, validation_loss
from densegrad.training.shards import rows_of_shard
from densegrad.training.sources import Batches, Rows, checked_batches, is_iterable_of_batches
from densegrad.training.stopping import Patience
from densegrad.training.trainer_state import TrainerState, together
from densegrad.typing import OptimizerName, ScheduleName

AnySource: TypeAlias = Rows | ShardedRows | Batches | FullBatch
_Value = TypeVar("_Value")


class Trainer(TrainerState):
    """Trains a network by gradient descent on mini-batches, or by L-BFGS on all rows.

    Parameters
    ----------
    network : Network
        Changed in place.
    optimizer : SGD, Adam, AdamW, NAdam, RMSprop, Adagrad, Lion, LBFGS or str, default Adam()
        A name, such as "adam", stands for an optimizer with its defaults. With LBFGS an epoch is one
        iteration over all rows. It takes no mini-batches, and neither dropout, schedules, `average_every`,
        `l1`, `weight_decay`, `max_norm` nor `clip_norm`; with shards no custom loss.
    batch_size : int or "auto", default "auto"
        Rows in an update; "auto" is min(200, number of rows). The last batch of an epoch may be smaller.
    shuffle : bool, default True
        Take the rows of each epoch in a new random order.
    random_state : int, RandomState, Generator or None
        Source of the orders and of the dropout masks.
    n_threads : int or None
        Largest number of threads; small work uses fewer. None: as many as the process may use. Results are
        bit-identical for any number.
    l2 : float, default 0.0
        Adds l2 / 2 · Σ w² / (sum of the batch's sample weights) to the loss of a batch, without the biases.
    l1 : float, default 0.0
        Adds l1 · Σ |w| / (sum of the batch's sample weights) to the loss of a batch, without the biases.
    weight_decay : float, default 0.0
        Decoupled: each update also makes w ← w - learning rate · weight_decay · w, without the biases.
    max_norm : float or None
        Largest norm of the weights into one unit, without the bias. Each update scales longer ones down.
    clip_norm : float or None
        Gradients with a larger norm, over all weights, are scaled down to this. Applied before the `l1` and
        `l2` penalties, which are not clipped.
    schedule : Schedule, str, callable or None
        How the learning rate changes; see `densegrad.schedules`. A name, such as "cosine", stands for a
        schedule with its defaults. A callable ``(step, n_steps) -> rate`` returns the rate itself. `step`
        counts updates from 0; `n_steps` is the total, or None if it is unknown.
    weight_decay_schedule, dropout_schedule, label_smoothing_schedule : Schedule, str, callable or None
        How the weight decay, the dropout of every layer and the label smoothing of the loss change, in the
        same way. A callable returns the factor. Factors of dropout and label smoothing are in [0, 1]. The
        learning rate multiplies the weight decay as well.
    shards : int, default 1
        Parts that the rows are cut into; each batch takes as many rows of every part. Several ranks, see
        `densegrad.distributed`, may hold the parts, and results do not depend on who does. `batch_size` must
        be a multiple of it; "auto" is then 64 rows of each part. A custom loss is called for one part at a
        time.
    average_every : int or None
        None adds up the gradients of all shards for each update. A number lets each shard train alone for so
        many updates, of `batch_size` / `shards` rows each; then weights and optimizer state of all shards are
        averaged (local SGD). Ranks exchange numbers that much less often.
    comm : Communicator or None
        The ranks that train together, from `densegrad.distributed.connect`. Each of them makes the same
        calls, and gives the rows that `rows_of` tells. Network, random state and optimizer become those of
        rank 0; callbacks, scoring and the checkpoint are those of rank 0.

    Attributes
    ----------
    network : Network
    optimizer : Optimizer
        Assign another of the same class to change its hyperparameters; its state is kept.
    steps, epochs : int
        Updates and epochs done so far.
    history : History or None
        The record of the last fit, even if an error or Ctrl-C ended it.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, or not the same on all ranks.
    PeerLost
        If another rank is gone, from every call that the ranks make together.
    Interrupted
        If another rank has ended such a call by an error or by Ctrl-C.

    Notes
    -----
    A second fit continues the first: optimizer state, counts of steps and epochs, and random state are kept.
    fit(epochs=10) twice equals fit(epochs=20) bit for bit, even if the trainer was pickled in between. The
    schedules `Cosine`, `CosLog`, `FlatCos` and `OneCycle` run over the updates of one fit and begin anew, and
    so does `patience`.
    To continue one fit, give it a `checkpoint`.

    Examples
    --------
    >>> import numpy as np
    >>> from densegrad import Adam, Dense, Network, Trainer
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> net = Network(3, [Dense(8, "tanh"), Dense(1, "identity")], random_state=0)
    >>> history = Trainer(net, Adam(0.01), batch_size=20, random_state=0).fit(
    ...     X, X.sum(axis=1), epochs=20
    ... )
    >>> history.loss[-1] < history.loss[0]
    True
    """

    def __init__(
        self,
        network: Network,
        optimizer: AnyOptimizer | OptimizerName = Adam(),  # noqa: B008 - frozen
        *,
        batch_size: int | Literal["auto"] = "auto",
        shuffle: bool = True,
        random_state: Any = None,
        n_threads: int | None = None,
        l2: float = 0.0,
        l1: float = 0.0,
        weight_decay: float = 0.0,
        max_norm: float | None = None,
        clip_norm: float | None = None,
        schedule: ScheduleName | AnySchedule | None = None,
        weight_decay_schedule: ScheduleName | AnySchedule | None = None,
        dropout_schedule: ScheduleName | AnySchedule | None = None,
        label_smoothing_schedule: ScheduleName | AnySchedule | None = None,
        shards: int = 1,
        average_every: int | None = None,
        comm: Communicator | None = None,
    ) -> None:
        self._ranks = None
        self.shards = checked_shards(shards)
        self.average_every = checked_rhythm(average_every, self.shards)
        ranks = self._ranks_of(comm)
        with together(ranks):
            if not isinstance(network, Network):
                raise TypeError(f"network must be a Network; got {network!r}")
            if not any(layer.trainable for layer in network.layers):
                raise ValueError("network must have a layer that is trainable; all of its layers are frozen")
            self.network = network
            vars(self).update(checked_settings(batch_size, shuffle, n_threads, shards))
            regularisation = Regularisation(
                l2=_validation.real("l2", l2, 0),
                l1=_validation.real("l1", l1, 0),
                weight_decay=_validation.real("weight_decay", weight_decay, 0),
                max_norm=checked_limit("max_norm", max_norm),
                clip_norm=checked_limit("clip_norm", clip_norm),
            )
            random = _validation.random_source(random_state)
            optimizer = checked_optimizer(optimizer)
            if isinstance(optimizer, LBFGS):
                check_shards(network, self.shards, self.average_every)
            draws = self.shards > 1 or any(layer.dropout for layer in network.layers)
            seed = drawn_seed(random) if draws else 0
            self._train_by(descent_of(network, optimizer, regularisation, seed), random, None, {})
            self.schedule = schedule
            self.weight_decay_schedule = weight_decay_schedule
            self.dropout_schedule = dropout_schedule
            self.label_smoothing_schedule = label_smoothing_schedule
            self.history: History | None = None
            self._join(ranks)

    def step(self, X: Any, target: Any, sample_weight: ArrayLike | None = None) -> float:
        """Make one update with all rows of X as its batch.

        Parameters are those of `Network.samples`.

        Returns
        -------
        float
            The loss of the batch before the update, penalties included. With LBFGS that after the iteration.
        """
        with together(self._ranks):
            samples = self._samples(X, target, sample_weight)
            if isinstance(self._descent, Minimisation):
                return self._full_batch(self._descent, samples, StepObservers()).epoch(math.inf).loss
            numbers = self._rates.of_epoch(1)
            if self.average_every is not None:
                raise ValueError("average_every must be None for a single step: take `epoch` or `fit`")
            if self.shards > 1:
                self._check_equal_weights()
                source = self._sharded(samples, sys.maxsize, shuffle=False)
                source.run(numbers)
                return source.so_far.loss
            return self._descent.run(samples, None, numbers, samples.n_rows, self.n_threads).loss

    def epoch(
        self,
        X: Any,
        target: Any = None,
        *,
        sample_weight: ArrayLike | None = None,
        order: ArrayLike | None = None,
        learning_rate: ArrayLike | None = None,
    ) -> float:
        """Go once over the rows, in one call of the core.

        Parameters
        ----------
        X, target, sample_weight
            As for `Network.samples`, or Samples alone.
        order : array-like of int or None
            Row numbers in the order to visit them, some or all. None: a random order, or that of X with
            shuffle=False. With shards all rows, in the manner of `densegrad.distributed.sharded_order`.
        learning_rate : float, array-like of shape (updates,) or None
            None: the optimizer's, with the schedule.

        Returns
        -------
        float
            Mean over the rows of the loss of their batch, penalties included. May be infinite or NaN. With
            LBFGS the loss after the iteration; it stays as it was if the fit would end here.
        """
        with together(self._ranks):
            if target is None and not isinstance(X, Samples) and is_iterable_of_batches(X):
                raise TypeError(
                    "X must be rows, with a target: an iterable of batches is for fit(X, epochs=1)"
                )
            samples = self._samples(X, target, sample_weight)
            rows = None if order is None else checked_order(order)
            if isinstance(self._descent, Minimisation):
                refuse(order=rows, learning_rate=learning_rate)
                source = self._full_batch(self._descent, samples, StepObservers(), self.batch_size)
                return source.epoch(math.inf).loss
            if self.shards > 1:
                loss = self._sharded_epoch(samples, rows, learning_rate)
            else:
                rows = self._drawn_order(samples.n_rows) if rows is None else rows
                n_rows = samples.n_rows if rows is None else len(rows)
                batch_size = self._batch_size(n_rows)
                numbers = self._rates.of_epoch(math.ceil(n_rows / batch_size), learning_rate)
                loss = self._descent.run(samples, rows, numbers, batch_size, self.n_threads).loss
            self._descent.epochs += 1
            return loss

    def _sharded_epoch(
        self, samples: Samples, order: NDArray[np.int64] | None, learning_rate: ArrayLike | None
    ) -> float:
        if order is not None and (self._ranks is not None or len(order) != samples.n_rows):
            raise ValueError(
                f"order must be None with several ranks, and else name {samples.n_rows} rows, as"
                f" sharded_order does; got {len(order)}"
            )
        self._check_equal_weights()
        source = self._sharded(samples, rows_of_shard(self.batch_size, self.shards), self.shuffle)
        source.run(self._rates.of_epoch(source.n_steps, learning_rate), order=order)
        return source.so_far.loss

    def _full_batch(
        self,
        minimisation: Minimisation,
        samples: Samples,
        observers: StepObservers,
        batch_size: int | str = "auto",
    ) -> FullBatch:
        rows, n_rows = None, samples.n_rows
        if self.shards > 1:
            rows = RowsInShards(samples, self.shards, sys.maxsize, self._ranks)
            n_rows = rows.layout.n_rows
        if batch_size != "auto" and int(batch_size) < n_rows:
            raise ValueError(
                f"batch_size must be 'auto' with LBFGS, which takes all {n_rows} rows at once; got"
                f" {batch_size}"
            )
        return FullBatch(minimisation, samples, self.n_threads, observers, rows)

    def _sharded(self, samples: Samples, rows_of_shard: int, shuffle: bool) -> ShardedRows:
        assert isinstance(self._descent, GradientDescent)
        rows = RowsInShards(samples, self.shards, rows_of_shard, self._ranks)
        if self.average_every is None:
            return ShardedRows(self._descent, rows, self._rates, self.n_threads, shuffle)
        return AveragedRows(self._descent, rows, self._rates, self.n_threads, shuffle, self.average_every)

    def fit(
        self,
        X: Any,
        target: Any = None,
        *,
        epochs: int = 10,
        sample_weight: ArrayLike | None = None,
        validation: Sequence[Any] | None = None,
        scoring: Callable[[Trainer], float] | None = None,
        patience: int | None = None,
        tol: float = 1e-4,
        restore_best: bool = True,
        max_time: float | None = None,
        callbacks: Iterable[Callback] = (),
        progress: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1,
        resume: bool = True,
    ) -> History:
        """Train for some epochs.

        Parameters
        ----------
        X, target, sample_weight
            As for `Network.samples`, or Samples alone. Or X is an iterable of mini-batches, (X, target) or
            (X, target, sample_weight). Each makes one update, and each epoch iterates once.
        epochs : int, default 10
        validation : (X, target) or (X, target, sample_weight) or Samples or None
            Validation data, whose loss is computed after each epoch.
        scoring : callable or None
            Called with the trainer after each epoch; returns a number, higher is better.
        patience : int or None
            Ends the fit after this many consecutive epochs without an improvement of more than `tol`. It
            follows the score; without scoring the validation loss; without either the training loss.
        tol : float, default 1e-4
        restore_best : bool, default True
            With `patience`, the network ends with the weights of the best epoch.
        max_time : float or None
            Seconds after which the fit ends, also in the middle of an epoch.
        callbacks : iterable of callables
            Called after each epoch with its number, from 0, and its figures by name. True ends the fit.
            One with an attribute `every_steps` and a method ``after_step(step)``, such as
            ``Diagnostics(…, every_steps=10)``, is also called after each update whose number it divides.
            The numbers are those of `steps`.
        progress : bool, default False
            Show a progress bar.
        checkpoint : str or path-like or None
            A file of this fit, from which the same call continues after a crash. It is replaced in one step.
            A trainer with the same arguments, the same data and this file ends bit for bit as without the
            break. `epochs` is the number for the whole fit. `Trainer.load` reads the file, too.
            With `shards` or LBFGS, Ctrl-C and the loss of a rank leave the updates of the epoch so far in it.
        checkpoint_every : int, default 1
            Epochs from one writing of the file to the next. It is also written when the fit ends. An epoch
            that `max_time` cuts short is not in it.
        resume : bool, default True
            Continue from the file if it exists. A fit that has ended returns at once. False begins anew.

        Returns
        -------
        History

        Raises
        ------
        ValueError
            If an argument is not as described, or X has NaN or infinity. The network is unchanged; with
            mini-batches from an iterable it keeps the updates of the batches before.
            If the loss, the weights or the score become NaN, or loss or weights infinite. The network keeps
            the updates made so far.
            If the file of `checkpoint` is damaged or of another training. Nothing is changed.
        OSError
            If the file of `checkpoint` cannot be written. The one before stays, and the network keeps the
            updates made so far.
        KeyboardInterrupt
            On Ctrl-C, within a fraction of a second; the network keeps the updates made so far.
        """
        with together(self._ranks):
            return self._fit(
                X,
                target,
                epochs,
                sample_weight,
                validation,
                scoring,
                Patience(patience, tol, restore_best),
                max_time,
                callbacks_from(callbacks),
                progress,
                Checkpoint.of(checkpoint, checkpoint_every, resume),
            )

    def _fit(
        self,
        X: Any,
        target: Any,
        epochs: int,
        sample_weight: ArrayLike | None,
        validation: Sequence[Any] | None,
        scoring: Callable[[Trainer], float] | None,
        stopping: Patience,
        max_time: float | None,
        callbacks: tuple[Callback, ...],
        progress: bool,
        saver: Checkpoint | None,
    ) -> History:
        epochs = _validation.integer("epochs", epochs, 1)
        step_observers = StepObservers(callbacks)
        if step_observers and self.shards > 1:
            raise ValueError(
                f"callbacks with every_steps need shards=1; got shards={self.shards}. Let them see epochs"
            )
        deadline = math.inf if max_time is None else monotonic() + _validation.real("max_time", max_time, 0)
        validate = self._validate_by(validation, scoring)
        progress = _validation.boolean("progress", progress)
        if saver is not None:
            self.network.spec.to_json()  # raises if no file can hold the network
        if self._ranks is not None:
            self._ranks.check_equal(
                {
                    **self._settings(),
                    "epochs": epochs,
                    **stopping.settings,
                    "validation is None": validation is None,
                    "scoring is None": scoring is None,
                }
            )
            if self._ranks.rank > 0:
                callbacks, progress = (), False
        is_first = self._ranks is None or self._ranks.rank == 0
        source = self._source(X, target, sample_weight, epochs, step_observers)
        began, so_far = self._begin(source, saver if is_first else None, stopping, epochs)
        assert self.history is not None
        history, in_parts = self.history, source if isinstance(source, (ShardedRows, FullBatch)) else None
        saving = Saving(saver, is_first, began, self._write_checkpoint, self._kept(stopping, so_far))
        last = None if source.n_steps is None else began.first + epochs * source.n_steps
        try:
            with (
                self._rates.over(began.first, last),
                Observers(callbacks, epochs, progress, done=began.epochs) as observers,
            ):
                for epoch in epochs_of(
                    self.network,
                    source,
                    stopping,
                    limit=began.epochs if began.ended else epochs,
                    done=began.epochs,
                    deadline=deadline,
                    validate=validate,
                    after_epoch=lambda epoch: self._rates.after_epoch(epoch.monitored()),
                ):
                    history.append(epoch)
                    history.best_epoch = stopping.best_epoch
                    history.stopped = epoch.stopped
                    if epoch.stopped == "diverged":
                        raise self._divergence()
                    ended = self._of_first(observers.see(epoch))
                    if ended:
                        history.stopped = epoch.stopped or "callback"
                    if epoch.stopped == "max_time":  # it may have cut the epoch short
                        saving.leave_out()
                    else:
                        if in_parts is not None:
                            in_parts.so_far = Part()
                        saving.after_epoch(epoch.number + 1, self._kept(stopping, Part()))
                    if ended:
                        break
            if not history.stopped:
                history.stopped = source.ended
            if not history.stopped:
                history.stopped = "epochs" if len(history.loss) == epochs else "max_time"
            saving.at_end(self._kept(stopping, Part()))
            self._of_first(None)  # the file is written
        except (PeerLost, Interrupted, KeyboardInterrupt) as error:
            if in_parts is not None:
                saving.broken_off(error, self.steps, in_parts.so_far)
            raise
        stopping.restore(self.network)
        self._check_weights()
        return history

    def _begin(
        self, source: AnySource, saver: Checkpoint | None, stopping: Patience, epochs: int
    ) -> tuple[Progress, Part]:
        """Begin a fit, or go on from its checkpoint; return how far it and its epoch have come."""
        began, so_far = Progress(0, self.steps, source.n_steps, ""), Part()
        if saver is not None and saver.resumes():
            began, so_far = self._resume(saver, began, epochs, stopping)
        else:
            self.history = History()
        if self._ranks is not None:
            began, so_far = self._take_fit_from_first(self._ranks, began, so_far, stopping)
        if isinstance(source, (ShardedRows, FullBatch)):
            source.so_far = so_far
        if isinstance(source, FullBatch) and began.epochs > 0:
            source.go_on()
        return began, so_far

    def _of_first(self, value: _Value) -> _Value:
        """Return rank 0's value."""
        return value if self._ranks is None else self._ranks.of_first(value)

    def _take_fit_from_first(
        self, ranks: Ranks, began: Progress, so_far: Part, stopping: Patience
    ) -> tuple[Progress, Part]:
        """Become equal to rank 0 at the beginning of a fit, which may go on from a checkpoint."""
        assert self.history is not None
        state = (began, so_far, self.history.to_state(), stopping.to_state())
        began, so_far, history, patience = self._take_from_first(ranks, state)
        if ranks.rank > 0:
            self.history = History.from_state(history)
            stopping.take_state(patience, self.network)
        return began, so_far

    def _samples(self, X: Any, target: Any, sample_weight: Any) -> Samples:
        is_part, spec = self._ranks is not None, self.network.spec
        in_float64 = isinstance(self._descent, Minimisation)
        if in_float64 and not isinstance(X, Samples):
            spec = spec.astype(np.float64)
        samples = nonempty(samples_of(spec, X, target, sample_weight, is_part=is_part))
        if in_float64 and samples.spec.dtype != np.float64:
            return samples.astype(np.dtype(np.float64))
        return samples

    def _source(
        self, X: Any, target: Any, sample_weight: Any, epochs: int, observers: StepObservers
    ) -> AnySource:
        if isinstance(self._descent, Minimisation):
            if target is None and not isinstance(X, Samples):
                raise ValueError(
                    "target must be given with X: LBFGS takes all rows at once, not batches of them"
                )
            samples = self._samples(X, target, sample_weight)
            source = self._full_batch(self._descent, samples, observers, self.batch_size)
            source.check_finite()
            return source
        if target is None and not isinstance(X, Samples):
            if self.shards > 1:
                raise ValueError("target must be given with X: shards are parts of rows in memory")
            batches = checked_batches(X, epochs)
            if sample_weight is not None:
                raise ValueError("sample_weight must come with each batch: (X, target, sample_weight)")
            return Batches(self._descent, batches, self._rates, self.n_threads, observers)
        samples = self._samples(X, target, sample_weight)
        if self.shards > 1:
            sharded = self._sharded(samples, rows_of_shard(self.batch_size, self.shards), self.shuffle)
            sharded.check_finite()
            return sharded
        samples.check_finite()
        n_rows = samples.n_rows
        return Rows(
            self._descent,
            samples,
            n_rows,
            self._batch_size(n_rows),
            self._drawn_order,
            self._rates,
            self.n_threads,
            observers,
        )

    def _validate_by(
        self, validation: Sequence[Any] | None, scoring: Callable[[Trainer], float] | None
    ) -> Validate | None:
        if scoring is not None and not callable(scoring):
            raise TypeError(f"scoring must be None or a callable f(trainer) -> number; got {scoring!r}")
        if validation is None and scoring is None:
            return None
        spec, is_part = self.network.spec, self._ranks is not None
        samples = None if validation is None else checked_validation(spec, validation, is_part)

        def validate(epoch: int) -> tuple[float | None, float | None]:
            loss = score = None
            if samples is not None and self.shards > 1:
                loss = validation_loss(self.network, samples, self.shards, self.n_threads, self._ranks)
            elif samples is not None:
                loss = self.network.evaluate(samples, n_threads=self.n_threads)
            if scoring is not None:
                self._check_weights()
                if self._ranks is None or self._ranks.rank == 0:
                    score = _validation.score(scoring(self), epoch)
                score = self._of_first(score)
            return loss, score

        return validate

    def _check_equal_weights(self) -> None:
        """Raise ValueError, on all ranks, if their weights differ; only `fit` takes those of rank 0."""
        if self._ranks is not None:
            checksum = 0
            for W in self.network.weights:
                checksum = zlib.crc32(np.ascontiguousarray(W).data, checksum)
            self._ranks.check_equal({"the weights (their checksum)": f"{checksum:08x}"})

    def _check_weights(self) -> None:
        if not _core.has_finite_weights(self.network):
            raise self._divergence()

    def _divergence(self) -> ValueError:
        advice = advice_on_divergence("learning rate", self.network.custom_loss is not None)
        return ValueError(f"Training diverged: weights are no longer finite. {advice}")

    def _batch_size(self, n_rows: int) -> int:
        return max(1, min(200 if self.batch_size == "auto" else int(self.batch_size), n_rows))

    def _drawn_order(self, n_rows: int) -> NDArray[np.int64] | None:
        return self._order.of_epoch(n_rows) if self.shuffle else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.optimizer}, batch_size={self.batch_size!r}, steps={self.steps})"
