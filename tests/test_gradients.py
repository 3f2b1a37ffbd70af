"""Back propagation against finite differences, for every activation × loss × weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from assertions import assert_close
from builders import make_network, make_rows, make_target
from choices import HIDDEN, PAIRINGS, Pairing
from densegrad import Dense, Network, check_gradients
from densegrad.network import Network as NetworkClass


def away_from_kinks(network: Network, X: Any, target: Any) -> Any:
    """Keep the rows for which no loss and no activation has a kink within the step of the differences."""
    from reference import Reference

    _, preactivations = Reference.of(network).forward(X)
    distance = np.min([np.abs(z).min(axis=1) for z in preactivations[1:]], axis=0)
    y = network.predict(X)
    t = np.asarray(target, np.float64)
    if network.target_kind == "values" and network.loss != "gaussian_nll":
        t = np.repeat(t, y.shape[1] // t.shape[1], axis=1)
        r = np.abs(y - t)
        kink = np.abs(r - network.loss_parameter) if network.loss == "huber" else r
        distance = np.minimum(distance, kink.min(axis=1))
    if "hinge" in network.loss:
        distance = np.minimum(distance, np.abs(1 - np.abs(y)).min(axis=1))
    keep = distance > 1e-3
    assert keep.sum() >= 3
    return keep


@pytest.mark.parametrize("weighted", [False, True], ids=["even", "weighted"])
@pytest.mark.parametrize("pairing", PAIRINGS, ids=str)
def test_every_loss(pairing: Pairing, weighted: bool, rng: np.random.Generator) -> None:
    case = (40, 3, 4, 2)
    network = make_network(case, pairing)
    X = make_rows(case, rng)
    target = make_target(network, case[0], rng)
    keep = away_from_kinks(network, X, target)
    weight = rng.uniform(0, 2, keep.sum()) if weighted else None
    report = check_gradients(network, X[keep], target[keep], weight, step=1e-6)
    assert report.max_relative_error < 1e-5, str(report)


@pytest.mark.parametrize("loss", ["squared_error", "log_loss", "poisson"])
@pytest.mark.parametrize("hidden", HIDDEN)
def test_every_activation(hidden: str, loss: str, rng: np.random.Generator) -> None:
    head = {"squared_error": "identity", "log_loss": "softmax", "poisson": "exp"}[loss]
    case = (40, 3, 4, 5, 2)
    network = make_network(case, Pairing(loss, head), hidden)
    X = make_rows(case, rng)
    target = make_target(network, case[0], rng)
    keep = away_from_kinks(network, X, target)
    report = check_gradients(network, X[keep], target[keep], step=1e-6)
    assert report.max_relative_error < 1e-5, str(report)


@pytest.mark.parametrize(("loss", "head"), [("squared_error", "identity"), ("log_loss", "softmax")])
def test_gradient_of_the_input(loss: str, head: str, rng: np.random.Generator) -> None:
    case, pairing = (6, 5, 7, 3), Pairing(loss, head)
    network = make_network(case, pairing)
    X, target = make_rows(case, rng), make_target(make_network(case, pairing), 6, rng)
    analytic = network.backpropagate(X, target).loss_gradients[0]
    numeric = np.empty_like(analytic)
    h = 1e-6
    for i in np.ndindex(*X.shape):
        up, down = X.copy(), X.copy()
        up[i] += h
        down[i] -= h
        numeric[i] = (network.evaluate(up, target) - network.evaluate(down, target)) / (2 * h)
    assert np.max(np.abs(analytic - numeric)) < 1e-8


def test_float32_is_checked_in_float64(rng: np.random.Generator) -> None:
    case = (20, 5, 8, 3)
    network = make_network(case, Pairing("log_loss", "softmax"), dtype="float32")
    before = network.parameters
    report = check_gradients(network, make_rows(case, rng), make_target(network, 20, rng))
    assert 1e-9 < report.max_relative_error < 1e-3
    assert np.array_equal(network.parameters, before)


class _Wrong(NetworkClass):
    """A network whose analytic gradient is wrong at one weight."""

    @property
    def weight_gradients(self) -> Any:
        gradients = {l: np.array(g) for l, g in enumerate(super().weight_gradients, 1)}
        gradients[2][1, 0] *= 1.01
        return gradients


def test_an_error_is_found_and_named(rng: np.random.Generator) -> None:
    network = _Wrong(3, [Dense(4, "tanh"), Dense(2, "identity")], dtype="float64", random_state=0)
    report = check_gradients(network, rng.normal(size=(10, 3)), rng.normal(size=(10, 2)))
    assert report.max_relative_error == pytest.approx(0.01, rel=0.02)
    assert (report.worst.layer, report.worst.index) == (2, (1, 0))
    assert report.layers[0].max_relative_error < 1e-6
    assert "(1, 0)" in str(report)


def test_large_layers_are_sampled(rng: np.random.Generator) -> None:
    network = make_network((5, 30, 40, 2))
    X, target = rng.normal(size=(5, 30)), rng.normal(size=(5, 2))
    a = check_gradients(network, X, target, max_parameters=50)
    assert a == check_gradients(network, X, target, max_parameters=50)
    assert a != check_gradients(network, X, target, max_parameters=50, random_state=1)


def test_custom_loss_is_checked_too(rng: np.random.Generator) -> None:
    def cubic(y_true: Any, y_pred: Any) -> Any:
        r = y_pred - y_true
        return (np.abs(r) ** 3).sum(axis=1), 3 * r * np.abs(r)

    layers = [Dense(4, "tanh"), Dense(2, "identity")]
    network = Network(3, layers, loss=cubic, dtype="float64", random_state=0)
    report = check_gradients(network, rng.normal(size=(9, 3)), rng.normal(size=(9, 2)))
    assert report.max_relative_error < 1e-6


@pytest.mark.parametrize("n_rows", [255, 256, 257, 1024, 1025, 2100])
def test_pieces_of_a_long_batch_add_up(n_rows: int, rng: np.random.Generator) -> None:
    case = (n_rows, 3, 5, 2)
    network = make_network(case)
    X, target = make_rows(case, rng), rng.normal(size=(n_rows, 2))
    weight = rng.uniform(0, 2, n_rows)
    whole = network.backpropagate(X, target, weight)
    loss, gradient = network.loss_and_gradient(X, target, weight)
    assert loss == whole.loss == network.evaluate(X, target, weight)
    assert np.array_equal(gradient, np.concatenate([g.ravel() for g in whole.weight_gradients]))
    for l in (1, 2):
        delta = whole.loss_gradients[l] * whole.local_gradients[l].wrt_preactivation
        by_hand = whole.outputs[l - 1].T @ delta
        assert_close(whole.weight_gradients[l][:-1], by_hand, "float64", 20)


def test_what_a_pass_leaves_can_be_a_key(rng: np.random.Generator) -> None:
    network = make_network((5, 3, 4, 2))
    X, target = make_rows((5, 3), rng), rng.normal(size=(5, 2))
    p, q = network.backpropagate(X, target), network.backpropagate(X, target)
    for a, b in ((p, q), (p.local_gradients[1], q.local_gradients[1])):
        assert a != b
        assert len({a, b, a}) == 2


@pytest.mark.parametrize("activation", ["logistic", "softplus", "silu", "mish"])
def test_negligible_deltas_of_hidden_layers_are_dropped(activation: str) -> None:
    # Their products in the layers below would be denormal numbers, which are slow.
    network = Network(1, [Dense(1, activation), Dense(1, "identity")], loss="squared_error", dtype="float32")
    network.weights[1] = network.weights[2] = np.array([[1.0], [0.0]])
    for z, dropped in ((-40.0, False), (-80.0, True)):
        p = network.backpropagate(np.array([[z]]), np.ones(1))
        assert np.all(p.weight_gradients[1] == 0) == dropped
