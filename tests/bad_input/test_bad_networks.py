"""Bad arguments of Network and Dense: errors that name the argument, and change nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import densegrad
from assertions import refused
from builders import make_network
from choices import INF, NAN, PAIRINGS
from densegrad import (
    Dense,
    Network,
    Trainer,
    _core,
)

ONE = [Dense(1, "identity")]


@pytest.mark.parametrize("n_inputs", [0, -1, 2.5, "3", None, True, [3], NAN, 2**31, 10**30])
def test_number_of_inputs(n_inputs: Any) -> None:
    refused("inputs", lambda: Network(n_inputs, ONE))


@pytest.mark.parametrize("layers", [None, 3, [], (), Dense(1), [3], ["relu"], [Dense], [Dense(2), None]])
def test_layers(layers: Any) -> None:
    refused("layers", lambda: Network(2, layers))


@pytest.mark.parametrize("units", [0, -1, 2.5, "3", None, True, [3]])
def test_units(units: Any) -> None:
    refused("units", lambda: Dense(units))


@pytest.mark.parametrize("units", [2**31, 2**62])
def test_too_many_units(units: Any) -> None:
    refused(r"units.*got \d", lambda: Network(2, [Dense(units), *ONE]))


@pytest.mark.parametrize("activation", ["rely", "", None, 3, np.tanh, "ReLU"])
def test_an_unknown_activation_lists_the_known_ones(activation: Any) -> None:
    refused("activation.*relu.*gelu", lambda: Dense(3, activation))


@pytest.mark.parametrize("head", ["exp", "softmax"])
def test_heads_stand_at_the_end_only(head: str) -> None:
    refused(head, lambda: Network(2, [Dense(3, head), Dense(3, "identity")]))


@pytest.mark.parametrize("dropout", [1, 1.0, -0.1, NAN, INF, "0.5", None, True])
def test_dropout(dropout: Any) -> None:
    refused("dropout", lambda: Dense(3, dropout=dropout))


def test_a_softmax_head_has_two_units() -> None:
    refused(r"softmax.*Dense\(1, 'logistic'\)", lambda: Network(2, [Dense(1, "softmax")], loss="log_loss"))
    assert Network(2, [Dense(1)], loss="log_loss").layers[0].activation == "logistic"


def test_no_dropout_at_the_head() -> None:
    refused("dropout", lambda: Network(2, [Dense(3, "identity", dropout=0.5)]))


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex128", "foo", None, 3, np.longdouble])
def test_dtype(dtype: Any) -> None:
    refused("dtype must be float32 or float64", lambda: Network(2, ONE, dtype=dtype))


@pytest.mark.parametrize("loss", ["squared", "", None, 3, "custom"])
def test_an_unkncustom_loss_lists_the_known_ones(loss: Any) -> None:
    refused("loss.*squared_error.*log_loss", lambda: Network(2, ONE, loss=loss))


def test_losses_and_heads_that_do_not_go_together() -> None:
    allowed = dict.fromkeys((p.loss, p.head) for p in PAIRINGS)
    for loss in densegrad.losses():
        for head in densegrad.activations():
            if (loss, head) not in allowed:
                layers = [Dense(2, head)]
                heads = ", ".join(h for a, h in allowed if a == loss)
                others = ", ".join(a for a in densegrad.losses() if (a, head) in allowed)
                match = (
                    f"loss '{loss}' does not go with a head of activation '{head}', but with {heads}; "
                    f"with '{head}' go the losses {others} and callables"
                )
                refused(match, lambda layers=layers, loss=loss: Network(2, layers, loss=loss))


@pytest.mark.parametrize(
    ("loss", "arguments", "match"),
    [
        ("huber", {"delta": 0}, "delta"),
        ("huber", {"delta": NAN}, "delta"),
        ("huber", {"delta": "1"}, "delta"),
        ("huber", {"quantile": 0.5}, "quantile is of the loss quantile"),
        ("squared_error", {"delta": 1.0}, "delta is of the loss huber"),
        ("quantile", {"quantile": 0}, "quantile"),
        ("quantile", {"quantile": 1.0}, "quantile"),
        ("quantile", {"quantile": []}, "quantile"),
        ("quantile", {"quantile": [0.5, 0.1]}, "increas"),
        ("quantile", {"quantile": [0.5, 0.5]}, "increas"),
        ("quantile", {"quantile": [0.1, 2]}, "quantile"),
        ("quantile", {"quantile": [0.1, 0.2]}, "one output for each target and quantile"),
        ("gaussian_nll", {}, "two outputs"),
        ("squared_error", {"label_smoothing": 0.1}, "label_smoothing"),
    ],
)
def test_parameters_of_losses(loss: str, arguments: Any, match: str) -> None:
    refused(match, lambda: Network(2, ONE, loss=loss, **arguments))


@pytest.mark.parametrize("power", [1, 2, 0, NAN, "1.5"])
def test_power(power: Any) -> None:
    refused("power", lambda: Network(2, [Dense(1, "exp")], loss="tweedie", power=power))


@pytest.mark.parametrize("smoothing", [1, -0.1, NAN, "0", None])
def test_label_smoothing(smoothing: Any) -> None:
    refused(
        "label_smoothing",
        lambda: Network(2, [Dense(2, "softmax")], loss="log_loss", label_smoothing=smoothing),
    )


@pytest.mark.parametrize("state", [-1, 1.5, "0", 2**32, [1], True])
def test_random_state(state: Any) -> None:
    refused("random_state", lambda: Network(2, ONE, random_state=state))
    refused("random_state", lambda: Trainer(Network(2, ONE), random_state=state))


@pytest.mark.parametrize(
    "drawn",
    [np.zeros((2, 2)), np.full((2, 3), NAN), "none", None, np.zeros((2, 3), complex), np.zeros(6)],
    ids=str,
)
def test_initializers(drawn: Any) -> None:
    refused("initializer", lambda: Network(2, [Dense(3, initializer=lambda *_: drawn), *ONE]))
    refused("initializer", lambda: Dense(3, initializer="glorot"))  # type: ignore[arg-type]


ABSURD = """
import densegrad as d
m = 2**31 - 1
for make in (
    lambda: d.Network(m, [d.Dense(m), d.Dense(1, "identity")]),
    lambda: d.Network(m, [d.Dense(m)] * 100 + [d.Dense(1, "identity")], dtype="float64"),
    lambda: d.Network(1, [d.Dense(1)] * 3 + [d.Dense(m), d.Dense(m, "identity")]),
):
    try:
        make()
    except (MemoryError, ValueError) as error:
        print(type(error).__name__)
