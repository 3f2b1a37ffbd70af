"""Weights, activations, decision boundaries and gradient checks as pictures."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from builders import half_square
from densegrad import Dense, MLPClassifier, MLPRegressor, Network, Trainer, check_gradients
from densegrad.display import (
    ActivationDisplay,
    DecisionBoundaryDisplay,
    DecisionBoundaryRecorder,
    Diagnostics,
    GradientCheckDisplay,
    NetworkDisplay,
    WeightsDisplay,
)


def digits_network() -> Network:
    return Network(
        12, [Dense(10, "relu"), Dense(4, "softmax")], loss="log_loss", dtype="float64", random_state=0
    )


ROWS = np.random.default_rng(0).normal(size=(30, 12))
CLASSES = np.arange(30) % 4


def test_weights_as_a_matrix() -> None:
    network = digits_network()
    display = WeightsDisplay.from_network(network, ROWS, CLASSES, layer=2)
    weights, gradients = display.axes_
    np.testing.assert_array_equal(weights.images[0].get_array(), network.weights[2])
    p = network.backpropagate(ROWS, CLASSES)
    np.testing.assert_array_equal(gradients.images[0].get_array(), p.weight_gradients[2])
    low, high = gradients.images[0].get_clim()
    assert low == -high
    assert "11 × 4" in weights.get_title()


def test_weights_as_images_of_the_strongest_units() -> None:
    network = digits_network()
    display = WeightsDisplay.from_network(network, ROWS, CLASSES, shape=(3, 4), max_units=4)
    W = network.weights[1]
    assert display.units_ is not None
    assert set(display.units_) == set(np.argsort(-(W[:-1] ** 2).sum(axis=0))[:4])
    assert len(display.axes_) == 8
    for ax, unit in zip(display.axes_, display.units_, strict=False):
        np.testing.assert_array_equal(ax.images[0].get_array(), W[:-1, unit].reshape(3, 4))
        assert ax.get_title() == str(unit)
    gradient = network.backpropagate(ROWS, CLASSES).weight_gradients[1]
    np.testing.assert_array_equal(
        display.axes_[4].images[0].get_array(), gradient[:-1, display.units_[0]].reshape(3, 4)
    )


def test_weights_in_given_axes_and_of_an_estimator() -> None:
    clf = MLPClassifier((6,), solver="lbfgs", random_state=0).fit(ROWS, np.array(list("abcd"))[CLASSES])
    _, axes = plt.subplots(2, 3)
    display = WeightsDisplay.from_estimator(clf, shape=(4, 3), max_units=6, ax=axes)
    assert list(display.axes_) == list(axes.ravel())
    np.testing.assert_array_equal(axes[0, 0].images[0].get_array(), clf.coefs_[0][:, 0].reshape(4, 3))


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "gelu", "softmax", "exp"])
def test_activations_are_those_of_the_pass(activation: str) -> None:
    loss = {"softmax": "log_loss", "exp": "poisson"}.get(activation, "squared_error")
    network = Network(
        12, [Dense(7, "tanh"), Dense(3, activation)], loss=loss, dtype="float64", random_state=0
    )
    display = ActivationDisplay.from_network(network, ROWS)
    p = network.backpropagate(ROWS, CLASSES % 3 if loss == "log_loss" else np.ones((30, 3)))
    for l in (1, 2):
        np.testing.assert_allclose(display.layers[l - 1].outputs, p.outputs[l], rtol=1e-12)
    heights = sum(bar.get_height() for bar in display.axes_[0].containers[0])
    assert heights == 30 * 7


def test_dead_and_saturated_units_are_named() -> None:
    network = Network(1, [Dense(4, "relu"), Dense(2, "logistic")], random_state=0)
    network.weights[1] = [[1.0, -1.0, 1.0, 1.0], [0.0, -1.0, 0.0, 0.0]]
    flat = np.zeros((5, 2))
    flat[4] = [6.0, 0.0]
    network.weights[2] = flat
    display = ActivationDisplay.from_network(network, np.linspace(0.1, 1, 5)[:, np.newaxis])
    assert display.axes_[0].get_xlabel() == "value\n1 of 4 units dead"
    assert display.axes_[1].get_xlabel() == "value\n0 of 2 units dead\n50% saturated"


def moons() -> tuple[Any, Any]:
    X = np.random.default_rng(0).normal(size=(80, 2))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def test_boundaries_over_the_epochs() -> None:
    X, t = moons()
    network = Network(2, [Dense(8, "tanh"), Dense(1, "logistic")], loss="log_loss", random_state=0)
    recorder = DecisionBoundaryRecorder(network, X, t, resolution=25)
    Trainer(network, random_state=0).fit(X, t, epochs=9, callbacks=[recorder])
    assert list(recorder.outputs) == [0, 1, 3, 7]
    display = DecisionBoundaryDisplay.from_recorder(recorder)
    assert [ax.get_title() for ax in display.axes_] == ["epoch 0", "epoch 1", "epoch 3", "epoch 7"]


def test_colours_are_the_predicted_classes() -> None:
    X, _ = moons()
    t = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    labels = np.array(["left", "middle", "right"])[t]
    clf = MLPClassifier((16,), solver="lbfgs", random_state=0).fit(X, labels)
    display = DecisionBoundaryDisplay.from_estimator(clf, X, labels, resolution=20)
    (ax,) = display.axes_
    image = np.asarray(ax.images[0].get_array())
    points = np.stack(np.meshgrid(display.grid.x, display.grid.y), axis=-1).reshape(-1, 2)
    predicted = clf.predict(points).reshape(20, 20)
    strongest = {}
    for label in clf.classes_:
        # White less colour: the hue of a class is the same all over its region.
        ink = 1 - image[predicted == label]
        hue = ink / ink.max(axis=1, keepdims=True)
        assert np.ptp(hue, axis=0).max() < 1e-6
        strongest[label] = tuple(np.round(hue[0], 6))
    assert len(set(strongest.values())) == 3
    marked = [(dots.get_label(), dots) for dots in ax.collections if dots.get_label() in clf.classes_]
    assert [name for name, _ in marked] == ["left", "middle", "right"]
    for k, (_, dots) in enumerate(marked):
        np.testing.assert_array_equal(dots.get_offsets(), X[t == k])
    assert [text.get_text() for text in display.figure_.legends[0].get_texts()] == list(clf.classes_)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("feature 0", "feature 1")


def test_boundary_of_a_frame_names_its_columns_and_targets_may_stand_in_a_column() -> None:
    X, t = moons()
    network = Network(2, [Dense(4, "tanh"), Dense(1)], loss="log_loss", random_state=0)
    frame = pd.DataFrame(X, columns=["height", "weight"])
    figure, given = plt.subplots()
    display = DecisionBoundaryDisplay.from_network(network, frame, t[:, np.newaxis], ax=given)
    (ax,) = display.axes_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("height", "weight")
    dots = {c.get_label(): len(c.get_offsets()) for c in ax.collections if c.get_label() in ("0", "1")}
    assert dots == {"0": np.sum(t == 0), "1": np.sum(t == 1)}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0", "1"]
    recorder = DecisionBoundaryRecorder(network, frame, t, resolution=10)
    recorder.record(3)
    assert DecisionBoundaryDisplay.from_recorder(recorder).axes_[0].get_xlabel() == "height"
    plt.close(figure)


def test_boundary_of_a_regression_shows_the_values() -> None:
    X, _ = moons()
    reg = MLPRegressor(hidden_layer_sizes=(5,), solver="lbfgs", random_state=0).fit(X, X[:, 0])
    display = DecisionBoundaryDisplay.from_estimator(reg, X, X[:, 0], resolution=15)
    points = np.stack(np.meshgrid(display.grid.x, display.grid.y), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(
        display.axes_[0].images[0].get_array(), reg.predict(points).reshape(15, 15), rtol=1e-6
    )


def squares(y_true: Any, y_pred: Any) -> Any:
    r = y_pred - y_true
    return (r**2).sum(axis=1), r  # the derivative lacks its factor 2


def test_a_wrong_gradient_stands_out() -> None:
    network = Network(
        12, [Dense(3, "tanh"), Dense(1, "identity")], loss=squares, dtype="float64", random_state=0
    )
    display = GradientCheckDisplay.from_network(network, ROWS[:5], ROWS[:5, :1])
    assert display.axes_.get_title() == "the gradient of layers 1, 2 is wrong"
    report = check_gradients(network, ROWS[:5], ROWS[:5, :1])
    for check, bar in zip(report.layers, display.axes_.patches, strict=True):
        assert bar.get_width() == pytest.approx(check.max_relative_error)
    words = " ".join(text.get_text() for text in display.axes_.texts)
    for check in report.layers:
        assert f"[{check.index[0]}, {check.index[1]}]" in words


def test_right_gradients_are_called_right() -> None:
    for dtype, tolerance in (("float64", "1e−06"), ("float32", "0.001")):
        network = Network(12, [Dense(3, "tanh"), Dense(1, "identity")], dtype=dtype, random_state=0)
        display = GradientCheckDisplay.from_network(network, ROWS[:5], ROWS[:5, :1])
        assert display.axes_.get_title() == f"no gradient is wrong: all errors are below {tolerance}"


@pytest.mark.parametrize("labels", [["no", "yes"], ["a", "b", "c"]], ids=len)
def test_displays_take_the_labels_of_a_classifier_with_a_custom_loss(labels: list[str]) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    y = np.array(labels)[np.arange(30) % len(labels)]
    clf = MLPClassifier((4,), loss=half_square, max_iter=2, n_iter_no_change=100, random_state=0)
    with pytest.warns(match="(?i)converge"):
        clf.fit(X, y)
    checked = GradientCheckDisplay.from_estimator(clf, X, y)
    reported = check_gradients(clf, X, y)
    assert checked.report.max_relative_error == reported.max_relative_error < 1e-5
    diagnostics = Diagnostics(clf, X, y)
    diagnostics.record(0)
    assert np.isfinite(diagnostics.loss_gradients[1][0])
    NetworkDisplay.from_estimator(clf, X, y, kind="backward")
