"""Learning rates: scikit-learn's ``learning_rate`` parameter, and schedules by the step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import schedules


class LearningRate:
    """Learning rate of the next epoch, by scikit-learn's 'constant', 'invscaling' or 'adaptive'.

    Attributes
    ----------
    learning_rate : float
        The current one.
    """

    smallest = 1e-6  # at or below it 'adaptive' gives up

    def __init__(self, initial: float, rule: str, power_t: float) -> None:
        self.learning_rate = float(initial)
        self.initial = float(initial)
        self.rule = rule
        self.power_t = power_t

    def epoch_ends(self, n_samples_seen: int) -> None:
        """Update 'invscaling' after an epoch; `n_samples_seen` is the estimator's ``t_``."""
        if self.rule == "invscaling":
            self.learning_rate = self.initial / (n_samples_seen + 1) ** self.power_t

    def no_improvement(self, message: str, verbose: bool) -> bool:
        """Return whether training stops, after as many epochs without improvement as are allowed."""
        if self.rule != "adaptive":
            outcome, stop = "Stopping.", True
        elif self.learning_rate <= self.smallest:
            outcome, stop = "Learning rate too small. Stopping.", True
        else:
            self.learning_rate /= 5.0
            outcome, stop = f"Setting learning rate to {self.learning_rate:f}", False
        if verbose:
            print(message, outcome)
        return stop


class StepRates:
    """Learning rates of the steps of an epoch, from the estimator's `schedule`.

    Parameters
    ----------
    schedule : str, Schedule or callable
    initial : float
        The learning rate that the factors of a Schedule multiply.
    memory : dict
        What the schedule has noted in earlier epochs; changed in place.
    step, epoch : int
        Steps and epochs made so far.
    first, last : int
        The first step of what the schedule runs over, and the one after the last.
    n_steps : int
        Steps of an epoch.
    """

    def __init__(
        self,
        schedule: Any,
        initial: float,
        memory: dict[str, float],
        *,
        step: int,
        epoch: int,
        first: int,
        last: int,
        n_steps: int,
    ) -> None:
        self.schedule = schedules.checked(schedule)
        self.initial = initial
        self.memory = memory
        self.step, self.epoch = step, epoch
        self.first, self.last = first, last
        self.n_steps = n_steps

    def of_epoch(self, epoch: int) -> NDArray[np.float64]:
        """Return the rates of epoch 0, 1, … of this fit, (n_steps,)."""
        begin = self.step + epoch * self.n_steps
        steps = np.arange(begin, begin + self.n_steps)
        position = schedules.Position(steps, self.epoch + epoch, self.first, self.last, self.memory)
        return schedules.learning_rates(self.schedule, self.initial, position)

    def epoch_ends(self, monitored: float) -> bool:
        """Show the schedule the loss of the epoch; True where it ends the training."""
        return isinstance(self.schedule, schedules.Schedule) and self.schedule.after_epoch(
            self.memory, monitored
        )
