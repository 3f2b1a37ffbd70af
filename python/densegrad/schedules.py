"""Schedules: how the learning rate and other hyperparameters change during the training.

A schedule gives factors of the optimizer's learning rate, one for each update. In place of a schedule,
`Trainer` takes any function (step, n_steps) that returns a learning rate. `step` is the number of the update,
from 0. `n_steps` is the number of the one after the fit's last, or None if it is not known.

Schedules of the weight decay, of dropout and of label smoothing give factors of these in the same way; a
function in place of such a schedule returns the factor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from densegrad import _core, _validation
from densegrad._arrays import real_array

__all__ = [
    "Adaptive",
    "Constant",
    "CosLog",
    "Cosine",
    "FlatCos",
    "InvScaling",
    "OneCycle",
    "Plateau",
    "Position",
    "Schedule",
    "StepDecay",
    "WarmUp",
]

Factors: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Position:
    """The state of the training; the factors of a schedule depend on it."""

    #: Numbers of the updates, from 0 at the trainer's first one.
    steps: NDArray[np.int64]
    #: Number of the epoch, from 0 at the trainer's first one.
    epoch: int
    #: Number of the first update of this fit, and of the one after its last; None if that is unknown.
    first: int
    last: int | None
    #: The notes of `Schedule.after_epoch` so far.
    memory: dict[str, float]


@dataclass(frozen=True)
class Schedule:
    """Base class of all schedules.

    Override `factors` to write your own.

    Examples
    --------
    >>> import numpy as np
    >>> from dataclasses import dataclass
    >>> from densegrad import Adam, Dense, Network, Trainer, schedules
    >>> @dataclass(frozen=True)
    ... class Halve(schedules.Schedule):
    ...     def factors(self, position):
    ...         return np.full(len(position.steps), 0.5**position.epoch)
    >>> net = Network(2, [Dense(1, "identity")], random_state=0)
    >>> trainer = Trainer(net, Adam(0.08), schedule=Halve(), random_state=0)
    >>> trainer.fit(np.eye(2), [0.0, 1.0], epochs=4).learning_rate
    [0.08, 0.04, 0.02, 0.01]
    """

    def factors(self, position: Position) -> Factors:
        """Return one factor of the learning rate for each of `position.steps`."""
        raise NotImplementedError

    def after_epoch(self, memory: dict[str, float], loss: float) -> bool:
        """Take note of the loss after an epoch; return True to end the fit.

        Parameters
        ----------
        memory : dict
            The notes of earlier epochs; kept with the trainer.
        loss : float
            Minus the score if `scoring` is given, otherwise the validation loss, otherwise the training loss.
        """
        return False


def _part_of_fit(position: Position, name: str) -> Factors:
    """Return how much of the fit lies behind, in [0, 1), at each update."""
    if position.last is None:
        raise ValueError(
            f"schedule {name} must know the number of updates: use fit, with batches that have a length"
        )
    return np.minimum(1.0, (position.steps - position.first) / max(1, position.last - position.first))


def _half_cosine(part: Factors) -> Factors:
    """Return (1 + cos(pi part)) / 2 for part in [0, 1]: unlike np.cos, the same bits on every CPU.

    It is 1 - sin(pi part / 2)^2, with the sine's Taylor polynomial: 3e-16.
    """
    x = (0.5 * np.pi) * part
    square = x * x
    sine = np.zeros_like(x)
    for k in range(10, -1, -1):
        sine = sine * square + (-1.0) ** k / math.factorial(2 * k + 1)
    sine *= x
    return 1.0 - sine * sine


def _log2(x: Factors) -> Factors:
    """Return log2(x) for x > 0: unlike np.log2, the same bits on every CPU.

    x = m · 2^k with m in [√½, √2), and log m = 2 artanh s for s = (m - 1) / (m + 1), by the Taylor
    polynomial: 4e-15.
    """
    m, k = np.frexp(x)
    low = m < math.sqrt(0.5)
    m = np.where(low, 2.0 * m, m)
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    series = np.zeros_like(s)
    for n in range(11, -1, -1):
        series = series * square + 1.0 / (2 * n + 1)
    return (k - low) + (2.0 / math.log(2.0)) * s * series


def _integer_power(base: float, exponent: int) -> float:
    """Return base ** exponent by multiplications alone: the same bits on every CPU."""
    power = 1.0
    while exponent > 0:
        if exponent % 2:
            power *= base
        base *= base
        exponent //= 2
    return power


@dataclass(frozen=True)
class Constant(Schedule):
    """Keep the optimizer's learning rate."""

    def factors(self, position: Position) -> Factors:
        """Return ones."""
        return np.ones(len(position.steps))


