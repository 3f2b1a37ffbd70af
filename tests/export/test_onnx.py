"""Networks and estimators as ONNX models: the numbers of predict, from two runtimes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline

import densegrad
from assertions import refused
from builders import elementwise_layers, make_network, make_rows, regression
from choices import DTYPES, HIDDEN, PAIRINGS, Pairing
from densegrad import Dense, MLPClassifier, MLPRegressor, Network, TabularClassifier, Trainer
from densegrad.export import to_onnx

onnx = pytest.importorskip("onnx", reason="needs onnx")

SHAPE = (50, 9, 17, 6, 3)
TOLERANCE = {"float32": 1e-5, "float64": 1e-9}
QUANTILES = Pairing("quantile", "identity", (("quantile", (0.1, 0.5, 0.9)),))
HEADS = [
    *{pairing.head: pairing for pairing in PAIRINGS if not pairing.arguments}.values(),
    QUANTILES,
    Pairing("gaussian_nll", "identity"),
]
Run = Callable[[Any, NDArray[Any]], dict[str, NDArray[Any]]]


def onnxruntime_outputs(model: Any, X: NDArray[Any]) -> dict[str, NDArray[Any]]:
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": X}), strict=True))


def reference_outputs(model: Any, X: NDArray[Any]) -> dict[str, NDArray[Any]]:
    from onnx.reference import ReferenceEvaluator

    names = [output.name for output in model.graph.output]
    return dict(zip(names, ReferenceEvaluator(model).run(None, {"X": X}), strict=True))


@pytest.fixture(params=[onnxruntime_outputs, reference_outputs], ids=["onnxruntime", "reference"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a model: its outputs by their names."""
    return request.param  # type: ignore[no-any-return]


def assert_near(actual: NDArray[Any], expected: NDArray[Any], tolerance: float) -> None:
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    scale = np.maximum(1, np.abs(expected).max(initial=1))
    assert np.abs(actual - expected).max(initial=0) <= tolerance * scale


