"""Sparse rows give the bits of dense ones, without a dense copy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

from assertions import refused, same_bits
from builders import make_network
from choices import DTYPES, OPTIMIZERS
from densegrad import SGD, Adam, Dense, MLPClassifier, MLPRegressor, Network, Trainer

Array = NDArray[Any]
# More rows than a pass holds at once and more than two slices; columns and units at the edges of lines.
SHAPE = (1300, 203, 37, 3)
DENSITY = 0.03


def make_sparse(
    rng: np.random.Generator, dtype: str = "float64", shape: tuple[int, ...] = SHAPE, density: float = DENSITY
) -> Any:
    """A CSR array with empty rows, empty columns and stored zeros, one of them negative."""
    stored = rng.uniform(size=shape[:2]) < density
    stored[5:8], stored[:, 9:30] = False, False
    stored[0] = False
    stored[0, [1, 40]] = True
    X = scipy.sparse.csr_array(np.where(stored, rng.normal(size=shape[:2]), 0).astype(dtype))
    X.data[:2] = [0.0, -0.0]
    return X


def dense(X: Any) -> Array:
    """The same rows, with +0 for what is not stored."""
    return np.asarray(X.toarray()) + 0.0


def shuffled(X: Any, rng: np.random.Generator) -> Any:
    """The same rows, with the indices of each in a random order."""
    X = X.copy()
    for begin, end in zip(X.indptr, X.indptr[1:], strict=False):
        order = begin + rng.permutation(end - begin)
        X.indices[begin:end], X.data[begin:end] = X.indices[order], X.data[order]
    X.has_sorted_indices = False
    return X


def halves(X: Any) -> Any:
    """The same rows, with each number stored as two halves that are added."""
    return scipy.sparse.csr_array(
        (np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), X.indptr * 2), X.shape, copy=False
    )


def wide(X: Any) -> Any:
    X = X.copy()
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


LAYOUTS: dict[str, Callable[[Any, np.random.Generator], Any]] = {
    "int32": lambda X, _: X,
    "int64": lambda X, _: wide(X),
    "matrix": lambda X, _: scipy.sparse.csr_matrix(X),
    "CSC": lambda X, _: X.tocsc(),
    "COO": lambda X, _: X.tocoo(),
    "unsorted": shuffled,
    "duplicates": lambda X, rng: shuffled(halves(X), rng),
}


def results(network: Network, X: Any, target: Any, weight: Any, n_threads: int) -> list[Any]:
    loss, gradient = network.loss_and_gradient(X, target, weight, n_threads=n_threads)
    found = [network.predict(X, n_threads), network.evaluate(X, target, weight, n_threads=n_threads), loss]
    found += [gradient, network.forward(X, n_threads), network.backward(found[0] * 0.5, n_threads)]
    found += [*network.weight_gradients]
    p = network.backpropagate(X, target, weight, n_threads=n_threads)
    return [*found, *p.outputs, *p.loss_gradients, *p.weight_gradients]


def all_same(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(same_bits(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("dtypes", [(a, b) for a in DTYPES for b in DTYPES])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_passes(layout: str, dtypes: tuple[str, str], rng: np.random.Generator) -> None:
    network = make_network(SHAPE, dtype=dtypes[0])
    X, target = make_sparse(rng, dtypes[1]), rng.normal(size=(SHAPE[0], SHAPE[-1]))
    weight = rng.uniform(size=SHAPE[0])
    expected = results(network, dense(X), target, weight, 1)
    assert all_same(results(network, LAYOUTS[layout](X, rng), target, weight, 2), expected)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("isa")
def test_passes_everywhere(dtype: str, n_threads: int, rng: np.random.Generator) -> None:
    X, target = make_sparse(rng, dtype), rng.normal(size=(SHAPE[0], SHAPE[-1]))
    for units in (1, 3, 8, 37, 150):  # the last is wider than any tile
        network = make_network((*SHAPE[:2], units, 3), dtype=dtype)
        expected = results(network, dense(X), target, None, 1)
        network._poison_padding()
        assert all_same(results(network, X, target, None, n_threads), expected)


@pytest.mark.parametrize("layout", ["int32", "duplicates"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("isa")
def test_weights_beyond_the_caches(dtype: str, layout: str, rng: np.random.Generator) -> None:
    shape = (20, 120_000, 20, 3)
    network, X = make_network(shape, dtype=dtype), make_sparse(rng, dtype, shape[:2], 0.001)
    assert same_bits(network.predict(LAYOUTS[layout](X, rng)), network.predict(dense(X)))


def trained(X: Any, optimizer: Any, dtype: str, n_threads: int, **arguments: Any) -> list[Any]:
    """Weights, losses and the optimizer's state after some epochs, in which momentum comes and goes."""
    random = np.random.default_rng(0)
    target = random.normal(size=(X.shape[0], SHAPE[-1]))
    network = make_network(SHAPE, dtype=dtype, dropout=0.2, hidden="relu")
    W = network.weights[1].copy()
    W[::3] *= -0.0
    network.weights[1] = W
    trainer = Trainer(network, optimizer, random_state=0, n_threads=n_threads, **arguments)
    losses = trainer.fit(X, target, epochs=2).loss
    state = [np.asarray(s) for layer in trainer.state_dict()["state"] for s in layer]
    return [network.parameters, np.array(losses), *state]


