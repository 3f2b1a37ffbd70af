"""Losses, regularisation, optimizers, schedules, hooks and batches that scikit-learn does not have."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_classification, make_multilabel_classification, make_regression
from sklearn.metrics import mean_pinball_loss

from densegrad import MLPClassifier, MLPRegressor, schedules

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(300, 8, n_informative=5, n_classes=3, random_state=0)
X_REG, Y_REG = make_regression(300, 8, n_informative=4, random_state=0)
Y_REG = Y_REG / np.abs(Y_REG).max()
COMMON = {"hidden_layer_sizes": 20, "max_iter": 40, "random_state": 0, "learning_rate_init": 0.01}


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
    with pytest.raises(ValueError, match="needs y"):
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
def test_own_losses_equal_the_built_in_ones(weighted):
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


def test_callbacks_see_every_epoch_and_may_stop():
    seen = []

    def watch(epoch, logs):
        seen.append((epoch, dict(logs)))
        return epoch == 6

    clf = MLPClassifier(**COMMON, early_stopping=True, callbacks=[watch]).fit(X, Y)
    assert clf.n_iter_ == 7
    assert [epoch for epoch, _ in seen] == list(range(7))
    assert [logs["loss"] for _, logs in seen] == clf.loss_curve_
    assert [logs["score"] for _, logs in seen] == clf.validation_scores_
    assert [logs["validation_loss"] for _, logs in seen] == clf.validation_loss_curve_
    iterations = []
    lbfgs = MLPClassifier(
        **COMMON, solver="lbfgs", callbacks=[lambda i, logs: iterations.append(logs["loss"]) or i == 3]
    )
    assert lbfgs.fit(X, Y).n_iter_ == len(iterations) == 4
    assert lbfgs.loss_ == pytest.approx(iterations[-1])


def test_progress_bar(capsys):
    MLPClassifier(**{**COMMON, "max_iter": 5}, progress=True).fit(X, Y)
    shown = capsys.readouterr().err
    assert "5/5" in shown
    assert "loss=" in shown


def test_verbose_prints_what_scikit_learn_prints(capsys):
    from sklearn.neural_network import MLPClassifier as Original

    outputs = []
    for Estimator in (MLPClassifier, Original):
        Estimator(8, max_iter=4, random_state=0, verbose=True, early_stopping=True).fit(X, Y)
        Estimator(8, solver="sgd", learning_rate="adaptive", tol=1.0, n_iter_no_change=1, max_iter=50,
                  learning_rate_init=1e-4, random_state=0, verbose=True).fit(X, Y)  # fmt: skip
        outputs.append(capsys.readouterr().out)
    assert "Learning rate too small. Stopping." in outputs[0]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("answer", [True, np.True_])
def test_true_of_a_callback_stops_also_as_numpys(answer):
    assert MLPClassifier(**COMMON, callbacks=[lambda epoch, logs: answer]).fit(X, Y).n_iter_ == 1


def test_scikit_learns_callbacks():
    callback = pytest.importorskip("sklearn.callback")

    class Recorder:
        def __init__(self):
            self.scores, self.names = [], []

        def setup(self, estimator, context):
            self.names.append("setup")

        def teardown(self, estimator, context):
            self.names.append("teardown")

        def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
            self.names.append("begin")

        def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
            self.scores.append(fitted_estimator.score(X, y))
            return context.task_name == "epoch" and context.task_id == 4

    for Estimator, y, solver in (
        (MLPClassifier, Y, "adam"),
        (MLPRegressor, Y_REG, "adam"),
        (MLPClassifier, Y, "lbfgs"),
    ):
        recorder = Recorder()
        estimator = Estimator(**COMMON, solver=solver).set_callbacks(recorder)
        estimator.fit(X, y)
        assert estimator.n_iter_ == 5
        assert recorder.names == ["setup"] + ["begin"] * 6 + ["teardown"]
        assert recorder.scores[-1] == recorder.scores[-2] == estimator.score(X, y)
        assert recorder.scores[0] != recorder.scores[-1]
    monitor = callback.ScoringMonitor(scoring="accuracy")
    clf = MLPClassifier(**COMMON).set_callbacks(monitor).fit(X, Y)
    assert len(monitor.get_logs().data) >= clf.n_iter_


def test_partial_fit_takes_batches():
    parts = np.array_split(np.arange(len(X)), 5)
    a = MLPClassifier(**COMMON).partial_fit(((X[p], Y[p]) for p in parts), classes=[0, 1, 2])
    b = MLPClassifier(**COMMON)
    for p in parts:
        b.partial_fit(X[p], Y[p], classes=[0, 1, 2])
    np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))
    weight = np.linspace(1, 2, len(X))
    reg = MLPRegressor(**COMMON).partial_fit([(X_REG[p], Y_REG[p], weight[p]) for p in parts])
    assert reg.t_ == len(X)
    with pytest.raises(ValueError, match="target y is None"):
        MLPRegressor().partial_fit(X_REG)
    with pytest.raises(ValueError, match="must be a tuple"):
        MLPRegressor().partial_fit(iter([(X_REG, Y_REG), X_REG]))


def test_threads_do_not_change_a_bit():
    digits, labels = load_digits(return_X_y=True)
    one = MLPClassifier(**{**COMMON, "max_iter": 3}, n_threads=1, dropout=0.1).fit(digits, labels)
    two = MLPClassifier(**{**COMMON, "max_iter": 3}, n_threads=2, dropout=0.1).fit(digits, labels)
    np.testing.assert_array_equal(one.predict_proba(digits), two.predict_proba(digits))


def test_memory_maps_are_read_in_place(tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    a, b = MLPClassifier(**COMMON).fit(mapped, Y), MLPClassifier(**COMMON).fit(X, Y)
    np.testing.assert_array_equal(a.predict_proba(mapped), b.predict_proba(X))


@pytest.mark.parametrize(
    ("Estimator", "parameters", "error", "message"),
    [
        (MLPRegressor, {"loss": "quantile", "quantile": []}, ValueError, "quantile"),
        (MLPRegressor, {"loss": "quantile", "quantile": [0.9, 0.1]}, ValueError, "quantile"),
        (MLPRegressor, {"loss": "quantile", "quantile": [0.1, 1.0]}, ValueError, "quantile"),
        (MLPRegressor, {"loss": "huber", "delta": 0.0}, ValueError, "delta"),
        (MLPRegressor, {"loss": "tweedie", "power": 2.0}, ValueError, "power"),
        (MLPClassifier, {"callbacks": [3]}, TypeError, "callbacks"),
        (MLPClassifier, {"schedule": lambda step, n_steps: "fast"}, TypeError, "schedule"),
        (MLPClassifier, {"schedule": lambda step, n_steps: -1.0}, ValueError, "learning_rate"),
        (MLPClassifier, {"dropout": 1.0}, ValueError, "dropout"),
        (MLPClassifier, {"dropout": [1.5]}, ValueError, "dropout"),
        (MLPClassifier, {"loss": lambda t, p: (p[:, 0], p[:3])}, ValueError, "loss must return"),
        (MLPClassifier, {"hidden_layer_sizes": 10**12}, ValueError, "units"),
        (MLPClassifier, {"n_threads": 0}, ValueError, "n_threads"),
        (MLPClassifier, {"max_time": 0}, ValueError, "max_time"),
        (MLPClassifier, {"class_weight": {0: -1.0}}, ValueError, "class_weight"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_parameters_are_named(Estimator, parameters, error, message):
    with pytest.raises(error, match=message):
        Estimator(**parameters).fit(X, Y)


@pytest.mark.parametrize("size", [0, -3, 2.5, True])
def test_bad_layer_sizes_are_named(size):
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        MLPClassifier(hidden_layer_sizes=(3, size)).fit(X, Y)


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


def test_numbers_of_numpy_are_parameters():
    MLPClassifier(dropout=np.float32(0.1), alpha=np.float32(0), l1=np.float64(0), max_iter=1).fit(X, Y)
    MLPClassifier(dropout=np.int64(0), alpha=True, max_iter=1).fit(X, Y)


def test_the_network_of_an_estimator_can_be_looked_at():
    clf = MLPClassifier(**COMMON)
    assert not hasattr(clf, "network_")
    clf.fit(X, Y)
    np.testing.assert_array_equal(clf.network_.predict(X), clf.predict_proba(X))
    assert clf.network_.backpropagate(X, Y).loss_gradients[1].shape == (300, 20)


def test_rows_beyond_the_range_of_float32_are_refused_by_a_float32_network():
    clf = MLPClassifier(**COMMON).fit(X.astype(np.float32), Y)
    with pytest.raises(ValueError, match="too large for float32"):
        clf.predict(X * 1e100)


def test_partial_fit_without_y_says_so():
    with pytest.raises(ValueError, match="requires y to be passed"):
        MLPRegressor().partial_fit(X_REG)


@pytest.mark.parametrize(
    "arguments", [{"tol": 10.0, "n_iter_no_change": 2}, {"schedule": "adaptive", "tol": 10.0}]
)
def test_callbacks_see_every_epoch(arguments):
    seen = []
    clf = MLPClassifier(
        max_iter=60, random_state=0, callbacks=[lambda epoch, logs: seen.append(epoch)], **arguments
    )
    clf.fit(X, Y)
    assert clf.n_iter_ < 60
    assert seen == list(range(clf.n_iter_))
