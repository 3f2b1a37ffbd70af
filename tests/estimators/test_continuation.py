"""warm_start, partial_fit, pickles: training goes on exactly where it stopped. Weights that users assign."""

import copy
import pickle
import threading

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from densegrad import Adam, MLPClassifier, MLPRegressor, Trainer
from densegrad.training.descent import GradientDescent

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(230, 8, n_informative=5, n_classes=3, random_state=0)
X_REG, Y_REG = make_regression(230, 8, random_state=0)
Y_REG = Y_REG / np.abs(Y_REG).max()
COMMON = {"hidden_layer_sizes": (9, 6), "random_state": 0, "batch_size": 50, "n_iter_no_change": 1000}


def assert_same_bits(a, b):
    for V, W in zip([*a.coefs_, *a.intercepts_], [*b.coefs_, *b.intercepts_], strict=True):
        np.testing.assert_array_equal(V, W)


def reloaded(estimator):
    return pickle.loads(pickle.dumps(estimator))


VARIANTS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adamw": {"solver": "adamw"},
    "nadam": {"solver": "nadam"},
    "rmsprop": {"solver": "rmsprop"},
    "adagrad": {"solver": "adagrad"},
    "lion": {"solver": "lion"},
    "dropout": {"dropout": 0.3},
    "early stopping": {"early_stopping": True},
    "plateau": {"schedule": "plateau", "learning_rate_init": 0.1},
    "not shuffled": {"shuffle": False},
    "RandomState": {"random_state": "instance"},
}


@pytest.mark.parametrize(
    "between", [lambda e: e, reloaded, copy.deepcopy], ids=["alive", "pickled", "copied"]
)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ten_and_ten_are_twenty(between, variant, dtype):
    def estimator(max_iter):
        parameters = {**COMMON, **VARIANTS[variant], "max_iter": max_iter}
        if parameters["random_state"] == "instance":
            parameters["random_state"] = np.random.RandomState(4)
        return MLPClassifier(**parameters, warm_start=True)

    whole = estimator(20).fit(X.astype(dtype), Y)
    halves = between(estimator(10).fit(X.astype(dtype), Y)).fit(X.astype(dtype), Y)
    assert_same_bits(whole, halves)
    assert whole.loss_curve_ == halves.loss_curve_
    assert whole.validation_scores_ == halves.validation_scores_
    assert (whole.t_, halves.n_iter_) == (halves.t_, 10)
    np.testing.assert_array_equal(whole.predict_proba(X), halves.predict_proba(X))


@pytest.mark.parametrize("between", [lambda e: e, reloaded], ids=["alive", "pickled"])
def test_twenty_partial_fits_are_a_fit_of_twenty_epochs(between):
    whole = MLPRegressor(**COMMON, max_iter=20).fit(X_REG, Y_REG)
    parts = MLPRegressor(**COMMON)
    for epoch in range(20):
        if epoch == 9:
            parts = between(parts)
        parts.partial_fit(X_REG, Y_REG)
    assert_same_bits(whole, parts)
    assert whole.loss_curve_ == parts.loss_curve_


def test_a_new_fit_begins_anew():
    clf = MLPClassifier(**COMMON, max_iter=5).fit(X, Y)
    first = [W.copy() for W in clf.coefs_]
    clf.partial_fit(X, Y).fit(X, Y)
    for V, W in zip(first, clf.coefs_, strict=True):
        np.testing.assert_array_equal(V, W)
    assert len(clf.loss_curve_) == 5


def test_parameters_may_change_between():
    clf = MLPClassifier(**COMMON, max_iter=3, warm_start=True).fit(X, Y)
    before = clf.score(X, Y)
    for change in (
        {"learning_rate_init": 0.01},
        {"alpha": 0.1, "clip_norm": 1.0},
        {"solver": "sgd"},
        {"activation": "tanh"},
        {"dropout": 0.1},
        {"early_stopping": True},
        {"batch_size": 20},
        {"solver": "lbfgs", "dropout": 0.0, "clip_norm": None},
    ):
        clf.set_params(**change).fit(X, Y)
        assert np.isfinite(clf.loss_)
    assert clf.score(X, Y) > before
    with pytest.raises(ValueError, match="layers it began with"):
        clf.set_params(hidden_layer_sizes=(9, 7)).fit(X, Y)
    assert clf.coefs_[1].shape == (9, 6)


