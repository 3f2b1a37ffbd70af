"""The description of a network: shapes, equality, JSON, copies in another precision, Samples made by it."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assertions import assert_close, refused, same_bits
from builders import half_square, make_network, make_rows, make_target
from choices import DTYPES, PAIRINGS, Pairing
from densegrad import Blend, Dense, LayerRates, Network, NetworkSpec, Samples, Scale, Trainer, _core


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_found(bad: float, dtype: str) -> None:
    network = make_network((1, 17, 33, 3), dtype=dtype)
    assert _core.has_finite_weights(network)
    rng = np.random.default_rng(0)
    for at in (0, -1, *rng.integers(0, network.n_parameters, 30)):
        parameters = network.parameters
        parameters[at] = bad
        assert not _core.has_finite_weights(Network.from_spec(network.spec, parameters))


@pytest.mark.parametrize("pairing", PAIRINGS, ids=str)
def test_it_knows_what_the_network_is(pairing: Pairing) -> None:
    network = make_network((1, 4, 5, 7, 3), pairing, dropout=0.25)
    spec = network.spec
    assert spec.depth == network.depth
    assert spec.widths == tuple(network.width(l) for l in range(network.depth + 1))
    assert spec.weight_shapes == tuple(W.shape for W in network.weights)
    assert spec.n_parameters == network.n_parameters == len(network.parameters)
    assert spec.n_targets == network.n_targets == 3
    assert spec.head == network.layers[-1]
    for l, W in enumerate(spec.split(network.parameters), 1):
        assert same_bits(W, network.weights[l])


@pytest.mark.parametrize("pairing", PAIRINGS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_json_there_and_back(pairing: Pairing, dtype: str) -> None:
    spec = make_network((1, 4, 5, 3), pairing, "gelu", dtype, dropout=0.25).spec
    assert NetworkSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_equal_descriptions_are_equal_whatever_drew_the_weights() -> None:
    layers = [Dense(3, "tanh", initializer=lambda n, m, r: np.zeros((n, m))), Dense(1, "identity")]
    spec = Network(2, layers).spec
    assert spec == Network(2, [Dense(3, "tanh"), Dense(1, "identity")], random_state=1).spec
    assert hash(spec) == hash(pickle.loads(pickle.dumps(spec)))
    for other in (
        Network(3, layers),
        Network(2, layers, dtype="float64"),
        Network(2, layers, loss="huber"),
        Network(2, layers, loss="huber", delta=2.0),
        Network(2, layers, loss=half_square),
        Network(2, [Dense(3, "relu"), Dense(1, "identity")]),
        Network(2, [Dense(3, "tanh", dropout=0.5), Dense(1, "identity")]),
    ):
        assert other.spec != spec


@pytest.mark.parametrize(
    "change",
    [{"n_inputs": 0}, {"n_inputs": 2.5}, {"layers": ()}, {"layers": (3,)}, {"dtype": "int8"}],
    ids=str,
)
def test_bad_descriptions(change: dict[str, Any]) -> None:
    refused(next(iter(change)), lambda: replace(make_network((1, 2, 1)).spec, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"n_inputs": "4"},
        {"n_inputs": None},
        {"layers": [[3, "tanh"]]},
        {"layers": [3]},
        {"layers": 3},
        {"layers": []},
        {"loss": "custom"},
        {"loss": 3},
        {"loss_parameters": ["delta"]},
        {"loss_parameters": {"nonsense": 1.0}},
        {"loss_parameters": {"delta": 1.0}},
        {"label_smoothing": "0"},
        {"dtype": None},
        {"dtype": "float16"},
    ],
    ids=str,
)
def test_bad_json(change: dict[str, Any]) -> None:
    description = make_network((1, 2, 1)).spec.to_json() | change
    with pytest.raises(ValueError):  # noqa: PT011 - each names what is wrong in its own words
        NetworkSpec.from_json(description)
    for other in (None, [], "abc", {}, 3):
        with pytest.raises(ValueError, match="not the description of a network"):
            NetworkSpec.from_json(other)


def test_a_network_in_another_precision(rng: np.random.Generator) -> None:
    pairing = Pairing("quantile", "identity", (("quantile", (0.1, 0.9)),))
    network = make_network((1, 4, 5, 2), pairing, "gelu", "float32", dropout=0.25)
    wide = network.astype("float64")
    assert wide.spec == network.spec.astype("float64")
    assert same_bits(wide.parameters, network.parameters.astype(np.float64))
    back = wide.astype(np.float32)
    assert back.spec == network.spec
    X = make_rows((9, 4), rng)
    assert same_bits(back.predict(X), network.predict(X))
    assert_close(network.predict(X), wide.predict(X), "float32")
    back.weights[1] = np.zeros((5, 5))
    assert network.weights[1].any()
    same = wide.astype("float64")
    same.weights[1] = np.zeros((5, 5))
    assert wide.weights[1].any()


def test_a_copy_keeps_nan_but_refuses_to_overflow() -> None:
    network = make_network((1, 2, 1))
    parameters = network.parameters
    parameters[0] = np.nan
    assert np.isnan(Network.from_spec(network.spec, parameters).astype("float32").parameters[0])
    parameters[0] = 1e300
    network.parameters = parameters
    refused(r"W_\(1\) has weights that are too large for float32", lambda: network.astype("float32"))
    refused("dtype must be float32 or float64", lambda: network.astype("int8"))


@pytest.mark.parametrize("layout", [list, lambda p: p[::-1].copy()[::-1], lambda p: p.astype(">f8")])
def test_a_network_from_its_description(layout: Any) -> None:
    network = make_network((1, 4, 5, 2))
    other = Network.from_spec(network.spec, layout(network.parameters))
    assert same_bits(other.parameters, network.parameters)
    refused("parameters must have shape", lambda: Network.from_spec(network.spec, other.parameters[1:]))
    refused("parameters must", lambda: Network.from_spec(network.spec, ["a"] * other.n_parameters))

    layers = Network.from_spec(network.spec, iter(network.weights))
    np.testing.assert_array_equal(layers.parameters, network.parameters)
    few, wrong, many = [network.weights[1]], [network.weights[1][1:]], [*network.weights, network.weights[1]]
    refused(r"W_\(2\) must", lambda: Network.from_spec(network.spec, iter(few)))
    refused(r"W_\(1\) must have shape", lambda: Network.from_spec(network.spec, iter(wrong)))
    refused("got more", lambda: Network.from_spec(network.spec, iter(many)))
    in_parts = (iter([W[:1], W[1:]]) for W in network.weights)
    assert same_bits(Network.from_spec(network.spec, in_parts).parameters, network.parameters)
    short = (iter([W[:1]]) for W in network.weights)
    refused(r"W_\(1\) must have \d+ rows; got 1", lambda: Network.from_spec(network.spec, short))
    refused("spec must be", lambda: Network.from_spec(network, other.parameters))  # type: ignore[arg-type]


def test_samples_are_for_all_networks_of_their_description(rng: np.random.Generator) -> None:
    case = (9, 4, 5, 2)
    network, other = make_network(case), make_network(case, seed=1)
    X, target = make_rows(case, rng), make_target(network, 9, rng)
    samples = network.samples(X, target)
    assert isinstance(samples, Samples)
    assert other.evaluate(samples) == other.evaluate(X, target)
    assert Trainer(other).step(samples, None) == Trainer(make_network(case, seed=1)).step(X, target)
    for stranger in (network.astype("float32"), make_network((9, 4, 6, 2))):
        refused("another network", lambda stranger=stranger: stranger.evaluate(samples))


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Dense(3), "Dense(3)"),
        (Dense(3, "tanh", dropout=0.5), "Dense(3, 'tanh', dropout=0.5)"),
        (Scale(), "Scale()"),
        (Blend("mish", trainable=False), "Blend('mish', trainable=False)"),
        (Network(4, [Scale(), Dense(1)]).layers[0], "Scale(units=4)"),
    ],
)
def test_repr_of_a_layer_is_the_call_that_makes_it(layer: Any, text: str) -> None:
    assert repr(layer) == text
    assert eval(text) == layer
    rated = replace(layer, rates=LayerRates(0.5))
    assert eval(repr(rated)) == rated
