"""Activations, regularisation, optimizers and schedules that scikit-learn does not have."""

import numpy as np
import pytest

from densegrad import MLPClassifier, MLPRegressor, schedules
from problems import COMMON, X_REG, Y_REG, X, Y

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_penalties_act():
    plain = MLPClassifier(**COMMON, alpha=0).fit(X, Y)
    size = lambda clf: sum(np.abs(W).sum() for W in clf.coefs_)  # noqa: E731
    assert size(MLPClassifier(**COMMON, alpha=0, l1=1.0).fit(X, Y)) < 0.8 * size(plain)
    assert size(MLPClassifier(**COMMON, alpha=0, weight_decay=1.0).fit(X, Y)) < size(plain)
    assert size(MLPClassifier(**COMMON, alpha=0, solver="adamw", weight_decay=1.0).fit(X, Y)) < size(plain)
    bounded = MLPClassifier(**COMMON, alpha=0, max_norm=0.5).fit(X, Y)
    for W in bounded.coefs_:
        assert np.linalg.norm(W, axis=0).max() <= 0.5 * (1 + 1e-6)


def test_clipped_gradients_take_short_steps():
    parameters = {**COMMON, "solver": "sgd", "momentum": 0.0, "learning_rate_init": 1.0, "batch_size": 300}
    one = MLPRegressor(**{**parameters, "max_iter": 1}, clip_norm=1e-3, warm_start=True, alpha=0.0)
    before = one.fit(X_REG, 100 * Y_REG)
    first = np.concatenate([W.ravel() for W in [*before.coefs_, *before.intercepts_]])
    one.fit(X_REG, 100 * Y_REG)
    second = np.concatenate([W.ravel() for W in [*one.coefs_, *one.intercepts_]])
    assert np.linalg.norm(second - first) == pytest.approx(1e-3, rel=1e-6)


def test_dropout_is_for_training_only():
    a = MLPClassifier(**COMMON, dropout=0.5).fit(X, Y)
    np.testing.assert_array_equal(a.predict_proba(X), a.predict_proba(X))
    np.testing.assert_array_equal(
        a.predict_proba(X), MLPClassifier(**COMMON, dropout=0.5).fit(X, Y).predict_proba(X)
    )
    assert a.loss_ > MLPClassifier(**COMMON).fit(X, Y).loss_
    both = {**COMMON, "hidden_layer_sizes": (10, 10)}
    per_layer = MLPClassifier(**both, dropout=[0.5, 0.5]).fit(X, Y)
    np.testing.assert_array_equal(per_layer.coefs_[0], MLPClassifier(**both, dropout=0.5).fit(X, Y).coefs_[0])
    with pytest.raises(ValueError, match="dropout must have one value"):
        MLPClassifier(**both, dropout=[0.5]).fit(X, Y)


def test_activation_per_layer():
    both = {**COMMON, "hidden_layer_sizes": (10, 10)}
    listed = MLPRegressor(**both, activation=["tanh", "gelu"]).fit(X_REG, Y_REG)
    hidden = np.tanh(X_REG @ listed.coefs_[0] + listed.intercepts_[0])
    assert listed.score(X_REG, Y_REG) > 0.9
    same = MLPRegressor(**both, activation=["tanh", "tanh"]).fit(X_REG, Y_REG)
    np.testing.assert_array_equal(
        same.coefs_[0], MLPRegressor(**both, activation="tanh").fit(X_REG, Y_REG).coefs_[0]
    )
    assert hidden.shape == (300, 10)
    with pytest.raises(ValueError, match="activation must have one value"):
        MLPRegressor(**both, activation=["tanh"]).fit(X_REG, Y_REG)
    with pytest.raises(ValueError, match=r"relu.*tanh|tanh.*relu"):
        MLPRegressor(**both, activation=["tanh", "nonsense"]).fit(X_REG, Y_REG)


@pytest.mark.parametrize("activation", ["leaky_relu", "softplus", "elu", "selu", "silu", "gelu", "mish"])
def test_every_activation_learns(activation):
    assert MLPClassifier(**COMMON, activation=activation).fit(X, Y).score(X, Y) > 0.8


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "lion"])
def test_every_optimizer_learns(solver):
    rate = {"sgd": 0.1, "adagrad": 0.05, "lion": 0.004}.get(solver, 0.01)
    clf = MLPClassifier(**{**COMMON, "learning_rate_init": rate}, solver=solver).fit(X, Y)
    assert clf.score(X, Y) > 0.8


@pytest.mark.parametrize(
    "schedule",
    [
        "constant",
        "invscaling",
        "adaptive",
        "step",
        "cosine",
        "one_cycle",
        "warm_up",
        "plateau",
        schedules.WarmUp(5, then=schedules.Cosine()),
        lambda step, n_steps: 0.01 * (1 - step / n_steps),
    ],
    ids=str,
)
def test_every_schedule_sets_the_rates(schedule):
    rates = []
    clf = MLPClassifier(
        **COMMON, schedule=schedule, callbacks=[lambda epoch, logs: rates.append(logs["learning_rate"])]
    ).fit(X, Y)
    assert len(rates) == clf.n_iter_
    assert max(rates) <= 0.01 + 1e-15
    if schedule not in ("constant", "adaptive", "plateau", "warm_up"):
        assert rates[-1] < 0.5 * max(rates)
    assert clf.score(X, Y) > 0.7


def test_a_constant_schedule_changes_nothing():
    a = MLPClassifier(**COMMON).fit(X, Y)
    b = MLPClassifier(**COMMON, schedule=lambda step, n_steps: 0.01).fit(X, Y)
    np.testing.assert_array_equal(a.coefs_[0], b.coefs_[0])


def test_lbfgs_refuses_what_it_would_ignore():
    for name, value in {
        "dropout": 0.1,
        "l1": 1.0,
        "clip_norm": 1.0,
        "schedule": "cosine",
        "max_norm": 1.0,
    }.items():
        with pytest.raises(ValueError, match=name):
            MLPClassifier(solver="lbfgs", **{name: value}).fit(X, Y)