def test_pickles_hold_parameters_and_state_only():
    sizes = []
    for n_rows in (1000, 20000):
        Xn, yn = make_classification(n_rows, 8, random_state=0)
        clf = MLPClassifier(hidden_layer_sizes=(50, 50), max_iter=2, random_state=0, early_stopping=True).fit(
            Xn, yn
        )
        sizes.append(len(pickle.dumps(clf)))
    assert abs(sizes[1] - sizes[0]) < 200
    n_parameters = sum(W.size for W in [*clf.coefs_, *clf.intercepts_])
    # Weights, last and best, and Adam's two moments, in float64; and the state of the generator a few times.
    assert sizes[0] < 5 * 8 * n_parameters + 30_000


def test_pickles_stop_growing_with_partial_fit():
    reg = MLPRegressor(hidden_layer_sizes=3, random_state=0)
    reg.partial_fit(X_REG[:10], Y_REG[:10])
    reg.loss_curve_ = [0.5] * 10_000
    before = len(pickle.dumps(reg))
    for _ in range(50):
        reg.partial_fit(X_REG[:10], Y_REG[:10])
    assert len(reg.loss_curve_) == 10_000
    assert len(pickle.dumps(reg)) - before < 1000


def test_joblib_with_memory_maps(tmp_path):
    clf = MLPClassifier(**COMMON, max_iter=3).fit(X, Y)
    joblib.dump(clf, tmp_path / "clf.joblib")
    loaded = joblib.load(tmp_path / "clf.joblib", mmap_mode="r")
    np.testing.assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    assert_same_bits(loaded.partial_fit(X, Y), clf.partial_fit(X, Y))


def test_clones_are_unfitted_and_equal():
    clf = MLPClassifier(**COMMON, class_weight={0: 2.0}, dropout=[0.1, 0.2], max_iter=3).fit(X, Y)
    other = clone(clf)
    assert other.get_params() == clf.get_params()
    with pytest.raises(NotFittedError):
        other.predict(X)
    assert_same_bits(clf, other.fit(X, Y))


def test_assigned_weights_are_used():
    reg = MLPRegressor(**COMMON, max_iter=3).fit(X_REG, Y_REG)
    W0, W1 = (np.random.RandomState(0).normal(size=W.shape) for W in reg.coefs_[:2])
    hidden = np.maximum(X_REG @ W0 + reg.intercepts_[0], 0)
    reg.coefs_[0] = W0
    expected = np.maximum(hidden @ reg.coefs_[1] + reg.intercepts_[1], 0) @ reg.coefs_[2] + reg.intercepts_[2]
    np.testing.assert_allclose(reg.predict(X_REG), expected[:, 0], rtol=1e-10)
    reg.coefs_ = [reg.coefs_[0], W1, reg.coefs_[2]]
    expected = np.maximum(hidden @ W1 + reg.intercepts_[1], 0) @ reg.coefs_[2] + reg.intercepts_[2]
    np.testing.assert_allclose(reg.predict(X_REG), expected[:, 0], rtol=1e-10)
    reg.intercepts_ = [b * 0 for b in reg.intercepts_]
    assert reg.predict(np.zeros((1, 8))) == 0
    np.testing.assert_array_equal(reloaded(reg).predict(X_REG), reg.predict(X_REG))
    np.testing.assert_array_equal(copy.deepcopy(reg).coefs_[1], W1)


@pytest.mark.parametrize("wrong", [1e300, 1j, np.nan])
def test_assigned_weights_are_taken_all_or_none(wrong):
    reg = MLPRegressor(**COMMON, max_iter=3).fit(X_REG.astype(np.float32), Y_REG)
    before = reg._training.network.parameters
    coefs = reg.coefs_
    reg.coefs_ = [coefs[0] + 1, *coefs[1:-1], coefs[-1] * np.array([wrong])]
    with pytest.raises((TypeError, ValueError), match=r"coefs_|parameters"):
        reg.predict(X_REG)
    np.testing.assert_array_equal(reg._training.network.parameters, before)


