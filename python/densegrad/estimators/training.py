"""The training of an estimator: all that a continued fit needs, and nothing of the estimator."""

from __future__ import annotations

import copy
import math
from collections.abc import Generator
from dataclasses import dataclass, field
from numbers import Integral
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from densegrad._arrays import all_finite
from densegrad.estimators.parameters import Recipe
from densegrad.estimators.validation import Validation, split_rows
from densegrad.network import Network
from densegrad.samples import Samples
from densegrad.spec import NetworkSpec
from densegrad.training.descent import GradientDescent
from densegrad.training.history import Epoch
from densegrad.training.lbfgs import Lbfgs
from densegrad.training.loop import epochs
from densegrad.training.order import CumulativeOrder
from densegrad.training.rates import LearningRateRule, Rates
from densegrad.training.sources import Rows
from densegrad.training.stopping import BestSoFar, NoImprovement

_NOT_GIVEN = object()


@dataclass
class Training:
    """Where the training of an estimator stands.

    `begun` and `continued` return a new one and change nothing that another one holds, so a fit that fails
    before its first epoch leaves the estimator as it was.
    """

    network: Network
    random: np.random.RandomState = field(default_factory=np.random.RandomState)
    #: The parameter `random_state` that `random` was made of.
    random_from: Any = _NOT_GIVEN
    #: None before the first stochastic fit, and after one that diverged.
    descent: GradientDescent | None = None
    #: Of the last fit by L-BFGS, where a further fit may go on.
    lbfgs: Lbfgs | None = None
    schedule_state: dict[str, float] = field(default_factory=dict)
    #: scikit-learn's `learning_rate`.
    rule: LearningRateRule | None = None
    order: CumulativeOrder | None = None
    best: BestSoFar = field(default_factory=BestSoFar)
    #: Of early stopping: the weights that scored best, and the last ones while the network has the best.
    best_parameters: NDArray[Any] | None = None
    last_parameters: NDArray[Any] | None = None
    #: Of early stopping: the number of rows, and the generator's state that the split was drawn with.
    split: tuple[int, dict[str, Any]] | None = None
    #: Rows trained on so far.
    n_rows_seen: int = 0

    @classmethod
    def begun(cls, recipe: Recipe, spec: NetworkSpec, scaled_for: Any) -> Training:
        """Return a training at its beginning; `scaled_for` as in `Recipe.network`."""
        random = check_random_state(recipe.random_state)
        network = recipe.network(spec, scaled_for, random)
        return cls(network, random, recipe.random_state)

    def continued(self, recipe: Recipe, spec: NetworkSpec) -> Training:
        """Return this training with a network of `spec`, which is this one if nothing else is asked for."""
        other = copy.copy(self)
        if not _same(recipe.random_state, self.random_from):
            other.random, other.random_from = check_random_state(recipe.random_state), recipe.random_state
        known = self.network.spec
        if spec.widths != known.widths:
            raise ValueError(
                f"training can only go on with the layers it began with: the network has {list(known.widths)}"
                f" units, X, hidden_layer_sizes and y ask for {list(spec.widths)}"
            )
        if spec != known:
            other.network = Network.from_spec(spec, self.network.parameters)
            other.descent = other.lbfgs = other.last_parameters = None
        return other

    # Each of these changes this training alone, before its first epoch.

    def set_optimizer(self, recipe: Recipe) -> None:
        """Make gradient descent as the recipe asks for, with the state that there is if it fits."""
        assert recipe.optimizer is not None
        before, wanted = self.descent, (recipe.optimizer, recipe.regularisation)
        if before is None:
            self.descent = GradientDescent(self.network, *wanted, self._dropout_seed())
            self.schedule_state = {}
        elif (before.optimizer, before.regularisation) != wanted:
            self.descent = before.replaced(self.network, *wanted)
            if (type(before.optimizer), before.regularisation) != (type(wanted[0]), wanted[1]):
                self.schedule_state = {}

    def minimiser(self) -> Lbfgs:
        """Return the L-BFGS of the last fit if the weights are where it left them, or else a new one."""
        if self.lbfgs is not None:
            left = self.lbfgs.network.parameters.astype(self.network.dtype)
            if np.array_equal(left, self.network.parameters):
                return self.lbfgs
        return Lbfgs(self.network)

    def _dropout_seed(self) -> int:
        if not any(layer.dropout for layer in self.network.layers):
            return 0
        drawn = np.random.RandomState(int(self.random.randint(2**31 - 1)))
        return int(drawn.randint(2**63 - 1, dtype=np.int64))

    def split_rows(
        self, n_rows: int, fraction: float, stratify: NDArray[Any] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the row numbers to train on and those that early stopping sets aside.

        A training that goes on with as many rows as before validates on the same ones.
        """
        if self.split is not None and self.split[0] == n_rows and self.n_rows_seen > 0:
            random = np.random.RandomState()
            random.set_state(self.split[1])
        else:
            random = self.random
            self.split = (n_rows, random.get_state(legacy=False))
        return split_rows(n_rows, fraction, stratify, random)

    def set_rates(self, recipe: Recipe) -> None:
        """Make scikit-learn's rule of the learning rate anew if its parameters have changed."""
        if self.rule is None or self.rule.settings != recipe.learning_rate:
            self.rule = LearningRateRule(*recipe.learning_rate)
            if self.n_rows_seen:
                self.rule.after_epoch(self.n_rows_seen)

    def set_order(self, recipe: Recipe, n_rows: int, rows: NDArray[np.int64] | None) -> None:
        """Go on with the order of the rows if there is one that fits, or begin another."""
        if not recipe.shuffle:
            self.order = None
        elif self.order is not None and self.order.resumes(self.random, n_rows):
            self.order.resume(rows)
        else:
            shared = not isinstance(recipe.random_state, Integral)
            self.order = CumulativeOrder(self.random, n_rows, rows, shared=shared)

    # Training.

    def epochs(
        self,
        recipe: Recipe,
        samples: Samples,
        rows: NDArray[np.int64] | None,
        batch_size: int,
        validation: Validation | None,
        *,
        incremental: bool,
    ) -> Generator[tuple[Epoch, str], None, None]:
        """Train on `samples`, on the row numbers `rows` of them; yield each epoch and what to print of it.

        However the loop is left, the network ends with the weights of the fit: the best ones of early
        stopping if they are to be restored.
        """
        assert self.descent is not None
        assert self.rule is not None
        descent, rule, network = self.descent, self.rule, self.network
        n_rows = samples.n_rows if rows is None else len(rows)
        by_score = validation is not None and recipe.early_stopping
        self._go_on_from_the_last()
        best = self._take_best() if by_score and recipe.restore_best else None
        stopping = NoImprovement(self.best, rule, recipe.tol, recipe.n_iter_no_change, by_score, best)
        rates = Rates(descent, recipe.schedule, rule)
        rates.state = self.schedule_state
        draw_order = (lambda _: rows) if self.order is None else self.order.of_epoch
        source = Rows(descent, samples, n_rows, batch_size, draw_order, rates, recipe.n_threads)
        # partial_fit does not know how long training will last: max_iter epochs like this one.
        rates.first = 0 if incremental else descent.steps
        rates.last = rates.first + source.n_steps * recipe.max_iter

        def after_epoch(epoch: Epoch) -> bool:
            self.n_rows_seen += epoch.n_rows
            rule.after_epoch(self.n_rows_seen)
            return rates.after_epoch(epoch.monitored())

        def validate(epoch: int) -> tuple[float, float]:
            assert validation is not None
            return validation.judge(network, epoch, recipe.n_threads)

        diverged = False
        try:
            for epoch in epochs(
                network,
                source,
                stopping,
                limit=1 if incremental else recipe.max_iter,
                deadline=math.inf if incremental else monotonic() + recipe.max_time,
                validate=None if validation is None else validate,
                after_epoch=after_epoch,
            ):
                diverged = epoch.stopped == "diverged"
                yield epoch, stopping.message
        finally:
            if self.order is not None:
                self.order.pause()
            if stopping.weights is not None:
                self._restore(stopping.weights, diverged)

    def _go_on_from_the_last(self) -> None:
        """Take back the last weights of early stopping, unless others than the best ones are there now."""
        last, self.last_parameters = self.last_parameters, None
        if last is None:
            return
        assert self.best_parameters is not None
        if np.array_equal(self.network.parameters, self.best_parameters):
            self.network.parameters = last
        else:
            self.best_parameters = None

    def _take_best(self) -> NDArray[Any]:
        best, self.best_parameters = self.best_parameters, None
        return self.network.parameters if best is None else best

    def _restore(self, best: NDArray[Any], diverged: bool) -> None:
        last, self.network.parameters = self.network.parameters, best
        self.best_parameters = best
        if diverged or not all_finite(last):
            self.descent = None  # the optimizer's state is of no more use than the last weights
        else:
            self.last_parameters = last


def _same(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, Integral) and isinstance(b, Integral) and a == b)
