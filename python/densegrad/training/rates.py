"""Learning rates: the optimizer's with a schedule, and scikit-learn's parameter `learning_rate`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densegrad import schedules
from densegrad._arrays import readable_array
from densegrad.training.descent import GradientDescent

AnySchedule: TypeAlias = schedules.Schedule | Callable[[int, int | None], float]


class Rates:
    """The learning rates of the updates of an epoch.

    Parameters
    ----------
    descent : GradientDescent
        Knows how many updates and epochs have been made.
    base : callable
        Returns the learning rate that the schedule's factors multiply, asked each epoch.
    schedule : Schedule, callable or None
    state : dict
        What the schedule has noted in earlier epochs; changed in place.
    first, last : int, int or None
        The first update that the schedule runs over, and the one after the last; None if not known.
    """

    def __init__(
        self,
        descent: GradientDescent,
        base: Callable[[], float],
        schedule: AnySchedule | None,
        state: dict[str, float],
        first: int = 0,
        last: int | None = None,
    ) -> None:
        self._descent = descent
        self._base = base
        self._schedule = schedule
        self._state = state
        self.first, self.last = first, last
        self._constant = np.zeros(0)

    def of_epoch(self, n_steps: int) -> NDArray[np.float64]:
        """Return the learning rates of the next `n_steps` updates."""
        base = self._base()
        if self._schedule is None:
            if len(self._constant) != n_steps or self._constant[0] != base:
                self._constant = np.full(n_steps, base)
            return self._constant
        steps = np.arange(self._descent.steps, self._descent.steps + n_steps)
        position = schedules.Position(steps, self._descent.epochs, self.first, self.last, self._state)
        return checked_rates(schedules.learning_rates(self._schedule, base, position), n_steps, "schedule")

    def after_epoch(self, monitored: float) -> bool:
        """Show the schedule how good the epoch was; True if it ends the fit."""
        return isinstance(self._schedule, schedules.Schedule) and self._schedule.after_epoch(
            self._state, monitored
        )


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
            self.learning_rate = initial / (n_rows_seen + 1) ** power_t

    def out_of_patience(self) -> tuple[bool, str]:
        """Return whether the training ends after too many epochs without improvement, and what to print."""
        if self.settings[1] != "adaptive":
            return True, "Stopping."
        if self.learning_rate <= self.smallest:
            return True, "Learning rate too small. Stopping."
        self.learning_rate /= 5.0
        return False, f"Setting learning rate to {self.learning_rate:f}"


def checked_rates(rates: ArrayLike, n_steps: int, name: str = "learning_rate") -> NDArray[np.float64]:
    """Return one learning rate for each update, finite and not negative."""
    try:
        array: NDArray[Any] = readable_array(rates, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} must be a number, or one for each update; got {rates!r}") from None
    if array.shape not in ((1,), (n_steps,)):
        raise ValueError(
            f"{name} must be one number or one for each of {n_steps} updates; got shape {np.shape(rates)}"
        )
    if not (array.min() >= 0 and array.max() < math.inf):
        raise ValueError(f"{name} must be finite and not negative; got {rates!r}")
    return array if len(array) == n_steps else np.full(n_steps, array[0])