"""


def test_absurd_sizes_are_an_error_and_not_a_crash() -> None:
    done = subprocess.run([sys.executable, "-c", ABSURD], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 3


def test_a_network_that_was_never_made_is_no_crash() -> None:
    network = Network.__new__(Network)
    for action in (
        lambda: network.predict(np.zeros((1, 2))),
        lambda: network.forward(np.zeros((1, 2))),
        lambda: network._weights(1),
        lambda: network.n_parameters,
    ):
        with pytest.raises(RuntimeError, match="never initialised"):
            action()


def test_parts_of_the_core_that_were_never_made_are_no_crash() -> None:
    trainer = _core.Trainer.__new__(_core.Trainer)
    for action in (
        lambda: trainer.set_state(1, 0, np.zeros((3, 2), np.float32)),
        lambda: trainer.state(1, 0),
        lambda: trainer.steps,
    ):
        with pytest.raises(RuntimeError, match="never initialised"):
            action()
    with pytest.raises(TypeError, match="positional argument"):
        _core.Reading.__new__(_core.Reading)


def test_a_network_is_made_once() -> None:
    network = make_network((1, 2, 1))
    with pytest.raises(RuntimeError, match="already"):
        network.__init__(3, ONE)  # type: ignore[misc]
    assert network.n_inputs == 2
