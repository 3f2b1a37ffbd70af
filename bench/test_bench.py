"""Forward, backward, step, epoch and predict against the same work by hand in NumPy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cases import TIMED, Case
from densegrad import Adam, Dense, Network, Trainer
from libraries.numpy_by_hand import NumpyNetwork, predict
from workloads import LEARNING_RATE, Matrix, Problem, log_loss, make_problem, reference_probabilities

DESIGN = [case for case in TIMED if case.group == "design"]
SECONDS = 0.3


class Ours:
    """densegrad behind the operations that are timed."""

    def __init__(self, problem: Problem, dtype: str) -> None:
        layers = [Dense(n, "relu") for n in problem.sizes[1:-1]] + [Dense(problem.sizes[-1], "softmax")]
        self.network = Network(problem.sizes[0], layers, loss="log_loss", dtype=dtype, random_state=0)
        for l, W in enumerate(problem.weights, start=1):
            self.network.weights[l] = W
        self.trainer = Trainer(
            self.network, Adam(LEARNING_RATE), batch_size=problem.batch, random_state=0, n_threads=1
        )
        self.predict = self.network.predict
        self.forward = self.network.forward
        self.backward = self.network.backward
        self.step = self.trainer.step

    def weight_gradients(self, layers: int) -> list[Matrix]:
        return [self.network.weight_gradients[l] for l in range(1, layers + 1)]

    def weights(self, layers: int) -> list[Matrix]:
        return [np.array(self.network.weights[l]) for l in range(1, layers + 1)]

    def epoch(self, X: Matrix, y: Any) -> None:
        self.trainer.fit(X, y, epochs=1)


class ByHand:
    """The same operations in NumPy."""

    def __init__(self, problem: Problem, dtype: str) -> None:
        self.network = NumpyNetwork(problem.sizes, problem.batch, dtype)
        self.network.set_weights(problem.weights)
        self.pairs = [(W[:-1], W[-1]) for W in self.network.W]
        self.rng = np.random.default_rng(0)
        self.forward = self.network.forward
        self.backward = self.network.backward
        self.step = self.network.step

    def predict(self, X: Matrix) -> Matrix:
        return predict(X, self.pairs)

    def weight_gradients(self, layers: int) -> list[Matrix]:
        return self.network.dW

    def weights(self, layers: int) -> list[Matrix]:
        return [W.copy() for W in self.network.W]

    def epoch(self, X: Matrix, y: Any) -> None:
        self.network.epoch(X, y, self.rng)


SIDES = {"densegrad": Ours, "numpy": ByHand}


@pytest.fixture(params=DESIGN, ids=lambda case: case.name, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(params=["float32", "float64"], scope="module")
def dtype(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def problem(case: Case, dtype: str) -> Problem:
    return make_problem(case, dtype)


@pytest.fixture(params=list(SIDES))
def library(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def side(library: str, problem: Problem, dtype: str) -> Any:
    return SIDES[library](problem, dtype)


@pytest.fixture
def batch(problem: Problem) -> tuple[Matrix, Any]:
    return problem.X[: problem.batch], problem.y[: problem.batch]


@pytest.fixture
def measure(benchmark: Any, keep_median: Any, case: Case, dtype: str, library: str) -> Callable[..., None]:
    """Time an operation; `setup` runs before every round and is not timed."""

    def run(operation: str, work: Any, *arguments: Any, setup: Callable[[], None] | None = None) -> None:
        if setup:
            setup()
        start = time.perf_counter()
        work(*arguments)
        one = time.perf_counter() - start
        rounds = int(np.clip(SECONDS / one, 5, 400))
        # A round of short calls repeats them, so that the clock's own time does not count.
        iterations = 1 if setup else int(np.clip(SECONDS / rounds / one, 1, 100))
        benchmark.group = f"{operation} {case.title} {dtype}"
        benchmark.pedantic(
            lambda: work(*arguments), setup=setup, rounds=rounds, iterations=iterations, warmup_rounds=1
        )
        if benchmark.stats is not None:
            keep_median(case.name, dtype, operation, library, benchmark.stats["median"])

    return run


def tolerance(dtype: str) -> float:
    return 2e-4 if dtype == "float32" else 1e-10


def test_predict(measure: Any, side: Any, batch: Any, problem: Problem, dtype: str) -> None:
    X, _ = batch
    np.testing.assert_allclose(
        side.predict(X), reference_probabilities(X, problem.weights), atol=tolerance(dtype)
    )
    measure("predict", side.predict, X)


def test_forward(measure: Any, side: Any, batch: Any, problem: Problem, dtype: str) -> None:
    X, _ = batch
    np.testing.assert_allclose(
        side.forward(X), reference_probabilities(X, problem.weights), atol=tolerance(dtype)
    )
    measure("forward", side.forward, X)


def test_backward(measure: Any, side: Any, batch: Any, problem: Problem, dtype: str) -> None:
    X, _ = batch
    loss_gradient = np.random.default_rng(0).standard_normal((len(X), problem.sizes[-1])).astype(dtype)
    by_hand = ByHand(problem, "float64")
    by_hand.forward(X.astype(np.float64))
    expected = by_hand.backward(loss_gradient.astype(np.float64))
    side.forward(X)
    found = side.backward(loss_gradient)
    gradients = side.weight_gradients(len(problem.weights))
    for mine, theirs in zip([found, *gradients], [expected, *by_hand.network.dW], strict=True):
        # One of the 786,432 preactivations of `wide` is within rounding error of zero. relu passes its delta
        # in float64 alone, so the float32 gradients move by 0.5 % of their norm. float64 shows that the work
        # is equal.
        limit = 2e-2 if dtype == "float32" else 1e-12
        assert np.linalg.norm(mine - theirs) < limit * np.linalg.norm(theirs)

    # The setup of a round must return None: anything else would be taken for arguments.
    def setup() -> None:
        side.forward(X)

    measure("backward", side.backward, loss_gradient, setup=setup)


def test_step(measure: Any, side: Any, batch: Any, problem: Problem, dtype: str) -> None:
    X, y = batch
    by_hand = ByHand(problem, "float64")
    by_hand.step(X.astype(np.float64), y)
    side.step(X, y)
    layers = len(problem.weights)
    for mine, theirs in zip(side.weights(layers), by_hand.weights(layers), strict=True):
        # Adam's first update is the gradient's sign times the learning rate. If the gradient is rounding
        # error, so is the update. Therefore a few weights may differ.
        off = np.abs(mine - theirs) > tolerance(dtype) * LEARNING_RATE * 100
        assert off.mean() < 0.01
    measure("step", side.step, X, y)


def test_epoch(measure: Any, side: Any, problem: Problem) -> None:
    before = log_loss(side.predict(problem.X), problem.y)
    measure("epoch", side.epoch, problem.X, problem.y)
    assert log_loss(side.predict(problem.X), problem.y) < 0.9 * before
