"""Learning curves and gradient flow: the lines are the numbers."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from densegrad import Adam, Dense, History, MLPClassifier, Network, Trainer
from densegrad.display import Diagnostics, GradientFlowDisplay, LearningCurveDisplay


def trained() -> tuple[History, Diagnostics]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3))
    t = X[:, :1] * X[:, 1:2]
    network = Network(3, [Dense(8, "tanh"), Dense(6, "relu"), Dense(1, "identity")], random_state=0)
    diagnostics = Diagnostics(network, X, t)
    history = Trainer(network, Adam(0.01), batch_size=20, random_state=0).fit(
        X[:100],
        t[:100],
        epochs=6,
        validation=(X[100:], t[100:]),
        scoring=lambda trainer: -trainer.network.evaluate(X[100:], t[100:]),
        callbacks=[diagnostics],
    )
    return history, diagnostics


def test_learning_curve_of_a_history() -> None:
    history, _ = trained()
    display = LearningCurveDisplay.from_history(history, log=True)
    losses, score, rate = display.axes_
    assert [ax.get_ylabel() for ax in display.axes_] == ["loss", "score", "learning rate"]
    assert list(losses.lines[0].get_ydata()) == history.loss
    assert list(losses.lines[1].get_ydata()) == history.validation_loss
    assert list(score.lines[0].get_ydata()) == history.score
    assert list(rate.lines[0].get_ydata()) == history.learning_rate
    assert losses.get_yscale() == "log"
    assert losses.lines[2].get_xdata()[0] == history.best_epoch
    assert losses.lines[2].get_label() == f"best epoch {history.best_epoch}"
    assert len(rate.lines) == 1


def test_learning_curve_of_an_estimator() -> None:
    X = np.random.default_rng(0).normal(size=(200, 3))
    clf = MLPClassifier((5,), max_iter=4, early_stopping=True, random_state=0, n_iter_no_change=np.inf)
    with pytest.warns(match="(?i)converge"):
        clf.fit(X, X[:, 0] > 0)
    display = LearningCurveDisplay.from_estimator(clf)
    losses, scores = display.axes_
    assert list(losses.lines[0].get_ydata()) == clf.loss_curve_
    assert list(losses.lines[1].get_ydata()) == clf.validation_loss_curve_
    assert list(scores.lines[0].get_ydata()) == clf.validation_scores_
    assert losses.lines[2].get_xdata()[0] == np.argmax(clf.validation_scores_)


def test_one_axes_is_divided() -> None:
    history, _ = trained()
    figure, (left, right) = plt.subplots(1, 2)
    display = LearningCurveDisplay.from_history(history, ax=right)
    assert display.figure_ is figure
    assert len(display.axes_) == 3
    edges = [ax.get_position().x0 for ax in display.axes_]
    assert min(edges) > left.get_position().x1


def test_without_validation_no_epoch_is_marked() -> None:
    display = LearningCurveDisplay(loss=[3.0, 2.0, 1.0], best_epoch=2).plot()
    assert len(display.axes_[0].lines) == 1


def test_one_epoch_is_a_dot() -> None:
    display = LearningCurveDisplay(loss=[0.5]).plot()
    assert display.axes_[0].lines[0].get_marker() == "o"


def test_gradient_flow_draws_the_records() -> None:
    _, diagnostics = trained()
    display = GradientFlowDisplay.from_diagnostics(diagnostics)
    for ax, quantity in zip(
        display.axes_, ("loss_gradients", "weight_gradients", "update_ratio"), strict=True
    ):
        assert ax.get_yscale() == "log"
        assert [line.get_label() for line in ax.lines] == ["layer 1", "layer 2", "layer 3"]
        for l, line in enumerate(ax.lines, 1):
            np.testing.assert_array_equal(line.get_ydata(), getattr(diagnostics, quantity)[l])
    limits = {ax.get_xlim() for ax in display.axes_}
    assert len(limits) == 1


def test_gradient_flow_of_shares() -> None:
    _, diagnostics = trained()
    display = GradientFlowDisplay.from_diagnostics(diagnostics, quantities=["dead", "saturated"])
    for ax in display.axes_:
        assert ax.get_ylim() == (-0.03, 1.03)
    assert list(display.axes_[0].lines[1].get_ydata()) == diagnostics.dead[2]


def test_the_legend_of_a_deep_network_is_short() -> None:
    network = Network(3, [Dense(4, "tanh")] * 29 + [Dense(1, "identity")], random_state=0)
    diagnostics = Diagnostics(network, np.ones((4, 3)), np.zeros(4))
    diagnostics.record(0)
    display = GradientFlowDisplay.from_diagnostics(diagnostics)
    words = [text.get_text() for text in display.axes_[0].get_legend().get_texts()]
    assert len(words) <= 11
    assert words[0] == "layer 1"
    assert words[-1] == "layer 30"
