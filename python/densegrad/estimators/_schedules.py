"""Learning rates: scikit-learn's ``learning_rate`` parameter, and schedules by the step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad.schedules import (
    Adaptive,
    Constant,
    Cosine,
    InvScaling,
    OneCycle,
    Plateau,
    Position,
    Schedule,
    StepDecay,
    WarmUp,
)

SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "invscaling": InvScaling,
    "adaptive": Adaptive,
    "step": StepDecay,
    "cosine": Cosine,
    "one_cycle": OneCycle,
    "warm_up": WarmUp,
    "plateau": Plateau,
}


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
    first_step, first_epoch : int
        Steps and epochs before this fit.
    n_steps, n_epochs : int
        Steps of an epoch, and epochs that the fit may take.
    """

    def __init__(
        self,
        schedule: Any,
        initial: float,
        memory: dict[str, float],
        first_step: int,
        first_epoch: int,
        n_steps: int,
        n_epochs: int,
    ) -> None:
        self.schedule = SCHEDULES[schedule]() if isinstance(schedule, str) else schedule
        self.initial = initial
        self.memory = memory
        self.first_step, self.first_epoch = first_step, first_epoch
        self.n_steps = n_steps
        self.last = first_step + n_steps * n_epochs

    def of_epoch(self, epoch: int) -> NDArray[np.float64]:
        """Return the rates of epoch 0, 1, … of this fit, (n_steps,)."""
        begin = self.first_step + epoch * self.n_steps
        steps = np.arange(begin, begin + self.n_steps)
        if isinstance(self.schedule, Schedule):
            position = Position(steps, self.first_epoch + epoch, self.first_step, self.last, self.memory)
            return self.initial * np.asarray(self.schedule.factors(position), np.float64)
        rates = [self.schedule(int(step), self.last) for step in steps]
        try:
            return np.array(rates, np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"schedule must return a learning rate for each step; got {rates[0]!r}") from None

    def epoch_ends(self, monitored: float) -> bool:
        """Show the schedule the loss of the epoch; True where it ends the training."""
        return isinstance(self.schedule, Schedule) and self.schedule.after_epoch(self.memory, monitored)
