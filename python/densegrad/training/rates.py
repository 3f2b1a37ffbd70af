"""The numbers of each update: learning rates and scheduled factors, and scikit-learn's `learning_rate`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densegrad import _core, _validation, schedules
from densegrad._arrays import readable_array, real_array
from densegrad.training.descent import StepNumbers

AnySchedule: TypeAlias = schedules.Schedule | Callable[[int, int | None], float]


#: Hyperparameters that may have a schedule of factors, and the largest one.
SCHEDULED: Final = {"weight_decay": math.inf, "dropout": 1.0, "label_smoothing": 1.0}

RULES: Final = ("constant", "invscaling", "adaptive")


class LearningRateRule:
    """scikit-learn's parameter `learning_rate`: 'constant', 'invscaling' or 'adaptive'.

    Attributes
    ----------
    learning_rate : float
        The current one.
    """

    smallest = 1e-6  # at or below it 'adaptive' gives up

    def __init__(self, initial: float, rule: str, power_t: float) -> None:
        self.learning_rate = float(initial)
        self.settings = (float(initial), rule, power_t)

    def after_epoch(self, n_rows_seen: int) -> None:
        """Update 'invscaling'; `n_rows_seen` counts the rows of all epochs so far."""
        initial, rule, power_t = self.settings
        if rule == "invscaling":
            self.learning_rate = initial / float(_core.powers([n_rows_seen + 1.0], power_t)[0])

    def at_end_of_patience(self) -> tuple[bool, str]:
        """Return whether too many epochs without improvement end the training, and the message to print."""
        if self.settings[1] != "adaptive":
            return True, "Stopping."
        if self.learning_rate <= self.smallest:
            return True, "Learning rate too small. Stopping."
        self.learning_rate /= 5.0
        return False, f"Setting learning rate to {self.learning_rate:f}"


class Counted(Protocol):
    """Updates that are counted, and the optimizer's learning rate."""

    @property
    def learning_rate(self) -> float:
        """That of the optimizer, which schedules multiply."""

    @property
    def steps(self) -> int:
        """Updates made so far."""

    @property
    def epochs(self) -> int:
        """Epochs gone through so far."""


class Rates:
    """The learning rates of the updates of an epoch, and the factors of other hyperparameters.

    Parameters
    ----------
    descent : GradientDescent or Minimisation
        Knows how many updates and epochs have been made, and the optimizer's learning rate.
    schedule : Schedule, callable or None
        Multiplies the optimizer's learning rate, or gives others. Kept as an attribute.
    rule : LearningRateRule or None
        Its learning rate takes the place of the optimizer's; not with a schedule.

    Attributes
    ----------
    factor_schedules : dict
        Schedules or callables of the other hyperparameters, by the names in SCHEDULED.
    first, last : int, int or None
        The first update that the schedules run over, and the one after the last; None if not known.
    state : dict
        The schedules' notes from earlier epochs; those about "dropout" begin with "dropout." and so on.
    """

    def __init__(
        self, descent: Counted, schedule: AnySchedule | None, rule: LearningRateRule | None = None
    ) -> None:
        self._descent = descent
        self.schedule = schedule
        self._rule = rule
        self.factor_schedules: dict[str, AnySchedule] = {}
        self._constant = np.zeros(0)
        self.first = 0
        self.last: int | None = None
        self.state: dict[str, float] = {}

    @contextmanager
    def over(self, first: int, last: int | None) -> Iterator[None]:
        """Let the schedules run over these updates; then over those of a fit around this one, if any."""
        around = self.first, self.last
        self.first, self.last = first, last
        try:
            yield
        finally:
            self.first, self.last = around

    def of_epoch(self, n_steps: int, learning_rate: ArrayLike | None = None, done: int = 0) -> StepNumbers:
        """Return the numbers of an epoch's `n_steps` updates, of which `done` have been made.

        `learning_rate` replaces the schedule's.
        """
        factors = {
            name: checked_rates(
                schedules.values(
                    schedule, 1.0, self._position(n_steps, done, f"{name}."), f"{name}_schedule"
                ),
                n_steps,
                f"{name}_schedule",
                SCHEDULED[name],
            )
            for name, schedule in self.factor_schedules.items()
        }
        rates = (
            self._learning_rates(n_steps, done)
            if learning_rate is None
            else checked_rates(learning_rate, n_steps)
        )
        return StepNumbers(rates, **factors)

    def _position(self, n_steps: int, done: int, notes: str) -> schedules.Position:
        first = self._descent.steps - done
        steps = np.arange(first, first + n_steps)
        memory = self._notes(notes) if notes else self.state
        return schedules.Position(steps, self._descent.epochs, self.first, self.last, memory)

    def _notes(self, prefix: str) -> dict[str, float]:
        return {
            name.removeprefix(prefix): value for name, value in self.state.items() if name.startswith(prefix)
        }

    def _learning_rates(self, n_steps: int, done: int) -> NDArray[np.float64]:
        if self.schedule is None:
            rate = self._descent.learning_rate if self._rule is None else self._rule.learning_rate
            if len(self._constant) != n_steps or self._constant[0] != rate:
                self._constant = np.full(n_steps, rate)
            return self._constant
        position = self._position(n_steps, done, "")
        rates = schedules.values(self.schedule, self._descent.learning_rate, position)
        return checked_rates(rates, n_steps, "schedule")

    def after_epoch(self, monitored: float) -> bool:
        """Show the schedules how good the epoch was; True if one of them ends the fit."""
        ends = isinstance(self.schedule, schedules.Schedule) and self.schedule.after_epoch(
            self.state, monitored
        )
        for name, schedule in self.factor_schedules.items():
            if isinstance(schedule, schedules.Schedule):
                notes = self._notes(f"{name}.")
                ends |= schedule.after_epoch(notes, monitored)
                self.state.update({f"{name}.{note}": value for note, value in notes.items()})
        return ends


def checked_memory(memory: Any) -> dict[str, float]:
    """Return the notes of a schedule, from a file or a pickle."""
    return {str(name): _validation.number("schedule_state", value) for name, value in memory.items()}


def checked_rates(
    rates: ArrayLike, n_steps: int, name: str = "learning_rate", most: float = math.inf
) -> NDArray[np.float64]:
    """Return one number for each update, finite, not negative and at most `most`."""
    try:
        array: NDArray[Any] = readable_array(real_array(name, rates), np.float64)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} must be a number, or one for each update; got {rates!r}") from None
    if array.shape not in ((1,), (n_steps,)):
        raise ValueError(
            f"{name} must be one number or one for each of {n_steps} updates; got shape {np.shape(rates)}"
        )
    if not (array.min() >= 0 and array.max() < math.inf):
        raise ValueError(f"{name} must be finite and not negative; got {rates!r}")
    if array.max() > most:
        raise ValueError(f"{name} must give factors in [0, {most:g}]; got {array.max():g}")
    return array if len(array) == n_steps else np.full(n_steps, array[0])