@pytest.mark.parametrize("batch_size", [64, 1200])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_training(optimizer: Any, dtype: str, batch_size: int, rng: np.random.Generator) -> None:
    X = make_sparse(rng, dtype)
    expected = trained(dense(X), optimizer, dtype, 1, batch_size=batch_size)
    for n_threads in (1, 2, 3):
        assert all_same(trained(X, optimizer, dtype, n_threads, batch_size=batch_size), expected)


@pytest.mark.parametrize(
    "arguments",
    [{"l2": 0.01}, {"l1": 0.01}, {"clip_norm": 0.1}, {"max_norm": 1.0}, {"shuffle": False}],
    ids=str,
)
@pytest.mark.parametrize("optimizer", [SGD(0.05), SGD(0.05, 0.0, True), Adam(0.01)], ids=str)
@pytest.mark.usefixtures("isa")
def test_training_everywhere(optimizer: Any, arguments: dict[str, Any], rng: np.random.Generator) -> None:
    X = make_sparse(rng)
    for dtype in DTYPES:
        expected = trained(dense(X), optimizer, dtype, 1, batch_size=100, **arguments)
        assert all_same(trained(X, optimizer, dtype, 2, batch_size=100, **arguments), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("isa")
def test_negative_zeros(dtype: str, rng: np.random.Generator) -> None:
    # Biases of -0 stay so only where all weights are negative. Products that underflow are zeros of
    # either sign, in the forward pass and in the gradient.
    X = make_sparse(rng, dtype)
    X.data[:] = np.abs(X.data) * np.where(rng.uniform(size=X.data.shape) < 0.7, 1e-30, 1)
    network = Network(SHAPE[1], [Dense(37, "identity"), Dense(3, "identity")], dtype=dtype, random_state=0)
    W = network.weights[1].copy()
    W[-1], W[:, ::2] = -0.0, -np.abs(W[:, ::2])
    W[:-1, 1::3] *= 1e-20 if dtype == "float32" else 1e-300
    network.weights[1] = W
    target = network.predict(X) + np.where(rng.uniform(size=(SHAPE[0], 3)) < 0.9, 1e-18, 1.0)
    expected = results(network, dense(X), target, None, 1)
    hidden = network.backpropagate(dense(X), target).outputs[1]
    assert np.any((hidden == 0) & np.signbit(hidden))
    assert np.any((hidden == 0) & ~np.signbit(hidden))
    assert all_same(results(network, X, target, None, 2), expected)


def test_plain_sgd_touches_the_weights_of_stored_columns_only(rng: np.random.Generator) -> None:
    X = make_sparse(rng)
    network = make_network(SHAPE)
    before = network.weights[1].copy()
    Trainer(network, SGD(0.05), batch_size=50).fit(X, rng.normal(size=(SHAPE[0], 3)), epochs=1)
    changed = np.any(network.weights[1][:-1] != before[:-1], axis=1)
    assert np.array_equal(changed, np.any(dense(X) != 0, axis=0))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_momentum_that_changes_between_epochs(momentum: float, rng: np.random.Generator) -> None:
    X, target = make_sparse(rng), rng.normal(size=(SHAPE[0], 3))

    def after(rows: Any) -> list[Any]:
        network = make_network(SHAPE)
        trainer = Trainer(network, SGD(0.05, momentum), batch_size=100, random_state=0)
        for m in (momentum, 0.9 - momentum, momentum):
            trainer.optimizer = SGD(0.05, m)
            trainer.fit(rows, target, epochs=1)
        return [
            network.parameters,
            *(np.asarray(s) for layer in trainer.state_dict()["state"] for s in layer),
        ]

    assert all_same(after(X), after(dense(X)))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_estimators(Estimator: Any, solver: str, rng: np.random.Generator) -> None:
    X = make_sparse(rng)
    y = rng.integers(0, 3, SHAPE[0])

    def fitted(rows: Any) -> list[Any]:
        model = Estimator(hidden_layer_sizes=(20,), solver=solver, max_iter=4, random_state=0).fit(rows, y)
        if solver != "lbfgs":
            model.partial_fit(rows[:50], y[:50])
        predict = getattr(model, "predict_proba", model.predict)
        return [*model.coefs_, *model.intercepts_, predict(rows), predict(rows[3:4])]

    expected = fitted(dense(X))
    for rows in (X, X.tocsc(), wide(X)):
        assert all_same(fitted(rows), expected)


def test_custom_losses(rng: np.random.Generator) -> None:
    X, target = make_sparse(rng), rng.normal(size=(SHAPE[0], 3))

    def loss(y_true: Any, y_pred: Any) -> Any:
        return 0.5 * ((y_pred - y_true) ** 2).sum(axis=1), y_pred - y_true

    def after(rows: Any) -> list[Any]:
        network = Network(SHAPE[1], [Dense(9), Dense(3, "identity")], loss=loss, random_state=0)
        found = [*network.loss_and_gradient(rows, target), network.backpropagate(rows, target).loss]
        Trainer(network, batch_size=100, random_state=0).fit(rows, target, epochs=2)
        return [*found, network.parameters]

    assert all_same(after(X), after(dense(X)))


def test_sparse_and_dense_rows_take_turns(rng: np.random.Generator) -> None:
    X, target = make_sparse(rng), rng.normal(size=(SHAPE[0], 3))

    def after(*epochs: Any) -> Array:
        network = make_network(SHAPE)
        trainer = Trainer(network, batch_size=100, shuffle=False)
        for rows in epochs:
            trainer.epoch(rows, target)
            network.forward(rows)
            network.backward(target)
        return network.parameters

    few, many = X[:100], scipy.sparse.vstack([X[100:200]] * 13).tocsr()
    assert same_bits(after(X, dense(X), X), after(*[dense(X)] * 3))
    target = target[:100]
    assert same_bits(after(few, dense(few), few), after(*[dense(few)] * 3))
    target = rng.normal(size=(1300, 3))
    assert same_bits(after(many, X), after(dense(many), dense(X)))


MEMORY = """
import re, numpy as np, scipy.sparse
from pathlib import Path
from densegrad import Dense, Network, SGD, Trainer

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

rng = np.random.default_rng(0)
n, columns, k = 2000, 100_000, 20
indices, indptr = rng.integers(0, columns, n * k), np.arange(n + 1) * k
X = scipy.sparse.csr_array((rng.normal(size=n * k), indices, indptr), (n, columns))
target = rng.normal(size=(n, 1))
network = Network(columns, [Dense(4, "tanh"), Dense(1, "identity")], random_state=0)
network.loss_and_gradient(X[:9], target[:9])
trainer = Trainer(network, SGD(0.1), batch_size=500)
trainer.epoch(X[:9], target[:9])
before = peak()
network.predict(X); network.evaluate(X, target); network.forward(X)
network.loss_and_gradient(X, target); trainer.epoch(X, target)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_there_is_no_dense_copy() -> None:
    # A dense slice of 256 rows would take 100 MB.
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 24


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(bad: float, rng: np.random.Generator) -> None:
    X, y = make_sparse(rng), rng.integers(0, 2, SHAPE[0])
    X.data[-1] = bad
    network = make_network((*SHAPE[:3], 1))
    trainer = Trainer(network, batch_size=100)
    parameters = network.parameters
    model = MLPClassifier((5,), max_iter=2, random_state=0, batch_size=100)
    for rows in (X, X.tocsc()):
        refused("finite", lambda rows=rows: trainer.fit(rows, y))
        refused("NaN|infinity", lambda rows=rows: model.fit(rows, y))
    assert same_bits(network.parameters, parameters)
    assert trainer.steps == 0
    assert not hasattr(model, "coefs_")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_bad_predictions(rng: np.random.Generator) -> None:
    X, y = make_sparse(rng), rng.integers(0, 2, SHAPE[0])
    model = MLPClassifier((5,), max_iter=1, random_state=0).fit(X, y)
    bad = X[:3].copy()
    bad.data[-1] = np.nan
    refused("NaN", lambda: model.predict(bad))
    refused("features", lambda: model.predict(X[:, :-1]))
    bad = X[:3].copy()
    bad.indices[0] = SHAPE[1]
    refused("indices point outside", lambda: model.predict(bad))
    assert same_bits(model.predict_proba(X[1:2]), model.predict_proba(dense(X[1:2])))


@pytest.mark.parametrize(
    ("indptr", "indices", "data"),
    [
        ([0, 1, 2], [0, 90], [1.0, 1.0]),
        ([0, 1, 2], [-1, 0], [1.0, 1.0]),
        ([0, 1, 2], [0, 2**31 - 1], [1.0, 1.0]),
        ([0, 2, 1], [0, 1], [1.0, 1.0]),
        ([0, 1, 3], [0, 1], [1.0, 1.0]),
        ([1, 1, 2], [0, 1], [1.0, 1.0]),
        ([0, 1, 2], [0], [1.0, 1.0]),
        ([0, 1, 2], [0, 1], [1.0]),
        ([0, 2], [0, 1], [1.0, 1.0]),
    ],
)
def test_matrices_that_are_none(indptr: Any, indices: Any, data: Any) -> None:
    network = make_network((1, 90, 3, 1))
    trainer = Trainer(network)
    parameters = network.parameters
    matrix, target = scipy.sparse.csr_array((2, 90)), np.zeros((2, 1))
    for index in (np.int32, np.int64):
        matrix.indptr, matrix.indices = np.array(indptr, index), np.array(indices, index)
        matrix.data = np.array(data)
        for action in (
            lambda: network.predict(matrix),
            lambda: network.forward(matrix),
            lambda: network.samples(matrix, target),
            lambda: network.loss_and_gradient(matrix, target),
            lambda: trainer.fit(matrix, target),
        ):
            refused("X is not a valid CSR", action)
    assert same_bits(network.parameters, parameters)
    assert trainer.steps == 0


def test_arrays_that_change_during_an_epoch(rng: np.random.Generator) -> None:
    """What another thread writes to the arrays of a sparse matrix cannot crash the epoch."""
    for field in ("indptr", "indices"):
        for value in (2**30, -(2**30), "mixed"):
            X = make_sparse(rng, shape=(64, 500), density=0.02)

            def loss(y_true: Any, y_pred: Any, X: Any = X, field: str = field, value: Any = value) -> Any:
                array = getattr(X, field)
                array[:] = np.where(np.arange(len(array)) % 2, 2**30, -(2**30)) if value == "mixed" else value
                return 0.5 * ((y_pred - y_true) ** 2).sum(axis=1), y_pred - y_true

            network = Network(500, [Dense(3), Dense(1, "identity")], loss=loss, random_state=0)
            Trainer(network, batch_size=8).epoch(X, np.zeros((64, 1)))