@dataclass(frozen=True)
class InvScaling(Schedule):
    """Divide the learning rate by k ** power_t at the k-th update.

    Parameters
    ----------
    power_t : float, default 0.5
        Not negative.
    """

    power_t: float = 0.5

    def __post_init__(self) -> None:
        _validation.real("power_t", self.power_t, 0)

    def factors(self, position: Position) -> Factors:
        """Return the factors."""
        return 1.0 / _core.powers(position.steps + 1.0, self.power_t)


@dataclass(frozen=True)
class StepDecay(Schedule):
    """Multiply the learning rate by `factor` after every `every` epochs.

    Parameters
    ----------
    every : int, default 10
        Number of epochs with the same rate.
    factor : float, default 0.1
        In (0, 1].
    """

    every: int = 10
    factor: float = 0.1

    def __post_init__(self) -> None:
        _validation.integer("every", self.every, 1)
        _validation.real("factor", self.factor, 0, 1, closed="right")

    def factors(self, position: Position) -> Factors:
        """Return the factors."""
        return np.full(len(position.steps), _integer_power(self.factor, position.epoch // self.every))


@dataclass(frozen=True)
class Cosine(Schedule):
    """Lower the learning rate along half a cosine, over the updates of one fit.

    The last factor is `final`. The schedule starts anew with every fit and must know its length. See
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.

    Parameters
    ----------
    final : float, default 0.0
        Factor at the end, in [0, 1].
    """

    final: float = 0.0

    def __post_init__(self) -> None:
        _validation.real("final", self.final, 0, 1)

    def factors(self, position: Position) -> Factors:
        """Return the factors."""
        return self.final + (1 - self.final) * _half_cosine(_part_of_fit(position, "Cosine"))


@dataclass(frozen=True)
class FlatCos(Schedule):
    """Keep the learning rate, then lower it along half a cosine to zero, over the updates of one fit.

    The schedule starts anew with every fit and must know its length.

    Parameters
    ----------
    flat : float, default 0.5
        Share of the updates before the factor falls, in [0, 1).
    """

    flat: float = 0.5

    def __post_init__(self) -> None:
        _validation.real("flat", self.flat, 0, 1, closed="left")

    def factors(self, position: Position) -> Factors:
        """Return the factors."""
        part = _part_of_fit(position, "FlatCos")
        return _half_cosine(np.maximum(0.0, (part - self.flat) / (1 - self.flat)))


@dataclass(frozen=True)
class CosLog(Schedule):
    """Raise and lower the learning rate along cosines that double in length, over the updates of one fit.

    The factor is (1 - cos(2π log2(1 + (2^cycles - 1) t))) / 2, where t in [0, 1) is the part of the fit that
    lies behind. It is zero at the first update and falls to zero at the end. The schedule starts anew with
    every fit and must know its length. See Holzmüller et al., "Better by default: strong pre-tuned MLPs and
    boosted trees on tabular data", 2024.

    Parameters
    ----------
    cycles : int, default 4
        The number of cosines, from 1 to 30.
    """

    cycles: int = 4

    def __post_init__(self) -> None:
        _validation.integer("cycles", self.cycles, 1, 30)

    def factors(self, position: Position) -> Factors:
        """Return the factors."""
        cycle = _log2(1.0 + (2**self.cycles - 1) * _part_of_fit(position, "CosLog"))
        return 1.0 - _half_cosine(2.0 * np.abs(cycle - np.rint(cycle)))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Raise the learning rate along half a cosine and lower it along another, over the updates of one fit.

    The schedule starts anew with every fit and must know its length. See Smith and Topin,
    "Super-convergence", 2018.

    Parameters
    ----------
    warm_up : float, default 0.3
        Share of the updates with a rising rate, in (0, 1).
    start, final : float, default 0.04 and 4e-6
        Factors at the start and at the end, in [0, 1].
    """

    warm_up: float = 0.3
    start: float = 0.04
    final: float = 4e-6

    def __post_init__(self) -> None:
        _validation.real("warm_up", self.warm_up, 0, 1, closed="neither")
        _validation.real("start", self.start, 0, 1)
        _validation.real("final", self.final, 0, 1)

    def factors(self, position: Position) -> Factors:
        """Return the factors."""
        part = _part_of_fit(position, "OneCycle")
        up = np.minimum(1.0, part / self.warm_up)
        down = np.maximum(0.0, (part - self.warm_up) / (1 - self.warm_up))
        return np.where(
            part < self.warm_up,
            self.start + (1 - self.start) * (1.0 - _half_cosine(up)),
            self.final + (1 - self.final) * _half_cosine(down),
        )


@dataclass(frozen=True)
class WarmUp(Schedule):
    """Raise the learning rate in a straight line from zero, then follow another schedule.

    Parameters
    ----------
    steps : int, default 100
        Number of updates with a rising rate.
    then : Schedule, default Constant()
        Its factors count from the first update, also during the rise.
    """

    steps: int = 100
    then: Schedule = field(default_factory=Constant)

    def __post_init__(self) -> None:
        _validation.integer("steps", self.steps, 1)
        if not isinstance(self.then, Schedule):
            raise TypeError(f"then must be a Schedule; got {self.then!r}")

    def factors(self, position: Position) -> Factors:
        """Return the factors."""
        return np.minimum(1.0, (position.steps + 1) / self.steps) * self.then.factors(position)

    def after_epoch(self, memory: dict[str, float], loss: float) -> bool:
        """Note the loss for the other schedule."""
        return self.then.after_epoch(memory, loss)


@dataclass(frozen=True)
class Plateau(Schedule):
    """Multiply the learning rate by `factor` after some epochs without improvement.

    The schedule follows the score if `scoring` is given, otherwise the validation loss, otherwise the
    training loss.

    Parameters
    ----------
    factor : float, default 0.1
        In (0, 1).
    patience : int, default 10
        Number of consecutive epochs without improvement.
    tol : float, default 1e-4
        An epoch improves the loss if it lowers it by more than this.
    lowest : float, default 0.0
        Lowest product of the factors, in [0, 1].
    """

    factor: float = 0.1
    patience: int = 10
    tol: float = 1e-4
    lowest: float = 0.0

    def __post_init__(self) -> None:
        _validation.real("factor", self.factor, 0, 1, closed="neither")
        _validation.integer("patience", self.patience, 1)
        _validation.real("tol", self.tol, 0)
        _validation.real("lowest", self.lowest, 0, 1)

    def factors(self, position: Position) -> Factors:
        """Return the factors."""
        return np.full(len(position.steps), position.memory.get("factor", 1.0))

    def after_epoch(self, memory: dict[str, float], loss: float) -> bool:
        """Count the epochs without improvement."""
        if loss < memory.get("best", np.inf) - self.tol:
            memory["best"] = loss
            memory["waited"] = 0
        else:
            memory["waited"] = memory.get("waited", 0) + 1
        if memory["waited"] >= self.patience:
            memory["waited"] = 0
            memory["factor"] = max(self.lowest, memory.get("factor", 1.0) * self.factor)
        return False


@dataclass(frozen=True)
class Adaptive(Plateau):
    """Lower the learning rate as `Plateau` does, and end the fit at the lowest rate.

    Parameters
    ----------
    factor : float, default 0.2
        In (0, 1).
    patience : int, default 10
        Number of consecutive epochs without improvement.
    tol : float, default 1e-4
        An epoch improves the loss if it lowers it by more than this.
    lowest : float, default 1e-3
        The fit ends if the product of the factors falls to this.
    """

    factor: float = 0.2
    lowest: float = 1e-3

    def after_epoch(self, memory: dict[str, float], loss: float) -> bool:
        """Count the epochs without improvement."""
        super().after_epoch(memory, loss)
        return memory.get("factor", 1.0) <= self.lowest * (1 + 1e-9)


#: The schedules with their defaults, by the names that stand for them.
BY_NAME: dict[str, type[Schedule]] = {
    "constant": Constant,
    "invscaling": InvScaling,
    "adaptive": Adaptive,
    "step": StepDecay,
    "cosine": Cosine,
    "coslog": CosLog,
    "flat_cos": FlatCos,
    "one_cycle": OneCycle,
    "warm_up": WarmUp,
    "plateau": Plateau,
}


#: What a callable returns in place of each of them.
_RESULTS = {
    "schedule": "learning rate",
    "weight_decay_schedule": "factor",
    "dropout_schedule": "factor",
    "label_smoothing_schedule": "factor",
}


def checked(schedule: Any, name: str = "schedule") -> Any:
    """Return `schedule` as a Schedule, a callable or None; a name stands for one with its defaults."""
    if isinstance(schedule, str):
        return BY_NAME[_validation.choice(name, schedule, BY_NAME)]()
    if (
        schedule is None
        or isinstance(schedule, Schedule)
        or (callable(schedule) and not isinstance(schedule, type))
    ):
        return schedule
    a_class = isinstance(schedule, type) and issubclass(schedule, Schedule)
    raise TypeError(
        f"{name} must be None, a Schedule, a name or a callable (step, total) -> {_RESULTS[name]};"
        f" got {schedule!r}{f'. Call it: {schedule.__name__}()' if a_class else ''}"
    )


def values(
    schedule: Schedule | Callable[[int, int | None], float],
    initial: float,
    position: Position,
    name: str = "schedule",
) -> Factors:
    """Return one number for each of `position.steps`; a Schedule's factors multiply `initial`."""
    if isinstance(schedule, Schedule):
        return initial * real_array(name, schedule.factors(position)).astype(np.float64)
    numbers = [schedule(int(step), position.last) for step in position.steps]
    try:
        return real_array(name, numbers).astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} must return a {_RESULTS[name]} for each step; got {numbers[0]!r}") from None
