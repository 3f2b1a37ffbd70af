"""Gradient descent: an optimizer with its state at work on a network."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from densegrad import _arrays, _core, _validation
from densegrad._optimizers import LBFGS, AnyOptimizer, Optimizer
from densegrad._tables import OPTIMIZER_NUMBER, OPTIMIZERS
from densegrad.custom_losses import row_losses
from densegrad.network import Network
from densegrad.samples import Samples

#: total, first, count, ends, batch_rows, first_rows, batch_weights, as in the core's Shards.
Shards: TypeAlias = tuple[
    int, int, int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]
]
Exchange: TypeAlias = Callable[[bool, BaseException | None, memoryview, list[memoryview]], bool]

# The fields of the core's OptimizerSpec that an optimizer without them ignores.
_UNUSED = {
    "momentum": 0.0,
    "nesterov": False,
    "beta_1": 0.0,
    "beta_2": 0.0,
    "epsilon": 1e-8,
    "weight_decay": 0.0,
}


@dataclass(frozen=True)
class Regularisation:
    """Penalties and limits, the same for every optimizer; zero stands for none."""

    l2: float = 0.0
    l1: float = 0.0
    weight_decay: float = 0.0
    max_norm: float = 0.0
    clip_norm: float = 0.0

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Regularisation:
        """Return the one whose fields are in `state`, checked."""
        return cls(**{name: _validation.real(name, value, 0) for name, value in state.items()})


class StepNumbers(NamedTuple):
    """The numbers of each update: learning rates, and factors of other hyperparameters or None for ones."""

    learning_rates: NDArray[np.float64]
    weight_decay: NDArray[np.float64] | None = None
    dropout: NDArray[np.float64] | None = None
    label_smoothing: NDArray[np.float64] | None = None

    def between(self, begin: int, end: int) -> StepNumbers:
        """Return the numbers of the updates begin … end - 1."""
        factors = (None if part is None else part[begin:end] for part in self[1:])
        return StepNumbers(self.learning_rates[begin:end], *factors)


class Part(NamedTuple):
    """What the updates of an epoch, or of its first part, have come to."""

    #: Over the rows, the sum of the loss of their batch. Rows of batches without weight do not count.
    loss_sum: float = 0.0
    n_rows: int = 0
    steps: int = 0
    #: Whether the deadline came before the last update.
    stopped: bool = False

    @property
    def loss(self) -> float:
        """The mean over the rows of the loss of their batch."""
        return self.loss_sum / max(self.n_rows, 1)


class Numbers(NamedTuple):
    """The weights and the optimizer's state in one vector, and the number of updates made."""

    values: NDArray[Any]
    steps: int


class Descent(ABC):
    """An optimizer at work on a network, with all that its next update depends on.

    Parameters
    ----------
    network : Network
        Changed in place.
    optimizer : AnyOptimizer
    regularisation : Regularisation
    seed : int
        Of the dropout masks.

    Attributes
    ----------
    epochs : int
        Epochs done so far; the caller counts them.
    """

    def __init__(
        self, network: Network, optimizer: AnyOptimizer, regularisation: Regularisation, seed: int
    ) -> None:
        self.network = network
        self.regularisation = regularisation
        self.seed = seed
        self.epochs = 0
        self._optimizer = optimizer

    @property
    @abstractmethod
    def steps(self) -> int:
        """The number of updates made so far."""

    @abstractmethod
    def state(self) -> Any:
        """Return the optimizer's state as plain data."""

    def to_state(self) -> dict[str, Any]:
        """Return plain data to make this descent of again; its network is not part of it."""
        with _core.Reading(self.network):
            return {
                "optimizer": self._optimizer,
                "regularisation": asdict(self.regularisation),
                "seed": self.seed,
                "epochs": self.epochs,
                "steps": self.steps,
                "state": self.state(),
            }


