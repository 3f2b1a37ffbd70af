"""The training of an estimator: all that a continued fit needs, and nothing of the estimator."""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from numbers import Integral
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from densegrad import _validation
from densegrad.estimators.best_weights import BestWeights
from densegrad.estimators.parameters import Recipe
from densegrad.estimators.validation import Validation, split_rows
from densegrad.estimators.warn import warn
from densegrad.initializers import Uniform
from densegrad.network import Network
from densegrad.samples import Samples
from densegrad.spec import NetworkSpec
from densegrad.training.checkpoint import Progress
from densegrad.training.descent import GradientDescent
from densegrad.training.history import Epoch
from densegrad.training.lbfgs import Lbfgs
from densegrad.training.loop import epochs
from densegrad.training.observers import StepObservers
from densegrad.training.order import CumulativeOrder, generator_in
from densegrad.training.rates import RULES, LearningRateRule, Rates, checked_memory
from densegrad.training.sources import Rows
from densegrad.training.stopping import BestSoFar, NoImprovement

_NOT_GIVEN = object()


# What scikit-learn draws for layers of logistic units, and for all others.
_LOGISTIC = Uniform(lambda n_in, n_out: math.sqrt(2 / (n_in + n_out)), bias=True)
_OTHER = Uniform(lambda n_in, n_out: math.sqrt(6 / (n_in + n_out)), bias=True)


@dataclass(frozen=True)
class Plan:
    """What gradient descent goes over in a fit."""

    samples: Samples
    #: Row numbers to train on; None: all.
    rows: NDArray[np.int64] | None
    batch_size: int
    validation: Validation | None
    so_far: Progress


