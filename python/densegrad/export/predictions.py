"""What an estimator computes from the outputs of its network, as operators of ONNX."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from densegrad._tables import MARGIN_LOSSES
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


def gives_margins(estimator: Estimator) -> bool:
    """Tell whether a classifier has a decision function in place of probabilities."""
    return estimator.network_.loss in MARGIN_LOSSES


def is_multilabel(classifier: MLPClassifier) -> bool:
    """Tell whether a classifier predicts 0/1 for each label."""
    spec = classifier.network_.spec
    if spec.head.units == 1 or not gives_margins(classifier):
        return spec.head.units > 1 and spec.head.activation != "softmax"
    # Margins of classes look like margins of labels, but the predictions do not.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the row has no names of columns
        return np.ndim(classifier.predict(np.zeros((1, spec.n_inputs)))) == 2


def outputs(estimator: Estimator, real: int, *, with_std: bool, two_margins: bool) -> tuple[Output, ...]:
    """Return the results of an estimator's graph, whose numbers have the element type `real`.

    `with_std` asks for standard deviations, if the loss has them. `two_margins` asks for a margin of each of
    two classes, m and -m, as skl2onnx has it; else there is one, as in `decision_function`.
    """
    spec = estimator.network_.spec
    if isinstance(estimator, MLPRegressor):
        n_levels = len(spec.loss.quantile_levels)
        shape = (
            (spec.n_targets, n_levels) if n_levels and spec.n_targets > 1 else (n_levels or spec.n_targets,)
        )
        std = (Output("std", real, shape),) if with_std and spec.loss.name == "gaussian_nll" else ()
        return Output("variable", real, shape), *std
    element = Graph.STRING if _classes(estimator).dtype == object else Graph.INT64
    n_outputs = spec.head.units
    if is_multilabel(estimator):
        label = Output("label", Graph.INT64, (n_outputs,))
    else:
        label = Output("label", element, ())
    scores: tuple[int, ...] = (max(2, n_outputs),)
    if gives_margins(estimator):
        if n_outputs == 1 and not two_margins:
            scores = ()
        return label, Output("decision_function", real, scores)
    return label, Output("probabilities", real, scores)


def add_estimator(
    g: Graph, estimator: Estimator, network: Network, x: str, *, with_std: bool, two_margins: bool
) -> tuple[str, ...]:
    """Add an estimator and return the names of its `outputs`; `network` is in the precision of the graph."""
    y = add_network(g, network, x)
    if isinstance(estimator, MLPRegressor):
        return _add_regressor(g, network, y, with_std)
    return _add_classifier(g, estimator, y, two_margins)


def _add_regressor(g: Graph, network: Network, y: str, with_std: bool) -> tuple[str, ...]:
    loss, n_targets = network.spec.loss, network.n_targets
    if loss.name == "gaussian_nll":
        mean = g.columns(y, 0, n_targets)
        if not with_std:
            return (mean,)
        log_variance = g.columns(y, n_targets, 2 * n_targets)
        return mean, g.node("Exp", g.node("Mul", log_variance, g.number(0.5)))
    if loss.quantile_levels and n_targets > 1:
        return (g.node("Reshape", y, g.integers(0, n_targets, len(loss.quantile_levels))),)
    return (y,)


def _add_classifier(g: Graph, classifier: MLPClassifier, y: str, two_margins: bool) -> tuple[str, str]:
    classes = _classes(classifier)
    margins = gives_margins(classifier)
    if is_multilabel(classifier):
        return _above_threshold(g, y, margins), y
    if classifier.network_.layers[-1].units > 1:
        number = g.node("ArgMax", y, axis=1, keepdims=0)
        return g.node("Gather", g.constant(classes, "classes"), number), y
    number = g.node("Squeeze", _above_threshold(g, y, margins), g.integers(1))
    label = g.node("Gather", g.constant(np.resize(classes, 2), "classes"), number)
    if margins and not two_margins:
        return label, g.node("Squeeze", y, g.integers(1))
    other = g.node("Neg", y) if margins else g.node("Sub", g.number(1), y)
    return label, g.node("Concat", other, y, axis=1)


def _above_threshold(g: Graph, y: str, margins: bool) -> str:
    threshold = g.number(0.0 if margins else 0.5)
    return g.node("Cast", g.node("Greater", y, threshold), to=Graph.INT64)


def _classes(classifier: MLPClassifier) -> NDArray[Any]:
    """Return the labels as ONNX has them: int64, or objects that are strings."""
    classes = classifier.classes_
    if classes.dtype.kind in "biu" or (classes.dtype.kind == "f" and (classes == np.round(classes)).all()):
        return classes.astype(np.int64)
    labels = classes.astype(object)
    if not all(isinstance(label, str) for label in labels):
        raise ValueError(f"classes_ must be integers or strings for ONNX; got {classes!r}")
    return labels
