"""A custom loss: in the passes of a network, and in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from assertions import assert_close, same_bits
from builders import half_square, make_network, make_rows, regression
from choices import DTYPES
from densegrad import (
    SGD,
    Adam,
    Dense,
    Network,
    Trainer,
)


@pytest.mark.parametrize("dtype", DTYPES)
def test_custom_loss_equals_the_built_in_one(dtype: str, rng: np.random.Generator) -> None:
    case = (23, 5, 7, 3)
    built_in = make_network(case, dtype=dtype)
    custom = Network(5, built_in.layers, loss=half_square, dtype=dtype)
    custom.parameters = built_in.parameters
    X, target, weight = make_rows(case, rng, dtype), rng.normal(size=(23, 3)), rng.uniform(0, 2, 23)
    assert_close(custom.evaluate(X, target, weight), built_in.evaluate(X, target, weight), dtype)
    p, q = custom.backpropagate(X, target, weight), built_in.backpropagate(X, target, weight)
    for l in range(3):
        assert_close(p.loss_gradients[l], q.loss_gradients[l], dtype, 4)
    for l in (1, 2):
        assert_close(p.weight_gradients[l], q.weight_gradients[l], dtype, 4)
    gradients = [network.loss_and_gradient(X, target, weight)[1] for network in (custom, built_in)]
    assert_close(*gradients, dtype, 4)


def test_custom_loss_that_returns_one_number_for_the_batch_is_refused() -> None:
    network = Network(2, [Dense(1, "identity")], loss=lambda t, y: (((y - t) ** 2).sum(), 2 * (y - t)))
    with pytest.raises(ValueError, match=r"one loss a row, of shape \(3,\); got \(\)"):
        network.backpropagate(np.ones((3, 2)), np.ones(3))


@pytest.mark.parametrize(
    ("returned", "got"),
    [(np.zeros((2, 1)), r"ndarray of shape \(2, 1\)"), (None, "NoneType"), ((1, 2, 3), "tuple of length 3")],
)
def test_custom_loss_that_returns_something_else_is_told_what_to_return(returned: Any, got: str) -> None:
    network = Network(2, [Dense(1, "identity")], loss=lambda t, y: returned)
    with pytest.raises(TypeError, match=f"^loss must return a tuple of .* derivative by y_pred; got {got}$"):
        network.evaluate(np.ones((2, 2)), np.ones(2))


@pytest.mark.parametrize("returned", [([10**400] * 2, np.zeros((2, 1))), (np.zeros(2), [[10**400]] * 2)])
def test_custom_loss_that_returns_numbers_beyond_float64(returned: Any) -> None:
    network = Network(2, [Dense(1, "identity")], loss=lambda t, y: returned)
    with pytest.raises(ValueError, match=r"that loss returns must be an array of real numbers; .* too large"):
        network.evaluate(np.ones((2, 2)), np.ones(2))


@pytest.mark.parametrize(
    "numbers",
    [
        np.ones(2, np.complex64),
        np.array(["1", "2"]),
        np.ma.masked_array(np.ones(2), [True, False]),
        np.ones(2, "m8[s]"),
        sparse.csr_array(np.ones((2, 1))),
        None,
    ],
    ids=["complex", "text", "masked", "time", "sparse", "none"],
)
def test_custom_loss_that_returns_no_real_numbers(numbers: Any) -> None:
    good = np.ones(2)
    for returned, name in (((numbers, good), "losses"), ((good, numbers), "derivative")):
        network = Network(2, [Dense(1, "identity")], loss=lambda t, y, r=returned: r)
        with pytest.raises(TypeError, match=f"the {name} that loss returns"):
            network.evaluate(np.ones((2, 2)), good)


def test_custom_loss_that_returns_nan_is_named() -> None:
    X, target = np.ones((6, 2)), np.ones(6)
    for loss, derivative in ((np.nan, 0.0), (0.0, np.nan)):
        network = Network(
            2,
            [Dense(1, "identity")],
            loss=lambda t, y, a=loss, b=derivative: (np.full(len(y), a), np.full_like(y, b)),
        )
        with pytest.raises(ValueError, match=r"no longer finite.* the custom loss returned"):
            Trainer(network).fit(X, target)


def test_custom_loss_gets_a_target_of_the_shape_of_the_outputs(rng: np.random.Generator) -> None:
    shapes = []

    def loss(y_true: Any, y_pred: Any) -> Any:
        shapes.append((y_true.shape, y_pred.shape))
        return ((y_pred - y_true) ** 2).sum(axis=1), 2 * (y_pred - y_true)

    network = Network(4, [Dense(1, "identity")], loss=loss, random_state=0)
    network.evaluate(rng.normal(size=(9, 4)), rng.normal(size=9))
    assert shapes == [((9, 1), (9, 1))]


def test_custom_loss_trains_as_the_built_in_one(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    weight = rng.uniform(0.5, 2, 300)
    shapes = []

    def custom(y_true: Any, y_pred: Any) -> Any:
        shapes.append((y_true.shape, y_pred.shape))
        r = y_pred - y_true
        return 0.5 * (r**2).sum(axis=1), r

    built_in = make_network((1, 4, 9, 2))
    network = Network(4, built_in.layers, loss=custom, dtype="float64")
    network.parameters = built_in.parameters
    options = {"batch_size": 64, "random_state": 0, "n_threads": 2}
    a = Trainer(network, **options).fit(X, target, sample_weight=weight, epochs=3)
    assert shapes == ([((64, 2), (64, 2))] * 4 + [((44, 2), (44, 2))]) * 3
    b = Trainer(built_in, **options).fit(X, target, sample_weight=weight, epochs=3)
    assert a.loss == pytest.approx(b.loss, rel=1e-12)
    assert_close(network.parameters, built_in.parameters, "float64", 1e4)


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        (lambda y: (np.zeros(len(y)), np.zeros((len(y), 3))), ValueError),
        (lambda y: (np.zeros(3), np.zeros_like(y)), ValueError),
        (lambda y: 1.0, TypeError),
        (lambda y: y, TypeError),
        (lambda y: (np.zeros(len(y)),), TypeError),
        (lambda y: 1 / 0, ZeroDivisionError),
    ],
)
def test_an_error_of_a_custom_loss_stops_the_fit(
    returned: Any, error: type, rng: np.random.Generator
) -> None:
    X, target = regression(rng)
    calls = []

    def custom(y_true: Any, y_pred: Any) -> Any:
        calls.append(1)
        if len(calls) < 3:
            return np.zeros(len(y_pred)), y_pred - y_true
        return returned(y_pred)

    network = Network(4, [Dense(2, "identity")], loss=custom, dtype="float64", random_state=0)
    trainer = Trainer(network, SGD(0.1), batch_size=50)
    with pytest.raises(error):
        trainer.fit(X, target)
    assert trainer.steps == 2
    assert np.all(np.isfinite(network.predict(X)))


def test_the_network_cannot_be_trained_from_within_its_own_training(rng: np.random.Generator) -> None:
    X, target = regression(rng)

    def custom(y_true: Any, y_pred: Any) -> Any:
        network.predict(X)
        trainer.step(X, target)

    network = Network(4, [Dense(2, "identity")], loss=custom, dtype="float64", random_state=0)
    trainer = Trainer(network)
    with pytest.raises(RuntimeError, match="in use"):
        trainer.fit(X, target)


def test_the_optimizer_cannot_be_changed_from_within_a_training(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    actions: list[Any] = [
        lambda: setattr(trainer, "optimizer", Adam(0.5)),
        lambda: setattr(trainer._descent._core, "steps", 7),
        lambda: trainer._descent._core.set_state(1, 0, np.zeros((5, 2))),
    ]

    def custom(y_true: Any, y_pred: Any) -> Any:
        actions.pop()()

    network = Network(4, [Dense(2, "identity")], loss=custom, dtype="float64", random_state=0)
    trainer = Trainer(network, Adam(0.1))
    while actions:
        with pytest.raises(RuntimeError, match="in use"):
            trainer.fit(X, target)
    assert (trainer.optimizer, trainer.steps) == (Adam(0.1), 0)


def test_what_is_being_trained_can_be_read_from_within(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    seen = []

    def custom(y_true: Any, y_pred: Any) -> Any:
        seen.append(trainer.state_dict()["steps"])
        assert len(network.parameters) == 10
        return np.zeros(len(y_pred)), y_pred - y_true

    network = Network(4, [Dense(2, "identity")], loss=custom, dtype="float64", random_state=0)
    trainer = Trainer(network, batch_size=50)
    trainer.fit(X, target, epochs=1)
    assert seen == list(range(trainer.steps)) != []


def test_custom_loss_is_called_once_a_batch(rng: np.random.Generator) -> None:
    sizes = []

    def loss(y_true: Any, y_pred: Any) -> Any:
        sizes.append(len(y_pred))
        return 0.5 * ((y_pred - y_true) ** 2).sum(axis=1), y_pred - y_true

    X, target = rng.normal(size=(5000, 3)), rng.normal(size=(5000, 1))
    layers = [Dense(4, "tanh"), Dense(1, "identity")]
    custom = Network(3, layers, loss=loss, dtype="float64", random_state=0)
    built_in = Network(3, layers, dtype="float64", random_state=0)
    for network in (custom, built_in):
        Trainer(network, Adam(0.01), batch_size=3000, shuffle=False).fit(X, target, epochs=2)
    assert sizes == [3000, 2000] * 2
    assert_close(custom.parameters, built_in.parameters, "float64", 1e4)


def test_rows_of_weight_zero_count_for_nothing_even_if_a_custom_loss_is_nan(
    rng: np.random.Generator,
) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        with np.errstate(invalid="ignore"):
            r = np.log(y_true) - y_pred
        return 0.5 * (r**2).sum(axis=1), -r

    network = Network(4, [Dense(3, "tanh"), Dense(1, "identity")], loss=loss, dtype="float64", random_state=0)
    X, target, weight = rng.normal(size=(9, 4)), rng.uniform(1, 2, (9, 1)), rng.uniform(1, 2, 9)
    target[2], weight[2] = -1, 0
    rest = np.delete(X, 2, 0), np.delete(target, 2, 0), np.delete(weight, 2)
    assert_close(network.evaluate(X, target, weight), network.evaluate(*rest), "float64")
    for a, b in zip(
        network.loss_and_gradient(X, target, weight), network.loss_and_gradient(*rest), strict=True
    ):
        assert_close(a, b, "float64", 10)
    p, q = network.backpropagate(X, target, weight), network.backpropagate(*rest)
    assert_close(p.weight_gradients[1], q.weight_gradients[1], "float64", 10)
    assert not p.loss_gradients[2][2].any()
    history = Trainer(network).fit(*rest[:2], epochs=1, validation=(X, target, weight))
    assert np.isfinite(history.validation_loss[0])


def test_custom_loss_may_write_to_what_it_gets_and_leaves_the_callers_data(rng: np.random.Generator) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        y_pred -= y_true
        y_true *= 0
        return 0.5 * (y_pred**2).sum(axis=1), y_pred

    X, target = regression(rng)
    before = target.copy()
    layers = [Dense(5, "tanh"), Dense(2, "identity")]
    writing = Network(4, layers, loss=loss, dtype="float64", random_state=0)
    reading = Network(4, layers, loss=half_square, dtype="float64", random_state=0)
    all_results = []
    for network in (writing, reading):
        samples = network.samples(X, target)
        results = [network.evaluate(samples), network.loss_and_gradient(samples)[1]]
        p = network.backpropagate(samples)
        results += [p.outputs[2], p.loss_gradients[2], Trainer(network, random_state=0).step(X, target)]
        results += Trainer(network, random_state=0).fit(X, target, validation=(X, target)).validation_loss
        assert same_bits(target, before)
        all_results.append(results)
    for a, b in zip(*all_results, strict=True):
        assert same_bits(a, b)
