"""Bad weights, and passes out of order: errors that name the argument, and change nothing."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from assertions import refused, same_bits
from builders import make_network
from choices import INF, NAN
from densegrad import (
    Dense,
    Network,
    Trainer,
)
from densegrad.interop import jax_function, torch_function


@pytest.mark.parametrize(
    "W",
    [
        *[None, "abc", 1.0, [[1], [1, 2]], np.zeros(6), np.zeros((2, 3)), np.zeros((3, 2))],
        *[np.full((3, 3), NAN), np.full((3, 3), INF)],
        *[np.zeros((3, 3), complex), np.zeros((3, 3), "U1"), np.full((3, 3), "0", object)],
    ],
    ids=lambda W: str(np.shape(W)) if isinstance(W, np.ndarray) else str(W),
)
def test_weights(W: Any) -> None:
    network = make_network((1, 2, 3, 1))
    before = network.parameters

    def assign() -> None:
        network.weights[1] = W

    refused(r"W_\(1\) must", assign)
    assert same_bits(network.parameters, before)


@pytest.mark.parametrize(
    ("matrices", "message"),
    [
        (3, "weights must be 2 matrices, one a layer; got 3"),
        ([np.zeros((3, 3))], "weights must be 2 matrices, one a layer; got 1"),
        ([np.zeros((3, 3)), np.zeros((3, 1))], r"W_\(2\) must have shape \(4, 1\)"),
        ([np.zeros((3, 3)), [[NAN], [0], [0], [0]]], r"W_\(2\) must be finite"),
    ],
)
def test_weights_of_all_layers(matrices: Any, message: str) -> None:
    network = make_network((1, 2, 3, 1))
    before = network.parameters
    refused(message, lambda: setattr(network, "weights", matrices))
    assert same_bits(network.parameters, before)


def test_weights_that_float32_cannot_hold() -> None:
    network = make_network((1, 2, 3, 1), dtype="float32")
    before = network.parameters

    def too_large(n_in: int, n_out: int, random: Any) -> Any:
        return np.full((n_in, n_out), 1e300)

    for action in (
        lambda: network.weights.__setitem__(1, np.full((3, 3), 1e300)),
        lambda: setattr(network, "parameters", np.full(13, -1e39)),
        lambda: Network(2, [Dense(1, "identity", initializer=too_large)]),
    ):
        refused("must be finite.*too large for float32", action)
    assert same_bits(network.parameters, before)


@pytest.mark.parametrize("l", [0, 3, -1, 1.5, "1", None])
def test_layers_by_number(l: Any) -> None:
    network = make_network((1, 2, 3, 1))
    network.backpropagate(np.zeros((1, 2)), np.zeros((1, 1)))
    p = network.backpropagate(np.zeros((1, 2)), np.zeros((1, 1)))
    for values in (network.weights, network.weight_gradients, p.weight_gradients, p.preactivations):
        with pytest.raises(IndexError, match=r"numbered 1 \.\.\. 2"):
            values[l]
    if l != 3:  # the loss layer
        with pytest.raises(IndexError, match=r"numbered 1 \.\.\. 3"):
            p.local_gradients[l]
    with pytest.raises(IndexError, match=r"numbered 1 \.\.\. 2"):
        network.weights[l] = np.zeros((3, 3))


@pytest.mark.parametrize(
    "parameters", [None, np.zeros(12), np.zeros((13, 1)), np.full(13, NAN), ["a"] * 13], ids=str
)
def test_parameters(parameters: Any) -> None:
    network = make_network((1, 2, 3, 1))
    before = network.parameters

    def assign() -> None:
        network.parameters = parameters

    refused("parameters", assign)
    assert same_bits(network.parameters, before)


def test_passes_in_the_wrong_order() -> None:
    network = make_network((1, 2, 3, 1))
    network.predict(np.zeros((4, 2)))
    with pytest.raises(RuntimeError, match="forward pass"):
        network.backward(np.zeros((4, 1)))
    with pytest.raises(RuntimeError, match="backward pass"):
        network.weight_gradients[1]
    network.forward(np.zeros((4, 2)))
    with pytest.raises(RuntimeError, match="backward pass"):
        network.weight_gradients[1]
    for gradient in (np.zeros((3, 1)), np.zeros((4, 2)), np.zeros(4), None, "a", np.zeros((4, 1), complex)):
        refused("loss_gradient", lambda gradient=gradient: network.backward(gradient))
    assert network.backward(np.zeros((4, 1))).shape == (4, 2)
    trainer_network = make_network((1, 2, 3, 1))
    Trainer(trainer_network).step(np.zeros((4, 2)), np.zeros(4))
    with pytest.raises(RuntimeError, match="forward pass"):
        trainer_network.backward(np.zeros((4, 1)))


@pytest.mark.parametrize("n_threads", [0, -1, 1.5, "2", True, 2**40])
def test_n_threads(n_threads: Any) -> None:
    network = make_network((1, 2, 1))
    X, target = np.zeros((2, 2)), np.zeros((2, 1))
    for action in (
        lambda: network.predict(X, n_threads),
        lambda: network.forward(X, n_threads),
        lambda: network.evaluate(X, target, n_threads=n_threads),
        lambda: network.backpropagate(X, target, n_threads=n_threads),
        lambda: network.loss_and_gradient(X, target, n_threads=n_threads),
        lambda: Trainer(network, n_threads=n_threads),
    ):
        refused("n_threads must be", action)


@pytest.mark.parametrize(("make_function", "library"), [(torch_function, "torch"), (jax_function, "jax")])
def test_functions_of_libraries(make_function: Any, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    with pytest.raises(ImportError, match=f"needs .*: pip install {library}"):
        make_function(make_network((1, 2, 1)))
    refused("network must be a Network; got 'net'", lambda: make_function("net"))
