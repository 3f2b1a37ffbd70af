"""Values to look at and set: z_(l), losses of samples, the loss layer, slices, single weights, prints."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from assertions import assert_close, same_bits
from builders import half_square, make_network, make_rows, make_target, regression
from choices import DTYPES, HIDDEN, PAIRINGS, Pairing
from densegrad import SGD, Dense, History, Network, Trainer
from reference import Reference

CASE = (6, 3, 5, 4, 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_preactivations_equal_the_twins(hidden: str, dtype: str, rng: np.random.Generator) -> None:
    network = make_network(CASE, hidden=hidden, dtype=dtype)
    X, target = make_rows(CASE, rng, dtype), make_target(network, CASE[0], rng)
    p = network.backpropagate(X, target)
    for l, expected in enumerate(Reference.of(network).forward(X)[1][1:], 1):
        assert_close(p.preactivations[l], expected, dtype)
    linear = [Dense(layer.units, "identity") for layer in network.layers[:1]]
    first = Network(CASE[1], linear, dtype=dtype)
    first.weights[1] = network.weights[1]
    assert same_bits(p.preactivations[1], first.predict(X))


@pytest.mark.parametrize("weighted", [False, True], ids=["even", "weighted"])
@pytest.mark.parametrize("pairing", PAIRINGS, ids=str)
def test_losses_of_samples_are_those_of_evaluate(
    pairing: Pairing, weighted: bool, rng: np.random.Generator
) -> None:
    network = make_network(CASE, pairing)
    X, target = make_rows(CASE, rng), make_target(network, CASE[0], rng)
    weight = rng.uniform(0, 1, CASE[0]) if weighted else None
    if weight is not None:
        weight[2] = 0
    p = network.backpropagate(X, target, weight)
    losses = Reference.of(network).loss.rows(p.outputs[3], target)[0]
    assert_close(p.sample_losses, losses, "float64", 10)
    for i, loss in enumerate(p.sample_losses):
        assert loss == network.evaluate(X[i : i + 1], target[i : i + 1])
    assert_close(np.average(p.sample_losses, weights=weight), p.loss, "float64")
    samples = network.samples(X, target, weight)
    assert same_bits(network.backpropagate(samples).sample_losses, p.sample_losses)


def test_losses_of_samples_stay_when_the_target_and_the_network_change(rng: np.random.Generator) -> None:
    network = make_network(CASE)
    X, target = make_rows(CASE, rng), make_target(network, CASE[0], rng)
    p, q = (network.backpropagate(X, target) for _ in range(2))
    expected, z = p.sample_losses, p.preactivations[2]
    target[:] = 0
    network.parameters = np.zeros(network.n_parameters)
    assert same_bits(q.sample_losses, expected)
    assert same_bits(q.preactivations[2], z)
    for restored in (pickle.loads(pickle.dumps(q)), copy.deepcopy(q)):
        assert same_bits(restored.sample_losses, expected)
        assert same_bits(restored.preactivations[2], z)


def test_losses_of_samples_of_a_custom_loss_are_what_it_returned(rng: np.random.Generator) -> None:
    calls = 0

    def counted(y_true: Any, y_pred: Any) -> Any:
        nonlocal calls
        calls += 1
        return half_square(y_true, y_pred)

    network = Network(3, [Dense(2, "identity")], loss=counted, dtype="float64", random_state=0)
    X, target = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    p = network.backpropagate(X, target)
    assert_close(p.sample_losses, half_square(target, p.outputs[1])[0], "float64")
    assert calls == 1


@pytest.mark.parametrize("head", ["identity", "softmax"])
def test_the_chain_begins_at_the_loss_layer(head: str, rng: np.random.Generator) -> None:
    network = make_network(CASE, Pairing("squared_error" if head == "identity" else "log_loss", head))
    X, target = make_rows(CASE, rng), make_target(network, CASE[0], rng)
    p = network.backpropagate(X, target)
    L = network.depth
    gradient = p.loss_gradients[L + 1] * p.local_gradients[L + 1].wrt_input
    assert_close(gradient, Reference.of(network).backpropagate(X, target).loss_gradients[L], "float64", 10)
    for l in range(L, 0, -1):
        gradient = np.einsum("bi,bij->bj", gradient, p.local_gradients[l].wrt_input)
        assert_close(gradient, p.loss_gradients[l - 1], "float64", 10)


def test_slices_of_layers(rng: np.random.Generator) -> None:
    network = make_network(CASE)
    p = network.backpropagate(make_rows(CASE, rng), make_target(network, CASE[0], rng))
    numbers = {
        "outputs": (p.outputs, [0, 1, 2, 3, 4]),
        "weights": (p.weights, [1, 2, 3]),
        "local_gradients": (p.local_gradients, [1, 2, 3, 4]),
    }
    for name, (values, layers) in numbers.items():
        for chosen in (slice(1, None), slice(None), slice(0, 2), slice(2, 99), slice(None, None, 2)):
            expected = [values[l] for l in range(99)[chosen] if l in layers]
            assert len(values[chosen]) == len(expected), name
            assert all(a is b for a, b in zip(values[chosen], expected, strict=True)), name
    assert [W.shape for W in network.weights[2:]] == [(6, 4), (5, 2)]
    assert p.outputs[::-1][0] == p.loss
    with pytest.raises(IndexError, match=r"a slice does not count from the end; got -1"):
        p.outputs[:-1]


def test_the_line_of_the_blackboard(rng: np.random.Generator) -> None:
    network = make_network(CASE)
    X, target = make_rows(CASE, rng), make_target(network, CASE[0], rng)
    p = network.backpropagate(X, target)
    W, G = np.array(network.weights[1]), p.weight_gradients[1]
    network.weights[1] -= 0.1 * G
    assert same_bits(network.weights[1], W - 0.1 * G)
    network.weights[1] += G
    network.weights[1] *= 2
    network.weights[1] /= 4
    assert same_bits(network.weights[1], (W - 0.1 * G + G) * 2 / 4)
    before = np.array(network.weights[1])
    with pytest.raises(ValueError, match="must have shape"):
        network.weights[1] -= np.zeros((2, 4, 5))
    with pytest.raises(ValueError, match="must be finite"):
        network.weights[1] -= np.inf
    assert same_bits(network.weights[1], before)


def test_entries_and_rows_can_be_set() -> None:
    network = make_network(CASE)
    expected = np.array(network.weights[2])
    network.weights[2, 0, 1] = 3
    network.weights[2, -1] = [1, 2, 3, 4]
    network.weights[2, 1] = 7
    network.weights[2, 2:4, 0] = 9
    expected[0, 1], expected[-1], expected[1], expected[2:4, 0] = 3, [1, 2, 3, 4], 7, 9
    assert same_bits(network.weights[2], expected)
    assert network.weights[2, 0, 1] == 3
    assert same_bits(network.weights[2, -1], expected[-1])
    for index, value, error, message in (
        ((2, 6), 1, IndexError, r"rows 0 \.\.\. 5; got 6"),
        ((2, 0), [1, 2], ValueError, r"a row of W_\(2\) must have shape \(4,\); got \(2,\)"),
        ((2, 0), np.nan, ValueError, "must be finite"),
        ((2, 0, 0), np.nan, ValueError, "must be finite"),
        ((4, 0, 0), 1, IndexError, r"numbered 1 \.\.\. 3"),
        ((2, 0, 9), 1, IndexError, "out of bounds"),
    ):
        with pytest.raises(error, match=message):
            network.weights[index] = value
    assert same_bits(network.weights[2], expected)


def test_a_part_of_a_copy_cannot_be_set() -> None:
    network = make_network(CASE)
    before = network.parameters
    for view in (network.weights[1], network.weights[1][:-1], network.weights[1].T):
        with pytest.raises(ValueError, match=r"net\.weights\[l, row, column\] = value"):
            view[0, 0] = 3
    with pytest.raises(ValueError, match=r"net\.weights\[l, row, column\] = value"):
        network.weights[1][0] *= 2
    with pytest.raises(ValueError, match="read-only"):
        np.add(network.weights[1], 1, out=network.weights[1])
    for W in (*network.weights, *network.weights[2:]):
        with pytest.raises(ValueError, match=r"network would not change: write net\.weights\[l\] -= step"):
            W *= 2
        with pytest.raises(ValueError, match=r"net\.weights\[l, row, column\] = value"):
            W[0, 0] = 3
        assert type(W - 1) is np.ndarray
    W = network.weights[1].copy()
    W[0, 0] = 3
    W -= 1
    assert type(W) is np.ndarray
    assert same_bits(network.parameters, before)


def test_what_is_computed_with_weights_is_a_plain_array() -> None:
    W = make_network(CASE).weights[1]
    for array in (W + 1, 2 * W, W > 0, np.exp(W), W.copy(), -W):
        assert type(array) is np.ndarray
    assert repr(W) == repr(np.array(W))
    assert np.max(W) == np.array(W).max()
    for twin in (pickle.loads(pickle.dumps(W)), copy.deepcopy(W)):
        twin[0, 0] = 3
        twin *= 2
        assert twin[0, 0] == 6


@pytest.mark.parametrize("dtype", DTYPES)
def test_descent_by_hand_equals_the_trainer_to_the_bit(dtype: str, rng: np.random.Generator) -> None:
    X, target = regression(rng)
    by_hand = make_network((300, 4, 8, 2), dtype=dtype)
    trained = copy.deepcopy(by_hand)
    alpha = 0.25
    trainer = Trainer(trained, SGD(alpha), batch_size=300, shuffle=False)
    for _ in range(50):
        p = by_hand.backpropagate(X, target)
        for l in range(1, by_hand.depth + 1):
            by_hand.weights[l] -= alpha * p.weight_gradients[l]
        loss = trainer.step(X, target)
        assert loss == pytest.approx(p.loss, rel=1e-14)
        assert same_bits(by_hand.parameters, trained.parameters)


def test_prints_are_short_and_have_numbers(rng: np.random.Generator) -> None:
    network = Network(784, [Dense(500, "relu"), Dense(10, "softmax")], loss="log_loss", random_state=0)
    X = rng.normal(size=(100, 784))
    p = network.backpropagate(X, rng.integers(10, size=100))
    text = repr(p)
    assert text.startswith(f"Backpropagation of 100 samples, loss {p.loss:.6g}")
    assert f"{p.outputs[0][0, 0]:.4g}" in text
    assert "dLoss/dW_(1) (785, 500)" in text
    for printed in (text, repr(p.outputs), repr(network.weights), repr(p.local_gradients)):
        assert max(map(len, printed.splitlines())) < 120
        assert len(printed) < 4000


def test_prints_of_deep_networks_leave_layers_out(rng: np.random.Generator) -> None:
    network = make_network((1, *[3] * 31))
    p = network.backpropagate(np.ones((1, 3)), np.ones((1, 3)))
    for printed in (repr(p), repr(p.outputs)):
        assert len(printed.splitlines()) < 140
    assert repr(p).startswith("Backpropagation of 1 sample, loss")
    assert "W_(30)" in repr(p)
    assert "W_(15)" not in repr(p)
    assert [line[:4] for line in repr(network.weights).splitlines() if line[3:4] in (":", "")] == [
        *("  1:", "  2:", "  3:", "  4:"),
        "...",
        *(" 27:", " 28:", " 29:", " 30:"),
    ]


def test_a_history_prints_as_a_table(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    network = make_network((300, 4, 8, 2))
    history = Trainer(network, SGD(0.1), random_state=0).fit(X, target, epochs=20, validation=(X, target))
    lines = repr(history).splitlines()
    assert lines[0] == f"History of 20 epochs, the best is {history.best_epoch}, ended by epochs"
    assert lines[1].split() == ["epoch", "loss", "validation_loss", "learning_rate", "seconds"]
    assert [line.split()[0] for line in lines[2:]] == [*"01234", "...", *map(str, range(15, 20))]
    assert lines[2].split()[1] == f"{history.loss[0]:.4g}"
    assert max(map(len, lines)) < 100
    assert repr(History()) == "History of 0 epochs"
