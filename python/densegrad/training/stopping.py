"""Early stopping: two rules that say when the patience is at its end, and the best weights so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from densegrad import _validation
from densegrad.network import Network
from densegrad.training.history import Epoch
from densegrad.training.rates import LearningRateRule


class Stopping(Protocol):
    """A rule that sees each epoch."""

    def update(self, epoch: Epoch, network: Network) -> bool:
        """Take note of an epoch; the network has its weights. True ends the fit."""


class Patience:
    """`Trainer.fit`'s rule: so many epochs in a row without an improvement on the last improved one.

    Parameters
    ----------
    patience : int or None
        None: the fit never ends by this rule.
    tol : float
        An improvement is one by more than this.
    restore_best : bool
        Whether `restore` gives the network the weights of the best epoch, if there is a patience.
    """

    def __init__(self, patience: int | None, tol: float, restore_best: bool) -> None:
        self._patience = None if patience is None else _validation.integer("patience", patience, 1)
        self._tol = _validation.real("tol", tol, 0)
        self._keeps_weights = _validation.boolean("restore_best", restore_best) and patience is not None
        self._lowest = self._reference = math.inf
        self._waited = 0
        self._weights: NDArray[Any] | None = None
        #: Number of the best epoch so far.
        self.best_epoch: int | None = None

    def update(self, epoch: Epoch, network: Network) -> bool:
        """Take note of an epoch; True if the patience is at its end."""
        loss = epoch.monitored()
        self._waited = 0 if loss < self._reference - self._tol else self._waited + 1
        self._reference = min(self._reference, loss) if self._waited == 0 else self._reference
        if loss < self._lowest:
            self._lowest, self.best_epoch = loss, epoch.number
            if self._keeps_weights:
                self._weights = network.parameters
        return self._patience is not None and self._waited >= self._patience

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of `fit` that it was made of, by name; restore_best counts only with a patience."""
        return {"patience": self._patience, "tol": self._tol, "restore_best": self._keeps_weights}

    def to_state(self) -> dict[str, Any]:
        """Return the state after the epochs so far, as plain data."""
        return {
            "lowest": self._lowest,
            "reference": self._reference,
            "waited": self._waited,
            "best_epoch": self.best_epoch,
            "weights": self._weights,
        }

    def take_state(self, state: dict[str, Any], network: Network) -> None:
        """Go on from the result of `to_state`."""
        weights, best = state["weights"], state["best_epoch"]
        if best is not None and self._keeps_weights != (weights is not None):
            raise ValueError("patience and restore_best must be as they were: the best weights are not there")
        if weights is not None and (weights.shape, weights.dtype) != ((network.n_parameters,), network.dtype):
            raise ValueError(
                f"the best weights must have shape ({network.n_parameters},); got {weights.shape}"
            )
        self._lowest, self._reference = float(state["lowest"]), float(state["reference"])
        self._waited = _validation.integer("waited", state["waited"], 0)
        self._weights = weights
        self.best_epoch = None if best is None else _validation.integer("best_epoch", best, 0)

    def restore(self, network: Network) -> None:
        """Give the network the weights of the best epoch, if that was asked for."""
        if self._weights is not None:
            network.parameters = self._weights


@dataclass
class BestSoFar:
    """The best results, which scikit-learn's rule remembers from one fit to the next."""

    no_improvement_count: int = 0
    loss: float = math.inf
    score: float = -math.inf


class NoImprovement:
    """scikit-learn's rule: more than so many epochs in a row that do not improve on the best by `tol`.

    Parameters
    ----------
    best : BestSoFar
        Changed in place.
    rule : LearningRateRule
        Its 'adaptive' may go on with a smaller learning rate at the end of the patience.
    tol, n_iter_no_change : float, float
        The estimator's parameters.
    by_score : bool
        Whether the score of the validation rows decides, rather than the training loss.
    weights : ndarray or None
        The best weights so far if they are to be kept; None keeps none.
    """

    def __init__(
        self,
        best: BestSoFar,
        rule: LearningRateRule,
        tol: float,
        n_iter_no_change: float,
        by_score: bool,
        weights: NDArray[Any] | None,
    ) -> None:
        self._best = best
        self._rule = rule
        self._tol = tol
        self._n_iter_no_change = n_iter_no_change
        self._by_score = by_score
        self.weights = weights
        #: The line that scikit-learn prints if it is verbose; "" after an epoch within the patience.
        self.message = ""

    def update(self, epoch: Epoch, network: Network) -> bool:
        """Take note of an epoch; True if the patience is at its end."""
        best, score = self._best, epoch.score
        improves = not epoch.loss > best.loss - self._tol
        if score is not None:
            if self._by_score:
                improves = not score < best.score + self._tol
            if score > best.score:
                best.score = score
                if self.weights is not None:
                    self.weights = network.parameters
        if not self._by_score:
            best.loss = min(best.loss, epoch.loss)
        best.no_improvement_count = 0 if improves else best.no_improvement_count + 1
        self.message = ""
        if best.no_improvement_count <= self._n_iter_no_change:
            return False
        monitored = "Validation score" if self._by_score else "Training loss"
        ends, outcome = self._rule.at_end_of_patience()
        self.message = (
            f"{monitored} did not improve more than tol={self._tol:f} for {self._n_iter_no_change}"
            f" consecutive epochs. {outcome}"
        )
        if not ends:
            best.no_improvement_count = 0
        return ends
