"""Forward and backward passes against the float64 twin, and a network's other work."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from assertions import assert_close, same_bits
from builders import make_network, make_rows, make_target
from cases import SHAPE_NAMES, SHAPES
from choices import DTYPES, HIDDEN, PAIRINGS, Pairing
from densegrad import Dense, Network, Scale, Trainer, initializers, losses
from reference import ACTIVATIONS, Reference, local_jacobian


def compare_passes(network: Network, X: Any, target: Any, weight: Any, dtype: str, slack: float) -> None:
    twin = Reference.of(network)
    expected = twin.backpropagate(X, target, weight)
    L = network.depth
    assert_close(network.predict(X), expected.outputs[L], dtype, slack)
    assert_close(network.evaluate(X, target, weight), expected.loss, dtype, slack)
    p = network.backpropagate(X, target, weight)
    assert p.loss == p.outputs[L + 1]
    assert p.loss_gradients[L + 1] == 1
    assert_close(p.loss, expected.loss, dtype, slack)
    for l in range(L + 1):
        assert_close(p.outputs[l], expected.outputs[l], dtype, slack)
        assert_close(p.loss_gradients[l], expected.loss_gradients[l], dtype, slack)
    for l in range(1, L + 1):
        assert_close(p.weight_gradients[l], expected.weight_gradients[l - 1], dtype, slack)
        assert same_bits(p.weight_gradients[l], network.weight_gradients[l])
    loss, gradient = network.loss_and_gradient(X, target, weight)
    assert_close(loss, expected.loss, dtype, slack)
    assert_close(gradient, np.concatenate([g.ravel() for g in expected.weight_gradients]), dtype, slack)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SHAPES, ids=SHAPE_NAMES)
@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
@pytest.mark.usefixtures("isa")
def test_passes_equal_the_twin(
    case: tuple[int, ...], dtype: str, loss: str, rng: np.random.Generator
) -> None:
    head = "identity" if loss == "squared_error" else "softmax" if case[-1] > 1 else "logistic"
    network = make_network(case, Pairing(loss, head), "tanh", dtype)
    X = make_rows(case, rng, dtype)
    compare_passes(network, X, make_target(network, case[0], rng), rng.uniform(0.1, 2, case[0]), dtype, 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.usefixtures("isa")
def test_every_activation_equals_the_twin(hidden: str, dtype: str, rng: np.random.Generator) -> None:
    case = (19, 6, 9, 17, 3)
    network = make_network(case, hidden=hidden, dtype=dtype)
    X = 2 * make_rows(case, rng, dtype)
    compare_passes(network, X, make_target(network, case[0], rng), None, dtype, 8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("pairing", "n_targets"),
    [(p, n) for p in PAIRINGS for n in (1, 2, 9) if n > 1 or p.head != "softmax"],
    ids=str,
)
@pytest.mark.usefixtures("isa")
def test_every_loss_equals_the_twin(
    pairing: Pairing, n_targets: int, dtype: str, rng: np.random.Generator
) -> None:
    case = (19, 6, 7, n_targets)
    network = make_network(case, pairing, "tanh", dtype)
    X = make_rows(case, rng, dtype)
    weight = rng.uniform(0, 2, case[0])
    compare_passes(network, X, make_target(network, case[0], rng), weight, dtype, 20)


@pytest.mark.parametrize("head", ["softmax", "logistic"])
def test_probabilities_are_targets_too(head: str, rng: np.random.Generator) -> None:
    case = (12, 4, 6, 5)
    network = make_network(case, Pairing("log_loss", head))
    X, target = make_rows(case, rng), rng.uniform(size=(12, 5))
    if head == "softmax":
        target /= target.sum(axis=1, keepdims=True)
    compare_passes(network, X, target, None, "float64", 4)


def test_class_numbers_equal_their_probabilities(rng: np.random.Generator) -> None:
    case = (12, 4, 6, 5)
    network = make_network(case, Pairing("log_loss", "softmax"))
    X, classes = make_rows(case, rng), rng.integers(5, size=12)
    one_hot = np.eye(5)[classes]
    assert network.evaluate(X, classes) == network.evaluate(X, one_hot) == network.evaluate(X, classes * 1.0)
    a, b = network.loss_and_gradient(X, classes), network.loss_and_gradient(X, one_hot)
    assert a[0] == b[0]
    assert same_bits(a[1], b[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [*ACTIVATIONS, "quantiles"])
def test_local_gradients_make_up_the_backward_pass(
    activation: str, dtype: str, rng: np.random.Generator
) -> None:
    pairing = {
        "softmax": Pairing("log_loss", "softmax"),
        "exp": Pairing("poisson", "exp"),
        "quantiles": Pairing("quantile", "identity", (("quantile", (0.2, 0.5, 0.7)),)),
    }.get(activation, Pairing("squared_error", "identity"))
    hidden = activation if activation in HIDDEN else "tanh"
    n_levels = 3 if activation == "quantiles" else 1
    case = (5, 4, 3, 2, 3)
    network = make_network(case, pairing, hidden, dtype)
    X = make_rows(case, rng, dtype)
    p = network.backpropagate(X, make_target(network, 5, rng))
    _, preactivations = Reference.of(network).forward(X)
    for l in range(1, network.depth + 1):
        local = p.local_gradients[l]
        n_in, n_out = network.width(l - 1), network.width(l)
        assert local.wrt_input.shape == (5, n_out, n_in)
        assert local.wrt_weights.shape == (5, n_out, n_in + 1, n_out)
        levels = n_levels if l == network.depth else 1
        jacobian = local_jacobian(network.layers[l - 1].activation, preactivations[l], levels)
        assert_close(local.wrt_input, jacobian @ np.array(network.weights[l][:-1]).T, dtype, 8)
        delta = np.einsum("bi,bij->bj", p.loss_gradients[l], jacobian)
        assert_close(p.deltas[l], delta, dtype, 8)
        loss_gradient = np.einsum("bi,bij->bj", p.loss_gradients[l], local.wrt_input)
        assert_close(p.loss_gradients[l - 1], loss_gradient, dtype, 8)
        weight_gradient = np.einsum("bi,bijk->jk", p.loss_gradients[l], local.wrt_weights)
        assert_close(p.weight_gradients[l], weight_gradient, dtype, 8)


@pytest.mark.parametrize("head", [*HIDDEN, "exp", "softmax"])
def test_backward_takes_any_loss_gradient(head: str, rng: np.random.Generator) -> None:
    case = (11, 5, 9, 4)
    loss = "log_loss" if head == "softmax" else "squared_error"
    network = make_network(case, Pairing(loss, head), "gelu")
    X, loss_gradient = make_rows(case, rng), rng.normal(size=(11, 4))
    assert same_bits(network.forward(X), network.predict(X))
    input_gradient = network.backward(loss_gradient)
    twin = Reference.of(network)
    loss_gradients, weight_gradients = twin.backward(*twin.forward(X), loss_gradient)
    assert_close(input_gradient, loss_gradients[0], "float64", 8)
    for l in range(1, network.depth + 1):
        assert_close(network.weight_gradients[l], weight_gradients[l - 1], "float64", 8)


def test_a_single_row_and_a_matrix_without_bias_are_told_what_to_do() -> None:
    network = Network(2, [Dense(3, "tanh"), Dense(1)], random_state=0)
    with pytest.raises(ValueError, match=r"got shape \(2,\): for one row give X\[np.newaxis\]"):
        network.backpropagate([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match=r"W_\(1\) must have shape \(3, 3\), the last row is the bias; got"):
        network.weights[1] = np.ones((2, 3))


def test_huge_jacobians_tell_their_size_before_they_are_built() -> None:
    network = Network(784, [Dense(128), Dense(10)], loss="log_loss", random_state=0)
    p = network.backpropagate(np.zeros((32, 784)), np.zeros(32, int))
    local = p.local_gradients[1]
    with pytest.raises(
        MemoryError, match=r"dy_\(l\)/dW_\(l\) has shape \(32, 128, 785, 128\) and needs 1,646,"
    ):
        _ = local.wrt_weights
    assert local.wrt_input.shape == (32, 128, 784)
    wide = Network(2000, [Dense(2000), Dense(1)], random_state=0)
    p = wide.backpropagate(np.zeros((80, 2000)), np.zeros(80))
    with pytest.raises(MemoryError, match=r"dy_\(l\)/dy_\(l-1\) .* give backpropagate fewer rows"):
        _ = p.local_gradients[1].wrt_input


@pytest.mark.parametrize("loss", [name for name in losses() if name != "custom"])
@pytest.mark.parametrize("units", [1, 2])
def test_a_head_without_activation_is_what_the_loss_asks_for(loss: Any, units: int) -> None:
    classes = "softmax" if units > 1 else "logistic"
    of_loss = {"log_loss": classes, "focal": classes, "poisson": "exp", "gamma": "exp", "tweedie": "exp"}
    if loss == "gaussian_nll":
        units *= 2
    head = of_loss.get(loss, "identity")
    network = Network(3, [Dense(4), Dense(units)], loss=loss, random_state=0)
    assert [layer.activation for layer in network.layers] == ["relu", head]
    named = Network(3, [Dense(4, "relu"), Dense(units, head)], loss=loss, random_state=0)  # type: ignore[arg-type]
    assert network.spec == named.spec
    np.testing.assert_array_equal(network.parameters, named.parameters)


def test_a_head_without_activation_fits_negative_targets() -> None:
    X = np.linspace(-1, 1, 50)[:, np.newaxis]
    network = Network(1, [Dense(8, "tanh"), Dense(1)], random_state=0)
    Trainer(network, random_state=0).fit(X, -2 - X, epochs=600)
    assert network.evaluate(X, -2 - X) < 0.05
    custom = Network(1, [Dense(1)], loss=lambda t, y: (np.sum(y - t, axis=1), np.ones_like(y)))
    assert custom.layers[-1].activation == "identity"


@pytest.mark.parametrize("entries", [0, 2])
def test_sparse_loss_gradients_weights_and_states_are_refused(entries: int) -> None:
    network = Network(3, [Dense(2)], random_state=0)
    network.forward(np.ones((5, 3)))
    gradient = scipy.sparse.csr_matrix((np.ones(entries), (np.arange(entries), [0] * entries)), shape=(5, 2))
    with pytest.raises(TypeError, match="loss_gradient must not be sparse"):
        network.backward(gradient)
    with pytest.raises(TypeError, match=r"W_\(1\) must not be sparse"):
        network.weights[1] = gradient[:4]
    trainer = Trainer(network)
    state = trainer.state_dict()
    state["state"] = [[gradient[:4]] * len(arrays) for arrays in state["state"]]
    with pytest.raises(ValueError, match="must not be sparse"):
        trainer.load_state_dict(state)


def test_backward_after_backpropagate_starts_from_the_same_forward_pass(rng: np.random.Generator) -> None:
    case = (6, 3, 5, 2)
    network = make_network(case)
    X = make_rows(case, rng)
    p = network.backpropagate(X, make_target(network, 6, rng))
    input_gradient = network.backward(p.loss_gradients[2])
    assert_close(input_gradient, p.loss_gradients[0], "float64")
    for l in (1, 2):
        assert_close(network.weight_gradients[l], p.weight_gradients[l], "float64")


def test_several_quantiles_never_cross(rng: np.random.Generator) -> None:
    pairing = Pairing("quantile", "identity", (("quantile", (0.1, 0.5, 0.9)),))
    network = make_network((1, 4, 8, 2), pairing)
    q = network.predict(10 * rng.normal(size=(200, 4))).reshape(200, 2, 3)
    assert np.all(np.diff(q, axis=2) >= 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_read_however_they_lie(dtype: str, rng: np.random.Generator, tmp_path: Path) -> None:
    case = (37, 19, 9, 3)
    network = make_network(case, dtype=dtype)
    X = make_rows(case, rng, "float32")
    expected = network.predict(X)
    wide = np.zeros((74, 38))
    wide[::2, ::2] = X
    structured = np.zeros((37, 19), [("a", "i1"), ("b", "f8")])
    structured["b"] = X
    np.save(tmp_path / "X.npy", X)
    frozen = X.copy()
    frozen.flags.writeable = False
    for other in [
        X.astype(np.float64),
        np.asfortranarray(X),
        np.asfortranarray(X.astype(np.float64)),
        X[::-1][::-1],
        X[::-1].copy()[::-1],
        wide[::2, ::2],
        wide.T[::2, ::2].T,
        structured["b"],
        X.astype(">f4"),
        X.astype(np.longdouble),
        X.tolist(),
        np.load(tmp_path / "X.npy", mmap_mode="r"),
        frozen,
        memoryview(X),
    ]:
        assert same_bits(network.predict(other), expected)
    assert same_bits(network.predict(np.broadcast_to(X[:1], X.shape)), np.repeat(expected[:1], 37, axis=0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "csc_array", "coo_array", "lil_array"])
def test_sparse_rows_equal_dense_ones(kind: str, dtype: str, rng: np.random.Generator) -> None:
    case = (21, 35, 7, 2)
    network = make_network(case, dtype=dtype)
    X = make_rows(case, rng, dtype) * (rng.uniform(size=case[:2]) < 0.2)
    target = make_target(network, 21, rng)
    sparse = getattr(scipy.sparse, kind)(X)
    assert same_bits(network.predict(sparse), network.predict(X))
    assert network.evaluate(sparse, target) == network.evaluate(X, target)
    if kind == "csr_array":
        sparse.indptr, sparse.indices = sparse.indptr.astype(np.int64), sparse.indices.astype(np.int64)
        assert same_bits(network.predict(sparse), network.predict(X))
        repeated = scipy.sparse.csr_array(
            (np.repeat(sparse.data / 2, 2), np.repeat(sparse.indices, 2), sparse.indptr * 2), sparse.shape
        )
        assert same_bits(network.predict(repeated), network.predict(X))
        assert repeated.nnz == 2 * sparse.nnz


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


@pytest.mark.parametrize("integer", [np.int8, np.uint16, np.int64, np.bool_])
def test_integers_are_numbers_too(integer: type, rng: np.random.Generator) -> None:
    network = make_network((10, 4, 5, 2))
    X = rng.integers(0, 2, (10, 4)).astype(integer)
    assert same_bits(network.predict(X), network.predict(X.astype(np.float64)))


def test_no_rows_give_no_outputs() -> None:
    network = make_network((1, 4, 5, 2))
    assert network.predict(np.zeros((0, 4))).shape == (0, 2)


def test_nan_in_a_row_stays_in_that_row(rng: np.random.Generator) -> None:
    for hidden in HIDDEN:
        network = make_network((9, 4, 5, 2), hidden=hidden)
        X = make_rows((9, 4), rng)
        expected = network.predict(X)
        X[3, 1] = np.nan
        outputs = network.predict(X)
        assert np.all(np.isnan(outputs[3]))
        assert same_bits(np.delete(outputs, 3, 0), np.delete(expected, 3, 0))


def test_weights_are_copies_that_can_be_assigned(rng: np.random.Generator) -> None:
    network = make_network((1, 3, 4, 2))
    W = network.weights[1]
    with pytest.raises(ValueError, match="read-only"):
        W[0, 0] = 5
    new = rng.normal(size=(4, 4))
    network.weights[1] = np.asfortranarray(new)
    assert same_bits(network.weights[1], new)
    assert len(network.weights) == 2
    assert [W.shape for W in network.weights] == [(4, 4), (5, 2)]
    flat = network.parameters
    assert same_bits(flat, np.concatenate([W.ravel() for W in network.weights]))
    assert network.n_parameters == len(flat) == 26
    network.parameters = 2 * flat
    assert same_bits(network.weights[2], 2 * flat[16:].reshape(5, 2))
    network.parameters = flat.astype(np.float32)
    assert same_bits(network.parameters, flat.astype(np.float32).astype(np.float64))


def test_the_weights_of_all_layers_are_assigned_at_once(rng: np.random.Generator) -> None:
    network = Network(3, [Scale(), Dense(4, "tanh"), Dense(2)], dtype="float64", random_state=0)
    X, target = rng.standard_normal((9, 3)), rng.standard_normal((9, 2))
    p = network.backpropagate(X, target)
    other = network.astype("float64")
    other.weights = [W - 0.1 * G for W, G in zip(network.weights, p.weight_gradients, strict=True)]
    for l in (1, 2, 3):
        network.weights[l] -= 0.1 * p.weight_gradients[l]
    assert same_bits(other.parameters, network.parameters)
    other = Network.from_spec(network.spec, 0 * network.parameters)
    other.weights = network.weights
    assert same_bits(other.parameters, network.parameters)


@pytest.mark.parametrize("dtype", DTYPES)
def test_changed_weights_reach_the_backward_pass(dtype: str, rng: np.random.Generator) -> None:
    case = (9, 4, 5, 3, 2)
    network, changed = make_network(case, dtype=dtype), make_network(case, dtype=dtype, seed=1)
    X, target = make_rows(case, rng, dtype), rng.normal(size=(9, 2))
    network.backpropagate(X, target)
    network.parameters = changed.parameters
    p, q = network.backpropagate(X, target), changed.backpropagate(X, target)
    for l in range(5):
        assert same_bits(p.loss_gradients[l], q.loss_gradients[l])


def test_initial_weights_follow_the_activation_and_the_seed() -> None:
    layers = [Dense(60, "relu"), Dense(50, "tanh"), Dense(40, "logistic"), Dense(3, "identity")]
    network = Network(100, layers, random_state=3)
    bounds = [np.sqrt(6 / 100), np.sqrt(6 / 110), np.sqrt(2 / 90), np.sqrt(6 / 43)]
    for W, bound in zip(network.weights, bounds, strict=True):
        assert 0.9 * bound < np.abs(W[:-1]).max() <= np.float32(bound)
        assert not W[-1].any()
    for state in (3, np.random.RandomState(3), np.int64(3)):
        assert same_bits(Network(100, layers, random_state=state).parameters, network.parameters)
    assert not same_bits(Network(100, layers, random_state=4).parameters, network.parameters)
    generator = Network(100, layers, random_state=np.random.default_rng(3))
    assert not same_bits(generator.parameters, network.parameters)


@pytest.mark.parametrize("name", ["glorot_uniform", "glorot_uniform_logistic", "he_uniform"])
@pytest.mark.parametrize("source", [np.random.RandomState, np.random.default_rng])
def test_weights_drawn_some_rows_at_a_time_are_those_of_one_draw(name: str, source: Any) -> None:
    function = getattr(initializers, name)
    widths = (500, 700, 2, 200_000)
    layers = [Dense(n, "tanh", initializer=function) for n in widths[1:]]
    network = Network(widths[0], layers, dtype="float64", random_state=source(3))
    random = source(3)
    for W, shape in zip(network.weights, pairwise(widths), strict=True):
        assert same_bits(W[:-1], function(*shape, random))
        assert not W[-1].any()


@pytest.mark.parametrize("shape", [(400, 150), (10, 200)])
def test_initial_weights_are_the_draws_of_numpy(shape: tuple[int, int]) -> None:
    random, numpys = np.random.RandomState(4), np.random.RandomState(4)
    bound = np.sqrt(6 / sum(shape))
    assert same_bits(
        initializers.glorot_uniform(*shape, random), numpys.random_sample(shape) * (2 * bound) - bound
    )
    assert random.random_sample() == numpys.random_sample()


def test_custom_initializers_may_set_the_bias() -> None:
    layers = [Dense(2, initializer=lambda n, m, r: np.ones((n + 1, m))), Dense(1, "identity")]
    network = Network(3, layers, random_state=0)
    assert np.all(network.weights[1] == 1)
    pickle.dumps(network)


@pytest.mark.parametrize("name", ["loss", "layers", "custom_loss", "label_smoothing", "n_inputs"])
def test_what_makes_a_network_cannot_be_changed(name: str) -> None:
    network = Network(2, [Dense(3, "tanh"), Dense(1, "identity")], random_state=0)
    before = getattr(network, name)
    with pytest.raises(AttributeError, match=f"{name} of a network cannot be changed"):
        setattr(network, name, 0.5)
    assert getattr(network, name) is before


@pytest.mark.parametrize("l", [-1, 3, 2**31, 10**30])
def test_numbers_of_layers_that_there_are_not(l: int) -> None:
    network = make_network((1, 4, 5, 2))
    for action in (
        lambda: network.width(l),
        lambda: network.spec.weight_shape(l),
        lambda: network.weights[l],
        lambda: network.weights.__setitem__(l, np.zeros((5, 5))),
        lambda: network.weight_gradients[l],
    ):
        with pytest.raises(IndexError, match="layers are numbered"):
            action()


def test_repr_of_both_passes_shows_the_jacobians_and_the_loss() -> None:
    p = Network(2, [Dense(3, "tanh"), Dense(1, "identity")]).backpropagate(np.ones((5, 2)), np.ones(5))
    lines = repr(p.outputs).splitlines()
    assert [line for line in lines if line.strip()[0] != "["] == [
        "  0: (5, 2)",
        "  1: (5, 3)",
        "  2: (5, 1)",
        f"  3: {p.loss:.6g}",
    ]
    assert f"{p.outputs[1][0, 0]:.4g}" in repr(p.outputs)
    assert "wrt_weights: (5, 3, 3, 3)" in repr(p.local_gradients)
    assert "LossLayerGradient(wrt_input: (5, 1))" in repr(p.local_gradients)


def test_repr_shows_layers_and_counts() -> None:
    network = Network(64, [Dense(32, "tanh", dropout=0.5), Dense(10, "softmax")], loss="log_loss")
    lines = repr(network).splitlines()
    assert lines[0] == "Network of 64 inputs, loss log_loss, float32"
    assert lines[2].split() == ["1", "32", "tanh", "0.5", "2,080"]
    assert lines[3].split() == ["2", "10", "softmax", "0", "330"]
    assert lines[4].split() == ["2,410"]


def test_backward_needs_the_weights_of_the_forward_pass(rng: np.random.Generator) -> None:
    case = (9, 4, 5, 2)
    network, X = make_network(case), make_rows(case, rng)
    y = network.forward(X)
    network.backward(y)
    gradient = network.weight_gradients[2]
    network.weights[2] = network.weights[2] - 0.1 * gradient
    with pytest.raises(RuntimeError, match="they have changed"):
        network.backward(y)
    assert same_bits(network.weight_gradients[2], gradient)  # computed results stay readable
    network.backward(network.forward(X))
    Trainer(network, clip_norm=1.0).step(X, rng.normal(size=(9, 2)))
    with pytest.raises(RuntimeError, match="before a backward pass"):
        _ = network.weight_gradients[2]


def test_both_passes_can_be_pickled(rng: np.random.Generator) -> None:
    case = (9, 4, 5, 2)
    network = make_network(case)
    p = network.backpropagate(make_rows(case, rng), rng.normal(size=(9, 2)))
    q = pickle.loads(pickle.dumps(p))
    assert q.loss == p.loss
    assert list(q.loss_gradients)[-1] == 1.0
    for l in range(1, 3):
        assert same_bits(q.outputs[l], p.outputs[l])
        assert same_bits(q.weight_gradients[l], p.weight_gradients[l])
        assert same_bits(q.local_gradients[l].wrt_weights, p.local_gradients[l].wrt_weights)


def test_frames_of_several_kinds_of_numbers_are_read() -> None:
    network = Network(3, [Dense(1, "identity")], random_state=0)
    mixed = np.array([[1, 0.5, True], [2, 0.25, False]], dtype=object)
    assert same_bits(network.predict(mixed), network.predict(mixed.astype(np.float64)))
    with pytest.raises(TypeError, match="must hold real numbers"):
        network.predict(np.array([[1, 0.5, "1"]], dtype=object))
    with pytest.raises(TypeError, match="masked"):
        network.predict(np.ma.masked_invalid([[1.0, np.nan, 2.0]]))
