"""L-BFGS of the core: against SciPy and a solution in closed form; its end; exact continuation."""

from __future__ import annotations

import math
import pickle
from time import monotonic
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from numpy.typing import NDArray

from assertions import refused, same_bits
from builders import half_square, make_network, make_rows, make_target
from choices import Pairing
from densegrad import Dense, Network, _core
from densegrad.samples import Samples
from densegrad.training.lbfgs import Lbfgs

LOG_LOSS = Pairing("log_loss", "softmax")
SETTINGS: dict[str, Any] = {
    "l2": 0.1,
    "max_iter": 1000,
    "max_fun": 15000,
    "gradient_tolerance": 1e-7,
    "reduction_tolerance": 0.0,
    "n_threads": 1,
}


def minimised(network: Network, *data: Any, **settings: Any) -> Lbfgs:
    lbfgs = Lbfgs(network)
    lbfgs.minimise(Samples(lbfgs.network.spec, *data), **{**SETTINGS, **settings})
    return lbfgs


def penalised(network: Network, samples: Samples, l2: float) -> Any:
    """The loss with its penalty, and its gradient, as a function of the parameters."""
    other = network.astype("float64")
    is_weight = np.concatenate(
        [
            np.repeat([1.0, 0.0], [(rows - 1) * columns, columns])
            for rows, columns in network.spec.weight_shapes
        ]
    )
    weight = samples.sample_weight
    share = l2 / (samples.n_rows if weight is None else weight.sum())

    def function(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        other.parameters = parameters
        loss, gradient = other.loss_and_gradient(samples)
        w = parameters * is_weight
        return loss + 0.5 * share * float(np.sum(w * w)), gradient + share * w

    return function


@pytest.mark.parametrize(
    ("shape", "pairing", "hidden"),
    [
        ((60, 2, 100, 100, 1), Pairing("log_loss", "logistic"), "relu"),
        ((200, 10, 20, 3), LOG_LOSS, "relu"),
        ((300, 5, 30, 30, 2), Pairing("squared_error", "identity"), "tanh"),
        ((1500, 4, 9, 1), Pairing("poisson", "exp"), "logistic"),
    ],
    ids=str,
)
def test_iterates_are_those_of_scipy(
    shape: tuple[int, ...], pairing: Pairing, hidden: str, rng: np.random.Generator
) -> None:
    network = make_network(shape, pairing, hidden)
    weight = rng.uniform(0.5, 2, shape[0])
    samples = Samples(network.spec, make_rows(shape, rng), make_target(network, shape[0], rng), weight)
    theirs: list[NDArray[Any]] = []
    result = scipy.optimize.minimize(
        penalised(network, samples, 0.1),
        network.parameters,
        method="L-BFGS-B",
        jac=True,
        options={"maxiter": 15, "gtol": 0.0, "ftol": 0.0},
        callback=lambda parameters: theirs.append(parameters.copy()),
    )
    ours: list[NDArray[Any]] = []
    lbfgs = Lbfgs(network)
    lbfgs.minimise(
        samples,
        **{**SETTINGS, "max_iter": 15, "gradient_tolerance": 0.0},
        see=lambda epoch: ours.append(lbfgs.network.parameters) or False,
    )
    assert lbfgs.iterations == len(ours) == len(theirs) == 15
    assert lbfgs.evaluations == result.nfev
    assert lbfgs.loss == pytest.approx(result.fun, rel=1e-9)
    for mine, other in zip(ours, theirs, strict=True):
        assert np.max(np.abs(mine - other)) <= 1e-8 * np.max(np.abs(other))


def test_the_same_minimum_as_scipy(rng: np.random.Generator) -> None:
    shape = (200, 8, 4)
    network = make_network(shape, LOG_LOSS)
    data = make_rows(shape, rng), make_target(network, 200, rng), None
    lbfgs = minimised(network, *data)
    assert lbfgs.end == "gradient"
    function = penalised(network, Samples(network.spec, *data), 0.1)
    options = {"maxiter": 5000, "gtol": 1e-7, "ftol": 0.0}
    theirs = scipy.optimize.minimize(
        function, network.parameters, method="L-BFGS-B", jac=True, options=options
    )
    assert lbfgs.loss == pytest.approx(theirs.fun, rel=1e-12)
    assert np.max(np.abs(function(lbfgs.network.parameters)[1])) <= 1e-7


def test_a_quadratic_loss_converges_to_its_solution(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(50, 6)), rng.normal(size=(50, 1))
    lbfgs = minimised(Network(6, [Dense(1, "identity")], random_state=0), X, target, None, l2=3.0)
    assert lbfgs.end == "gradient"
    assert lbfgs.iterations < 40
    ones = np.hstack([X, np.ones((50, 1))])
    # squared_error is half the square of the residual.
    solution = np.linalg.solve(ones.T @ ones + np.diag([3.0] * 6 + [0.0]), ones.T @ target)
    np.testing.assert_allclose(lbfgs.network.weights[1], solution, rtol=0, atol=1e-6)


def test_ends_at_its_limits(rng: np.random.Generator) -> None:
    shape = (50, 4, 9, 3)
    network = make_network(shape, LOG_LOSS)
    data = make_rows(shape, rng), make_target(network, 50, rng), None
    assert (few := minimised(network, *data, max_iter=7)).end == "iterations"
    assert few.iterations == 7
    assert (few := minimised(network, *data, max_fun=10)).end == "evaluations"
    assert few.evaluations > 10 >= few.iterations
    assert minimised(network, *data, reduction_tolerance=1e-2).end == "reduction"
    assert (done := minimised(few.network, *data, gradient_tolerance=1e9)).end == "gradient"
    assert (done.iterations, done.evaluations) == (0, 1)
    assert same_bits(done.network.parameters, few.network.parameters)


@pytest.mark.parametrize("by", ["see", "deadline"])
def test_ends_when_asked(by: str, rng: np.random.Generator) -> None:
    shape = (50, 4, 9, 3)
    network = make_network(shape, LOG_LOSS)
    data = make_rows(shape, rng), make_target(network, 50, rng), None
    seen: list[float] = []
    how: dict[str, Any] = {"see": lambda epoch: seen.append(epoch.loss) or epoch.number == 4}
    if by == "deadline":
        how = {"deadline": monotonic(), "see": lambda epoch: seen.append(epoch.loss) or False}
    lbfgs = minimised(network, *data, **how)
    assert lbfgs.end == "asked"
    assert lbfgs.iterations == len(seen)
    assert len(seen) == 5 if by == "see" else len(seen) <= 1
    assert not seen or lbfgs.loss == seen[-1]
    function = penalised(network, Samples(network.spec, *data), 0.1)
    assert lbfgs.loss == pytest.approx(function(lbfgs.network.parameters)[0], rel=1e-14)


def test_an_error_leaves_the_last_iteration(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(30, 3)), rng.normal(size=(30, 2))
    calls, seen = 0, []

    def loss(y_true: Any, y_pred: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return half_square(y_true, y_pred)

    lbfgs = Lbfgs(Network(3, [Dense(5, "tanh"), Dense(2, "identity")], loss=loss, random_state=0))
    samples = Samples(lbfgs.network.spec, X, target, None)
    assert lbfgs.loss == math.inf
    with pytest.raises(KeyboardInterrupt):
        lbfgs.minimise(
            samples,
            **SETTINGS,
            see=lambda epoch: seen.append((epoch.loss, lbfgs.network.parameters)) or False,
        )
    assert 0 < lbfgs.iterations == len(seen) < 6
    assert lbfgs.loss == seen[-1][0]
    assert same_bits(lbfgs.network.parameters, seen[-1][1])
    lbfgs.minimise(samples, **SETTINGS)
    assert lbfgs.loss < seen[-1][0]


def test_an_error_in_the_first_evaluation() -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        raise KeyboardInterrupt

    network = Network(3, [Dense(2, "identity")], loss=loss, random_state=0)
    lbfgs = Lbfgs(network)
    with pytest.raises(KeyboardInterrupt):
        lbfgs.minimise(Samples(lbfgs.network.spec, np.ones((4, 3)), np.zeros((4, 2)), None), **SETTINGS)
    assert (lbfgs.iterations, lbfgs.evaluations, lbfgs.loss) == (0, 0, math.inf)
    assert same_bits(lbfgs.network.parameters, network.astype("float64").parameters)


def test_a_custom_loss(rng: np.random.Generator) -> None:
    X, target, weight = rng.normal(size=(80, 3)), rng.normal(size=(80, 2)), rng.uniform(0, 2, 80)
    layers = [Dense(7, "tanh"), Dense(2, "identity")]
    for n_threads in (1, 2):
        ends = []
        for loss in ("squared_error", half_square):
            network = Network(3, layers, loss=loss, random_state=0)  # type: ignore[arg-type]
            lbfgs = minimised(network, X, target, weight, max_iter=10, n_threads=n_threads)
            ends.append(lbfgs.network.parameters)
        np.testing.assert_allclose(ends[0], ends[1], rtol=1e-9, atol=1e-12)


def test_sparse_rows(rng: np.random.Generator) -> None:
    shape = (90, 12, 7, 3)
    network = make_network(shape, LOG_LOSS)
    X = make_rows(shape, rng) * (rng.random((90, 12)) < 0.2)
    target = make_target(network, 90, rng)
    dense = minimised(network, X, target, None, max_iter=20)
    sparse = minimised(network, scipy.sparse.csr_array(X), target, None, max_iter=20)
    assert same_bits(dense.network.parameters, sparse.network.parameters)


def test_a_step_to_an_infinite_loss_is_shortened(rng: np.random.Generator) -> None:
    X = 1e4 * rng.normal(size=(40, 2))
    network = Network(2, [Dense(1, "exp")], loss="poisson", dtype="float64", random_state=0)
    network.parameters = np.zeros(3)
    start = network.evaluate(X, np.full(40, 0.5))
    lbfgs = minimised(network, X, np.full(40, 0.5), None, max_iter=50)
    assert lbfgs.loss < start
    assert np.isfinite(lbfgs.network.parameters).all()


def test_no_way_down() -> None:
    network = Network(2, [Dense(1, "identity")], random_state=0)
    X = np.array([[1.0, np.nan], [2.0, 3.0]])
    lbfgs = minimised(network, X, np.zeros(2), None)
    assert lbfgs.end == "line_search"
    assert lbfgs.iterations == 0
    assert same_bits(lbfgs.network.parameters, network.astype("float64").parameters)


@pytest.mark.parametrize("first", [0, 1, 5, 17])
def test_goes_on_where_it_stopped(first: int, rng: np.random.Generator) -> None:
    shape = (120, 5, 13, 9, 3)
    network = make_network(shape, LOG_LOSS)
    data = make_rows(shape, rng), make_target(network, 120, rng), None
    whole = minimised(network, *data, max_iter=40)
    parts = minimised(network, *data, max_iter=first)
    parts = pickle.loads(pickle.dumps(parts))
    parts.minimise(Samples(network.spec, *data), **{**SETTINGS, "max_iter": 40 - first})
    assert same_bits(parts.network.parameters, whole.network.parameters)
    assert parts.loss == whole.loss


@pytest.mark.usefixtures("isa")
def test_padding_may_hold_anything(rng: np.random.Generator) -> None:
    shape = (70, 5, 13, 9, 3)
    network = make_network(shape, LOG_LOSS)
    data = make_rows(shape, rng), make_target(network, 70, rng), None
    clean, poisoned = Lbfgs(network), Lbfgs(network)
    for _ in range(2):
        poisoned.network._poison_padding()
        for lbfgs in (clean, poisoned):
            lbfgs.minimise(Samples(network.spec, *data), **{**SETTINGS, "max_iter": 15})
        assert same_bits(clean.network.parameters, poisoned.network.parameters)


def test_an_empty_memory_may_lie_anywhere() -> None:
    network = make_network((20, 3, 4, 2))
    nothing = np.ndarray((0,), np.float64, buffer=bytearray(9), offset=1)
    pairs = np.zeros((0, network.n_parameters))
    core = _core.Lbfgs(network)
    core.set_state(True, pairs, pairs, nothing)
    assert core.state()[3].shape == (0,)


def test_what_the_binding_refuses(rng: np.random.Generator) -> None:
    shape = (20, 3, 4, 2)
    network = make_network(shape)
    refused("float64", lambda: _core.Lbfgs(make_network(shape, dtype="float32")))
    data = make_rows(shape, rng), make_target(network, 20, rng), None
    refused("l2", lambda: minimised(network, *data, l2=-1.0))
    refused("l2", lambda: minimised(network, *data, l2=math.nan))
    refused("row", lambda: minimised(network, data[0][:0], data[1][:0], None))
    refused("n_threads", lambda: minimised(network, *data, n_threads=0))
    core = _core.Lbfgs(network)
    n = network.n_parameters
    refused("10 pairs", lambda: core.set_state(True, np.zeros((11, n)), np.zeros((11, n)), np.ones(11)))
    refused("steps", lambda: core.set_state(True, np.zeros((2, n - 1)), np.zeros((2, n)), np.ones(2)))
    refused("differences", lambda: core.set_state(True, np.zeros((2, n)), np.zeros((1, n)), np.ones(2)))
    refused("curvatures", lambda: core.set_state(True, np.zeros((2, n)), np.zeros((2, n)), np.ones((2, 1))))
    begun, steps, _, curvatures = core.state()
    assert not begun
    assert (steps.shape, curvatures.shape) == ((0, n), (0,))


def test_one_caller_at_a_time(rng: np.random.Generator) -> None:
    shape = (20, 3, 4, 2)
    network = make_network(shape)
    data = make_rows(shape, rng), make_target(network, 20, rng), None
    lbfgs = Lbfgs(network)
    samples = Samples(network.spec, *data)
    with pytest.raises(RuntimeError):
        lbfgs.minimise(samples, **SETTINGS, see=lambda _: lbfgs.minimise(samples, **SETTINGS) is None)
