"""Predictions of an estimator from the outputs of its network, as operators of ONNX."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from densegrad._tables import LOSSES
from densegrad.estimators import MLPClassifier, MLPRegressor
from densegrad.export.graph import Graph, add_network
from densegrad.network import Network

Estimator: TypeAlias = MLPClassifier | MLPRegressor


@dataclass(frozen=True)
class Output:
    """A result of a graph: its name, its element type in ONNX, and its shape behind the rows."""

    name: str
    element: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Form:
    """The form of the results of an estimator's graph; the defaults are those of `to_onnx`."""

    std: bool = True  # standard deviations, if the loss has them
    two_margins: bool = False  # two classes have a margin each, m and -m, in place of one
    numbered: bool = False  # labels are the numbers of the classes


def gives_margins(estimator: Estimator) -> bool:
    """Tell whether a classifier has a decision function in place of probabilities."""
    return LOSSES[estimator.network_.loss]["margin"]


def is_multilabel(classifier: MLPClassifier) -> bool:
    """Tell whether a classifier predicts 0/1 for each label."""
    spec = classifier.network_.spec
    if spec.head.units == 1 or not gives_margins(classifier):
        return spec.head.units > 1 and spec.head.activation != "softmax"
    # Margins of classes look like margins of labels, but the predictions do not.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the row has no names of columns
        return np.ndim(classifier.predict(np.zeros((1, spec.n_inputs)))) == 2


def outputs(estimator: Estimator, real: int, form: Form) -> tuple[Output, ...]:
    """Return the results of an estimator's graph, whose numbers have the element type `real`."""
    spec = estimator.network_.spec
    if isinstance(estimator, MLPRegressor):
        n_levels = len(spec.loss.quantile_levels)
        shape: tuple[int, ...] = (n_levels or spec.n_targets,)
        if n_levels and spec.n_targets > 1:
            shape = (spec.n_targets, n_levels)
        std = (Output("std", real, shape),) if form.std and spec.loss.name == "gaussian_nll" else ()
        return Output("variable", real, shape), *std
    element = Graph.STRING if _classes(estimator, form).dtype == object else Graph.INT64
    n_outputs = spec.head.units
    label = Output("label", element, (n_outputs,) if is_multilabel(estimator) else ())
    scores: tuple[int, ...] = (max(2, n_outputs),)
    if gives_margins(estimator):
        if n_outputs == 1 and not form.two_margins:
            scores = ()
        return label, Output("decision_function", real, scores)
    return label, Output("probabilities", real, scores)


def add_estimator(g: Graph, estimator: Estimator, network: Network, x: str, form: Form) -> tuple[str, ...]:
    """Add an estimator and return the names of its `outputs`; `network` is in the precision of the graph."""
    y = add_network(g, network, x)
    if isinstance(estimator, MLPRegressor):
        return _add_regressor(g, network, y, form)
    return _add_classifier(g, estimator, y, form)


def _add_regressor(g: Graph, network: Network, y: str, form: Form) -> tuple[str, ...]:
    loss, n_targets = network.spec.loss, network.n_targets
    if loss.name == "gaussian_nll":
        mean = g.columns(y, 0, n_targets)
        if not form.std:
            return (mean,)
        log_variance = g.columns(y, n_targets, 2 * n_targets)
        return mean, g.node("Exp", g.node("Mul", log_variance, g.number(0.5)))
    if loss.quantile_levels and n_targets > 1:
        return (g.node("Reshape", y, g.integers(0, n_targets, len(loss.quantile_levels))),)
    return (y,)


def _add_classifier(g: Graph, classifier: MLPClassifier, y: str, form: Form) -> tuple[str, str]:
    classes = _classes(classifier, form)
    margins = gives_margins(classifier)
    if is_multilabel(classifier):
        return _above_threshold(g, y, margins), y
    if classifier.network_.layers[-1].units > 1:
        number = g.node("ArgMax", y, axis=1, keepdims=0)
        return g.node("Gather", g.constant(classes, "classes"), number), y
    number = g.node("Squeeze", _above_threshold(g, y, margins), g.integers(1))
    label = g.node("Gather", g.constant(np.resize(classes, 2), "classes"), number)
    if margins and not form.two_margins:
        return label, g.node("Squeeze", y, g.integers(1))
    other = g.node("Neg", y) if margins else g.node("Sub", g.number(1), y)
    return label, g.node("Concat", other, y, axis=1)


def _above_threshold(g: Graph, y: str, margins: bool) -> str:
    threshold = g.number(0.0 if margins else 0.5)
    return g.node("Cast", g.node("Greater", y, threshold), to=Graph.INT64)


def _classes(classifier: MLPClassifier, form: Form) -> NDArray[Any]:
    """Return the labels as ONNX has them: int64, or objects that are strings."""
    if form.numbered:
        return np.arange(len(classifier.classes_), dtype=np.int64)
    classes = classifier.classes_.tolist()
    if all(isinstance(label, str) for label in classes):
        return np.array(classes, object)
    if all(_is_int64(label) for label in classes):
        return np.array([int(label) for label in classes], np.int64)
    raise ValueError(f"classes_ must be strings, or integers that int64 can hold, for ONNX; got {classes}")


def _is_int64(label: Any) -> bool:
    return isinstance(label, int | float) and label == label // 1 and -(2**63) <= label < 2**63
