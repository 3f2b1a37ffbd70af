"""Losses that scikit-learn does not have."""

import numpy as np
import pytest
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import mean_pinball_loss

from densegrad import MLPClassifier, MLPRegressor
from problems import COMMON, X_REG, Y_REG, X, Y

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("loss", ["log_loss", "focal", "hinge", "squared_hinge"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_every_classification_loss_learns(loss, task, solver):
    if task == "multilabel":
        data, labels = make_multilabel_classification(300, 8, n_classes=3, random_state=0)
    else:
        data, labels = X, Y if task == "multiclass" else (Y > 0).astype(int)
    clf = MLPClassifier(**COMMON, loss=loss, solver=solver).fit(data, labels)
    assert (clf.predict(data) == labels).mean() > 0.75
    if loss in ("hinge", "squared_hinge"):
        assert not hasattr(clf, "predict_proba")
        decision = clf.decision_function(data)
        assert clf.out_activation_ == "identity"
        if task == "binary":
            np.testing.assert_array_equal(clf.predict(data), (decision > 0).astype(int))
    else:
        assert not hasattr(clf, "decision_function")
        assert clf.predict_proba(data).min() >= 0


REGRESSION = (
    "squared_error",
    "absolute_error",
    "huber",
    "log_cosh",
    "poisson",
    "gamma",
    "tweedie",
    "gaussian_nll",
)


@pytest.mark.parametrize("loss", REGRESSION)
@pytest.mark.parametrize("n_targets", [1, 2])
def test_every_regression_loss_learns(loss, n_targets):
    y = np.exp(Y_REG) if n_targets == 1 else np.exp(np.column_stack([Y_REG, -Y_REG]))
    reg = MLPRegressor(loss, **{**COMMON, "max_iter": 100}).fit(X_REG, y)
    assert reg.predict(X_REG).shape == y.shape
    assert reg.score(X_REG, y) > 0.9
    if loss in ("poisson", "gamma", "tweedie"):
        assert reg.out_activation_ == "exp"
        assert reg.predict(X_REG).min() > 0


@pytest.mark.parametrize(("loss", "y"), [("poisson", -1.0), ("gamma", 0.0), ("tweedie", -0.1)])
def test_targets_out_of_range_are_refused(loss, y):
    target = np.ones(len(X))
    target[3] = y
    with pytest.raises(ValueError, match=r"^y must be"):
        MLPRegressor(loss).fit(X, target)


def heteroscedastic(n=2000):
    rng = np.random.RandomState(0)
    x = rng.uniform(-1, 1, (n, 1))
    return x, np.sin(3 * x[:, 0]) + (0.1 + 0.4 * (x[:, 0] > 0)) * rng.normal(size=n)


def test_several_quantiles_cover_their_share_and_never_cross():
    x, y = heteroscedastic()
    levels = [0.1, 0.5, 0.9]
    reg = MLPRegressor(
        "quantile", (32, 32), quantile=levels, max_iter=80, random_state=0, learning_rate_init=5e-3
    )
    prediction = reg.fit(x, y).predict(x)
    assert prediction.shape == (len(x), 3)
    assert (np.diff(prediction, axis=1) > 0).all()
    np.testing.assert_allclose((y[:, None] < prediction).mean(axis=0), levels, atol=0.05)
    assert 0 < reg.score(x, y) < 1
    far = reg.predict(np.linspace(-50, 50, 101)[:, None])
    assert (np.diff(far, axis=1) >= 0).all()
    several = MLPRegressor("quantile", 8, quantile=levels, max_iter=3).fit(x, np.column_stack([y, 2 * y]))
    assert several.predict(x).shape == (len(x), 2, 3)


def test_one_quantile():
    x, y = heteroscedastic()
    reg = MLPRegressor("quantile", (32,), quantile=0.9, max_iter=60, random_state=0, learning_rate_init=5e-3)
    prediction = reg.fit(x, y).predict(x)
    assert prediction.shape == y.shape
    assert (y < prediction).mean() == pytest.approx(0.9, abs=0.05)
    alpha = {**COMMON, "alpha": 0.0, "batch_size": len(x), "max_iter": 1}
    one_step = MLPRegressor("quantile", quantile=0.9, **{**alpha, "learning_rate_init": 1e-12}).fit(x, y)
    assert one_step.loss_ == pytest.approx(mean_pinball_loss(y, one_step.predict(x), alpha=0.9), rel=1e-6)


def test_gaussian_predicts_its_spread():
    x, y = heteroscedastic()
    reg = MLPRegressor("gaussian_nll", (32, 32), max_iter=80, random_state=0, learning_rate_init=5e-3).fit(
        x, y
    )
    mean, std = reg.predict(x, return_std=True)
    np.testing.assert_array_equal(mean, reg.predict(x))
    assert np.median(std[x[:, 0] < -0.2]) == pytest.approx(0.1, abs=0.04)
    assert np.median(std[x[:, 0] > 0.2]) == pytest.approx(0.5, abs=0.1)
    two = np.column_stack([y, y])
    mean, std = MLPRegressor("gaussian_nll", 8, max_iter=2).fit(x, two).predict(x, return_std=True)
    assert mean.shape == std.shape == two.shape
    with pytest.raises(ValueError, match="gaussian_nll"):
        MLPRegressor(max_iter=1).fit(x, y).predict(x, return_std=True)


def half_squares(y_true, y_pred):
    return 0.5 * ((y_pred - y_true) ** 2).sum(axis=1), y_pred - y_true


def cross_entropy(y_true, y_pred):
    p = np.clip(y_pred, 1e-15, 1)
    if y_pred.shape[1] == 1:
        return (
            -(y_true * np.log(p) + (1 - y_true) * np.log1p(-p)).sum(axis=1),
            (p - y_true) / (p * (1 - p)),
        )
    return -(y_true * np.log(p)).sum(axis=1), -y_true / p


@pytest.mark.parametrize("weighted", [False, True])
def test_custom_losses_equal_the_built_in_ones(weighted):
    weight = np.random.RandomState(0).uniform(0.5, 2, len(X)) if weighted else None
    few = {**COMMON, "max_iter": 4}
    for y in (Y, (Y > 0).astype(int)):
        own = MLPClassifier(**few, loss=cross_entropy, early_stopping=True).fit(X, y, weight)
        built_in = MLPClassifier(**few, early_stopping=True).fit(X, y, weight)
        np.testing.assert_allclose(own.predict_proba(X), built_in.predict_proba(X), rtol=1e-6)
        np.testing.assert_allclose(own.loss_curve_, built_in.loss_curve_, rtol=1e-7)
        np.testing.assert_allclose(own.validation_loss_curve_, built_in.validation_loss_curve_, rtol=1e-7)
    for solver in ("adam", "lbfgs"):
        own = MLPRegressor(half_squares, **few, solver=solver).fit(X_REG, Y_REG, weight)
        built_in = MLPRegressor(**few, solver=solver).fit(X_REG, Y_REG, weight)
        np.testing.assert_allclose(own.predict(X_REG), built_in.predict(X_REG), rtol=1e-6, atol=1e-9)


def test_label_smoothing_holds_probabilities_back():
    sharp = MLPClassifier(**{**COMMON, "max_iter": 150}).fit(X, Y)
    smooth = MLPClassifier(**{**COMMON, "max_iter": 150}, label_smoothing=0.2).fit(X, Y)
    assert smooth.predict_proba(X).max(axis=1).mean() < sharp.predict_proba(X).max(axis=1).mean() - 0.05
    with pytest.raises(ValueError, match="label_smoothing"):
        MLPClassifier(loss="hinge", label_smoothing=0.1).fit(X, Y)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_loss_without_number_ends_the_training(early_stopping):
    def loss(y_true, y_pred):
        return np.full(len(y_pred), np.nan), y_pred - y_true

    reg = MLPRegressor(loss, max_iter=30, early_stopping=early_stopping, random_state=0)
    if early_stopping:
        with pytest.warns(UserWarning, match="diverged in epoch 1"):
            reg.fit(X_REG, Y_REG)
    else:
        with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
            reg.fit(X_REG, Y_REG)
    assert reg.n_iter_ == 1


def test_predictions_are_of_the_loss_that_was_fitted():
    reg = MLPRegressor("gaussian_nll", **COMMON).fit(X_REG, Y_REG)
    mean = reg.predict(X_REG)
    reg.set_params(loss="squared_error")
    np.testing.assert_array_equal(reg.predict(X_REG), mean)
    reg = MLPRegressor("quantile", quantile=[0.1, 0.9], **COMMON).fit(X_REG, Y_REG)
    score = reg.score(X_REG, Y_REG)
    reg.set_params(quantile=0.5)
    assert reg.predict(X_REG).shape == (300, 2)
    assert reg.score(X_REG, Y_REG) == score


class Empty:
    """A custom loss that is taken for false."""

    def __len__(self):
        return 0

    def __call__(self, y_true, y_pred):
        error = y_pred - y_true
        return (0.5 * error**2).sum(axis=1), error


def test_a_custom_loss_that_is_taken_for_false():
    custom = MLPRegressor(**COMMON, loss=Empty()).fit(X_REG, Y_REG)
    built_in = MLPRegressor(**COMMON).fit(X_REG, Y_REG)
    np.testing.assert_allclose(custom.predict(X_REG), built_in.predict(X_REG), rtol=1e-6, atol=1e-9)
