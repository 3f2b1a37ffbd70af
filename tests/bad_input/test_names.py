"""Unknown names: the error says which one may be meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import densegrad
from densegrad import Adam, Dense, MLPClassifier, MLPRegressor, Network, Trainer, schedules
from densegrad._names import _OTHER_NAMES

NETWORK = Network(2, [Dense(1, "identity")])
ROWS, LABELS = np.array([[0.0], [1.0]] * 3), np.array([0, 1] * 3)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("sigmoid", "logistic"),
        ("linear", "identity"),
        ("swish", "silu"),
        ("Leaky ReLU", "leaky_relu"),
        ("ReLU", "relu"),
        ("tahn", "tanh"),
    ],
)
def test_activations(given: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"got '{given}'. Did you mean '{meant}'\\?$"):
        Dense(3, given)
    for parameter in (given, [given]):
        clf = MLPClassifier((3,), activation=parameter)
        with pytest.raises(ValueError, match=f"'{given}'.* Did you mean '{meant}'\\?$"):
            clf.fit(ROWS, LABELS)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("mse", "squared_error"),
        ("MAE", "absolute_error"),
        ("pinball", "quantile"),
        ("smooth_l1", "huber"),
        ("logcosh", "log_cosh"),
        ("mean_squared_error", "squared_error"),
    ],
)
def test_losses_of_values(given: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"Did you mean '{meant}'"):
        Network(2, [Dense(1, "identity")], loss=given)
    with pytest.raises(ValueError, match=f"Did you mean '{meant}'"):
        MLPRegressor(given).fit(ROWS, LABELS)


@pytest.mark.parametrize("given", ["cross_entropy", "nll", "bce", "logloss", "CategoricalCrossentropy"])
def test_losses_of_classes(given: str) -> None:
    with pytest.raises(ValueError, match="Did you mean 'log_loss'"):
        Network(2, [Dense(1, "logistic")], loss=given)
    with pytest.raises(ValueError, match="Did you mean 'log_loss'"):
        MLPClassifier(loss=given).fit(ROWS, LABELS)


def test_a_loss_of_the_other_estimator_is_not_proposed() -> None:
    with pytest.raises(ValueError, match=r"Got 'mse' instead\.$"):
        MLPClassifier(loss="mse").fit(ROWS, LABELS)


def test_a_loss_of_the_other_estimator_is_named_as_such() -> None:
    with pytest.raises(ValueError, match=r"Got 'huber' instead\. It is a loss of MLPRegressor\.$"):
        MLPClassifier(loss="huber").fit(ROWS, LABELS)
    with pytest.raises(ValueError, match=r"Got 'log_loss' instead\. It is a loss of MLPClassifier\.$"):
        MLPRegressor("log_loss").fit(ROWS, LABELS)


NO_LOSS: Any = None


@pytest.mark.parametrize("sizes", [(16,), [8, 8], 64])
def test_hidden_layers_in_place_of_the_loss(sizes: Any) -> None:
    with pytest.raises(ValueError, match="'loss' parameter of MLPRegressor") as caught:
        MLPRegressor(sizes).fit(ROWS, LABELS)
    assert f"instead. hidden_layer_sizes={sizes} sets the hidden layers" in str(caught.value)
    with pytest.raises(ValueError, match=r"callable\. Got None instead\.$"):
        MLPClassifier(loss=NO_LOSS).fit(ROWS, LABELS)


def test_optimizers_and_schedules() -> None:
    for call, meant in (
        (lambda: Trainer(NETWORK, "Adam"), "adam"),
        (lambda: Trainer(NETWORK, "rms_prop"), "rmsprop"),
        (lambda: Trainer(NETWORK, schedule="cosine_annealing"), "cosine"),
        (lambda: Trainer(NETWORK, schedule="ReduceLROnPlateau"), "plateau"),
        (lambda: MLPClassifier(solver="adm").fit(ROWS, LABELS), "adam"),
        (lambda: MLPClassifier(solver="L-BFGS").fit(ROWS, LABELS), "lbfgs"),
        (lambda: MLPClassifier(schedule="onecycle").fit(ROWS, LABELS), "one_cycle"),
        (lambda: MLPClassifier(learning_rate="adaptiv").fit(ROWS, LABELS), "adaptive"),
    ):
        with pytest.raises(ValueError, match=f"Did you mean '{meant}'\\?$"):
            call()


def test_nothing_is_proposed_for_what_is_no_name_of_the_field() -> None:
    for call in (lambda: Dense(3, "xyzzy"), lambda: MLPClassifier(solver="xyzzy").fit(ROWS, LABELS)):
        with pytest.raises(ValueError, match="xyzzy") as caught:
            call()
        assert "Did you mean" not in str(caught.value)


def test_other_names_stand_for_names_that_there_are() -> None:
    known: set[str] = {*densegrad.activations(), *densegrad.losses(), *schedules.BY_NAME, "lbfgs"}
    known |= {name.lower() for name in densegrad.optimizers()}
    assert set(_OTHER_NAMES.values()) <= known


@pytest.mark.parametrize("name", densegrad.optimizers())
def test_the_trainer_takes_names_of_optimizers(name: str) -> None:
    trainer = Trainer(NETWORK, name.lower())
    expected: Any = getattr(densegrad, name)()
    assert trainer.optimizer == expected
    with pytest.raises(TypeError, match="or the name of one; got 3"):
        Trainer(NETWORK, 3)  # type: ignore[arg-type]


def test_a_class_in_place_of_its_object() -> None:
    kind: Any = Adam
    with pytest.raises(TypeError, match=r"got <class 'densegrad.Adam'>\. Call it: Adam\(\)$"):
        Trainer(NETWORK, kind)
    with pytest.raises(TypeError, match=r"got <class 'densegrad.schedules.Cosine'>\. Call it: Cosine\(\)$"):
        Trainer(NETWORK, schedule=schedules.Cosine)
    others: list[Any] = [dict, np.ones(3)]
    for other in others:
        with pytest.raises(TypeError, match=r"got [^.]*(<class 'dict'>|array\(.*\))$"):
            Trainer(NETWORK, other)


def test_a_name_that_the_package_has_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'MLPClasifier'") as caught:
        _ = densegrad.MLPClasifier
    assert (caught.value.name, caught.value.obj) == ("MLPClasifier", densegrad)  # Python proposes from these
