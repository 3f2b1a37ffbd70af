"""Bad arguments: an error that names the argument, what came and what is allowed; and nothing has changed."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import densegrad
from cases import PAIRINGS, Pairing, make_network, same_bits
from densegrad import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Dense,
    Lion,
    Network,
    RMSprop,
    Trainer,
    check_gradients,
    schedules,
)

ONE = [Dense(1, "identity")]
NAN, INF = float("nan"), float("inf")


def refused(match: str, action: Callable[[], Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=match):
        action()


# --- making a network ---


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


def test_no_dropout_at_the_head() -> None:
    refused("dropout", lambda: Network(2, [Dense(3, "identity", dropout=0.5)]))


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex128", "foo", None, 3, np.longdouble])
def test_dtype(dtype: Any) -> None:
    refused("dtype must be float32 or float64", lambda: Network(2, ONE, dtype=dtype))


@pytest.mark.parametrize("loss", ["squared", "", None, 3, "custom"])
def test_an_unknown_loss_lists_the_known_ones(loss: Any) -> None:
    refused("loss.*squared_error.*log_loss", lambda: Network(2, ONE, loss=loss))


def test_losses_and_heads_that_do_not_go_together() -> None:
    allowed = {(p.loss, p.head) for p in PAIRINGS}
    for loss in densegrad.losses():
        for head in densegrad.activations():
            if (loss, head) not in allowed:
                layers = [Dense(2, head)]
                refused(f"{loss}.*{head}", lambda layers=layers, loss=loss: Network(2, layers, loss=loss))


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


def test_a_network_is_made_once() -> None:
    network = make_network((1, 2, 1))
    with pytest.raises(RuntimeError, match="already"):
        network.__init__(3, ONE)  # type: ignore[misc]
    assert network.n_inputs == 2


# --- rows ---

BAD_ROWS = [
    None,
    3.0,
    "abc",
    b"abcdefgh",
    {},
    [],
    [[1.0, 2.0], [3.0]],
    [["a", "b"]],
    [[None, 1.0]],
    np.zeros(2),
    np.zeros((1, 1, 2)),
    np.zeros((2, 3)),
    np.zeros((2, 0)),
    np.zeros((2, 2), complex),
    np.full((2, 2), "0", object),
    np.zeros((2, 2), "U3"),
    np.zeros((2, 2), "M8[s]"),
    np.zeros((2, 2), [("a", "f4")]),
    scipy.sparse.csr_array(np.zeros((2, 3))),
    scipy.sparse.csr_array(np.zeros((2, 2), complex)),
]


@pytest.mark.parametrize("X", BAD_ROWS, ids=lambda X: f"{type(X).__name__}-{X}"[:40].replace("\n", ""))
def test_rows(X: Any) -> None:
    network = make_network((1, 2, 3, 1))
    target = np.zeros((2, 1))
    before = pickle.dumps(network)
    trainer = Trainer(network)
    for action in (
        lambda: network.predict(X),
        lambda: network.forward(X),
        lambda: network.evaluate(X, target),
        lambda: network.backpropagate(X, target),
        lambda: network.loss_and_gradient(X, target),
        lambda: network.samples(X, target),
        lambda: trainer.fit(X, target),
        lambda: trainer.step(X, target),
        lambda: trainer.epoch(X, target),
        lambda: trainer.fit(np.zeros((2, 2)), target, validation=(X, target)),
        lambda: check_gradients(network, X, target),
    ):
        refused("X", action)
    assert pickle.dumps(network) == before
    assert trainer.steps == 0


def test_csr_that_points_outside_is_no_crash() -> None:
    network = make_network((1, 3, 1))
    for indptr, indices in [
        ([0, 1, 2], [0, 3]),
        ([0, 1, 2], [-1, 0]),
        ([0, 2, 1], [0, 1]),
        ([0, 1, 9], [0, 1]),
    ]:
        matrix = scipy.sparse.csr_array((2, 3))
        matrix.data, matrix.indices = np.ones(2), np.array(indices, np.int32)
        matrix.indptr = np.array(indptr, np.int32)
        refused("X is not a valid CSR", lambda matrix=matrix: network.predict(matrix))


@pytest.mark.parametrize("indptr_type", [np.int32, np.int64, np.uint16])
@pytest.mark.parametrize("indices_type", [np.int32, np.int64, np.int16, np.dtype(np.int32).newbyteorder()])
def test_csr_indices_of_any_type_are_read_and_left_alone(indptr_type: Any, indices_type: Any) -> None:
    network = make_network((1, 3, 1))
    X = np.array([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 3.0]])
    matrix = scipy.sparse.csr_array(X)
    indptr, indices = matrix.indptr.astype(indptr_type), matrix.indices.astype(indices_type)
    matrix.indptr, matrix.indices = indptr, indices
    assert same_bits(network.predict(matrix), network.predict(X))
    assert matrix.indptr is indptr
    assert matrix.indices is indices


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


def test_no_rows_have_no_loss() -> None:
    network = make_network((1, 2, 1))
    X, target = np.zeros((0, 2)), np.zeros((0, 1))
    trainer = Trainer(network)
    for action in (
        lambda: network.forward(X),
        lambda: network.evaluate(X, target),
        lambda: network.backpropagate(X, target),
        lambda: network.loss_and_gradient(X, target),
        lambda: trainer.epoch(X, target),
        lambda: trainer.fit(X, target),
        lambda: trainer.step(X, target),
        lambda: trainer.fit([], epochs=1),
    ):
        refused("X must .*at least one", action)


def test_validation_is_checked_before_the_first_epoch() -> None:
    network, other = make_network((1, 2, 1)), make_network((1, 2, 1))
    X, target = np.ones((4, 2)), np.ones((4, 1))
    trainer = Trainer(network)
    for validation in ((X[:0], target[:0]), network.samples(X[:0], target[:0]), other.samples(X, target)):
        refused("one row|another network", lambda v=validation: trainer.fit(X, target, validation=v))
    assert trainer.steps == 0


def test_nan_in_the_rows_is_seen_before_it_does_harm() -> None:
    network = make_network((1, 2, 3, 1))
    before = network.parameters
    for value in (NAN, INF, -INF):
        for dtype in (np.float32, np.float64):
            X = np.zeros((10, 2), dtype)
            X[7, 1] = value
            formats = [
                scipy.sparse.csr_array(X).asformat(name) for name in ("csr", "csc", "lil", "dok", "bsr")
            ]
            for rows in (X, X.tolist(), *formats):
                refused("X must be finite", lambda rows=rows: Trainer(network).fit(rows, np.zeros(10)))
    assert same_bits(network.parameters, before)


# --- targets and weights ---


def targets_of(pairing: Pairing) -> list[Any]:
    bad: list[Any] = [None, "ab", np.zeros(3), np.zeros((2, 9)), np.zeros((2, 2, 2)), [[1], [1, 2]]]
    bad += [[NAN, 0.0], np.zeros(2, complex), np.array(["a", "b"]), np.array([None, 1.0])]
    return bad + {
        ("log_loss", "softmax"): [[0, 3], [-1, 0], [0.5, 1.0], np.full((2, 3), 0.5), [[2, -1, 0]] * 2],
        ("log_loss", "logistic"): [[0, 1], np.full((2, 3), 1.5), np.full((2, 3), -0.1)],
        ("hinge", "identity"): [np.full((2, 3), 0.5), [0, 3], [0.5, 0.5]],
        ("focal", "logistic"): [np.full((2, 3), 0.5)],
        ("poisson", "exp"): [np.full((2, 3), -1.0)],
        ("gamma", "exp"): [np.zeros((2, 3))],
        ("tweedie", "exp"): [np.full((2, 3), -1.0)],
        ("focal", "softmax"): [[0, 3], [-1, 0]],
        ("squared_hinge", "identity"): [[0.5, 0.5]],
    }.get((pairing.loss, pairing.head), [np.zeros(2)])


@pytest.mark.parametrize("pairing", PAIRINGS, ids=str)
def test_targets(pairing: Pairing) -> None:
    network = make_network((2, 2, 3, 3), pairing)
    before = pickle.dumps(network)
    trainer = Trainer(network)
    X = np.zeros((2, 2))
    for target in targets_of(pairing):
        for action in (
            lambda target=target: network.evaluate(X, target),
            lambda target=target: network.backpropagate(X, target),
            lambda target=target: trainer.fit(X, target),
            lambda target=target: trainer.step(X, target),
        ):
            refused("target", action)
    assert pickle.dumps(network) == before
    assert trainer.steps == 0


def test_binary_targets_of_one_output() -> None:
    network = make_network((2, 2, 1), Pairing("log_loss", "logistic"))
    for target in ([0, 2], [-1, 0], [[0.5], [1.5]], [0.5, 1.5]):
        refused("target", lambda target=target: network.evaluate(np.zeros((2, 2)), target))


@pytest.mark.parametrize(
    "weight",
    [[1.0], [1.0] * 3, [[1.0], [1.0]], [NAN, 1], [INF, 1], [-1, 1], [0, 0], "ab", [None, 1], [1j, 1], 1.0],
    ids=str,
)
def test_sample_weights(weight: Any) -> None:
    network = make_network((2, 2, 1))
    X, target = np.zeros((2, 2)), np.zeros((2, 1))
    for action in (
        lambda: network.evaluate(X, target, weight),
        lambda: Trainer(network).fit(X, target, sample_weight=weight),
        lambda: Trainer(network).fit(X, target, validation=(X, target, weight)),
    ):
        refused("sample_weight must", action)


# --- weights and passes ---


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

    refused("W", assign)
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
    for values in (network.weights, network.weight_gradients, p.weight_gradients, p.local_gradients):
        with pytest.raises(IndexError, match=r"numbered 1 \.\.\. 2"):
            values[l]
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


# --- training ---


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: SGD(0), "lr"),
        (lambda: SGD(-1), "lr"),
        (lambda: SGD(NAN), "lr"),
        (lambda: SGD(INF), "lr"),
        (lambda: SGD("0.1"), "lr"),
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
        ({"optimizer": "adam"}, "optimizer"),
        ({"optimizer": None}, "optimizer"),
        ({"optimizer": Adam}, "optimizer"),
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
        ({"scoring": "accuracy"}, "scoring"),
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


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"order": [0, 2]}, "order"),
        ({"order": [-1]}, "order"),
        ({"order": []}, "order"),
        ({"order": [0.0, 1.0]}, "order"),
        ({"order": [[0, 1]]}, "order"),
        ({"learning_rate": [0.1, 0.1, 0.1]}, "learning_rate"),
        ({"learning_rate": NAN}, "learning_rate"),
        ({"learning_rate": -0.1}, "learning_rate"),
        ({"learning_rate": "a"}, "learning_rate"),
    ],
)
def test_arguments_of_epoch(arguments: Any, name: str) -> None:
    network = make_network((1, 2, 1))
    before = network.parameters
    refused(name, lambda: Trainer(network).epoch(np.zeros((2, 2)), np.zeros(2), **arguments))
    assert same_bits(network.parameters, before)


def test_a_schedule_that_returns_nonsense() -> None:
    for rate in (NAN, -1.0, None, "a"):
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
