"""Layers that are not trainable: trainers leave their weights alone, all else goes through them."""

from __future__ import annotations

import copy
import json
import pickle
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assertions import refused, same_bits
from builders import half_square, regression
from choices import DTYPES, OPTIMIZERS
from densegrad import SGD, Adam, Dense, Network, NetworkSpec, Trainer, check_gradients

PENALTIES: dict[str, dict[str, float]] = {
    "none": {},
    "l2 and l1": {"l2": 0.5, "l1": 0.1},
    "weight_decay": {"weight_decay": 0.1},
    "clip_norm": {"clip_norm": 0.05, "l2": 0.5},
    "max_norm": {"max_norm": 0.3, "l2": 0.5},
}


def frozen_features(dtype: str = "float64", loss: Any = "squared_error") -> Network:
    """Two frozen layers, then two that learn."""
    layers = [
        Dense(9, "tanh", trainable=False),
        Dense(20, "relu", trainable=False),
        Dense(7, "gelu"),
        Dense(2, "identity"),
    ]
    return Network(4, layers, dtype=dtype, loss=loss, random_state=0)


def features_of(network: Network) -> Network:
    """The frozen layers alone."""
    layers = network.spec.layers[:2]
    spec = NetworkSpec(4, layers, network.spec.loss, network.dtype)
    return Network.from_spec(spec, network.parameters[: spec.n_parameters])


def rest_of(network: Network) -> Network:
    """The layers that learn alone."""
    spec = NetworkSpec(20, network.spec.layers[2:], network.spec.loss, network.dtype)
    return Network.from_spec(spec, network.parameters[-spec.n_parameters :])


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("batch_size", [32, 1500])  # the longer one goes in pieces
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_rest_trains_as_it_does_alone(
    dtype: str, penalty: str, batch_size: int, n_threads: int, rng: np.random.Generator
) -> None:
    """It makes no difference whether frozen layers are part of the network, or of what it gets."""
    X = rng.normal(size=(2000, 4)).astype(dtype)
    target = np.sin(X[:, :2])
    network = frozen_features(dtype)
    features, rest, start = features_of(network).predict(X), rest_of(network), network.parameters
    losses = []
    for trained, rows in ((network, X), (rest, features)):
        trainer = Trainer(
            trained,
            Adam(0.01),
            batch_size=batch_size,
            random_state=0,
            n_threads=n_threads,
            **PENALTIES[penalty],  # type: ignore[arg-type]
        )
        losses.append(trainer.fit(rows, target, epochs=3).loss)
    assert losses[0] == losses[1]
    assert same_bits(network.parameters[-rest.n_parameters :], rest.parameters)
    assert same_bits(network.parameters[: -rest.n_parameters], start[: -rest.n_parameters])
    assert not np.array_equal(rest.parameters, start[-rest.n_parameters :])


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_every_optimizer_leaves_them_alone(optimizer: Any, rng: np.random.Generator) -> None:
    X, target = regression(rng)
    layers = [Dense(5, "tanh"), Dense(6, "tanh", trainable=False), Dense(2, "identity")]
    network = Network(4, layers, random_state=0)
    before = [np.array(W) for W in network.weights]
    Trainer(network, optimizer, l2=0.1, random_state=0).fit(X, target, epochs=2)
    assert [same_bits(*pair) for pair in zip(network.weights, before, strict=True)] == [False, True, False]


def test_descent_by_hand_around_a_frozen_layer(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    layers = [Dense(5, "tanh"), Dense(6, "tanh", trainable=False), Dense(2, "identity")]
    network = Network(4, layers, loss=half_square, dtype="float64", random_state=0)
    by_hand = copy.deepcopy(network)
    trainer = Trainer(network, SGD(0.2), batch_size=300, shuffle=False)
    for _ in range(10):
        p = by_hand.backpropagate(X, target)
        for l in (1, 3):
            by_hand.weights[l] -= 0.2 * p.weight_gradients[l]
        trainer.step(X, target)
        assert same_bits(network.parameters, by_hand.parameters)


def test_their_gradients_are_there(rng: np.random.Generator) -> None:
    network = frozen_features()
    X, target = rng.normal(size=(12, 4)), rng.normal(size=(12, 2))
    assert check_gradients(network, X, target).wrong == ()
    same = [replace(layer, trainable=True) for layer in network.layers]
    trainable = Network.from_spec(replace(network.spec, layers=tuple(same)), network.parameters)
    p, q = network.backpropagate(X, target), trainable.backpropagate(X, target)
    assert all(same_bits(*pair) for pair in zip(p.weight_gradients, q.weight_gradients, strict=True))
    network.weights[1] *= 2
    assert same_bits(network.weights[1], 2 * trainable.weights[1])


def test_a_network_without_trainable_layers_has_no_trainer() -> None:
    network = Network(4, [Dense(5, trainable=False), Dense(2, "identity", trainable=False)], random_state=0)
    refused("all of its layers are frozen", lambda: Trainer(network))
    refused("trainable must be True or False; got 1", lambda: Dense(2, trainable=1))  # type: ignore[arg-type]


def test_files_and_pickles_keep_them(tmp_path: Path) -> None:
    network = frozen_features()
    network.save(tmp_path / "net")
    for twin in (
        Network.load(tmp_path / "net"),
        pickle.loads(pickle.dumps(network)),
        network.astype("float32"),
    ):
        assert [layer.trainable for layer in twin.layers] == [False, False, True, True]
    assert twin.spec == network.spec.astype("float32")
    lines = repr(network).splitlines()
    assert ["frozen" in line for line in lines[2:6]] == [True, True, False, False]


def description_in(path: Path) -> Any:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["network"])


def test_files_of_networks_without_them_are_as_before(tmp_path: Path) -> None:
    Network(4, [Dense(5, "tanh"), Dense(2, "identity")]).save(tmp_path / "net")
    assert description_in(tmp_path / "net")["layers"] == [[5, "tanh", 0.0], [2, "identity", 0.0]]
    spec = frozen_features().spec
    description = spec.to_json()
    assert NetworkSpec.from_json(description) == spec
    description["layers"][0][-1] = "thawed"
    refused(r"unknown marks \['thawed'\]", lambda: NetworkSpec.from_json(description))
