"""Scale and Blend: against the twin and differences, in all views of a pass, in files, with the same bits."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from assertions import assert_close, refused, same_bits
from builders import half_square
from choices import DTYPES, HIDDEN, OPTIMIZERS
from densegrad import (
    Adam,
    Blend,
    Dense,
    LayerRates,
    Network,
    NetworkSpec,
    Scale,
    Trainer,
    check_gradients,
)
from reference import Reference
from reference_training import Penalties, ReferenceTrainer
from test_determinism import everywhere, passes, train

Array = np.ndarray[Any, np.dtype[Any]]


def mixed_network(
    hidden: str = "mish",
    dtype: str = "float64",
    dropout: float = 0.0,
    loss: Any = "log_loss",
    width: int = 20,
) -> Network:
    """Elementwise layers in front, one above the other, behind an activation, and below the head."""
    layers = [
        Scale(dropout=dropout, rates=LayerRates(6.0)),
        Dense(width, "identity", rates=LayerRates(0.5, 0.1)),
        Blend(hidden, dropout=dropout, rates=LayerRates(0.1, decay=3.0, epsilon=2.0)),
        Dense(7, "tanh", dropout=dropout),
        Scale(),
        Blend("selu"),
        Dense(3, "softmax" if loss == "log_loss" else "identity"),
    ]
    network = Network(5, layers, loss=loss, dtype=dtype, random_state=0)
    random = np.random.default_rng(1)
    for l in (1, 3, 5, 6):
        network.weights[l] = random.normal(1.0, 0.5, size=network.weights[l].shape)
    return network


def data(rng: np.random.Generator, n: int = 60) -> tuple[Array, Array]:
    X = rng.normal(size=(n, 5))
    return X, (X[:, 0] > 0) + (X[:, 1] > 0.5).astype(np.int64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_passes_equal_the_twins(hidden: str, dtype: str, rng: np.random.Generator) -> None:
    X, target = data(rng)
    weight = rng.uniform(0.1, 2, len(X))
    network = mixed_network(hidden, dtype)
    twin = Reference.of(network).backpropagate(X.astype(dtype), target, weight)
    p = network.backpropagate(X, target, weight)
    assert p.loss == pytest.approx(twin.loss, rel=1e-5 if dtype == "float32" else 1e-12)
    for l in range(network.depth + 1):
        assert_close(p.outputs[l], twin.outputs[l], dtype, slack=100)
        assert_close(p.loss_gradients[l], twin.loss_gradients[l], dtype, slack=100)
    for l in range(1, network.depth + 1):
        assert_close(p.weight_gradients[l], twin.weight_gradients[l - 1], dtype, slack=100)
        assert_close(p.preactivations[l], twin.preactivations[l], dtype, slack=100)
    loss, gradient = network.loss_and_gradient(X, target, weight)
    assert loss == pytest.approx(p.loss)
    assert_close(gradient, np.concatenate([g.ravel() for g in p.weight_gradients]), dtype)
    assert_close(network.predict(X), p.outputs[network.depth], dtype)
    network.forward(X)
    assert_close(network.backward(p.loss_gradients[network.depth]), p.loss_gradients[0], dtype)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_gradients_equal_differences(hidden: str, rng: np.random.Generator) -> None:
    X, target = data(rng, 9)
    assert check_gradients(mixed_network(hidden), X, target).wrong == ()


def test_local_gradients_are_the_factors_of_the_chain_rule(rng: np.random.Generator) -> None:
    X, target = data(rng)
    network = mixed_network()
    p = network.backpropagate(X, target)
    for l in range(1, network.depth + 1):
        local, upper = p.local_gradients[l], p.loss_gradients[l]
        by_weights = np.einsum("bi,bijk->jk", upper, local.wrt_weights)
        np.testing.assert_allclose(by_weights, p.weight_gradients[l], rtol=1e-12, atol=1e-15)
        by_input = np.einsum("bi,bij->bj", upper, local.wrt_input)
        np.testing.assert_allclose(by_input, p.loss_gradients[l - 1], rtol=1e-12, atol=1e-15)
        np.testing.assert_array_equal(p.deltas[l].shape, upper.shape)
    v = np.asarray(network.weights[3])
    np.testing.assert_allclose(p.outputs[3], p.outputs[2] + v * p.local_gradients[3].by_weight, rtol=1e-12)
    assert same_bits(p.local_gradients[1].by_input, np.broadcast_to(network.weights[1], X.shape).copy())
    assert "(60, 20, 1, 20)" in repr(p.local_gradients[3])


@pytest.mark.parametrize("hidden", ["mish", "tanh", "gelu", "relu", "selu"])
def test_further_derivatives(hidden: str, rng: np.random.Generator) -> None:
    X, target = data(rng)
    network = mixed_network(hidden)
    w, v, h = network.parameters, rng.normal(size=network.n_parameters), 1e-6
    moved = []
    for direction in (h, -h):
        network.parameters = w + direction * v
        moved.append(network.loss_and_gradient(X, target)[1])
    network.parameters = w
    product = network.hessian_vector_product(X, target, v)
    np.testing.assert_allclose(product, (moved[0] - moved[1]) / (2 * h), rtol=1e-5, atol=1e-6)
    per_sample = network.per_sample_gradients(X, target)
    for l in range(1, network.depth + 1):
        gradients = per_sample[l]
        alone = network.backpropagate(X[3:4], target[3:4]).weight_gradients[l]
        np.testing.assert_allclose(gradients[3], alone, rtol=1e-9, atol=1e-14)
        np.testing.assert_allclose(
            per_sample.squared_norms[l], np.square(gradients).sum(axis=(1, 2)), rtol=1e-9, atol=1e-25
        )
    assert "(60, 1, 5)" in repr(per_sample)
    jacobian = network.jacobian(X[:4])
    outputs = np.eye(3)[0] + np.zeros((4, 1))
    np.testing.assert_allclose(network.vjp(X[:4], outputs), jacobian[:, 0], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    "penalties", [{}, {"l2": 0.3, "l1": 0.1, "max_norm": 1.0, "clip_norm": 0.2}], ids=str
)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_training_equals_the_twins(
    optimizer: Any, penalties: dict[str, float], rng: np.random.Generator
) -> None:
    X, target = data(rng, 120)
    if not hasattr(optimizer, "weight_decay"):
        penalties = {**penalties, "weight_decay": 0.1}
    network = mixed_network(dropout=0.3)
    twin = ReferenceTrainer(Reference.of(network), optimizer, Penalties(**penalties))
    twin.rates = [layer.rates for layer in network.layers]
    trainer = Trainer(network, optimizer, random_state=0, **penalties)  # type: ignore[arg-type]
    twin.seed = trainer.state_dict()["seed"]
    for _ in range(40):
        rows = rng.integers(len(X), size=30)
        expected = twin.step(X[rows], target[rows])
        assert trainer.step(X[rows], target[rows]) == pytest.approx(expected, rel=1e-10)
    for W, V in zip(network.weights, twin.network.weights, strict=True):
        assert_close(W, V, "float64", slack=1e4)


@pytest.mark.parametrize("width", [16, 20, 35, 70])  # lines of units: even and odd numbers, and rests
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_everywhere(dtype: str, width: int, rng: np.random.Generator) -> None:
    X, target = data(rng, 333)
    everywhere(lambda n: passes(mixed_network(dtype=dtype, width=width), X, target, None, n))
    options = {"l2": 0.1, "weight_decay": 0.1, "clip_norm": 0.5, "max_norm": 2.0}
    for arguments in ({}, options):
        everywhere(
            lambda n, arguments=arguments: train(  # type: ignore[misc]
                mixed_network("gelu", dtype, 0.2, width=width),
                X,
                target,
                n,
                optimizer=Adam(0.01),
                **arguments,
            )
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_batches_longer_than_a_slice_and_a_piece(dtype: str, rng: np.random.Generator) -> None:
    X, target = data(rng, 2500)
    twin_network = mixed_network(dtype=dtype)
    twin = ReferenceTrainer(Reference.of(twin_network), Adam(0.01))
    twin.rates = [layer.rates for layer in twin_network.layers]
    trainer = Trainer(twin_network, Adam(0.01))
    for _ in range(3):
        expected = twin.step(X.astype(dtype), target)
        loss = trainer.step(X, target)
        assert loss == pytest.approx(expected, rel=1e-5 if dtype == "float32" else 1e-11)

    def work(n_threads: int) -> bytes:
        network = mixed_network(dtype=dtype, dropout=0.2)
        Trainer(network, batch_size=1300, random_state=1, n_threads=n_threads).fit(X, target, epochs=2)
        return network.parameters.tobytes()

    everywhere(work)


def test_padding_has_no_part(rng: np.random.Generator) -> None:
    X, target = data(rng)
    results = []
    for poisoned in (False, True):
        network = mixed_network()
        network.backpropagate(X, target)
        if poisoned:
            network._poison_padding()
        results.append(network.backpropagate(X, target).weight_gradients)
        Trainer(network, random_state=0).fit(X, target, epochs=2)
        results[-1] = [*results[-1], network.parameters]
    assert all(same_bits(a, b) for a, b in zip(*results, strict=True))


def test_a_scale_of_one_and_a_blend_of_one_are_nothing_and_the_activation(rng: np.random.Generator) -> None:
    X, _ = data(rng)
    plain = Network(5, [Dense(9, "tanh"), Dense(2, "identity")], random_state=0)
    layers = [Scale(), Dense(9, "identity"), Blend("tanh"), Scale(), Dense(2, "identity")]
    network = Network(5, layers, random_state=0)
    np.testing.assert_allclose(network.predict(X), plain.predict(X), rtol=2e-6, atol=1e-6)
    network.weights[3] = np.zeros((1, 9))
    W, V = (np.asarray(network.weights[l], np.float64) for l in (2, 5))
    linear = (X @ W[:-1] + W[-1]) @ V[:-1] + V[-1]
    np.testing.assert_allclose(network.predict(X), linear, rtol=1e-5, atol=1e-5)


def test_frozen_elementwise_layers_stay(rng: np.random.Generator) -> None:
    X, target = data(rng)
    layers = [
        Scale(trainable=False),
        Dense(9, "identity"),
        Blend("mish", trainable=False),
        Dense(3, "softmax"),
    ]
    network = Network(5, layers, loss="log_loss", random_state=0)
    Trainer(network, weight_decay=0.1, random_state=0).fit(X, target, epochs=2)
    assert np.all(network.weights[1] == 1)
    assert np.all(network.weights[3] == 1)


def test_a_custom_loss(rng: np.random.Generator) -> None:
    X, _ = data(rng)
    target = rng.normal(size=(60, 3))
    network = mixed_network(loss=half_square)
    assert check_gradients(network, X, target).wrong == ()
    same = mixed_network(loss="squared_error")
    for one in (network, same):
        Trainer(one, random_state=0, batch_size=16).fit(X, target, epochs=3)
    np.testing.assert_allclose(network.parameters, same.parameters, rtol=1e-9)


def test_they_are_saved_and_copied(rng: np.random.Generator, tmp_path: Path) -> None:
    X, target = data(rng)
    network = mixed_network(dropout=0.1)
    trainer = Trainer(network, random_state=0)
    trainer.fit(X, target, epochs=2)
    trainer.save(tmp_path / "trainer")
    network.save(tmp_path / "network")
    assert NetworkSpec.from_json(json.loads(json.dumps(network.spec.to_json()))) == network.spec
    copies = [Network.load(tmp_path / "network"), pickle.loads(pickle.dumps(network)), copy.deepcopy(network)]
    for other in copies:
        assert other.spec == network.spec
        assert same_bits(other.parameters, network.parameters)
    loaded = Trainer.load(tmp_path / "trainer")
    for one in (trainer, loaded):
        one.fit(X, target, epochs=2)
    assert same_bits(loaded.network.parameters, network.parameters)
    assert network.astype("float32").layers == network.layers


def test_their_description(rng: np.random.Generator) -> None:
    network = mixed_network()
    assert [layer.units for layer in network.layers] == [5, 20, 20, 7, 7, 7, 3]
    assert network.spec.weight_shapes == ((1, 5), (6, 20), (1, 20), (21, 7), (1, 7), (1, 7), (8, 3))
    assert network.n_parameters == len(network.parameters) == 5 + 120 + 20 + 147 + 7 + 7 + 24
    assert "blend mish" in repr(network)
    assert "scale" in repr(network)
    assert np.all(Network(2, [Scale(), Dense(1)], random_state=0).weights[1] == 1)
    description = network.spec.to_json()
    for layer in (
        [5, "relu", 0.0, "scale"],
        [4, "identity", 0.0, "scale"],
        [5, "identity", 0.0, "frozen", "scale"],
    ):
        description["layers"][0] = layer
        with pytest.raises(ValueError, match=r"scale|units|marks"):
            NetworkSpec.from_json(description)


def test_bad_elementwise_layers() -> None:
    refused("must end with a Dense layer", lambda: Network(2, [Dense(3), Scale()]))
    refused("units of layer 1, a Scale, must be 0 or 2", lambda: Network(2, [Scale(units=3), Dense(1)]))
    refused("activation must be one of", lambda: Blend("softmax"))
    refused("dropout must be", lambda: Scale(dropout=1.0))
    refused("units must be", lambda: Scale(units=-1))
    refused("sequence of Dense, Scale or Blend", lambda: Network(2, Scale()))  # type: ignore[arg-type]
    network = mixed_network()
    refused("W_", lambda: network.weights.__setitem__(1, np.ones(5)))


def test_sparse_rows_give_the_numbers_of_dense_ones(rng: np.random.Generator) -> None:
    X, target = data(rng, 300)
    X[rng.random(X.shape) < 0.7] = 0
    ends = []
    for rows in (X, csr_array(X)):
        network = mixed_network()
        p = network.backpropagate(rows, target)
        Trainer(network, random_state=0, batch_size=50).fit(rows, target, epochs=3)
        ends.append([*p.weight_gradients, network.predict(rows), network.parameters])
    assert all(same_bits(a, b) for a, b in zip(*ends, strict=True))
