"""Shards that train alone and are averaged: against the twin, and one result for any number of ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from builders import half_square
from densegrad import SGD, Adam, AdamW, Dense, Lion, NAdam, Network, Trainer
from densegrad.distributed import Interrupted, rows_of
from reference import Reference
from reference_training import Penalties, ReferenceTrainer
from thread_ranks import Fit, on_ranks, outcomes


@pytest.mark.parametrize("optimizer", [Adam(0.01), SGD(0.05), NAdam(0.01)], ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("every", [1, 2, 100])
def test_averages_equal_the_twin(every: int, optimizer: Any, rng: np.random.Generator) -> None:
    n, shards, each = 43, 4, 3
    X, target, weight = rng.normal(size=(n, 5)), rng.normal(size=(n, 2)), rng.uniform(0.2, 2, n)
    layers = [Dense(9, "tanh"), Dense(2, "identity")]
    network = Network(5, layers, dtype="float64", random_state=0)
    settings = {"l2": 0.1, "clip_norm": 0.5}
    trainer = Trainer(
        network,
        optimizer,
        batch_size=shards * each,
        shards=shards,
        average_every=every,
        shuffle=False,
        **settings,
    )
    alone = [ReferenceTrainer(Reference.of(network), optimizer, Penalties(**settings)) for _ in range(shards)]
    history = trainer.fit(X, target, sample_weight=weight, epochs=2)
    parts = [np.arange(k * n // shards, (k + 1) * n // shards) for k in range(shards)]
    n_steps = -(-max(map(len, parts)) // each)
    for epoch in range(2):
        losses = 0.0
        for begin in range(0, n_steps, every):
            end = min(begin + every, n_steps)
            for twin, part in zip(alone, parts, strict=True):
                for step in range(begin, end):
                    rows = part[step * each : (step + 1) * each]
                    if len(rows):
                        losses += twin.step(X[rows], target[rows], weight[rows]) * len(rows)
                twin.steps = epoch * n_steps + end
            for l in range(len(layers)):
                mean = np.mean([twin.network.weights[l] for twin in alone], axis=0)
                states = np.mean([twin.state[l] for twin in alone], axis=0)
                for twin in alone:
                    twin.network.weights[l][:] = mean
                    for array, state in zip(twin.state[l], states, strict=True):
                        array[:] = state
        assert history.loss[epoch] == pytest.approx(losses / n, rel=1e-9)
    assert trainer.steps == 2 * n_steps
    for l, W in enumerate(alone[0].network.weights, 1):
        np.testing.assert_allclose(network.weights[l], W, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("optimizer", [Adam(0.01), AdamW(0.01), Lion(0.001)], ids=lambda o: type(o).__name__)
def test_one_result_for_any_number_of_ranks(optimizer: Any) -> None:
    fit = Fit(optimizer=optimizer, dropout=0.2, weighted=True, options={"average_every": 2, "clip_norm": 0.2})
    fit.check((2, 3, 8))


@pytest.mark.parametrize(("n", "shards", "batch"), [(9, 8, 8), (203, 7, 70), (3000, 2, 2600)])
def test_one_result_for_any_batches(n: int, shards: int, batch: int) -> None:
    Fit(n=n, shards=shards, batch=batch, options={"average_every": 3}).check((2, 5))


def test_a_round_that_fails_leaves_the_last_average() -> None:
    kept: dict[int, Any] = {}

    def fit(comm: Any) -> None:
        def loss(y_true: Any, y_pred: Any) -> Any:
            calls.append(1)
            if comm.rank == 1 and len(calls) > 3:
                raise ZeroDivisionError("a loss of my own")
            return half_square(y_true, y_pred)

        calls: list[int] = []
        network = Network(3, [Dense(4, "tanh"), Dense(2, "identity")], loss=loss, random_state=0)
        trainer = Trainer(network, batch_size=8, shards=4, average_every=2, comm=comm, random_state=0)
        mine = rows_of(64, 4, comm)
        kept[comm.rank] = (network.parameters, trainer)
        trainer.fit(np.ones((64, 3))[mine], np.ones((64, 2))[mine])

    found = outcomes(2, fit)
    assert type(found[1]) is ZeroDivisionError
    assert type(found[0]) is Interrupted
    for before, trainer in kept.values():
        assert trainer.steps == 0
        assert np.array_equal(trainer.network.parameters, before)


def test_the_time_ends_all_ranks_with_an_average() -> None:
    def fit(comm: Any) -> tuple[int, bytes, str]:
        network = Network(3, [Dense(4, "tanh"), Dense(2, "identity")], random_state=0)
        trainer = Trainer(network, batch_size=8, shards=4, average_every=2, comm=comm, random_state=0)
        mine = rows_of(64, 4, comm)
        history = trainer.fit(
            np.ones((64, 3))[mine],
            np.ones((64, 2))[mine],
            epochs=10**6,
            max_time=0.3 if comm.rank == 1 else None,
        )
        return trainer.steps, network.parameters.tobytes(), history.stopped

    found = on_ranks(2, fit)
    assert found[0] == found[1]
    assert found[0][2] == "max_time"


def test_arguments() -> None:
    network = Network(2, [Dense(1, "identity")], random_state=0)
    with pytest.raises(ValueError, match="average_every must be None without shards"):
        Trainer(network, average_every=4)
    with pytest.raises(ValueError, match="average_every must be"):
        Trainer(network, shards=4, batch_size=8, average_every=0)
    trainer = Trainer(network, shards=4, batch_size=8, average_every=2)
    with pytest.raises(ValueError, match="average_every must be None for a single step"):
        trainer.step(np.ones((8, 2)), np.ones(8))