# Networks.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pairing", HEADS, ids=str)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_networks(hidden: str, pairing: Pairing, dtype: str, run: Run, rng: np.random.Generator) -> None:
    network = make_network(SHAPE, pairing, hidden, dtype)
    X = make_rows(SHAPE, rng, dtype)
    outputs = run(to_onnx(network), X)
    assert list(outputs) == ["y"]
    assert_near(outputs["y"], network.predict(X), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_elementwise_layers(dtype: str, run: Run, rng: np.random.Generator) -> None:
    network = elementwise_layers(SHAPE[1], dtype)
    X = make_rows(SHAPE, rng, dtype)
    assert_near(run(to_onnx(network), X)["y"], network.predict(X), TOLERANCE[dtype])


@pytest.mark.parametrize("opset", [13, 18, 21])
@pytest.mark.parametrize("dtype", DTYPES)
def test_older_opsets(opset: int, dtype: str, run: Run, rng: np.random.Generator) -> None:
    X = make_rows(SHAPE, rng, dtype)
    every = [Dense(6, activation) for activation in HIDDEN]
    for layers, loss in ([*every, Dense(3, "softmax")], "log_loss"), ([*every, Dense(3, "exp")], "poisson"):
        network = Network(SHAPE[1], layers, loss=loss, dtype=dtype, random_state=0)
        model = to_onnx(network, opset=opset)
        assert [opsets.version for opsets in model.opset_import] == [opset]
        assert_near(run(model, X)["y"], network.predict(X), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [*HIDDEN, "exp"])
def test_preactivations_of_every_size(activation: str, dtype: str) -> None:
    network = Network(1, [Dense(1, activation)], dtype=dtype)
    network.weights[1] = [[1.0], [0.0]]
    z = np.concatenate([np.linspace(-60, 60, 999), [0, -1e4, 1e4, -1e15, 1e15]]).astype(dtype)[:, np.newaxis]
    expected = network.predict(z)
    actual = onnxruntime_outputs(to_onnx(network), z)["y"]
    finite = np.isfinite(expected)
    assert (actual[~finite] == expected[~finite]).all()
    actual, expected = actual[finite], expected[finite]
    error = np.abs(actual - expected) / np.maximum(1, np.abs(expected))
    assert error.max() <= TOLERANCE[dtype]


@pytest.mark.parametrize("pairing", HEADS, ids=str)
def test_no_rows(pairing: Pairing) -> None:
    network = make_network(SHAPE, pairing, dtype="float32")
    outputs = onnxruntime_outputs(to_onnx(network), np.empty((0, SHAPE[1]), np.float32))
    assert outputs["y"].shape == (0, network.layers[-1].units)


def test_precision_of_the_graph(rng: np.random.Generator) -> None:
    network = make_network(SHAPE, dtype="float64")
    X = make_rows(SHAPE, rng)
    outputs = reference_outputs(to_onnx(network, dtype="float32"), X.astype(np.float32))
    assert_near(outputs["y"], network.astype("float32").predict(X), TOLERANCE["float32"])


def test_metadata() -> None:
    network = make_network(SHAPE, QUANTILES)
    model = to_onnx(network)
    assert (model.producer_name, model.producer_version) == ("densegrad", densegrad.__version__)
    assert model.opset_import[0].version == onnx.defs.onnx_opset_version()
    (described,) = model.metadata_props
    assert described.key == "densegrad.network"
    assert densegrad.NetworkSpec.from_json(json.loads(described.value)) == network.spec


# Estimators.


def labels(kind: str, X: NDArray[Any]) -> NDArray[Any]:
    third = np.digitize(X[:, 0], [-0.4, 0.4])
    return {
        "two integers": np.where(X[:, 0] > 0, 7, -3),
        "three integers": 5 * third,
        "two strings": np.where(X[:, 0] > 0, "yes", "no"),
        "three strings": np.array(["a", "ö", "long"])[third],
        "objects": np.where(X[:, 0] > 0, "yes", "no").astype(object),
        "booleans": X[:, 0] > 0,
        "whole floats": np.where(X[:, 0] > 0, 2.0, 1.0),
        "one class": np.full(len(X), 4),
        "indicators": (X[:, :3] > 0).astype(int),
    }[kind]


KINDS = [
    "two integers",
    "three integers",
    "two strings",
    "three strings",
    "objects",
    "booleans",
    "whole floats",
    "one class",
    "indicators",
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["log_loss", "hinge"])
@pytest.mark.parametrize("kind", KINDS)
def test_classifiers(kind: str, loss: str, dtype: str, run: Run, rng: np.random.Generator) -> None:
    X = rng.normal(size=(90, 4)).astype(dtype)
    classifier = MLPClassifier((6,), "tanh", loss=loss, max_iter=3, tol=0, random_state=0)
    fit_quietly(classifier, X, labels(kind, X))
    outputs = run(to_onnx(classifier), X)
    label = outputs.pop("label")
    assert label.shape == classifier.predict(X).shape
    assert (label == classifier.predict(X)).all()
    assert len(np.unique(label)) > 1 or kind == "one class"
    name, scores = (
        ("probabilities", classifier.predict_proba)
        if loss == "log_loss"
        else ("decision_function", classifier.decision_function)
    )
    assert list(outputs) == [name]
    assert_near(outputs[name], scores(X), TOLERANCE[dtype])


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize(
    ("loss", "quantile"),
    [
        ("squared_error", 0.5),
        ("poisson", 0.5),
        ("gaussian_nll", 0.5),
        ("quantile", 0.9),
        ("quantile", [0.1, 0.9]),
    ],
)
def test_regressors(loss: str, quantile: Any, n_targets: int, run: Run, rng: np.random.Generator) -> None:
    X, y = regression(rng)
    y = y[:, 0] if n_targets == 1 else y
    regressor = MLPRegressor(loss, (6,), quantile=quantile, max_iter=3, random_state=0)
    fit_quietly(regressor, X, np.exp(y) if loss == "poisson" else y)
    outputs = run(to_onnx(regressor), X)
    assert list(outputs) == (["variable", "std"] if loss == "gaussian_nll" else ["variable"])
    expected = regressor.predict(X)
    column = expected if expected.ndim > 1 else expected[:, np.newaxis]
    assert_near(outputs["variable"], column, TOLERANCE["float64"])
    if loss == "gaussian_nll":
        _, std = regressor.predict(X, return_std=True)
        assert_near(outputs["std"], std.reshape(column.shape), TOLERANCE["float64"])


def fit_quietly(estimator: Any, X: NDArray[Any], y: NDArray[Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        estimator.fit(X, y)


def test_names_of_columns_do_not_matter(rng: np.random.Generator) -> None:
    pandas = pytest.importorskip("pandas")
    X = rng.normal(size=(60, 3))
    classifier = MLPClassifier((4,), loss="hinge", max_iter=2)
    fit_quietly(classifier, pandas.DataFrame(X, columns=list("abc")), labels("indicators", X))
    assert reference_outputs(to_onnx(classifier), X)["label"].shape == (60, 3)


# Errors.


def test_what_is_refused(rng: np.random.Generator) -> None:
    network = make_network(SHAPE)
    newest = onnx.defs.onnx_opset_version()
    allowed = rf"opset must be an integer in \[13, {newest}\]; got"
    for opset in (12, newest + 1, "13"):
        refused(allowed, partial(to_onnx, network, opset=opset))
    refused("dtype must be", lambda: to_onnx(network, dtype="float16"))
    others: dict[str, Any] = {
        "got Pipeline. For a Pipeline, call": make_pipeline(MLPClassifier()),
        "got str$": "model",
        "got TabularClassifier, which reads its columns in Python": TabularClassifier(),
        "got Trainer. Give its `network`": Trainer(network),
    }
    for message, other in others.items():
        refused(message, partial(to_onnx, other))
    refused("model must be fitted; call fit of the MLPRegressor first", lambda: to_onnx(MLPRegressor()))
    object.__setattr__(network.layers[1], "activation", "cube")
    refused("the activation 'cube' of layer 2 has no form in ONNX", lambda: to_onnx(network))


def test_labels_that_onnx_cannot_hold_are_refused(rng: np.random.Generator) -> None:
    X = rng.normal(size=(40, 2))
    classifier = MLPClassifier((4,), max_iter=2)
    fit_quietly(classifier, X, np.where(X[:, 0] > 0, 2**63, 1).astype(np.uint64))
    refused("classes_ must be strings, or integers that int64 can hold", lambda: to_onnx(classifier))


def test_a_custom_activation_has_no_form() -> None:
    network = Network(2, [Dense(3, (np.sin, np.cos)), Dense(1, "identity")])
    refused(r"'sin \(custom\)' of layer 1 has no form in ONNX; only identity", lambda: to_onnx(network))
