"""Bad input is refused; the error names the allowed values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.base import clone

from densegrad import Dense, MLPClassifier, Network, Trainer
from densegrad.display import (
    DecisionBoundaryDisplay,
    DecisionBoundaryRecorder,
    Diagnostics,
    GradientCheckDisplay,
    GradientFlowDisplay,
    LearningCurveDisplay,
    NetworkDisplay,
    WeightsDisplay,
    walk_html,
)

NET = Network(3, [Dense(4, "tanh"), Dense(1, "identity")], random_state=0)
FLAT = Network(2, [Dense(1, "identity")], random_state=0)
X = np.ones((5, 3))
T = np.zeros(5)
P = NET.backpropagate(X, T)

BAD: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: NetworkDisplay.from_network(NET, kind="sideways"),
        "kind must be one of 'layers', 'loss_layer', 'forward', 'backward', 'detail'; got 'sideways'",
    ),
    (
        lambda: NetworkDisplay.from_network(NET, kind="backward"),
        "kind='backward' shows the numbers of a pass",
    ),
    (lambda: NetworkDisplay.from_network(NET, X), "X and target must be given together"),
    (
        lambda: NetworkDisplay.from_network(NET, X, T, kind="detail"),
        "layer must be 1 ... 3 for kind='detail', 3 is the loss layer; got None",
    ),
    (lambda: NetworkDisplay.from_network(NET, X, T, kind="detail", layer=4), "got 4"),
    (lambda: NetworkDisplay.from_network(NET, X, T, kind="detail", layer=True), "got True"),
    (lambda: NetworkDisplay.from_network(NET, X, T, layer=1), "layer is for kind='detail' alone"),
    (lambda: NetworkDisplay.from_network(NET, X, T, sample=5), "sample must be a row of X, 0 ... 4; got 5"),
    (lambda: NetworkDisplay.from_network(NET, X, T, sample=0.5), "got 0.5"),  # type: ignore[arg-type]
    (lambda: WeightsDisplay.from_network(NET, layer=0), "layer must be a layer's number, 1 ... 2"),
    (lambda: WeightsDisplay.from_network(NET, layer=3), "got 3"),
    (
        lambda: WeightsDisplay.from_network(NET, shape=(2, 2)),
        "whose product is 3, the number of inputs of layer 1",
    ),
    (
        lambda: WeightsDisplay.from_network(NET, max_units=0, shape=(1, 3)),
        "max_units must be at least 1; got 0",
    ),
    (
        lambda: DecisionBoundaryDisplay.from_network(NET, X, T),
        "X must have two features, shape (n_rows, 2), to draw a boundary; got (5, 3)",
    ),
    (
        lambda: DecisionBoundaryDisplay.from_network(NET, X[:, :2], T),
        "the network must have two inputs to draw a boundary; got 3",
    ),
    (lambda: DecisionBoundaryRecorder(NET, X, T), "X must have two features"),
    (lambda: DecisionBoundaryRecorder(FLAT, X[:, :2], T[:4]), "target must have 5 rows, as X has; got 4"),
    (
        lambda: DecisionBoundaryDisplay.from_recorder(DecisionBoundaryRecorder(FLAT, X[:, :2], T)),
        "the recorder has no epoch yet",
    ),
    (lambda: Diagnostics(NET, X, T, every=0), "every must be a whole number from 1 up; got 0"),
    (
        lambda: Diagnostics(NET, X, T, max_rows=1.5),
        "max_rows must be a whole number from 1 up or None; got 1.5",
    ),
    (
        lambda: Diagnostics(NET, X, T[:3]),
        "X and target must have equally many rows, at least one; got 5 and 3",
    ),
    (lambda: GradientFlowDisplay.from_diagnostics(Diagnostics(NET, X, T)), "diagnostics must have a record"),
    (
        lambda: GradientFlowDisplay.from_diagnostics(Diagnostics(NET, X, T), quantities=["loss"]),
        "quantities must be some of 'outputs', 'loss_gradients'",
    ),
    (lambda: LearningCurveDisplay.from_estimator(MLPClassifier()), "MLPClassifier has no loss_curve_"),
    (lambda: LearningCurveDisplay([]), "loss must have at least one epoch; got none"),
    (
        lambda: GradientCheckDisplay.from_network(NET, X, T, tolerance=0.0),
        "tolerance must be above 0; got 0.0",
    ),
    (lambda: walk_html(FLAT, P), "p must be a pass of this network"),
    (lambda: walk_html(NET, P, T[:2]), "target must have 5 rows, as the pass has"),
    (lambda: walk_html(NET, P, T, samples=[5]), "samples must be rows of the pass, 0 ... 4; got [5]"),
    (lambda: walk_html(NET, P, T, feature_names=["a"]), "feature_names must be 3 names, one an input; got 1"),
    (lambda: walk_html(NET, P, T, class_names=["a"]), "class_names must be 2 names; got 1"),
    (lambda: walk_html(NET, P, T, max_numbers=1), "max_numbers must be at least 3; got 1"),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message[:50] for _, message in BAD])
def test_value_errors_say_what_is_allowed(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_what_is_no_model_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="must be a Network or an estimator of densegrad; got 3"):
        Diagnostics(3, X, T)
    with pytest.raises(TypeError, match="history must be a History"):
        LearningCurveDisplay.from_history([0.5])  # type: ignore[arg-type]
    for from_network in (NetworkDisplay.from_network, WeightsDisplay.from_network):
        with pytest.raises(TypeError, match=r"network must be a Network; got .*: .* to from_estimator"):
            from_network(MLPClassifier())


@pytest.mark.parametrize("display", [NetworkDisplay, WeightsDisplay])
def test_an_estimator_takes_no_target(display: Any) -> None:
    with pytest.raises(TypeError, match="target is for networks; give the estimator's own y"):
        display.from_estimator(MLPClassifier(), X=X, target=T)


def test_a_clone_is_told_from_the_estimator() -> None:
    clf = MLPClassifier((3,), max_iter=2)
    clf.set_params(callbacks=[Diagnostics(clf, X, T)])
    with pytest.raises(ValueError, match="has no network yet: fit this very object, not a clone of it"):
        clone(clf).fit(X, np.arange(5) % 2)


def test_labels_that_are_no_classes() -> None:
    clf = MLPClassifier((3,), solver="lbfgs", random_state=0).fit(X, np.array(list("ababa")))
    with pytest.raises(ValueError, match=r"y must hold the classes .*; got .*c"):
        NetworkDisplay.from_estimator(clf, X, np.array(list("abcba")), kind="forward")


def test_another_network_is_not_recorded_behind_the_first() -> None:
    clf = MLPClassifier((3,), solver="lbfgs", random_state=0).fit(X, np.arange(5) % 2)
    diagnostics = Diagnostics(clf, X, np.arange(5) % 2)
    diagnostics.record(0)
    clf.set_params(hidden_layer_sizes=(4,)).fit(X, np.arange(5) % 2)
    with pytest.raises(ValueError, match="use new Diagnostics"):
        diagnostics.record(1)


def test_too_few_axes() -> None:
    history = Trainer(NET, random_state=0).fit(X, T, epochs=1)
    _, axes = plt.subplots(1, 1, squeeze=False)
    with pytest.raises(ValueError, match="ax must hold 2 axes, one for each panel, or be one; got 1"):
        LearningCurveDisplay.from_history(history, ax=axes)
    own = plt.figure().add_axes((0, 0, 1, 1))
    with pytest.raises(ValueError, match=re.escape("ax must be made by plt.subplots")):
        LearningCurveDisplay.from_history(history, ax=own)
