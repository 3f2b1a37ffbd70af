"""Sources of the rows that the updates of an epoch train on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from inspect import isgeneratorfunction
from time import monotonic
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from densegrad import _validation
from densegrad.samples import Samples, samples_of
from densegrad.training.descent import GradientDescent, Part, StepNumbers
from densegrad.training.observers import StepObservers
from densegrad.training.rates import Rates


class Run(NamedTuple):
    """The results of the updates of an epoch."""

    loss: float
    n_rows: int
    #: None if the optimizer has none.
    learning_rate: float | None
    seconds: float
    time_is_up: bool


class Source(Protocol):
    """Trains one epoch after another."""

    #: Why no further epoch follows, in the words of `History.stopped`; "" if one may.
    ended: str

    def epoch(self, deadline: float) -> Run:
        """Make the updates of the next epoch, until soon after `deadline`, a reading of `time.monotonic`."""

    def is_late(self, deadline: float) -> bool:
        """Tell whether no further epoch is to begin."""


class Rows:
    """Rows in memory; each epoch visits all of them in an order of its own.

    Parameters
    ----------
    descent : GradientDescent
    samples : Samples
    n_rows : int
        Rows that an epoch visits.
    batch_size : int
    draw_order : callable
        Called with n_rows, returns the row numbers of the next epoch, or None for all in ascending order.
    rates : Rates
    n_threads : int or None
    observers : StepObservers
        See updates in the middle of an epoch.
    """

    ended = ""

    def __init__(
        self,
        descent: GradientDescent,
        samples: Samples,
        n_rows: int,
        batch_size: int,
        draw_order: Callable[[int], NDArray[np.int64] | None],
        rates: Rates,
        n_threads: int | None,
        observers: StepObservers,
    ) -> None:
        self._descent = descent
        self._samples = samples
        self._n_rows = n_rows
        self._batch_size = batch_size
        self._draw_order = draw_order
        self._rates = rates
        self._n_threads = n_threads
        self._observers = observers
        self.n_steps = math.ceil(n_rows / batch_size)

    def epoch(self, deadline: float) -> Run:
        """Make the updates of the next epoch, in one call of the core from one observer to the next."""
        numbers = self._rates.of_epoch(self.n_steps)
        order = self._draw_order(self._n_rows)
        first, part, seconds = self._descent.steps, Part(), 0.0
        while part.steps < self.n_steps and not part.stopped:
            end = min(self._observers.next_after(first + part.steps) - first, self.n_steps)
            began = monotonic()
            part = self._run_until(end, part, order, numbers, deadline)
            seconds += monotonic() - began
            if part.steps == end:
                self._observers.see(first + end)
            if part.steps < self.n_steps and monotonic() >= deadline:  # an observer may have taken long
                part = part._replace(stopped=True)
        if part.steps == 0:
            return Run(part.loss, 0, 0.0, seconds, part.stopped)
        self._descent.epochs += 1
        n_rows = min(part.steps * self._batch_size, self._n_rows)
        rate = float(numbers.learning_rates[part.steps - 1])
        return Run(part.loss, n_rows, rate, seconds, part.stopped)

    def _run_until(
        self,
        end: int,
        so_far: Part,
        order: NDArray[np.int64] | None,
        numbers: StepNumbers,
        deadline: float,
    ) -> Part:
        """Make the updates of an epoch from those of `so_far` up to number `end`, which is not made."""
        if so_far.steps > 0 or end < self.n_steps:
            begin_row, end_row = so_far.steps * self._batch_size, min(end * self._batch_size, self._n_rows)
            order = np.arange(begin_row, end_row) if order is None else order[begin_row:end_row]
            numbers = numbers.between(so_far.steps, end)
        return self._descent.run(
            self._samples, order, numbers, self._batch_size, self._n_threads, deadline, so_far
        )

    def is_late(self, deadline: float) -> bool:
        """Tell whether no further epoch is to begin."""
        return monotonic() >= deadline


class Batches:
    """Mini-batches from an iterable; each makes one update.

    Parameters
    ----------
    descent : GradientDescent
    batches : iterable of tuples (X, target) or (X, target, sample_weight)
        Gone over once an epoch.
    rates : Rates
    n_threads : int or None
    observers : StepObservers
    """

    ended = ""

    def __init__(
        self,
        descent: GradientDescent,
        batches: Iterable[Any],
        rates: Rates,
        n_threads: int | None,
        observers: StepObservers,
    ) -> None:
        self._descent = descent
        self._batches = batches
        self._rates = rates
        self._n_threads = n_threads
        self._observers = observers
        #: Updates of an epoch; None if not known.
        self.n_steps = len(batches) if isinstance(batches, Sized) else None

    def epoch(self, deadline: float) -> Run:
        """Make one update with each mini-batch."""
        began, total, n_rows = monotonic(), 0.0, 0
        rate = 0.0
        for X, target, sample_weight in batch_parts(self._batches):
            samples = samples_of(self._descent.network.spec, X, target, sample_weight)
            if samples.n_rows == 0:
                continue
            samples.check_finite()
            numbers = self._rates.of_epoch(1)
            rate = float(numbers.learning_rates[0])
            part = self._descent.run(samples, None, numbers, samples.n_rows, self._n_threads)
            total += part.loss * samples.n_rows
            n_rows += samples.n_rows
            self._observers.see(self._descent.steps)
            if monotonic() >= deadline:
                break
        if n_rows == 0:
            raise ValueError("X must give at least one batch of at least one row in each epoch; got none")
        self._descent.epochs += 1
        return Run(total / n_rows, n_rows, rate, monotonic() - began, monotonic() >= deadline)

    def is_late(self, deadline: float) -> bool:
        """Tell whether no further epoch is to begin."""
        return monotonic() >= deadline


def checked_batches(X: Any, epochs: int) -> Iterable[Any]:
    """Return `X` if it is an iterable of batches that can be gone over `epochs` times."""
    if isgeneratorfunction(X):
        raise TypeError(f"X is the generator function {X.__name__}: call it, X={X.__name__}(…)")
    if hasattr(X, "shape") or isinstance(X, (str, bytes, dict)) or not isinstance(X, Iterable):
        raise TypeError(
            f"target must be given with X, unless X is an iterable of batches; got X of type {type(X)}"
        )
    if epochs > 1 and iter(X) is X:
        raise ValueError(
            f"X is an iterator, which can be gone over only once, for {epochs} epochs: give something that "
            "starts anew at each iter(X), such as a list or a class with __iter__"
        )
    return X


def is_iterable_of_batches(X: Any) -> bool:
    """Tell batches from rows: a list of lists may be either, and is batches if it holds arrays of rows."""
    if isgeneratorfunction(X) or isinstance(X, Iterator):
        return True
    if not isinstance(X, Iterable) or isinstance(X, str) or hasattr(X, "shape") or hasattr(X, "__array__"):
        return False
    if not isinstance(X, Sequence):
        return True
    first = X[0] if X else None
    return isinstance(first, tuple) or (isinstance(first, list) and len(first) > 0 and np.ndim(first[0]) > 1)


def batch_parts(batches: Iterable[Any]) -> Iterator[tuple[Any, Any, Any]]:
    """Go over batches, checked one by one: X, target and sample_weight, None if it is not there."""
    for number, batch in enumerate(batches):
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            raise TypeError(
                "X must come with a target, or give batches: (X, target) or (X, target, sample_weight); "
                f"got a batch {number} that is {_validation.outline(batch)}"
            )
        yield batch[0], batch[1], batch[2] if len(batch) == 3 else None
