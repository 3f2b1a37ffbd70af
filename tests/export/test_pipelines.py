"""Whole pipelines as ONNX models, by way of skl2onnx."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from assertions import refused
from densegrad import MLPClassifier, MLPRegressor
from densegrad.export import register_converters
from test_onnx import KINDS, labels, onnxruntime_outputs, reference_outputs

skl2onnx = pytest.importorskip("skl2onnx", reason="needs skl2onnx")


@pytest.fixture(autouse=True)
def registered() -> None:
    register_converters()
    register_converters()


def fitted(estimator: Any, X: NDArray[Any], y: NDArray[Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        return estimator.fit(X, y)


def convert(estimator: Any, X: NDArray[Any], **options: Any) -> Any:
    """The model of a pipeline, or of an estimator alone, whose last step has these options."""
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    return skl2onnx.to_onnx(estimator, X[:1], options={id(last): options} if options else None)


def rows(rng: np.random.Generator) -> NDArray[Any]:
    return (3 + 2 * rng.normal(size=(120, 4))).astype(np.float32)


def classes_of(kind: str, X: NDArray[Any]) -> NDArray[Any]:
    return labels(kind, X - 3)


@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge"])
@pytest.mark.parametrize("kind", KINDS)
def test_classifiers(kind: str, loss: str, rng: np.random.Generator) -> None:
    X = rows(rng)
    classifier = MLPClassifier((8,), "gelu", loss=loss, max_iter=4, random_state=0)
    pipeline = fitted(make_pipeline(StandardScaler(), classifier), X, classes_of(kind, X))
    model = convert(pipeline, X, zipmap=False)
    for outputs in onnxruntime_outputs(model, X), reference_outputs(model, X):
        assert list(outputs) == ["label", "probabilities"]
        assert (outputs["label"] == pipeline.predict(X)).all()
        scores = pipeline.predict_proba(X) if loss == "log_loss" else pipeline.decision_function(X)
        if scores.ndim == 1:
            scores = np.stack([-scores, scores], axis=1)
        np.testing.assert_allclose(outputs["probabilities"], scores, atol=1e-5)


@pytest.mark.parametrize("kind", ["two strings", "three integers"])
def test_options_of_classifiers(kind: str, rng: np.random.Generator) -> None:
    X = rows(rng)
    classifier = fitted(MLPClassifier((8,), max_iter=4, random_state=0), X, classes_of(kind, X))
    proba = classifier.predict_proba(X)
    outputs = onnxruntime_outputs(convert(classifier, X), X)
    assert list(outputs) == ["output_label", "output_probability"]
    for of_row, expected in zip(outputs["output_probability"], proba, strict=True):
        assert list(of_row) == classifier.classes_.tolist()
        np.testing.assert_allclose(list(of_row.values()), expected, atol=1e-6)
    outputs = onnxruntime_outputs(convert(classifier, X, zipmap="columns"), X)
    assert len(outputs) == 1 + len(classifier.classes_)
    outputs = onnxruntime_outputs(convert(classifier, X, zipmap=False, output_class_labels=True), X)
    assert (outputs["class_labels"] == classifier.classes_).all()
    outputs = onnxruntime_outputs(convert(classifier, X, zipmap=False, nocl=True), X)
    assert (classifier.classes_[outputs["label"]] == classifier.predict(X)).all()


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize(
    ("loss", "quantile"),
    [("squared_error", 0.5), ("gamma", 0.5), ("gaussian_nll", 0.5), ("quantile", [0.1, 0.9])],
)
def test_regressors(loss: str, quantile: Any, n_targets: int, rng: np.random.Generator) -> None:
    X = rows(rng)
    y = np.abs(X[:, 0]) if n_targets == 1 else np.abs(X[:, :2])
    regressor = MLPRegressor(loss, (8,), "selu", quantile=quantile, max_iter=4, random_state=0)
    pipeline = fitted(make_pipeline(StandardScaler(), regressor), X, y + 0.1)
    model = convert(pipeline, X)
    expected = pipeline.predict(X)
    for outputs in onnxruntime_outputs(model, X), reference_outputs(model, X):
        assert list(outputs) == ["variable"]
        shape = expected.shape if expected.ndim > 1 else (len(X), 1)
        assert outputs["variable"].shape == shape
        np.testing.assert_allclose(outputs["variable"], expected.reshape(shape), atol=2e-5)
    if loss != "gaussian_nll":
        refused(
            "return_std=True needs a fit with loss='gaussian_nll'",
            lambda: convert(pipeline, X, return_std=True),
        )
        return
    outputs = onnxruntime_outputs(convert(pipeline, X, return_std=True), X)
    _, std = pipeline.predict(X, return_std=True)
    assert list(outputs) == ["variable", "std"]
    np.testing.assert_allclose(outputs["std"], std.reshape(len(X), -1), rtol=1e-5)


def test_precision_follows_the_input(rng: np.random.Generator) -> None:
    X = rows(rng).astype(np.float64)
    pipeline = fitted(make_pipeline(StandardScaler(), MLPRegressor(max_iter=4)), X, X[:, 0])
    model = convert(pipeline, X)
    np.testing.assert_allclose(
        onnxruntime_outputs(model, X)["variable"][:, 0], pipeline.predict(X), rtol=1e-9, atol=1e-9
    )
    single = X.astype(np.float32)
    outputs = onnxruntime_outputs(convert(pipeline, single), single)["variable"]
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs[:, 0], pipeline.predict(X), atol=2e-5)
    counts = np.round(X).astype(np.int64)
    alone = fitted(MLPRegressor(max_iter=4), counts.astype(np.float32), X[:, 0])
    outputs = onnxruntime_outputs(convert(alone, counts), counts)["variable"]
    np.testing.assert_allclose(outputs[:, 0], alone.predict(counts.astype(np.float32)), atol=2e-5)


def test_columns_of_a_frame_are_inputs_of_their_own(rng: np.random.Generator) -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    frame = pandas.DataFrame({"a": rng.normal(size=80), "b": rng.integers(5, size=80)})
    regressor = fitted(MLPRegressor(max_iter=4), frame, frame["a"].to_numpy())
    model = convert(regressor, frame)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    columns = {name: frame[[name]].to_numpy() for name in frame}
    np.testing.assert_allclose(session.run(None, columns)[0][:, 0], regressor.predict(frame), rtol=1e-9)
    words = frame.assign(b="word")
    refused("the input 'b' of MLPRegressor must be numbers; got strings", lambda: convert(regressor, words))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda classifier: BaggingClassifier(classifier, 2),
        lambda classifier: CalibratedClassifierCV(classifier, cv=2),
        lambda classifier: GridSearchCV(classifier, {"alpha": [0.1, 1]}, cv=2),
        lambda classifier: StackingClassifier([("a", classifier), ("b", classifier)], cv=2),
    ],
    ids=["bagging", "calibrated", "search", "stacking"],
)
def test_inside_other_estimators(wrap: Any, rng: np.random.Generator) -> None:
    X = rows(rng)
    estimator = fitted(wrap(MLPClassifier((8,), max_iter=4)), X, classes_of("two strings", X))
    outputs = onnxruntime_outputs(convert(estimator, X, zipmap=False), X)
    assert (outputs["label"] == estimator.predict(X)).all()
    np.testing.assert_allclose(outputs["probabilities"], estimator.predict_proba(X), atol=1e-5)


def test_older_opsets_are_refused(rng: np.random.Generator) -> None:
    X = rows(rng)
    regressor = fitted(MLPRegressor(max_iter=2), X, X[:, 0])
    skl2onnx.to_onnx(regressor, X[:1], target_opset=13)
    refused(
        "target_opset must be at least 13",
        lambda: skl2onnx.to_onnx(regressor, X[:1], target_opset=12),
    )
