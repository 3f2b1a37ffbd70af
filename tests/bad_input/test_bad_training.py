"""Bad arguments in training and in checking gradients: errors that name the argument, and change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from assertions import refused, same_bits
from builders import make_network
from choices import INF, NAN
from densegrad import (
    LBFGS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    RMSprop,
    Trainer,
    check_gradients,
    schedules,
)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: SGD(0), "lr"),
        (lambda: SGD(-1), "lr"),
        (lambda: SGD(NAN), "lr"),
        (lambda: SGD(INF), "lr"),
        (lambda: SGD("0.1"), "lr"),
        (lambda: SGD(10**400), "lr"),
        (lambda: SGD(0.1, 1.5), "momentum"),
        (lambda: SGD(0.1, 0.9, "yes"), "nesterov"),
        (lambda: Adam(beta_1=1.0), "beta_1"),
        (lambda: Adam(beta_2=-0.1), "beta_2"),
        (lambda: Adam(epsilon=0.0), "epsilon"),
        (lambda: AdamW(weight_decay=-1), "weight_decay"),
        (lambda: RMSprop(beta_2=None), "beta_2"),
        (lambda: Adagrad(epsilon=True), "epsilon"),
        (lambda: Lion(beta_1=2), "beta_1"),
        (lambda: schedules.InvScaling(-1), "power_t"),
        (lambda: schedules.StepDecay(0), "every"),
        (lambda: schedules.StepDecay(2, 0), "factor"),
        (lambda: schedules.Cosine(2), "final"),
        (lambda: schedules.OneCycle(1.0), "warm_up"),
        (lambda: schedules.WarmUp(0), "steps"),
        (lambda: schedules.WarmUp(5, "cosine"), "then"),
        (lambda: schedules.Plateau(1.0), "factor"),
        (lambda: schedules.Adaptive(patience=0), "patience"),
    ],
)
def test_numbers_of_optimizers_and_schedules(make: Any, name: str) -> None:
    refused(f"{name} must be", make)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"optimizer": "lbfgs-b"}, "optimizer"),
        ({"optimizer": None}, "optimizer"),
        ({"optimizer": Adam}, "optimizer"),
        ({"optimizer": type("MyAdam", (Adam,), {})()}, "optimizer"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"batch_size": "all"}, "batch_size"),
        ({"batch_size": None}, "batch_size"),
        ({"shuffle": 1}, "shuffle"),
        ({"l2": -1}, "l2"),
        ({"l1": NAN}, "l1"),
        ({"weight_decay": "0"}, "weight_decay"),
        ({"optimizer": AdamW(), "weight_decay": 0.1}, "weight_decay"),
        ({"max_norm": 0}, "max_norm"),
        ({"clip_norm": -1}, "clip_norm"),
        ({"schedule": "cosinus"}, "schedule"),
        ({"schedule": schedules.Cosine}, "schedule"),
    ],
)
def test_arguments_of_the_trainer(arguments: Any, name: str) -> None:
    refused(f"{name} must be", lambda: Trainer(make_network((1, 2, 1)), **arguments))
    refused("network must be", lambda: Trainer("network", **arguments))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": 1.5}, "epochs"),
        ({"patience": 0}, "patience"),
        ({"tol": -1}, "tol"),
        ({"restore_best": None}, "restore_best"),
        ({"max_time": -1}, "max_time"),
        ({"max_time": "1"}, "max_time"),
        ({"callbacks": [3]}, "callbacks"),
        ({"callbacks": 3}, "callbacks"),
        ({"scoring": "accuracy"}, "scoring must be None or a callable f\\(trainer\\) -> number"),
        ({"progress": "yes"}, "progress"),
        ({"validation": 3}, "validation"),
        ({"validation": (np.zeros((2, 2)),)}, "validation"),
    ],
)
def test_arguments_of_fit(arguments: Any, name: str) -> None:
    network = make_network((1, 2, 1))
    before = network.parameters
    trainer = Trainer(network)
    refused(name, lambda: trainer.fit(np.zeros((2, 2)), np.zeros(2), **arguments))
    assert same_bits(network.parameters, before)
    assert (trainer.steps, trainer.epochs, trainer.history) == (0, 0, None)


@pytest.mark.parametrize(
    "X", [np.zeros((2, 2)), 3, "abc", None, [np.zeros((2, 2))], [(1, 2, 3, 4)], [3]], ids=str
)
def test_batches(X: Any) -> None:
    refused("X|target", lambda: Trainer(make_network((1, 2, 1))).fit(X))


@pytest.mark.parametrize("kind", [list, iter])
def test_an_epoch_takes_no_batches(kind: Any) -> None:
    batches = kind([(np.zeros((2, 2)), np.zeros(2))])
    refused("iterable of batches is for fit", lambda: Trainer(make_network((1, 2, 1))).epoch(batches))


@pytest.mark.parametrize(("ours", "other"), [(Adam(), LBFGS()), (Adam(), SGD()), (LBFGS(), Adam())])
def test_another_optimizer_needs_another_trainer(ours: Any, other: Any) -> None:
    trainer = Trainer(make_network((1, 2, 1)), ours)
    refused("optimizer must be of class.*Make another", lambda: setattr(trainer, "optimizer", other))
    assert trainer.optimizer == ours


def test_what_is_no_number_is_shown() -> None:
    rows = np.array([[1, 2.5], [True, "old"]], object)
    refused("X must hold real numbers.*such as 'old'", lambda: make_network((1, 2, 1)).predict(rows))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"order": [0, 2]}, "order"),
        ({"order": [-1]}, "order"),
        ({"order": []}, "order"),
        ({"order": [0.0, 1.0]}, "order"),
        ({"order": [[0, 1]]}, "order"),
        ({"order": [2**63]}, "order must hold numbers of rows; got 9223372036854775808"),
        ({"order": np.ma.masked_array([0, 1], [True, False])}, "order"),
        ({"learning_rate": [0.1, 0.1, 0.1]}, "learning_rate"),
        ({"learning_rate": NAN}, "learning_rate"),
        ({"learning_rate": -0.1}, "learning_rate"),
        ({"learning_rate": "a"}, "learning_rate"),
        ({"learning_rate": "0.1"}, "learning_rate"),
        ({"learning_rate": np.ma.masked}, "learning_rate"),
        ({"learning_rate": 10**400}, "learning_rate"),
    ],
)
def test_arguments_of_epoch(arguments: Any, name: str) -> None:
    network = make_network((1, 2, 1))
    before = network.parameters
    refused(name, lambda: Trainer(network).epoch(np.zeros((2, 2)), np.zeros(2), **arguments))
    assert same_bits(network.parameters, before)


def test_a_schedule_that_returns_nonsense() -> None:
    for rate in (NAN, -1.0, None, "a", "0.1", 10**400):
        trainer = Trainer(make_network((1, 2, 1)), schedule=lambda step, total, rate=rate: rate)
        refused("schedule", lambda trainer=trainer: trainer.fit(np.zeros((2, 2)), np.zeros(2)))
        assert trainer.steps == 0


@pytest.mark.parametrize(
    "arguments", [{"step": 0}, {"step": "a"}, {"max_parameters": 0}, {"random_state": "a"}]
)
def test_arguments_of_check_gradients(arguments: Any) -> None:
    network = make_network((1, 2, 1))
    (name,) = arguments
    refused(name, lambda: check_gradients(network, np.zeros((2, 2)), np.zeros(2), **arguments))
    refused("network must be", lambda: check_gradients(3, np.zeros((2, 2)), np.zeros(2)))
    samples = network.samples(np.zeros((2, 2)), np.zeros(2))
    refused("not Samples", lambda: check_gradients(network, samples, None))
