"""The lanes beyond the edges of a matrix may hold anything: NaN there changes no result."""

from __future__ import annotations

import numpy as np
import pytest

from assertions import same_bits
from builders import make_network, make_rows, make_target
from cases import SHAPE_NAMES, SHAPES
from choices import DTYPES, HIDDEN, PAIRINGS, Pairing
from densegrad import Network, Trainer, _core


def everything(network: Network, X: np.ndarray, target: np.ndarray, poison: bool) -> list[np.ndarray]:
    """Results of all passes and of some training; the padding is filled before each."""

    def fill() -> None:
        if poison:
            network._poison_padding()

    results: list[np.ndarray] = []
    for _ in range(2):  # the second time, every buffer there is exists already and is filled
        fill()
        results.append(network.predict(X))
        fill()
        results.append(np.array(network.evaluate(X, target)))
        fill()
        p = network.backpropagate(X, target)
        results += [*list(p.outputs)[:-1], *list(p.loss_gradients)[:-1], *p.weight_gradients]
        fill()
        results.append(network.backward(p.outputs[network.depth]))
        fill()
        results.append(network.forward(X))
        fill()
        results.append(network.loss_and_gradient(X, target)[1])
    trainer = Trainer(network, batch_size=7, shuffle=False, l2=0.1, clip_norm=1.0, max_norm=3.0)
    for _ in range(2):
        fill()
        results.append(np.array(trainer.epoch(X, target)))
        fill()
        assert _core.has_finite_weights(network)
        results.append(network.parameters)
    return results


def check(case: tuple[int, ...], pairing: Pairing, hidden: str, dtype: str, rng: np.random.Generator) -> None:
    X = make_rows(case, rng, dtype)
    target = make_target(make_network(case, pairing), case[0], rng)
    clean = everything(make_network(case, pairing, hidden, dtype), X, target, False)
    poisoned = everything(make_network(case, pairing, hidden, dtype), X, target, True)
    for a, b in zip(clean, poisoned, strict=True):
        assert same_bits(a, b)
        assert np.all(np.isfinite(a))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SHAPES, ids=SHAPE_NAMES)
@pytest.mark.usefixtures("isa")
def test_shapes(case: tuple[int, ...], dtype: str, rng: np.random.Generator) -> None:
    check(case, Pairing("log_loss", "softmax" if case[-1] > 1 else "logistic"), "relu", dtype, rng)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pairing", PAIRINGS, ids=str)
def test_losses(pairing: Pairing, dtype: str, rng: np.random.Generator) -> None:
    check((9, 5, 7, 3), pairing, "tanh", dtype, rng)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_activations(hidden: str, dtype: str, rng: np.random.Generator) -> None:
    check((9, 5, 7, 9, 3), Pairing("squared_error", "identity"), hidden, dtype, rng)
