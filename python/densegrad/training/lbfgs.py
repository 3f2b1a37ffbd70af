"""L-BFGS at work on a network: the loss of all rows, minimised in one call of the core."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

import numpy as np

from densegrad import _arrays, _core, _validation
from densegrad.custom_losses import batch_loss
from densegrad.network import Network
from densegrad.samples import Samples
from densegrad.training.descent import Exchange, Shards
from densegrad.training.history import Epoch

# The parts of the core's state.
_STATE: Final = ("begun", "steps", "differences", "curvatures")


class Lbfgs:
    """L-BFGS with its memory of the curvature, at work on a float64 copy of a network.

    A line search needs losses of more than seven digits, so all is computed in float64.

    Parameters
    ----------
    network : Network
        Of any precision; is not changed.

    Attributes
    ----------
    network : Network
        The copy. It has the weights of the last iteration, also after an error or Ctrl-C.
    reduction : float
        By which the last iteration lowered the loss, relative to the loss or 1; infinite if there was none.
    """

    def __init__(self, network: Network) -> None:
        self.network = network.astype(np.float64)
        self._core = _core.Lbfgs(self.network)
        self.reduction = math.inf

    @property
    def loss(self) -> float:
        """The loss at the weights now, with the penalty; infinite if it is not known."""
        return self._core.loss

    @property
    def iterations(self) -> int:
        """Iterations of the last call of `minimise`."""
        return self._core.iterations

    @property
    def evaluations(self) -> int:
        """Evaluations of loss and gradient in the last call of `minimise`."""
        return self._core.evaluations

    @property
    def end(self) -> str:
        """Why the last call ended.

        "gradient" or "reduction" (converged), "iterations" or "evaluations" (a limit), "line_search" (no
        lower loss was found), "asked" (by `see`, `deadline` or Ctrl-C).
        """
        return self._core.end

    def minimise(
        self,
        samples: Samples,
        *,
        l2: float,
        max_iter: int,
        max_fun: int,
        gradient_tolerance: float,
        reduction_tolerance: float,
        n_threads: int | None,
        deadline: float = math.inf,
        see: Callable[[Epoch], bool] | None = None,
        continues: bool = False,
        shards: Shards | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        """Minimise the loss of the samples, from the network's weights on.

        Parameters
        ----------
        samples : Samples
            Of the float64 copy.
        l2 : float
            The penalty is l2 / 2 · Σ w² / (sum of the sample weights), biases left out.
        max_iter, max_fun : int
            Largest numbers of iterations and of evaluations; an iteration that has begun is completed.
        gradient_tolerance : float
            Largest component of the gradient at which the iterations end.
        reduction_tolerance : float
            Largest decrease of the loss, relative to the loss or 1, at which the iterations end.
        n_threads : int or None
        deadline : float
            Reading of `time.monotonic` that ends the iterations. One that is cut short is undone.
        see : callable or None
            Called after each iteration with its record; returns True to end the iterations.
        continues : bool
            Samples and `l2` are as in the last call, so the loss there need not be computed again.
        shards, exchange
            As for an epoch of gradient descent, of one step with all rows.
        """
        before = monotonic()

        def after_iteration(number: int, loss: float) -> bool:
            nonlocal before
            assert see is not None
            seconds, before = monotonic() - before, monotonic()
            stopped = "max_time" if before >= deadline else ""
            return see(Epoch(number - 1, loss, None, seconds, 0, stopped=stopped)) or bool(stopped)

        self.reduction = math.inf
        self._core.minimise(
            samples.rows,
            samples.targets,
            l2=l2,
            max_iterations=max_iter,
            max_evaluations=max_fun,
            gradient_tolerance=gradient_tolerance,
            reduction_tolerance=reduction_tolerance,
            n_threads=n_threads,
            deadline=0.0 if math.isinf(deadline) else deadline,
            custom=batch_loss(samples),
            after_iteration=None if see is None else after_iteration,
            continues=continues,
            shards=shards,
            exchange=exchange,
        )
        if self.iterations > 0:
            loss_before, loss = self._core.loss_before, self.loss
            self.reduction = (loss_before - loss) / max(abs(loss_before), abs(loss), 1.0)

    def is_at(self, network: Network) -> bool:
        """Tell whether `network` has the weights of the last iteration, in its own precision."""
        mine = self.network.parameters.astype(network.dtype)
        mine[np.abs(mine) < np.finfo(network.dtype).tiny] = 0.0  # as a network takes over such numbers
        return np.array_equal(mine, network.parameters)

    def to_state(self) -> dict[str, Any]:
        """Return plain data to make this one of again; the description of the network is not part of it."""
        with _core.Reading(self.network):
            state = dict(zip(_STATE, self._core.state(), strict=True))
            return {**state, "parameters": self.network.parameters, "reduction": self.reduction}

    @staticmethod
    def checked_state(network: Network, state: Any) -> dict[str, Any]:
        """Return the result of `to_state` from elsewhere, if it fits the network."""
        n, pairs = network.n_parameters, len(state["curvatures"])
        shapes = {"steps": (pairs, n), "differences": (pairs, n), "curvatures": (pairs,), "parameters": (n,)}
        checked: dict[str, Any] = {"begun": _validation.boolean("begun", state["begun"])}
        for name, shape in shapes.items():
            array = _arrays.finite_array(name, _arrays.real_array(name, state[name]), np.dtype(np.float64))
            if array.shape != shape:
                raise ValueError(f"{name} of L-BFGS must have shape {shape}; got {array.shape}")
            checked[name] = array
        reduction = state.get("reduction", math.inf)  # older files have none
        checked["reduction"] = _validation.number("reduction", reduction)
        if np.any(checked["curvatures"] <= 0):
            raise ValueError("curvatures of L-BFGS must be positive")
        return checked

    @classmethod
    def from_state(cls, network: Network, state: dict[str, Any]) -> Lbfgs:
        """Return the one that gave `to_state`, of a network of the same description."""
        lbfgs = cls(network)
        lbfgs.network.parameters = state["parameters"]
        lbfgs.take_memory(*(state[name] for name in _STATE))
        lbfgs.reduction = state["reduction"]
        return lbfgs

    def take_memory(self, *state: Any) -> None:
        """Go on with another memory, the parts of the core's state."""
        self._core.set_state(*state)

    def __getstate__(self) -> dict[str, Any]:
        with _core.Reading(self.network):
            return {"network": self.network, "state": self._core.state(), "reduction": self.reduction}

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        self.network = pickled["network"]
        self._core = _core.Lbfgs(self.network)
        self._core.set_state(*pickled["state"])
        self.reduction = pickled.get("reduction", math.inf)
