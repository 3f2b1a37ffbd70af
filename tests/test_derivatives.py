"""Jacobians, vector products and per-sample gradients against differences, and the arguments they refuse.

PyTorch is their judge in `tests/peers/`.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from assertions import assert_close, refused, same_bits
from builders import make_network, make_rows, make_target
from choices import DTYPES, HIDDEN, NAN, PAIRINGS, Pairing
from densegrad import Dense, Network

CASE = (30, 3, 5, 4, 2)


def by_differences(network: Network, X: Any, target: Any, weight: Any, v: Any, h: float = 1e-6) -> Any:
    """The Hessian times v by central differences of the gradient."""
    moved = copy.copy(network)
    gradients = []
    for sign in (1, -1):
        moved.parameters = network.parameters + sign * h * v
        gradients.append(moved.loss_and_gradient(X, target, weight)[1])
    return (gradients[0] - gradients[1]) / (2 * h)


def assert_hessian(network: Network, X: Any, target: Any, weight: Any, rng: np.random.Generator) -> None:
    v = rng.normal(size=network.n_parameters)
    v /= np.linalg.norm(v)
    product = network.hessian_vector_product(X, target, v, weight)
    expected = by_differences(network, X, target, weight, v)
    assert np.max(np.abs(product - expected)) < 1e-7 * max(1, np.max(np.abs(expected)))


@pytest.mark.parametrize("weighted", [False, True], ids=["even", "weighted"])
@pytest.mark.parametrize("pairing", PAIRINGS, ids=str)
def test_hessian_of_every_loss(pairing: Pairing, weighted: bool, rng: np.random.Generator) -> None:
    network = make_network(CASE, pairing)
    X, target = make_rows(CASE, rng), make_target(network, CASE[0], rng)
    weight = rng.uniform(0, 2, CASE[0]) * (rng.uniform(size=CASE[0]) < 0.8) if weighted else None
    assert_hessian(network, X, target, weight, rng)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_hessian_of_every_activation(hidden: str, rng: np.random.Generator) -> None:
    network = make_network(CASE, Pairing("log_loss", "softmax"), hidden)
    assert_hessian(network, make_rows(CASE, rng), make_target(network, CASE[0], rng), None, rng)


@pytest.mark.parametrize("hidden", ["silu", "gelu", "mish", "softplus", "logistic", "tanh", "elu", "selu"])
def test_hessian_far_from_zero_is_finite(hidden: str) -> None:
    network = Network(1, [Dense(1, hidden), Dense(1, "identity")], dtype="float64")
    network.parameters = [1.0, 0.0, 1.0, 0.0]
    X = np.array([[-1e4], [-800.0], [-90.0], [90.0], [800.0], [1e4]])
    assert np.all(np.isfinite(network.hessian_vector_product(X, X, np.ones(4))))


def test_hessian_is_symmetric_and_linear(rng: np.random.Generator) -> None:
    network = make_network(CASE, Pairing("focal", "softmax"), "gelu")
    X, target = make_rows(CASE, rng), make_target(network, CASE[0], rng)
    samples = network.samples(X, target)
    hessian = np.stack(
        [network.hessian_vector_product(samples, None, unit) for unit in np.eye(network.n_parameters)]
    )
    assert_close(hessian, hessian.T, "float64", 10)
    v = rng.normal(size=network.n_parameters)
    assert_close(network.hessian_vector_product(X, target, v), hessian @ v, "float64", 100)


def test_hessian_in_float32_is_that_of_float64(rng: np.random.Generator) -> None:
    network = make_network(CASE, Pairing("poisson", "exp"), "mish", dtype="float32")
    X, target = make_rows(CASE, rng), make_target(network, CASE[0], rng)
    v = rng.normal(size=network.n_parameters)
    product = network.hessian_vector_product(X, target, v)
    assert product.dtype == np.float32
    assert_close(product, network.astype("float64").hessian_vector_product(X, target, v), "float32")


def test_hessian_is_the_same_on_any_number_of_threads(rng: np.random.Generator) -> None:
    network = make_network((300, 20, 30, 3), Pairing("log_loss", "softmax"), "gelu")
    X, target = rng.normal(size=(300, 20)), rng.integers(3, size=300)
    v = rng.normal(size=network.n_parameters)
    one = network.hessian_vector_product(X, target, v, n_threads=1)
    assert same_bits(one, network.hessian_vector_product(X, target, v, n_threads=2))


def test_hessian_leaves_the_gradient_and_the_weights(rng: np.random.Generator) -> None:
    network = make_network(CASE)
    X, target = make_rows(CASE, rng), make_target(network, CASE[0], rng)
    before = network.parameters
    _, gradient = network.loss_and_gradient(X, target)
    network.hessian_vector_product(X, target, np.ones(network.n_parameters))
    assert same_bits(network.parameters, before)
    assert_close(np.concatenate([g.ravel() for g in network.weight_gradients]), gradient, "float64")


def cubic(y_true: Any, y_pred: Any) -> Any:
    r = y_pred - y_true
    return (np.abs(r) ** 3).sum(axis=1), 3 * r * np.abs(r)


def cubic_hessian(y_true: Any, y_pred: Any, r: Any) -> Any:
    y_true[:] = 0 * y_true + y_true  # it may write to its arguments
    return 6 * np.abs(y_pred - y_true) * r


@pytest.mark.parametrize("head", ["identity", "softmax", "gelu"])
def test_hessian_of_a_custom_loss(head: str, rng: np.random.Generator) -> None:
    network = Network(3, [Dense(4, "tanh"), Dense(2, head)], loss=cubic, dtype="float64", random_state=0)
    X, target = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    weight = rng.uniform(1, 2, 9)
    v = rng.normal(size=network.n_parameters)
    product = network.hessian_vector_product(X, target, v, weight, loss_hessian=cubic_hessian)
    expected = by_differences(network, X, target, weight, v)
    assert np.max(np.abs(product - expected)) < 1e-6 * np.max(np.abs(expected))


def test_custom_losses_must_bring_their_hessian(rng: np.random.Generator) -> None:
    network = Network(3, [Dense(2, "identity")], loss=cubic, dtype="float64", random_state=0)
    X, target, v = rng.normal(size=(9, 3)), rng.normal(size=(9, 2)), np.ones(8)
    product = network.hessian_vector_product
    refused("loss_hessian must be a callable for a custom loss", lambda: product(X, target, v))
    refused(
        r"loss_hessian must return an array of shape \(9, 2\); got \(9, 3\)",
        lambda: product(X, target, v, loss_hessian=lambda *_: np.ones((9, 3))),
    )
    other = make_network((9, 3, 2))
    refused(
        "loss_hessian is of a custom loss; the loss is squared_error",
        lambda: other.hessian_vector_product(X, target, v, loss_hessian=cubic_hessian),
    )


@pytest.mark.parametrize("v", [np.ones(3), np.ones((26, 1)), np.full(26, NAN), None, ["a"] * 26], ids=str)
def test_vectors_that_do_not_fit(v: Any, rng: np.random.Generator) -> None:
    network = make_network((4, 3, 5, 1))
    X, target = rng.normal(size=(4, 3)), np.zeros(4)
    refused("v must", lambda: network.hessian_vector_product(X, target, v))
    refused("v must", lambda: network.vjp(X, v))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head", ["identity", "softmax"])
def test_jacobian_is_the_chain_of_local_gradients(head: str, dtype: str, rng: np.random.Generator) -> None:
    network = make_network(CASE, Pairing("squared_error" if head == "identity" else "log_loss", head))
    network = network.astype(dtype)
    X = make_rows(CASE, rng, dtype)
    p = network.backpropagate(X, make_target(network, CASE[0], rng))
    expected = p.local_gradients[network.depth].wrt_input
    for l in range(network.depth - 1, 0, -1):
        expected = expected @ p.local_gradients[l].wrt_input
    jacobian = network.jacobian(X)
    assert jacobian.dtype == dtype
    assert_close(jacobian, expected, dtype, 10)
    assert same_bits(network.jacobian(X, rows=[3, 1]), jacobian[[3, 1]])
    assert same_bits(network.jacobian(X, rows=slice(2, 5)), jacobian[2:5])
    v = rng.normal(size=(CASE[0], 2))
    assert_close(network.vjp(X, v), np.einsum("bi,bij->bj", v, jacobian), dtype, 10)


def test_jacobian_leaves_the_cache_of_the_network(rng: np.random.Generator) -> None:
    network = make_network(CASE)
    X, v = make_rows(CASE, rng), rng.normal(size=(CASE[0], 2))
    expected = network.vjp(X, v)
    network.jacobian(X[:4])
    assert same_bits(network.backward(v), expected)


def test_large_results_say_their_size(rng: np.random.Generator) -> None:
    network = make_network((10, 30, 40, 20))
    X, target = rng.normal(size=(10, 30)), rng.normal(size=(10, 20))
    message = r"\(10, 20, 30\) and need 48,000 bytes; max_bytes allows 40,000.*by `rows`"
    with pytest.raises(MemoryError, match=message):
        network.jacobian(X, max_bytes=40_000)
    assert network.jacobian(X, rows=range(8), max_bytes=40_000).shape == (8, 20, 30)
    assert network.jacobian(X, max_bytes=None).shape == (10, 20, 30)
    gradients = network.per_sample_gradients(X, target, max_bytes=40_000)
    assert np.all(gradients.norms > 0)
    with pytest.raises(MemoryError, match=r"W_\(1\) have shape \(10, 31, 40\) and need 99,200 bytes"):
        gradients[1]
    assert gradients.layer(1, rows=[0, 9]).shape == (2, 31, 40)
    wide = Network(2000, [Dense(2000, "identity")], random_state=0)
    with pytest.raises(MemoryError, match=r"need 1,600,000,000 bytes; max_bytes allows 1,073,741,824"):
        wide.jacobian(np.zeros((100, 2000)))


def test_many_classes_need_no_jacobians_of_the_head() -> None:
    n_classes, n_rows = 20_000, 2  # whose Jacobians take 3.2 GB
    network = Network(2, [Dense(n_classes, "softmax")], loss="log_loss", random_state=0)
    X, y = np.ones((n_rows, 2)), np.arange(n_rows)
    p = network.backpropagate(X, y)
    assert np.all(network.per_sample_gradients(X, y).norms > 0)
    assert np.any(network.hessian_vector_product(X, y, np.arange(network.n_parameters)))
    assert str(n_classes) in repr(p.local_gradients[1])
    for name in ("wrt_preactivation", "wrt_input", "wrt_weights"):
        with pytest.raises(MemoryError, match="give backpropagate fewer rows"):
            getattr(p.local_gradients[1], name)


@pytest.mark.parametrize("rows", ["a", [0.5], [[1]], None])
def test_rows_are_a_slice_or_numbers(rows: Any, rng: np.random.Generator) -> None:
    network = make_network(CASE)
    X = make_rows(CASE, rng)
    if rows is None:
        assert len(network.jacobian(X, rows=rows)) == CASE[0]
    else:
        refused("rows must be a slice or a list of row numbers", lambda: network.jacobian(X, rows=rows))


@pytest.mark.parametrize("loss", ["log_loss", "custom"])
def test_gradients_of_single_samples(loss: str, rng: np.random.Generator) -> None:
    """Each is that of a batch of one; sample weights do not count, be they zero."""
    if loss == "custom":
        network = Network(3, [Dense(4, "tanh"), Dense(2, "identity")], loss=cubic, dtype="float64")
        target: Any = rng.normal(size=(7, 2))
    else:
        network = make_network((7, 3, 4, 5), Pairing("log_loss", "softmax"))
        target = rng.integers(5, size=7)
    X, weight = rng.normal(size=(7, 3)), rng.uniform(0, 1, 7)
    weight[2] = 0
    weighted = network.per_sample_gradients(network.samples(X, target, weight))
    gradients = network.per_sample_gradients(X, target)
    for l in (1, 2):
        for row in range(7):
            alone = network.backpropagate(X[row : row + 1], target[row : row + 1])
            assert_close(gradients[l][row], alone.weight_gradients[l], "float64")
        assert same_bits(gradients[l], weighted[l])
        norms = np.linalg.norm(gradients[l].reshape(7, -1), axis=1)
        assert_close(np.sqrt(gradients.squared_norms[l]), norms, "float64")
    assert "of 7 samples" in repr(gradients)
    mean = network.backpropagate(X, target).weight_gradients[1]
    assert_close(gradients[1].mean(axis=0), mean, "float64")
