"""Training goes on exactly where it stopped: two fits, state_dict, pickles, changed optimizers."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from assertions import same_bits
from builders import make_network
from choices import OPTIMIZERS
from densegrad import (
    SGD,
    Adam,
    Trainer,
    schedules,
)


def continuing(rng: np.random.Generator, schedule: Any = None, **options: Any) -> Trainer:
    network = make_network((40, 4, 9, 2), dropout=0.2)
    options = {"optimizer": Adam(0.01), "random_state": 7, **options}
    return Trainer(network, batch_size=16, schedule=schedule, **options)


@pytest.mark.parametrize("how", ["plain", "pickle", "state_dict"])
@pytest.mark.parametrize("random", [7, np.random.RandomState(7), np.random.default_rng(7)], ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS[2:], ids=lambda o: type(o).__name__)
def test_two_fits_equal_one(how: str, random: Any, optimizer: Any, rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(40, 4)), rng.normal(size=(40, 2))
    schedule = schedules.InvScaling(0.1)
    whole = continuing(rng, schedule, optimizer=optimizer, random_state=pickle.loads(pickle.dumps(random)))
    halves = continuing(rng, schedule, optimizer=optimizer, random_state=pickle.loads(pickle.dumps(random)))
    losses = whole.fit(X, target, epochs=8).loss
    first = halves.fit(X, target, epochs=4).loss
    if how == "pickle":
        halves = pickle.loads(pickle.dumps(halves))
    elif how == "state_dict":
        other = continuing(rng, schedule, optimizer=optimizer, random_state=1)
        other.network.parameters = halves.network.parameters
        other.load_state_dict(halves.state_dict())
        halves = other
    assert first + halves.fit(X, target, epochs=4).loss == losses
    assert same_bits(halves.network.parameters, whole.network.parameters)
    assert (halves.steps, halves.epochs) == (whole.steps, whole.epochs) == (24, 8)


@pytest.mark.parametrize("schedule", [schedules.Plateau(0.5, 1, 10.0), schedules.StepDecay(3, 0.5), None])
def test_schedules_go_on_too(schedule: Any, rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(40, 4)), rng.normal(size=(40, 2))
    whole, halves = continuing(rng, schedule), continuing(rng, schedule)
    rates = whole.fit(X, target, epochs=8).learning_rate
    first = halves.fit(X, target, epochs=4).learning_rate
    assert first + pickle.loads(pickle.dumps(halves)).fit(X, target, epochs=4).learning_rate == rates
    assert (len(set(rates)) > 1) == (schedule is not None)


def test_a_pickle_holds_the_state_and_not_the_data(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(5000, 4)), rng.normal(size=(5000, 2))
    trainer = continuing(rng)
    trainer.fit(X, target, epochs=1)
    size = len(pickle.dumps(trainer))
    assert size < 20_000
    for _ in range(20):
        trainer.fit(X, target, epochs=1)
    assert len(pickle.dumps(trainer)) < size + 100


def test_state_of_another_kind_is_refused(rng: np.random.Generator) -> None:
    trainer = continuing(rng)
    trainer.step(rng.normal(size=(4, 4)), rng.normal(size=(4, 2)))
    before = pickle.dumps(trainer)
    good = trainer.state_dict()
    assert [len(arrays) for arrays in good["state"]] == [2, 2]
    assert good["state"][0][0].shape == (5, 9)
    for change in (
        {"optimizer": "SGD"},
        {"state": good["state"][:1]},
        {"state": [arrays[:1] for arrays in good["state"]]},
        {"state": [[np.zeros((2, 2))] * 2] * 2},
        {"steps": -1},
        {"epochs": "many"},
        {"seed": -1},
        {"seed": 0.5},
        {"random_state": "a"},
        {"schedule": 3},
    ):
        with pytest.raises(ValueError, match=r"must"):
            trainer.load_state_dict({**good, **change})
    with pytest.raises(ValueError, match="state_dict"):
        trainer.load_state_dict({})
    assert pickle.dumps(trainer) == before


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_state_that_would_make_the_weights_nan_is_refused(optimizer: Any, rng: np.random.Generator) -> None:
    squares = {"Adam": 1, "AdamW": 1, "NAdam": 1, "RMSprop": 0, "Adagrad": 0}.get(type(optimizer).__name__)
    X, target = rng.normal(size=(40, 4)), rng.normal(size=(40, 2))
    trainer = continuing(rng, optimizer=optimizer)
    trainer.step(X, target)
    before = pickle.dumps(trainer)
    n_states = len(trainer.state_dict()["state"][0])
    refused = [(s, number) for s in range(n_states) for number in (np.nan, -np.inf)]
    refused += [(s, -1.0 if s == squares else np.inf) for s in range(n_states)]
    for s, number in refused:
        state = trainer.state_dict()
        state["state"][1][s][2, 1] = number
        with pytest.raises(ValueError, match=r"^state must"):
            trainer.load_state_dict(state)
    assert pickle.dumps(trainer) == before
    state = trainer.state_dict()
    for s in range(n_states):
        state["state"][1][s][2, 1] = np.inf if s == squares else -1.0
    trainer.load_state_dict(state)
    trainer.step(X, target)
    assert np.all(np.isfinite(trainer.network.parameters))


def test_a_trainer_that_diverged_can_be_pickled(rng: np.random.Generator) -> None:
    trainer = continuing(rng)
    trainer.step(rng.normal(size=(4, 4)), np.full((4, 2), 1e300))
    before = trainer.state_dict()["state"]
    assert not np.all(np.isfinite(before[1][1]))
    after = pickle.loads(pickle.dumps(trainer)).state_dict()["state"]
    for a, b in zip(before, after, strict=True):
        assert same_bits(a, b)


def test_the_optimizer_may_change_its_numbers(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(40, 4)), rng.normal(size=(40, 2))
    trainer, network = continuing(rng), make_network((40, 4, 9, 2), dropout=0.2)
    trainer.fit(X, target, epochs=1)
    trainer.optimizer = Adam(1e-30)
    before = trainer.network.parameters
    trainer.fit(X, target, epochs=1)
    assert same_bits(trainer.network.parameters, before)
    assert not same_bits(network.parameters, before)
    with pytest.raises(TypeError, match="Adam"):
        trainer.optimizer = SGD()
