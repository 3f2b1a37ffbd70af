"""L-BFGS as the optimizer of a trainer: the counterpart of gradient descent, and the source of its epochs."""

from __future__ import annotations

import math
import sys
from contextlib import nullcontext
from dataclasses import asdict
from time import monotonic
from typing import Any

import numpy as np

from densegrad import _core, _validation
from densegrad._optimizers import LBFGS, AnyOptimizer
from densegrad.layers import LayerRates
from densegrad.network import Network
from densegrad.samples import Samples
from densegrad.training.descent import Descent, GradientDescent, Part, Regularisation
from densegrad.training.lbfgs import Lbfgs
from densegrad.training.observers import StepObservers
from densegrad.training.sharded_rows import RowsInShards
from densegrad.training.sources import Run


class Minimisation(Descent):
    """Iterations of L-BFGS on a network, and all that the next one depends on.

    Parameters
    ----------
    network : Network
        Changed in place.
    optimizer : LBFGS
    regularisation : Regularisation
        With an `l2` alone.

    Attributes
    ----------
    steps, epochs : int
        Iterations done so far, and epochs, which are as many.
    """

    optimizer_name = "LBFGS"
    #: The line search finds the steps.
    learning_rate = 1.0

    _optimizer: LBFGS

    def __init__(self, network: Network, optimizer: LBFGS, regularisation: Regularisation) -> None:
        _check_layers(network)
        refuse(**{name: value for name, value in asdict(regularisation).items() if name != "l2"})
        super().__init__(network, optimizer, regularisation, seed=0)
        self._steps = 0
        self._lbfgs: Lbfgs | None = None
        self._left_at = -1  # the count of the network's changes when it got the weights of `_lbfgs`

    @property
    def optimizer(self) -> LBFGS:
        """The optimizer; assign another to change its tolerances, not its memory."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: AnyOptimizer) -> None:
        if not isinstance(optimizer, LBFGS):
            raise TypeError(
                f"optimizer must be of class LBFGS, whose memory the trainer has; got {optimizer!r}. Make"
                " another Trainer"
            )
        self._optimizer = optimizer

    @property
    def steps(self) -> int:
        """The number of iterations made so far."""
        return self._steps

    def count_iteration(self) -> None:
        """Count an iteration that `minimiser()` has made."""
        self._steps += 1

    def minimiser(self) -> Lbfgs:
        """Return the L-BFGS so far, or one without a memory if the weights are not as it left them."""
        unchanged = _core.changes_of(self.network) == self._left_at
        if self._lbfgs is None or not (unchanged or self._lbfgs.is_at(self.network)):
            self._lbfgs = Lbfgs(self.network)
        return self._lbfgs

    def give_weights(self, lbfgs: Lbfgs) -> None:
        """Give the network the weights of the last iteration of `minimiser()`."""
        before = _core.changes_of(self.network)
        self.network.parameters = lbfgs.network.parameters
        self._left_at = before + 1  # if another thread comes in between, the count differs

    # --- state ---

    def state(self) -> dict[str, Any] | None:
        """Return the memory of the curvature as plain data; None if there is none yet."""
        return None if self._lbfgs is None else self._lbfgs.to_state()

    def checked_state(self, state: Any) -> dict[str, Any] | None:
        """Return a state from elsewhere if it fits the network."""
        return None if state is None else Lbfgs.checked_state(self.network, state)

    def restore(self, state: Any, *, steps: int, epochs: int, seed: int = 0) -> None:
        """Take over the result of `state`, and the counts."""
        self._lbfgs = None if state is None else Lbfgs.from_state(self.network, state)
        self._left_at = -1
        self._steps, self.epochs = steps, epochs

    def restore_counts_and_arrays(self, state: dict[str, Any]) -> None:
        """Take over the result of `to_state`, but not its hyperparameters."""
        if not isinstance(state["optimizer"], LBFGS):
            raise ValueError(f"optimizer must be of class LBFGS; got {state['optimizer']!r}")
        self.restore(
            self.checked_state(state["state"]),
            steps=_validation.integer("steps", state["steps"], 0),
            epochs=_validation.integer("epochs", state["epochs"], 0),
        )


class FullBatch:
    """All rows at once; each epoch is one iteration of L-BFGS.

    Parameters
    ----------
    minimisation : Minimisation
    samples : Samples
        Of the network in float64.
    n_threads : int or None
    observers : StepObservers
        See each iteration.
    rows : RowsInShards or None
        With shards, the same samples, of which an update takes all.

    Attributes
    ----------
    ended : str
        "converged" or "line_search" once no further iteration follows.
    so_far : Part
        The iteration of the epoch under way, if it is made. Then `epoch` makes none; assign an empty one
        before the next epoch.
    """

    n_steps = 1

    def __init__(
        self,
        minimisation: Minimisation,
        samples: Samples,
        n_threads: int | None,
        observers: StepObservers,
        rows: RowsInShards | None = None,
    ) -> None:
        self._minimisation = minimisation
        self._samples = samples
        self._n_threads = n_threads
        self._observers = observers
        self._rows = rows
        self._ranks = None if rows is None else rows.ranks
        self._shards = None if rows is None else rows.steps(None)
        self._n_rows = samples.n_rows if rows is None else rows.layout.n_rows
        self._last: Lbfgs | None = None
        self.ended = ""
        self.so_far = Part()

    def check_finite(self) -> None:
        """Raise ValueError if X has NaN or infinity; with several ranks it says where."""
        (self._samples if self._rows is None else self._rows).check_finite()

    def go_on(self) -> None:
        """Judge the last iteration, which a fit of the same rows made before it was broken off."""
        self._last = self._minimisation.minimiser()

    def epoch(self, deadline: float) -> Run:
        """Make the next iteration, in one call of the core; one that is cut short is undone."""
        minimisation = self._minimisation
        lbfgs = minimisation.minimiser()
        if self.so_far.steps > 0:
            self._last = lbfgs
            minimisation.epochs += 1
            return Run(self.so_far.loss, self._n_rows, None, 0.0, self.is_late(deadline))
        began = monotonic()
        continues, self._last = lbfgs is self._last, None
        if continues and lbfgs.reduction <= minimisation.optimizer.reduction_tolerance:
            self.ended = "converged"
            return Run(lbfgs.loss, 0, None, 0.0, False)
        try:
            with nullcontext() if self._ranks is None else self._ranks.epoch(np.dtype(np.float64)):
                lbfgs.minimise(
                    self._samples,
                    l2=minimisation.regularisation.l2,
                    max_iter=1,
                    max_fun=sys.maxsize,
                    gradient_tolerance=minimisation.optimizer.gradient_tolerance,
                    reduction_tolerance=0.0,
                    n_threads=self._n_threads,
                    deadline=deadline,
                    continues=continues,
                    shards=self._shards,
                    exchange=None if self._ranks is None else self._ranks.add_up,
                )
        finally:
            # Also after an error: these belong together.
            minimisation.give_weights(lbfgs)
        self._last = lbfgs
        seconds = monotonic() - began
        if lbfgs.iterations == 0:
            if lbfgs.end == "asked":
                return Run(lbfgs.loss, 0, None, seconds, True)
            if math.isfinite(lbfgs.loss):
                self.ended = "converged" if lbfgs.end == "gradient" else "line_search"
                return Run(lbfgs.loss, 0, None, seconds, self.is_late(deadline))
        else:
            minimisation.count_iteration()
            self.so_far = Part(lbfgs.loss, 1, 1)  # a mean already
            minimisation.epochs += 1
            self._observers.see(minimisation.steps)
        return Run(lbfgs.loss, self._n_rows, None, seconds, self.is_late(deadline))

    def is_late(self, deadline: float) -> bool:
        """Tell whether no further epoch is to begin, on some rank."""
        late = monotonic() >= deadline
        return late if self._ranks is None else self._ranks.any(late)


def descent_of(
    network: Network, optimizer: AnyOptimizer, regularisation: Regularisation, seed: int
) -> GradientDescent | Minimisation:
    """Return what makes the updates of this optimizer."""
    if isinstance(optimizer, LBFGS):
        return Minimisation(network, optimizer, regularisation)
    return GradientDescent(network, optimizer, regularisation, seed)


def descent_from_state(network: Network, state: dict[str, Any]) -> GradientDescent | Minimisation:
    """Return the descent that gave `to_state`, even if its training had diverged."""
    if not isinstance(state["optimizer"], LBFGS):
        return GradientDescent.from_state(network, state)
    minimisation = Minimisation(
        network, state["optimizer"], Regularisation.from_state(state["regularisation"])
    )
    minimisation.restore_counts_and_arrays(state)
    return minimisation


def refuse(**arguments: Any) -> None:
    """Raise ValueError if one of these arguments of a trainer, which L-BFGS has no use for, is given."""
    for name, value in arguments.items():
        if value is not None and not (isinstance(value, float) and value == 0):
            raise ValueError(
                f"LBFGS makes no gradient steps on mini-batches that {name} could act on; got"
                f" {name}={value!r}. Choose another optimizer, or leave {name} alone"
            )


def check_shards(network: Network, shards: int, average_every: int | None) -> None:
    """Raise ValueError if L-BFGS cannot minimise the loss of this network over so many shards."""
    refuse(average_every=average_every)
    if shards > 1 and network.custom_loss is not None:
        raise ValueError(
            f"LBFGS with shards needs a loss by name; got a custom loss and shards={shards}. Choose another"
            " optimizer, or shards=1"
        )


def _check_layers(network: Network) -> None:
    for l, layer in enumerate(network.layers, 1):
        if layer.dropout:
            raise ValueError(
                f"LBFGS needs a loss without chance: layer {l} has dropout={layer.dropout:g}. Choose another"
                " optimizer, or layers without dropout"
            )
        if layer.rates != LayerRates():
            raise ValueError(
                f"LBFGS has no learning rates: layer {l} has rates={layer.rates!r}. Choose another"
                " optimizer, or layers without rates"
            )