@dataclass
class Training:
    """The state of the training of an estimator.

    `begun` and `continued` return a new one and change nothing that another one holds. So a fit that fails
    before its first epoch leaves the estimator as it was.
    """

    network: Network
    random: np.random.RandomState = field(default_factory=np.random.RandomState)
    #: The parameter `random_state` that `random` was made of.
    random_from: Any = _NOT_GIVEN
    #: None before the first stochastic fit, and after one that diverged.
    descent: GradientDescent | None = None
    #: Of the last fit by L-BFGS, so that a further fit may go on.
    lbfgs: Lbfgs | None = None
    schedule_state: dict[str, float] = field(default_factory=dict)
    #: scikit-learn's `learning_rate`.
    rule: LearningRateRule | None = None
    order: CumulativeOrder | None = None
    best: BestSoFar = field(default_factory=BestSoFar)
    #: The parameter `scoring` that `best.score` was measured by.
    scoring: Any = None
    #: Of early stopping.
    kept: BestWeights = field(default_factory=BestWeights)
    #: Of early stopping: the number of rows, and the generator's state that the split was drawn with.
    split: tuple[int, dict[str, Any]] | None = None
    #: Rows trained on so far.
    n_rows_seen: int = 0
    #: The judge of the epochs, while a fit runs.
    stopping: NoImprovement | None = None

    @classmethod
    def begun(cls, recipe: Recipe, spec: NetworkSpec) -> Training:
        """Return a training at its beginning, with scikit-learn's initial weights."""
        random = check_random_state(recipe.random_state)
        network = Network.from_spec(spec, _initial_weights(spec, recipe.activation, random))
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
            other.descent = other.lbfgs = None
            other.kept = BestWeights()
            other.best = BestSoFar()  # losses and scores of another network are no measure for this one
        return other

    @contextmanager
    def undrawn_if_refused(self) -> Iterator[None]:
        """Put the generator back if an error is raised meanwhile: another training may share it."""
        before = self.random.get_state(legacy=False)
        try:
            yield
        except BaseException:
            self.random.set_state(before)
            raise

    @property
    def steps(self) -> int:
        """Updates made so far with this optimizer."""
        return 0 if self.descent is None else self.descent.steps

    def as_if_ended(self) -> Training:
        """Return this training as it would be if the fit that runs ended now, after an epoch."""
        if self.order is not None:
            self.order.pause()
        if self.stopping is None or self.stopping.weights is None:
            return self
        other = copy.copy(self)
        other.network = Network.from_spec(self.network.spec, self.network.parameters)
        other.kept = BestWeights(self.stopping.weights).restored(other.network)
        return other

    def to_state(self) -> dict[str, Any]:
        """Return plain data; `from_state` makes the training from it again."""
        rule, split = self.rule, self.split
        state = {
            "network": self.network,
            "random": self.random,
            "random_from": self.random_from,
            "descent": None if self.descent is None else self.descent.to_state(),
            "lbfgs": self.lbfgs,
            "schedule_state": dict(self.schedule_state),
            "rule": None if rule is None else [*rule.settings, rule.learning_rate],
            "order": self._order_state(),
            "best": asdict(self.best),
            "scoring": self.scoring,
            **self.kept.to_state(),
            "split": None if split is None else [split[0], generator_in(split[1])],
            "n_rows_seen": self.n_rows_seen,
        }
        if self.random_from is _NOT_GIVEN:
            del state["random_from"]
        return state

    def _order_state(self) -> dict[str, Any] | None:
        if self.order is None or not self.order.draws_from(self.random):
            return None  # the next fit begins another
        state = self.order.to_state()
        return state if state["n_shuffles"] <= self.n_rows_seen else None

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Training:
        """Return the training that gave `to_state`."""
        network, random = state["network"], state["random"]
        if not isinstance(network, Network) or not isinstance(random, np.random.RandomState):
            raise ValueError("a training must have a network and a RandomState")
        training = cls(network, random, state.get("random_from", _NOT_GIVEN))
        if state["descent"] is not None:
            training.descent = GradientDescent.from_state(network, state["descent"])
        training.lbfgs = state["lbfgs"]
        training.schedule_state = checked_memory(state["schedule_state"])
        if state["rule"] is not None:
            initial, name, power_t, learning_rate = state["rule"]
            training.rule = LearningRateRule(initial, _validation.choice("rule", name, RULES), power_t)
            training.rule.learning_rate = _validation.real("learning_rate", learning_rate, 0)
        if state["order"] is not None:
            # Each shuffle is made again in the next fit, so there may not be more than epochs.
            n_rows_seen = _validation.integer("n_rows_seen", state["n_rows_seen"], 0)
            _validation.integer("n_shuffles", state["order"]["n_shuffles"], 0, n_rows_seen)
            training.order = CumulativeOrder.from_state(random, state["order"])
        best = state["best"]
        training.best = BestSoFar(
            _validation.integer("no_improvement_count", best["no_improvement_count"], 0),
            _validation.number("loss", best["loss"]),
            _validation.number("score", best["score"]),
        )
        training.scoring = state["scoring"]
        training.kept = BestWeights.from_state(state, network)
        if state["split"] is not None:
            n_rows, drawn_with = state["split"]
            split = _validation.integer("split", n_rows, 1), drawn_with.get_state(legacy=False)
            training.split = split
        training.n_rows_seen = _validation.integer("n_rows_seen", state["n_rows_seen"], 0)
        return training

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
        """Return the L-BFGS of the last fit if the weights are as it left them, otherwise a new one."""
        if self.lbfgs is not None and self.lbfgs.is_at(self.network):
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
            random = generator_in(self.split[1])
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
        plan: Plan,
        *,
        incremental: bool,
    ) -> Generator[tuple[Epoch, str], None, None]:
        """Train as planned; yield each epoch and its text to print.

        However the loop is left, the network ends with the weights of the fit. These are the best ones of
        early stopping, if they are to be restored.
        """
        assert self.descent is not None
        assert self.rule is not None
        descent, rule, network = self.descent, self.rule, self.network
        rows, validation, so_far = plan.rows, plan.validation, plan.so_far
        n_rows = plan.samples.n_rows if rows is None else len(rows)
        by_score = validation is not None and recipe.early_stopping
        self.kept = self.kept.resumed(network)
        keeps_weights = by_score and recipe.restore_best
        if validation is not None:
            self._begin_judging_by(recipe.scoring, keeps_weights)
        best = self.kept.best if keeps_weights else None
        stopping = NoImprovement(self.best, rule, recipe.tol, recipe.n_iter_no_change, by_score, best)
        self.stopping = stopping
        rates = Rates(descent, recipe.schedule, rule)
        rates.state = self.schedule_state
        draw_order = (lambda _: rows) if self.order is None else self.order.of_epoch
        source = Rows(
            descent,
            plan.samples,
            n_rows,
            plan.batch_size,
            draw_order,
            rates,
            recipe.n_threads,
            StepObservers(() if incremental else recipe.callbacks),
        )
        # partial_fit does not know how long training will last: max_iter epochs like this one.
        rates.first = 0 if incremental else so_far.first
        rates.last = rates.first + source.n_steps * recipe.max_iter

        def after_epoch(epoch: Epoch) -> bool:
            self.n_rows_seen += epoch.n_rows
            if keeps_weights:
                self.kept = BestWeights(stopping.weights)  # for a callback that pickles the estimator
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
                limit=so_far.epochs if so_far.ended else 1 if incremental else recipe.max_iter,
                done=so_far.epochs,
                deadline=math.inf if incremental else monotonic() + recipe.max_time,
                validate=None if validation is None else validate,
                after_epoch=after_epoch,
            ):
                diverged = epoch.stopped == "diverged"
                yield epoch, stopping.message
        finally:
            self.stopping = None
            if self.order is not None:
                self.order.pause()
            if stopping.weights is not None:
                kept = BestWeights(stopping.weights).restored(network)
                if diverged or kept.last is None:
                    # The optimizer's state is of no more use than the last weights.
                    self.descent, kept = None, BestWeights(kept.best)
                self.kept = kept

    def _begin_judging_by(self, scoring: Any, keeps_weights: bool) -> None:
        """Forget a best score that was measured by another `scoring`, or whose weights are not here."""
        changed = scoring != self.scoring
        if changed or not keeps_weights:
            self.kept = BestWeights()
        if changed or (keeps_weights and self.kept.best is None):
            self.best.score = -math.inf
        if keeps_weights and self.kept.best is None:
            self.kept = BestWeights(self.network.parameters)
        self.scoring = scoring


def rows_of_batch(batch_size: int | str, n_rows: int) -> int:
    """Return the number of rows of a batch for the parameter `batch_size`."""
    if isinstance(batch_size, str):
        return min(200, n_rows)
    if batch_size > n_rows:
        warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
    return min(int(batch_size), n_rows)


def _initial_weights(
    spec: NetworkSpec, activation: str | None, random: np.random.RandomState
) -> Iterator[Iterator[NDArray[Any]]]:
    """Draw W_(1), …, W_(L) as scikit-learn does, some rows at a time.

    The head, too, has that of `activation`, the one of all hidden layers; None stands for that of its own.
    """
    names: list[object] = [layer.activation for layer in spec.layers]
    names[-1] = activation or names[-1]
    for name, (n_rows, n_out) in zip(names, spec.weight_shapes, strict=True):
        initializer = _LOGISTIC if name == "logistic" else _OTHER
        yield initializer.chunks(n_rows - 1, n_out, random)


def _same(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, Integral) and isinstance(b, Integral) and a == b)
