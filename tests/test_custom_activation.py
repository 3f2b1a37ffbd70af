"""Custom activations: the value and the derivative as functions of z."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assertions import assert_close, refused, same_bits
from builders import half_square, regression
from choices import DTYPES, OPTIMIZERS
from densegrad import (
    SGD,
    Adam,
    Dense,
    Network,
    Trainer,
    check_gradients,
)
from densegrad.display import NetworkDisplay
from densegrad.export import to_c
from densegrad.spec import NetworkSpec
from densegrad.training.lbfgs import Lbfgs
from reference import Reference
from reference_training import Penalties, ReferenceTrainer

SIN: Any = (np.sin, np.cos)


def minus_sin(z: Any) -> Any:
    return -np.sin(z)


def bell(z: Any) -> Any:
    return np.exp(-0.5 * z * z)


def bell_slope(z: Any) -> Any:
    return -z * bell(z)


def identity(z: Any) -> Any:
    return z


def rectified(z: Any) -> Any:
    return np.where(z < 0, 0, z)


def rectified_slope(z: Any) -> Any:
    return (z > 0).astype(z.dtype)


BELL: Any = (bell, bell_slope)
# The core's own, as custom activations: the same bits.
IDENTITY: Any = (identity, np.ones_like)
RELU: Any = (rectified, rectified_slope)


def make(
    *activations: Any, dtype: str = "float64", loss: Any = "squared_error", dropout: float = 0.0
) -> Network:
    """A network 4-7-…-2 with an activation for each layer."""
    *hidden, head = activations
    layers = [Dense(7, activation, dropout=dropout) for activation in hidden]
    return Network(4, [*layers, Dense(2, head)], dtype=dtype, loss=loss, random_state=0)


@pytest.mark.parametrize(
    "loss", ["squared_error", "absolute_error", "huber", "log_cosh", half_square], ids=str
)
@pytest.mark.parametrize("head", ["identity", SIN, "tanh"], ids=["identity", "sin", "tanh"])
def test_chain_rule(head: Any, loss: Any, rng: np.random.Generator) -> None:
    network = make(SIN, BELL, head, loss=loss)
    X, target = regression(rng)
    weight = rng.uniform(0, 2, len(X))
    p = network.backpropagate(X, target, weight)
    assert_close(network.predict(X), p.outputs[3], "float64")
    assert_close(network.evaluate(X, target, weight), p.loss, "float64")
    assert_close(np.average(p.sample_losses, weights=weight), p.loss, "float64")
    assert_close(network.loss_and_gradient(X, target, weight)[1], parameters(p), "float64")
    for l in range(1, 4):
        upper, local = p.loss_gradients[l], p.local_gradients[l]
        assert_chain(np.einsum("bi,bij->bj", upper, local.wrt_input), p.loss_gradients[l - 1])
        assert_chain(np.einsum("bi,bijk->jk", upper, local.wrt_weights), p.weight_gradients[l])
        value, slope = network.layers[l - 1].activation if l < 3 or head is SIN else (None, None)  # type: ignore[misc]
        if value is not None:
            assert_chain(value(p.preactivations[l]), p.outputs[l])
            assert_chain(slope(p.preactivations[l]), local.wrt_preactivation)
            assert_chain(upper * slope(p.preactivations[l]), p.deltas[l])


def assert_chain(a: Any, b: Any) -> None:
    assert np.max(np.abs(a - b)) < 1e-12


def parameters(p: Any) -> Any:
    return np.concatenate([gradient.reshape(-1) for gradient in p.weight_gradients])


@pytest.mark.parametrize("dtype", DTYPES)
def test_passes_equal_the_twin(dtype: str, isa: str, rng: np.random.Generator) -> None:
    network = make(SIN, "gelu", BELL, SIN, dtype=dtype)
    X, target = regression(rng)
    expected = Reference.of(network).backpropagate(X, target)
    p = network.backpropagate(X, target)
    assert_close(p.loss, expected.loss, dtype, 10)
    for l in range(4):
        assert_close(p.outputs[l], expected.outputs[l], dtype, 10)
        assert_close(p.loss_gradients[l], expected.loss_gradients[l], dtype, 10)
        assert_close(p.weight_gradients[l + 1], expected.weight_gradients[l], dtype, 10)
    y = network.forward(X)
    assert same_bits(y, network.predict(X))
    assert_close(network.backward(p.loss_gradients[4]), expected.loss_gradients[0], dtype, 10)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_training_equals_the_twin(optimizer: Any, dtype: str, rng: np.random.Generator) -> None:
    network = make(SIN, BELL, "identity", dtype=dtype, dropout=0.25)
    X, target = regression(rng)
    trainer = Trainer(network, optimizer, batch_size=64, shuffle=False, random_state=0)
    twin = ReferenceTrainer(Reference.of(network), optimizer, Penalties(), seed=trainer.state_dict()["seed"])
    for epoch in range(2):
        loss = trainer.fit(X, target, epochs=1).loss[0]
        assert_close(loss, twin.epoch(X, target, np.arange(300), 64), dtype, 100)
        assert trainer.epochs == epoch + 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"l2": 0.1, "l1": 0.01},
        {"clip_norm": 0.05},
        {"max_norm": 0.5},
        {"batch_size": 2000},
        {"batch_size": 2000, "clip_norm": 0.05},
    ],
    ids=str,
)
@pytest.mark.parametrize("loss", ["squared_error", half_square], ids=["core", "custom"])
def test_training_has_the_bits_of_the_core(
    settings: dict[str, Any], loss: Any, dtype: str, rng: np.random.Generator
) -> None:
    X, target, weight = rng.normal(size=(2100, 4)), rng.normal(size=(2100, 2)), rng.uniform(0, 2, 2100)
    results = []
    for relu, head in (("relu", "identity"), (RELU, IDENTITY)):
        network = make(relu, relu, head, dtype=dtype, loss=loss, dropout=0.25)
        network.parameters = 0.3 * np.sin(np.arange(network.n_parameters))  # they are drawn in two ways
        trainer = Trainer(network, Adam(0.01), random_state=0, **settings)
        losses = trainer.fit(X, target, sample_weight=weight, epochs=2).loss
        results.append([losses, network.parameters, network.predict(X), network.evaluate(X, target)])
    for core, custom in zip(*results, strict=True):
        assert same_bits(core, custom)


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_give_the_same_bits(dtype: str, rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(1500, 4)), rng.normal(size=(1500, 2))
    results = []
    for n_threads in (1, 2, 5):
        network = make(SIN, BELL, SIN, dtype=dtype, dropout=0.1)
        trainer = Trainer(network, batch_size=1200, random_state=0, n_threads=n_threads)
        p = network.backpropagate(X, target, n_threads=n_threads)
        gradient = network.loss_and_gradient(X, target, n_threads=n_threads)[1]
        losses = trainer.fit(X, target, epochs=2).loss
        evaluated = network.evaluate(X, target, n_threads=n_threads)
        y = network.predict(X, n_threads)
        results.append([losses, p.weight_gradients[1], p.loss_gradients[0], gradient, evaluated, y])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert same_bits(a, b)


def test_functions_are_called_once_a_layer_and_batch(rng: np.random.Generator) -> None:
    calls: list[tuple[str, tuple[int, ...], Any]] = []

    def value(z: Any) -> Any:
        calls.append(("value", z.shape, z.dtype))
        return np.sin(z)

    def derivative(z: Any) -> Any:
        calls.append(("derivative", z.shape, z.dtype))
        return np.cos(z)

    network = make((value, derivative), (value, derivative), "identity", dtype="float32")
    X, target = regression(rng)
    f = np.dtype(np.float32)
    layer = [("value", (300, 7), f), ("derivative", (300, 7), f)]
    network.backpropagate(X, target)
    assert calls == 2 * layer
    calls.clear()
    Trainer(network, batch_size=150).fit(X, target, epochs=1)
    assert calls == 4 * [("value", (150, 7), f), ("derivative", (150, 7), f)]
    calls.clear()
    network.predict(X[:250])
    assert calls == 2 * [("value", (250, 7), f)]


def test_functions_may_write_to_what_they_get(rng: np.random.Generator) -> None:
    def value(z: Any) -> Any:
        return np.sin(z, out=z)

    def derivative(z: Any) -> Any:
        return np.cos(z, out=z)

    X, target = regression(rng)
    writing, reading = make((value, derivative), "identity"), make(SIN, "identity")
    assert same_bits(writing.loss_and_gradient(X, target)[1], reading.loss_and_gradient(X, target)[1])


def test_derivatives_of_every_kind(rng: np.random.Generator) -> None:
    network = make((np.sin, np.cos, minus_sin), "tanh", (np.sin, np.cos, minus_sin))
    X, target = rng.normal(size=(9, 4)), rng.normal(size=(9, 2))
    assert check_gradients(network, X, target).max_relative_error < 1e-6
    v = rng.normal(size=(9, 2))
    jacobian = network.jacobian(X)
    assert_close(network.vjp(X, v), np.einsum("bi,bij->bj", v, jacobian), "float64", 10)
    h = 1e-6
    for j in range(4):
        step = h * np.eye(4)[j]
        differences = (network.predict(X + step) - network.predict(X - step)) / (2 * h)
        assert np.max(np.abs(differences - jacobian[:, :, j])) < 1e-8
    gradients = network.per_sample_gradients(X, target)
    p = network.backpropagate(X, target)
    for l in range(1, 4):
        assert_close(gradients[l].mean(axis=0), p.weight_gradients[l], "float64", 10)
    direction = rng.normal(size=network.n_parameters)
    moved = copy.copy(network)
    both = []
    for sign in (1, -1):
        moved.parameters = network.parameters + sign * h * direction
        both.append(moved.loss_and_gradient(X, target)[1])
    product = network.hessian_vector_product(X, target, direction)
    assert np.max(np.abs(product - (both[0] - both[1]) / (2 * h))) < 1e-7


def test_hessian_without_second_derivative_says_what_to_do(rng: np.random.Generator) -> None:
    network = make("tanh", SIN, "identity")
    v = np.ones(network.n_parameters)
    refused(
        r"second derivative of the activation sin \(custom\); give it as a third function, such as",
        lambda: network.hessian_vector_product(np.ones((2, 4)), np.ones((2, 2)), v),
    )


def raising(z: Any) -> Any:
    raise KeyError("of the user")


USES = {
    "predict": lambda network, X, t: network.predict(X),
    "evaluate": lambda network, X, t: network.evaluate(X, t),
    "forward": lambda network, X, t: network.forward(X),
    "backpropagate": lambda network, X, t: network.backpropagate(X, t),
    "loss_and_gradient": lambda network, X, t: network.loss_and_gradient(X, t),
    "jacobian": lambda network, X, t: network.jacobian(X),
    "fit": lambda network, X, t: Trainer(network).fit(X, t),
    "step": lambda network, X, t: Trainer(network).step(X, t),
    "lbfgs": lambda network, X, t: Lbfgs(network).minimise(
        network.samples(X, t),
        l2=0.0,
        max_iter=5,
        max_fun=50,
        gradient_tolerance=0.0,
        reduction_tolerance=0.0,
        n_threads=1,
    ),
}


@pytest.mark.parametrize("loss", ["squared_error", half_square], ids=["core", "custom"])
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("error", [KeyError("of the user"), KeyboardInterrupt()], ids=["KeyError", "Ctrl-C"])
def test_an_error_of_a_function_leaves_the_model_usable(
    error: BaseException, use: str, loss: Any, rng: np.random.Generator
) -> None:
    broken = False

    def value(z: Any) -> Any:
        if broken:
            raise error
        return np.sin(z)

    X, target = regression(rng)
    network = make("tanh", (value, np.cos), (value, np.cos), loss=loss)
    before = network.parameters
    p = network.backpropagate(X, target)
    broken = True
    with pytest.raises(type(error)) as raised:
        USES[use](network, X, target)
    assert raised.value is error
    assert same_bits(network.parameters, before)
    broken = False
    q = network.backpropagate(X, target)
    assert p.loss == q.loss
    assert same_bits(parameters(p), parameters(q))
    assert Trainer(network).fit(X, target, epochs=3).loss[-1] < p.loss


def test_an_error_in_the_middle_of_a_fit_keeps_the_updates_before(rng: np.random.Generator) -> None:
    calls = 0

    def value(z: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyError
        return np.sin(z)

    X, target = regression(rng)
    network, twin = make((value, np.cos), "identity"), make(SIN, "identity")
    trainer = Trainer(network, SGD(0.1), batch_size=100, shuffle=False)
    with pytest.raises(KeyError):
        trainer.fit(X, target)
    assert trainer.steps == 2
    other = Trainer(twin, SGD(0.1), batch_size=100, shuffle=False)
    other.fit(X[:200], target[:200], epochs=1)
    assert same_bits(network.parameters, twin.parameters)
    trainer.fit(X, target)
    other.fit(X, target)
    assert same_bits(network.parameters, twin.parameters)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda z: None, "must be an array of real numbers; got None"),
        (
            lambda z: 1.0,
            r"must have the shape of z, \(3, 7\); got \(\). For a constant c, return np.full",
        ),
        (lambda z: z[:, :1], r"must have the shape of z, \(3, 7\); got \(3, 1\)"),
        (lambda z: z.T, r"must have the shape of z, \(3, 7\); got \(7, 3\)"),
        (lambda z: z + 0j, "must hold real numbers; got dtype complex128"),
        (lambda z: np.full(z.shape, "a"), "must hold real numbers; got dtype <U1"),
        (lambda z: z.astype("M8[s]"), "must hold real numbers"),
        (lambda z: z * np.nan, r"must not be NaN; got NaN for z = -?\d.*, in row 0 of the batch, unit 0"),
        (lambda z: np.ma.masked_array(z, z < 1e9), "must not have masked entries"),
    ],
)
@pytest.mark.parametrize("part", [0, 1], ids=["value", "derivative"])
def test_what_a_function_may_not_return(
    part: int, function: Any, message: str, rng: np.random.Generator
) -> None:
    functions = [np.sin, np.cos]
    functions[part] = function
    network = make(functions, "identity")
    name = "the derivative of" if part else "the value of"
    X, target = rng.normal(size=(3, 4)), rng.normal(size=(3, 2))
    refused(f"{name} the activation .*{message}", lambda: network.backpropagate(X, target))
    refused(f"{name} the activation .*{message}", lambda: Trainer(network).fit(X, target))


def test_numbers_of_other_types_are_converted(rng: np.random.Generator) -> None:
    step: Any = (lambda z: z > 0, lambda z: np.zeros(z.shape, np.int8))
    network = make(step, "identity", dtype="float32")
    X = rng.normal(size=(5, 4))
    p = network.backpropagate(X, np.ones((5, 2)))
    assert p.outputs[1].dtype == np.float32
    assert set(np.unique(p.outputs[1])) <= {0.0, 1.0}
    assert not p.loss_gradients[0].any()


def test_a_wrong_function_is_noted(rng: np.random.Generator) -> None:
    network = make((lambda: 0, np.cos), "identity")
    with pytest.raises(TypeError) as raised:
        network.predict(np.ones((3, 4)))
    assert "called with z, of shape (3, 7)" in raised.value.__notes__[0]


def test_a_network_that_diverges_says_so_as_others_do(rng: np.random.Generator) -> None:
    network = make((lambda z: z**3, lambda z: 3 * z**2), "identity")
    X, target = regression(rng)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="no longer finite"):
        Trainer(network, SGD(1e3)).fit(X, target, epochs=50)


def test_rows_alone_are_predicted_as_in_a_batch(rng: np.random.Generator) -> None:
    network = make(BELL, IDENTITY)
    X = rng.normal(size=(600, 4))
    y = network.predict(X)
    for rows in (slice(0, 1), slice(255, 258), slice(590, 600)):
        assert_close(network.predict(X[rows]), y[rows], "float64")
    assert network.predict(X[:0]).shape == (0, 2)


def test_errors_go_to_the_thread_that_called(rng: np.random.Generator) -> None:
    own = threading.local()

    def value(z: Any) -> Any:
        if getattr(own, "broken", False):
            raise KeyError(own.number)
        return np.sin(z)

    network = make((value, np.cos), "identity")
    X = rng.normal(size=(2000, 4))
    expected = network.predict(X)
    results: dict[int, Any] = {}

    def predict(number: int) -> None:
        own.number, own.broken = number, number % 2 == 1
        try:
            results[number] = [network.predict(X) for _ in range(5)]
        except KeyError as error:
            results[number] = error.args

    threads = [threading.Thread(target=predict, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, result in results.items():
        if number % 2:
            assert result == (number,)
        else:
            assert all(same_bits(y, expected) for y in result)
    assert len(results) == 6


def test_a_function_may_use_the_network_but_not_change_it(rng: np.random.Generator) -> None:
    inside: list[Any] = []

    def value(z: Any) -> Any:
        if not inside:
            inside.append(None)
            inside.append(network.predict(np.ones((2, 4))))
            try:
                Trainer(network).step(np.ones((2, 4)), np.ones((2, 2)))
            except RuntimeError as error:
                inside.append(error)
        return np.sin(z)

    network = make((value, np.cos), "identity")
    X, target = regression(rng)
    network.backpropagate(X, target)
    assert inside[1].shape == (2, 2)
    assert isinstance(inside[2], RuntimeError)


def test_copies_and_pickles_hold_the_functions(rng: np.random.Generator) -> None:
    network = make(SIN, BELL, "identity")
    X, target = regression(rng)
    for other in (
        pickle.loads(pickle.dumps(network)),
        copy.copy(network),
        copy.deepcopy(network),
        network.astype("float64"),
        Network.from_spec(network.spec, network.parameters),
    ):
        assert other.spec == network.spec
        assert other.layers[0].activation == SIN
        assert same_bits(other.predict(X), network.predict(X))
    trainer = Trainer(network, random_state=0)
    trainer.fit(X, target)
    resumed = pickle.loads(pickle.dumps(trainer))
    assert trainer.fit(X, target).loss == resumed.fit(X, target).loss
    assert same_bits(resumed.network.parameters, network.parameters)
    with pytest.raises((AttributeError, pickle.PicklingError), match=r"lambda|local object"):
        pickle.dumps(make((lambda z: z, np.ones_like), "identity"))


def test_files_refuse_functions_and_say_what_to_do(tmp_path: Path, rng: np.random.Generator) -> None:
    network = make("tanh", SIN, "identity")
    X, target = regression(rng)
    wanted = r"layer 2 has a custom activation, sin \(custom\), whose functions cannot be written.* Pickle"
    refused(wanted, lambda: network.save(tmp_path / "network"))
    refused(wanted, lambda: Trainer(network).save(tmp_path / "trainer"))
    before = network.parameters
    refused(wanted, lambda: Trainer(network).fit(X, target, checkpoint=tmp_path / "checkpoint"))
    assert same_bits(network.parameters, before)
    refused(wanted, network.spec.to_json)
    refused(r"sin \(custom\)' of layer 2 has no form in C; only identity, relu", lambda: to_c(network))
    assert os.listdir(tmp_path) == []


def test_spec_of_a_pickle_of_another_depth_is_refused() -> None:
    description = make("tanh", "identity").spec.to_json()
    with pytest.raises(ValueError, match="argument 2 is longer"):
        NetworkSpec.from_json(description, None, [SIN, None, None])


@pytest.mark.parametrize(
    "activation",
    [
        "custom",
        (np.sin,),
        (np.sin, np.cos, np.sin, np.cos),
        (np.sin, "cos"),
        (),
        np.sin,
        None,
        {"sin": np.sin},
    ],
    ids=str,
)
def test_activations_that_are_none(activation: Any) -> None:
    refused("activation must be one of identity, ", lambda: Dense(3, activation))


def test_an_unknown_name_says_how_to_make_one() -> None:
    with pytest.raises(ValueError, match=r"activation must be one of identity, .*; got 'sin'") as raised:
        Dense(3, "sin")
    assert "two functions of z" in raised.value.__notes__[0]


def test_losses_that_need_a_certain_head_refuse_custom_ones() -> None:
    refused(
        "does not go with a head of activation 'custom', but with logistic, softmax; with 'custom' go the",
        lambda: make("tanh", SIN, loss="log_loss"),
    )
    refused(
        "'squared_error' does not go with a head of activation 'softmax', but with identity, .*exp; with",
        lambda: make("tanh", "softmax"),
    )


def test_names(rng: np.random.Generator) -> None:
    def spiky(z: Any) -> Any:
        return np.sin(z)

    spiky.__name__ = "<script>"
    network = make(SIN, (spiky, np.cos), (lambda z: z, np.ones_like))
    lines = repr(network).splitlines()
    assert "sin (custom)" in lines[2]
    assert len({len(line) for line in lines[1:]}) == 1
    assert [layer.activation_name for layer in network.layers] == ["sin (custom)", "custom", "custom"]
    p = network.backpropagate(rng.normal(size=(3, 4)), rng.normal(size=(3, 2)))
    for html in (p.to_html(), network._repr_html_()):
        assert "sin (custom)" in html
    display = NetworkDisplay.from_network(network, X=p.outputs[0], target=np.ones((3, 2)), kind="layers")
    display.plot()
    texts = [text.get_text() for text in display.axes_.texts]
    assert any("sin (custom)" in text for text in texts)