class GradientDescent(Descent):
    """Updates of a network's weights, an epoch of them in one call of the core.

    Parameters are those of `Descent`.
    """

    _optimizer: Optimizer

    def __init__(
        self, network: Network, optimizer: Optimizer, regularisation: Regularisation, seed: int
    ) -> None:
        super().__init__(network, optimizer, regularisation, seed)
        self._core = self._make_core(seed)

    def _make_core(self, seed: int) -> _core.Trainer:
        number = OPTIMIZER_NUMBER[self.optimizer_name]
        return _core.Trainer(self.network, number, self._hyperparameters(self._optimizer), seed)

    def _hyperparameters(self, optimizer: Optimizer) -> dict[str, Any]:
        values = {**_UNUSED, **asdict(optimizer)}
        del values["lr"]
        regularisation = asdict(self.regularisation)
        if values["weight_decay"] and regularisation["weight_decay"]:
            raise ValueError("weight_decay must be given to the optimizer or to the trainer, not to both")
        regularisation["weight_decay"] += values["weight_decay"]
        return {**values, **regularisation}

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer; assign another of the same class to change its hyperparameters, not its state."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: AnyOptimizer) -> None:
        if isinstance(optimizer, LBFGS) or type(optimizer) is not type(self._optimizer):
            raise TypeError(
                f"optimizer must be of class {self.optimizer_name}, whose state the trainer has; got"
                f" {optimizer!r}. Make another Trainer"
            )
        self._core.set_hyperparameters(self._hyperparameters(optimizer))
        self._optimizer = optimizer

    @property
    def learning_rate(self) -> float:
        """That of the optimizer, which schedules multiply."""
        return self._optimizer.lr

    @property
    def optimizer_name(self) -> str:
        """The optimizer's name in the table, which is that of its class."""
        return type(self._optimizer).__name__

    @property
    def steps(self) -> int:
        """The number of updates made so far."""
        return self._core.steps

    def run(
        self,
        samples: Samples,
        order: NDArray[np.int64] | None,
        numbers: StepNumbers,
        batch_size: int,
        n_threads: int | None,
        deadline: float = math.inf,
        so_far: Part | None = None,
        shards: Shards | None = None,
        exchange: Exchange | None = None,
        reached: Callable[[Part], None] | None = None,
    ) -> Part:
        """Make the updates of an epoch, or of a part of one.

        An epoch in parts gives the same bits as one in one part.

        Parameters
        ----------
        samples : Samples
        order : ndarray of int64 or None
            Row numbers; None: all rows as they stand.
        numbers : StepNumbers
        batch_size : int
        n_threads : int or None
        deadline : float
            Reading of `time.monotonic`; soon after it, no further update begins.
        so_far : Part or None
            What the updates of the epoch before these have come to.
        shards : tuple or None
            The core's description of the batches, if they are sums over shards; then it says their sizes.
        exchange : callable or None
            Called before each update if other ranks have shards, too, see `_core.Trainer.epoch`.
        reached : callable or None
            Called with the result as well, also if an error ends the part after some of its updates.

        Returns
        -------
        Part
            What these updates and those of `so_far` have come to together.
        """
        before = so_far or Part()

        def part(loss_sum: float, n_rows: int, steps: int, stopped: bool) -> Part:
            return Part(loss_sum, n_rows, before.steps + steps, stopped)

        result = self._core.epoch(
            samples.rows,
            samples.targets,
            order,
            numbers.learning_rates,
            batch_size,
            n_threads or 0,
            0.0 if math.isinf(deadline) else deadline,
            row_losses(samples),
            numbers[1:],
            shards,
            exchange,
            before.loss_sum,
            before.n_rows,
            None if reached is None else lambda *counts: reached(part(*counts)),
        )
        return part(*result)

    # --- state ---

    def numbers(self) -> Numbers:
        """Return copies of all numbers that an update changes, in one vector."""
        with _core.Reading(self.network):
            arrays = [self.network.parameters, *(a.ravel() for arrays in self.state() for a in arrays)]
            return Numbers(np.concatenate(arrays), self.steps)

    def take_numbers(self, numbers: Numbers) -> None:
        """Take over the result of `numbers`."""
        n = self.network.n_parameters
        self.network.parameters = numbers.values[:n]
        at = n
        for l in range(1, self.network.depth + 1):
            shape = self.network.spec.weight_shape(l)
            for s in range(OPTIMIZERS[self.optimizer_name]["state_count"]):
                size = shape[0] * shape[1]
                self._core.set_state(l, s, numbers.values[at : at + size].reshape(shape))
                at += size
        self._core.steps = numbers.steps

    def count_from(self, steps: int) -> None:
        """Change the number of updates made, and nothing else."""
        self._core.steps = steps

    def state(self) -> list[list[NDArray[Any]]]:
        """Return copies of the optimizer's arrays, a list for each layer, of the shape of W_(l)."""
        n_states = OPTIMIZERS[self.optimizer_name]["state_count"]
        layers = range(1, self.network.depth + 1)
        with _core.Reading(self.network):  # another thread may train
            return [[self._core.state(l, s) for s in range(n_states)] for l in layers]

    def restore(self, state: Any, *, steps: int, epochs: int, seed: int) -> None:
        """Take over the result of `state`, and the counts; the arrays may hold any numbers."""
        core = self._make_core(seed)
        for l, arrays in enumerate(state, 1):
            for s, array in enumerate(arrays):
                core.set_state(l, s, array)
        core.steps = steps
        self._core, self.epochs, self.seed = core, epochs, seed

    def checked_state(self, state: Any) -> list[list[NDArray[Any]]]:
        """Return a state from elsewhere if it fits the network and could be one of this optimizer's."""
        self._check_counts(state)
        return [[self._checked_array(s, array) for s, array in enumerate(arrays)] for arrays in state]

    def _check_counts(self, state: Any) -> None:
        n_states = OPTIMIZERS[self.optimizer_name]["state_count"]
        if len(state) != self.network.depth:
            raise ValueError(f"state must have {self.network.depth} layers; got {len(state)}")
        if any(len(arrays) != n_states for arrays in state):
            raise ValueError(f"state must have {n_states} arrays for each layer")

    def _checked_array(self, s: int, array: Any) -> NDArray[Any]:
        numbers = _arrays.real_array("state", array)
        squares = OPTIMIZERS[self.optimizer_name]["squares_state"] == s
        if squares and np.any(numbers < 0):
            raise ValueError(f"state must hold no mean of squares below zero; got {numbers.min():g}")
        # Squares may have overflowed, which makes the steps zero.
        _arrays.finite_array("state", numbers[numbers != np.inf] if squares else numbers, self.network.dtype)
        return numbers

    def replaced(
        self, network: Network, optimizer: Optimizer, regularisation: Regularisation
    ) -> GradientDescent:
        """Return gradient descent of `network` with these hyperparameters and, if it fits, this state."""
        other = GradientDescent(network, optimizer, regularisation, self.seed)
        if network is self.network and type(optimizer) is type(self._optimizer):
            other.restore(self.state(), steps=self.steps, epochs=self.epochs, seed=self.seed)
        return other

    @classmethod
    def from_state(cls, network: Network, state: dict[str, Any]) -> GradientDescent:
        """Return the descent that gave `to_state`, even if its training had diverged."""
        descent = cls(network, state["optimizer"], Regularisation.from_state(state["regularisation"]), 0)
        descent.restore_counts_and_arrays(state)
        return descent

    def restore_counts_and_arrays(self, state: dict[str, Any]) -> None:
        """Take over the result of `to_state` for the same optimizer, but not its hyperparameters."""
        if type(state["optimizer"]) is not type(self._optimizer):
            raise ValueError(f"optimizer must be of class {self.optimizer_name}; got {state['optimizer']!r}")
        self._check_counts(state["state"])
        self.restore(
            state["state"],
            steps=_validation.integer("steps", state["steps"], 0),
            epochs=_validation.integer("epochs", state["epochs"], 0),
            seed=_validation.integer("seed", state["seed"], 0, 2**64 - 1),
        )