def test_edits_in_place_fail_loudly():
    reg = MLPRegressor(**COMMON, max_iter=3).fit(X_REG, Y_REG)
    with pytest.raises(ValueError, match="read-only"):
        reg.coefs_[0][0, 0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        reg.intercepts_[1] += 1.0
    mine = np.ones(reg.coefs_[0].shape)
    reg.coefs_[0] = mine
    reg.predict(X_REG)
    with pytest.raises(ValueError, match="read-only"):
        reg.coefs_[0][0, 0] = 2.0


@pytest.mark.parametrize("bad", [np.ones((3, 3)), np.ones(4), np.full((8, 9), np.nan)])
def test_bad_assignments_are_refused(bad):
    reg = MLPRegressor(**COMMON, max_iter=3).fit(X_REG, Y_REG)
    before = reg.predict(X_REG)
    good = reg.coefs_[0]
    reg.coefs_[0] = bad
    with pytest.raises(ValueError, match=r"coefs_\[0\] must (have shape \(8, 9\)|be finite)"):
        reg.predict(X_REG)
    reg.coefs_[0] = good
    np.testing.assert_array_equal(reg.predict(X_REG), before)


def test_training_goes_on_from_assigned_weights():
    a = MLPRegressor(**COMMON, max_iter=1, warm_start=True).fit(X_REG, Y_REG)
    b = MLPRegressor(**COMMON, max_iter=1, warm_start=True).fit(X_REG, Y_REG)
    b.coefs_ = [np.zeros_like(W) for W in a.coefs_]
    b.fit(X_REG, Y_REG)
    a.fit(X_REG, Y_REG)
    assert np.abs(b.coefs_[0]).max() < 0.1 < np.abs(a.coefs_[0]).max()


def test_weights_of_elsewhere_without_a_fit():
    fitted = MLPRegressor(**COMMON, max_iter=3).fit(X_REG, Y_REG)
    reg = MLPRegressor(**COMMON)
    reg.coefs_, reg.intercepts_ = list(fitted.coefs_), list(fitted.intercepts_)
    reg.n_features_in_, reg.out_activation_, reg.n_layers_, reg.n_outputs_ = 8, "identity", 4, 1
    np.testing.assert_array_equal(reg.predict(X_REG), fitted.predict(X_REG))


def test_coefs_without_intercepts_are_no_fit():
    reg = MLPRegressor(**COMMON, max_iter=3)
    reg.coefs_ = [np.ones((8, 1))]
    reg.n_features_in_, reg.out_activation_ = 8, "identity"
    with pytest.raises(NotFittedError):
        reg.predict(X_REG)
    assert not hasattr(reg, "network_")
    assert_same_bits(reg.partial_fit(X_REG, Y_REG), MLPRegressor(**COMMON).partial_fit(X_REG, Y_REG))


def test_lists_shown_follow_the_training():
    reg = MLPRegressor(**COMMON, max_iter=3).fit(X_REG, Y_REG)
    before = reg.coefs_
    reg.partial_fit(X_REG, Y_REG)
    assert not np.array_equal(before[0], reg.coefs_[0])
    assert reg.coefs_ is reg.coefs_


def zeroed(network):
    network.parameters = np.zeros(network.n_parameters)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_weights_shown_are_those_of_the_network(early_stopping):
    clf = MLPClassifier(**COMMON, max_iter=5, early_stopping=early_stopping).fit(X, Y)
    before = clf.coefs_
    Trainer(clf.network_, Adam(0.05), random_state=0).fit(X, Y, epochs=20)
    score = clf.score(X, Y)
    for l, (W, b) in enumerate(zip(clf.coefs_, clf.intercepts_, strict=True), 1):
        np.testing.assert_array_equal(np.vstack([W, b]), clf.network_.weights[l])
    assert clf.coefs_ is clf.coefs_ is not before
    clf.intercepts_[0] = clf.intercepts_[0].copy()
    assert clf.score(X, Y) == score
    zeroed(clf.network_)
    assert not any(W.any() for W in [*clf.coefs_, *clf.intercepts_])
    clf.coefs_ = before
    np.testing.assert_array_equal(clf.network_.weights[1][:-1], before[0])


def test_what_was_assigned_wins_where_the_network_has_changed_too():
    reg = MLPRegressor(**COMMON, max_iter=3).fit(X_REG, Y_REG)
    shown = reg.coefs_
    mine = np.ones(shown[0].shape)
    shown[0] = mine
    zeroed(reg._training.network)  # network_ would have taken over the assigned arrays
    np.testing.assert_array_equal(reg.coefs_[0], mine)
    assert not reg.coefs_[1].any()
    reg.predict(X_REG)
    np.testing.assert_array_equal(reg.network_.weights[1], np.vstack([mine, np.zeros(9)]))
    assert not reg.network_.weights[2].any()


def test_training_goes_on_in_the_network_that_is_shown():
    clf = MLPClassifier(**COMMON, max_iter=5, early_stopping=True, warm_start=True, learning_rate_init=0.1)
    network = clf.fit(X, Y).network_
    assert clf.fit(X, Y).network_ is network
    assert clf.set_params(solver="lbfgs", early_stopping=False).fit(X, Y).network_ is network
    zeroed(network)
    clf.set_params(solver="sgd", learning_rate_init=1e-9).partial_fit(X, Y)
    assert clf.network_ is network
    assert np.abs(network.parameters).max() < 1e-6


@pytest.mark.parametrize("change", ["assignment", "trainer"])
def test_early_stopping_goes_on_from_changed_weights(change):
    parameters = {
        **COMMON,
        "early_stopping": True,
        "warm_start": True,
        "max_iter": 30,
        "n_iter_no_change": 100,
    }
    reg = MLPRegressor(**parameters, learning_rate_init=0.05).fit(X_REG, Y_REG)
    if change == "assignment":
        for i in range(len(reg.coefs_)):
            reg.coefs_[i], reg.intercepts_[i] = reg.coefs_[i] * 0, reg.intercepts_[i] * 0
    else:
        zeroed(reg.network_)
    reg.set_params(max_iter=1, learning_rate_init=1e-9).fit(X_REG, Y_REG)
    assert np.abs(reg.network_.parameters).max() < 1e-6


def test_parameters_change_where_the_squares_have_overflowed():
    rows = (X_REG * 1e20).astype(np.float32)
    parameters = {**COMMON, "loss": "absolute_error", "warm_start": True, "max_iter": 3}
    reg = MLPRegressor(**parameters).fit(rows, Y_REG)
    assert any(np.isinf(layer[1]).any() for layer in reg._training.descent.state())
    reg.set_params(clip_norm=1.0).fit(rows, Y_REG)
    assert reg.n_iter_ == 3


def test_a_shallow_copy_shares_what_fitting_does_not_make():
    clf = MLPClassifier(**COMMON, max_iter=2).fit(X, Y)
    clf.lock = threading.Lock()
    assert copy.copy(clf).lock is clf.lock


def test_training_goes_on_after_divergence_under_early_stopping():
    parameters = {**COMMON, "activation": "identity", "solver": "sgd", "warm_start": True, "max_iter": 5}
    reg = MLPRegressor(**parameters, early_stopping=True).fit(X_REG, Y_REG)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        reg.set_params(learning_rate_init=1e3).fit(X_REG, Y_REG)
    reg.set_params(learning_rate_init=1e-3).fit(X_REG, Y_REG)
    assert reg.n_iter_ == 5
    assert reg.loss_ < 1


@pytest.mark.parametrize("random_state", [0, "instance"])
def test_a_shallow_copy_trains_on_its_own(random_state):
    if random_state == "instance":
        random_state = np.random.RandomState(3)
    a = MLPClassifier(**{**COMMON, "random_state": random_state}, max_iter=3).fit(X, Y)
    weights, proba, curve = a.coefs_, a.predict_proba(X), list(a.loss_curve_)
    b = copy.copy(a)
    assert b.random_state is a.random_state
    assert_same_bits(a, b)
    b.partial_fit(X, Y)
    np.testing.assert_array_equal(a.predict_proba(X), proba)
    assert a.coefs_ is weights
    assert a.loss_curve_ == curve
    assert b.loss_curve_[:-1] == curve
    assert not np.array_equal(b.coefs_[0], weights[0])
    if isinstance(random_state, int):
        assert_same_bits(a.partial_fit(X, Y), b)


def test_ctrl_c_keeps_a_usable_model():
    def interrupt(epoch, logs):
        if epoch == 4:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        clf = MLPClassifier(**COMMON, max_iter=50, callbacks=[interrupt], warm_start=True).fit(X, Y)
    assert clf.n_iter_ == 5
    clf.set_params(callbacks=None, max_iter=15).fit(X, Y)
    assert_same_bits(clf, MLPClassifier(**COMMON, max_iter=20).fit(X, Y))


def test_ctrl_c_ends_all_batches_of_a_partial_fit(monkeypatch):
    reg = MLPRegressor(**COMMON).partial_fit(X_REG, Y_REG)
    epochs = []

    def interrupted(trainer, *arguments, **options):
        epochs.append(trainer)
        raise KeyboardInterrupt

    monkeypatch.setattr(GradientDescent, "run", interrupted)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        assert reg.partial_fit((X_REG, Y_REG) for _ in range(5)) is reg
    assert len(epochs) == 1


def test_batches_there_must_be():
    clf = MLPClassifier(**COMMON)
    for X_none in (iter([]), (batch for batch in ())):
        with pytest.raises(ValueError, match="at least one batch"):
            clf.partial_fit(X_none, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="y must be part of the batches"):
        clf.partial_fit(iter([(X, Y)]), Y, classes=[0, 1, 2])
    assert not hasattr(clf, "network_")


@pytest.mark.parametrize(
    "schedule", ["warm_up", "invscaling", "cosine", "step", lambda step, _: 0.01 / (1 + step)]
)
def test_schedules_go_on_from_one_partial_fit_to_the_next(schedule):
    arguments = {**COMMON, "max_iter": 6, "schedule": schedule, "shuffle": False}
    whole = MLPClassifier(**arguments).fit(X, Y)
    parts = MLPClassifier(**arguments)
    for _ in range(6):
        parts.partial_fit(X, Y, classes=[0, 1, 2])
    assert_same_bits(whole, parts)


EARLY = {**COMMON, "early_stopping": True, "warm_start": True, "learning_rate_init": 0.01}


def best_of(clf, epochs):
    """The score of the network, and the best one of the last epochs, which it must have."""
    assert len(clf.validation_scores_) >= epochs
    return clf.best_validation_score_, max(clf.validation_scores_[-epochs:])


def test_early_stopping_forgets_the_score_of_weights_that_were_replaced():
    clf = MLPClassifier(**EARLY, max_iter=300).fit(X, Y)
    random = np.random.RandomState(1)
    clf.coefs_ = [0.3 * random.normal(size=W.shape) for W in clf.coefs_]
    before = clf.score(X, Y)
    best, reached = best_of(clf.set_params(max_iter=30).fit(X, Y), 30)
    assert best == reached
    assert clf.score(X, Y) > before + 0.2


def test_early_stopping_forgets_the_score_of_another_activation():
    clf = MLPClassifier(**EARLY, max_iter=300).fit(X, Y)
    before = clf.network_.parameters
    best, reached = best_of(clf.set_params(activation="tanh", max_iter=30).fit(X, Y), 30)
    assert best == reached
    assert not np.array_equal(clf.network_.parameters, before)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_score_is_compared_with_scores_of_its_own_kind(early_stopping):
    parameters = {**EARLY, "early_stopping": early_stopping, "max_iter": 20, "scoring": "accuracy"}
    clf = MLPClassifier(**parameters).fit(X, Y, X_val=X[:60], y_val=Y[:60])
    assert clf.best_validation_score_ > 0
    clf.set_params(scoring="loss", n_iter_no_change=5).fit(X, Y, X_val=X[:60], y_val=Y[:60])
    assert clf.n_iter_ > 6
    best, reached = best_of(clf, clf.n_iter_)
    assert best == reached < 0


def test_early_stopping_restores_no_weights_for_a_score_without_any():
    watched = {"X_val": X[:60], "y_val": Y[:60]}
    clf = MLPClassifier(**EARLY, max_iter=3).fit(X, Y, **watched)
    clf.set_params(early_stopping=False, max_iter=60).fit(X, Y, **watched)
    clf.set_params(early_stopping=True, max_iter=5, learning_rate_init=1e-9).fit(X, Y, **watched)
    best, reached = best_of(clf, 5)
    assert best == reached == clf.score(X[:60], Y[:60])


def test_the_losses_of_another_loss_do_not_end_a_fit():
    parameters = {**COMMON, "n_iter_no_change": 5, "warm_start": True, "max_iter": 50}
    reg = MLPRegressor(**parameters, loss="squared_error").fit(X_REG, Y_REG)
    reg.set_params(loss="absolute_error").fit(X_REG, Y_REG)
    assert reg.n_iter_ == 50
    assert reg.best_loss_ == min(reg.loss_curve_[-50:])


class Checkpoints:
    """Keeps a pickle of its model after each epoch."""

    def __init__(self):
        self.model, self.pickles = None, []

    def __call__(self, epoch, logs):
        kept, self.pickles = self.pickles, []
        kept.append(pickle.dumps(self.model))
        self.pickles = kept


def test_a_checkpoint_of_early_stopping_has_the_best_weights():
    keep = Checkpoints()
    parameters = {**EARLY, "learning_rate_init": 0.05, "max_iter": 40}
    keep.model = whole = MLPClassifier(**parameters, callbacks=[keep])
    whole.fit(X, Y)
    best = int(np.argmax(whole.validation_scores_))
    assert best < 30
    middle = pickle.loads(keep.pickles[best + 5]).set_params(callbacks=None, max_iter=34 - best)
    assert_same_bits(whole, middle.fit(X, Y))
    assert middle.validation_scores_ == whole.validation_scores_


def test_a_checkpoint_goes_on_with_the_order_of_a_shared_generator():
    keep = Checkpoints()
    parameters = {**COMMON, "random_state": np.random.RandomState(4), "max_iter": 8}
    keep.model = whole = MLPClassifier(**parameters, callbacks=[keep])
    whole.fit(X, Y)
    middle = pickle.loads(keep.pickles[4]).set_params(callbacks=None)
    for _ in range(3):
        middle.partial_fit(X, Y)
    assert_same_bits(whole, middle)


@pytest.mark.parametrize(
    "between", [lambda e: e, reloaded, copy.deepcopy], ids=["alive", "pickled", "copied"]
)
def test_the_best_score_of_a_scorer_goes_on(between):
    parameters = {**EARLY, "learning_rate_init": 0.05, "max_iter": 40, "scoring": "balanced_accuracy"}
    clf = MLPClassifier(**parameters).fit(X, Y)
    best, weights = clf.best_validation_score_, clf.network_.parameters
    assert best > clf.validation_scores_[-1]
    later = between(clf).set_params(max_iter=2, learning_rate_init=1e-9).fit(X, Y)
    assert later.best_validation_score_ == best
    np.testing.assert_array_equal(later.network_.parameters, weights)


@pytest.mark.parametrize("how", ["partial_fit", "fit"])
def test_rows_beyond_the_models_precision_change_nothing(how):
    classifier = MLPClassifier(4, max_iter=3, random_state=0, warm_start=True).fit(X.astype("float32"), Y)
    before = copy.deepcopy(classifier)
    too_large = X.copy()
    too_large[3, 1] = 1e300
    with pytest.raises(ValueError, match="X must be finite in the network's dtype"):
        getattr(classifier, how)(too_large, Y)
    assert_same_bits(classifier, before)
    assert_same_bits(classifier.partial_fit(X, Y), before.partial_fit(X, Y))
