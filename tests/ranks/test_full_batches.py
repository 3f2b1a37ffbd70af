"""L-BFGS over shards: all rows in each iteration, one tree of sums, one result for any number of ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from assertions import same_bits
from densegrad import LBFGS, SGD, Dense, Network, Trainer
from densegrad.distributed import rows_of
from thread_ranks import Fit, on_ranks

EVERYWHERE = LBFGS(gradient_tolerance=0.0, reduction_tolerance=0.0)


def fit_of(**settings: Any) -> Fit:
    return Fit(optimizer=EVERYWHERE, batch="auto", epochs=6, **settings)


def network(dtype: Any = np.float64) -> Network:
    return Network(5, [Dense(20, "tanh"), Dense(2, "identity")], dtype=dtype, random_state=0)


@pytest.mark.parametrize("shards", [2, 3, 7, 64])
def test_loss_and_gradient_are_sums_in_the_tree_of_the_shards(shards: int, rng: np.random.Generator) -> None:
    """Gradient descent with shards, tested on its own, gives both at the weights before and after."""
    n = 1024  # a power of two, so that its reciprocal is exact
    X, target = rng.normal(size=(n, 5)), rng.normal(size=(n, 2))
    trainer = Trainer(network(), EVERYWHERE, shards=shards)
    losses, gradients = [], []
    for _ in range(2):
        other = Trainer(trainer.network.astype(np.float64), SGD(1.0, momentum=0.5), shards=shards)
        losses.append(other.step(X, target))
        velocities = [velocity for (velocity,) in other.state_dict()["state"]]
        gradients.append(-np.concatenate([velocity.ravel() for velocity in velocities]))
        after = trainer.step(X, target)
    assert after < losses[1] < losses[0]
    memory = trainer.state_dict()["state"]
    assert same_bits(memory["differences"][0], gradients[1] - gradients[0])


def test_shards_learn_the_same(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(300, 5)), rng.normal(size=(300, 2))
    weight = rng.uniform(0.5, 2.0, 300)
    found = []
    for shards in (1, 4):
        trainer = Trainer(network(), EVERYWHERE, shards=shards, l2=0.3)
        found.append(trainer.fit(X, target, sample_weight=weight, epochs=8).loss)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dtype": "float64", "weighted": True, "options": {"l2": 0.5}},
        {"n": 2003, "shards": 3},  # a shard takes several passes
        {"shards": 64},
        {"sparse": True},
        {"sparse": True, "n": 2003, "shards": 3},
        {"activation": (np.sin, np.cos)},
        {"widths": (100, 90)},  # tiles of the gradient for each rank, in place of the whole
    ],
)
def test_one_result_for_any_number_of_ranks(settings: dict[str, Any]) -> None:
    fit_of(**settings).check((1, 2, 3, 5))


def test_one_result_on_different_processors() -> None:
    fit_of(weighted=True).check_on_processors()


def test_ranks_converge_alike(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(60, 5)), rng.normal(size=(60, 2))

    def fit(comm: Any = None) -> Any:
        mine = rows_of(60, 8, comm)
        net = Network(5, [Dense(2, "identity")], random_state=0)
        trainer = Trainer(net, "lbfgs", shards=8, comm=comm, l2=1.0)
        history = trainer.fit(X[mine], target[mine], epochs=500)
        return history.stopped, history.loss, trainer.epochs, net.parameters.tobytes()

    alone = fit()
    assert alone[0] == "converged"
    assert on_ranks(3, fit) == [alone] * 3


def test_frozen_layers_stay(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(60, 5)), rng.normal(size=(60, 2))
    layers = [Dense(20, "tanh", trainable=False), Dense(2, "identity")]

    def fit(comm: Any = None) -> bytes:
        net = Network(5, layers, random_state=0)
        before, mine = net.weights[1], rows_of(60, 8, comm)
        Trainer(net, EVERYWHERE, shards=8, comm=comm).fit(X[mine], target[mine], epochs=4)
        assert same_bits(net.weights[1], before)
        return net.parameters.tobytes()

    assert on_ranks(2, fit) == [fit()] * 2
