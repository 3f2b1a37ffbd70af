"""Builders of the tests: networks, rows, targets, a small regression, a custom loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases import Shape
from choices import HIDDEN, Pairing, n_outputs
from densegrad import Blend, Dense, Network, Scale


def make_network(
    shape: Shape,
    pairing: Pairing | None = None,
    hidden: str = "tanh",
    dtype: str = "float64",
    seed: int = 0,
    dropout: float = 0.0,
) -> Network:
    """A network of the widths shape[1:], whose biases are not zero."""
    pairing = pairing or Pairing("squared_error", "identity")
    *widths, n_targets = shape[2:]
    layers = [Dense(n, hidden, dropout=dropout) for n in widths]
    layers.append(Dense(n_outputs(pairing, n_targets), pairing.head))
    arguments: dict[str, Any] = dict(pairing.arguments)
    network = Network(shape[1], layers, loss=pairing.loss, dtype=dtype, random_state=seed, **arguments)
    random = np.random.default_rng(seed)
    for l in range(1, network.depth + 1):
        W = network.weights[l].copy()
        W[-1] = random.normal(scale=0.3, size=W.shape[1])
        network.weights[l] = W
    return network


def elementwise_layers(n_inputs: int, dtype: str = "float64") -> Network:
    """A network with every hidden activation in a blend, and two scales."""
    blends = [layer for name in HIDDEN for layer in (Dense(4, "identity"), Blend(name))]
    network = Network(
        n_inputs, [Scale(), *blends, Scale(), Dense(3, "identity")], dtype=dtype, random_state=0
    )
    random = np.random.default_rng(0)
    for l, layer in enumerate(network.layers, 1):
        if layer.kind != "dense":
            network.weights[l] = random.normal(1, 0.5, size=network.weights[l].shape)
    return network


def make_rows(shape: Shape, rng: np.random.Generator, dtype: str = "float64") -> NDArray[Any]:
    return rng.normal(size=shape[:2]).astype(dtype)


def make_target(network: Network, n_rows: int, rng: np.random.Generator) -> NDArray[Any]:
    """Targets that the network's loss allows, and that are no special case for it."""
    kind, n_targets = network.target_kind, network.n_targets
    if kind == "values":
        values = rng.normal(size=(n_rows, n_targets))
        return np.exp(values) if network.loss in ("poisson", "gamma", "tweedie") else values
    head = network.layers[-1].activation
    if head == "softmax" or (n_targets > 1 and head != "logistic"):
        return rng.integers(n_targets, size=n_rows)
    return rng.integers(2, size=(n_rows, n_targets))


def regression(rng: np.random.Generator) -> tuple[Any, Any]:
    X = rng.normal(size=(300, 4))
    return X, np.sin(X[:, :2]) + 0.1 * rng.normal(size=(300, 2))


def half_square(y_true: Any, y_pred: Any) -> Any:
    r = y_pred - y_true
    return 0.5 * (r**2).sum(axis=1), r
