"""class_weight, sample_weight, X_val, scoring, restored weights, patience, max_time."""

import math
import time
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, log_loss, make_scorer, r2_score, recall_score
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from densegrad import MLPClassifier, MLPRegressor
from densegrad.estimators.validation import R2, accuracy

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(200, 8, n_informative=5, n_classes=3, weights=[0.7, 0.2, 0.1], random_state=0)
X_REG, Y_REG = make_regression(200, 8, random_state=0)
Y_REG = Y_REG / np.abs(Y_REG).max()
COMMON = {"hidden_layer_sizes": 12, "max_iter": 6, "random_state": 0, "learning_rate_init": 0.01}


def same_weights(a, b, rtol=0.0):
    for V, W in zip([*a.coefs_, *a.intercepts_], [*b.coefs_, *b.intercepts_], strict=True):
        np.testing.assert_allclose(V, W, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 3.0, 2: 0.5}])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_class_weight_multiplies_sample_weight(class_weight, solver):
    weight = np.random.RandomState(0).uniform(0.5, 2, len(X))
    a = MLPClassifier(**COMMON, solver=solver, class_weight=class_weight).fit(X, Y, weight)
    b = MLPClassifier(**COMMON, solver=solver).fit(X, Y, weight * compute_sample_weight(class_weight, Y))
    same_weights(a, b)


def test_class_weight_of_string_labels_and_of_several_labels():
    names = np.array(["a", "b", "c"])[Y]
    a = MLPClassifier(**COMMON, class_weight={"a": 1, "b": 2, "c": 3}).fit(X, names)
    b = MLPClassifier(**COMMON).fit(X, Y, np.array([1.0, 2.0, 3.0])[Y])
    same_weights(a, b)
    Xm, Ym = make_multilabel_classification(100, 5, n_classes=2, random_state=0)
    balanced = MLPClassifier(**COMMON, class_weight="balanced").fit(Xm, Ym)
    same_weights(balanced, MLPClassifier(**COMMON).fit(Xm, Ym, compute_sample_weight("balanced", Ym)))


def test_balanced_weights_find_more_of_the_rare_class():
    rare = (Y == 2).astype(int)
    plain = MLPClassifier(**{**COMMON, "max_iter": 30}).fit(X, rare)
    balanced = MLPClassifier(**{**COMMON, "max_iter": 30}, class_weight="balanced").fit(X, rare)
    assert recall_score(rare, balanced.predict(X)) > recall_score(rare, plain.predict(X))


def test_balanced_needs_all_rows():
    with pytest.raises(ValueError, match="not supported for partial_fit"):
        MLPClassifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])
    clf = MLPClassifier(class_weight={2: 5.0}, random_state=0).partial_fit(X, Y, classes=[0, 1, 2])
    assert clf.t_ == len(X)


LOSSES = [
    *((MLPClassifier, loss) for loss in ("log_loss", "focal", "hinge", "squared_hinge")),
    *(
        (MLPRegressor, loss)
        for loss in (
            "squared_error",
            "absolute_error",
            "huber",
            "log_cosh",
            "quantile",
            "poisson",
            "gamma",
            "tweedie",
            "gaussian_nll",
        )
    ),
]


@pytest.mark.parametrize(("Estimator", "loss"), LOSSES)
@pytest.mark.parametrize("partial", [False, True], ids=["fit", "partial_fit"])
def test_weight_zero_is_a_dropped_row_and_two_is_two_rows(Estimator, loss, partial):
    y = Y if Estimator is MLPClassifier else np.exp(Y_REG)
    weight = np.random.RandomState(1).randint(0, 3, len(X)).astype(float)
    repeated = np.repeat(np.arange(len(X)), weight.astype(int))
    parameters = {**COMMON, "loss": loss, "batch_size": len(repeated), "shuffle": False, "alpha": 0.1}

    def fitted(rows, sample_weight):
        estimator = Estimator(**{**parameters, "batch_size": len(rows)})
        if not partial:
            return estimator.fit(X[rows], y[rows], sample_weight)
        first = {"classes": [0, 1, 2]} if Estimator is MLPClassifier else {}
        for _ in range(5):
            estimator.partial_fit(X[rows], y[rows], sample_weight, **first)
        return estimator

    a = fitted(np.arange(len(X)), weight)
    b = fitted(repeated, None)
    same_weights(a, b, rtol=1e-9)
    assert a.loss_ == pytest.approx(b.loss_, rel=1e-10)
    assert a.score(X, y, weight) == pytest.approx(b.score(X[repeated], y[repeated]), rel=1e-9)


@pytest.mark.parametrize(
    "weight", [np.zeros(len(X)), np.full(len(X), -1.0), np.ones(3), np.full(len(X), np.nan)]
)
def test_bad_weights_change_nothing(weight):
    clf = MLPClassifier(**COMMON).fit(X, Y)
    before, coefs = clf.predict_proba(X), clf.coefs_
    with pytest.raises(ValueError, match=r"(?i)weight"):
        clf.fit(X, Y, weight)
    np.testing.assert_array_equal(clf.predict_proba(X), before)
    assert clf.coefs_ is coefs


def test_a_batch_without_weight_does_not_train():
    weight = np.ones(len(X))
    weight[:40] = 0
    steps = {"batch_size": 40, "shuffle": False, "solver": "sgd", "momentum": 0.0}
    parameters = {**COMMON, **steps, "alpha": 0.0}
    a = MLPClassifier(**parameters).fit(X, Y, weight)
    b = MLPClassifier(**parameters).fit(X[40:], Y[40:])
    np.testing.assert_array_equal(a.coefs_[0], MLPClassifier(**parameters).fit(X, Y, weight).coefs_[0])
    same_weights(a, b, rtol=1e-12)
    regularised = MLPClassifier(**{**parameters, "alpha": 1.0}).fit(X, Y, weight)
    assert np.isfinite(regularised.loss_)
    assert np.isfinite(regularised.predict_proba(X)).all()


def test_own_validation_rows_decide_when_to_stop():
    parameters = {**COMMON, "max_iter": 200, "n_iter_no_change": 3, "early_stopping": True}
    clf = MLPClassifier(**parameters).fit(X[:120], Y[:120], X_val=X[120:], y_val=Y[120:])
    assert clf.n_iter_ < 200
    assert (
        len(clf.validation_scores_) == len(clf.validation_loss_curve_) == len(clf.loss_curve_) == clf.n_iter_
    )
    assert clf.best_validation_score_ == max(clf.validation_scores_)
    # The best weights are back, and all 120 rows were trained on.
    assert clf.score(X[120:], Y[120:]) == clf.best_validation_score_
    assert clf.t_ == 120 * clf.n_iter_


def test_validation_rows_alone_only_record():
    a = MLPClassifier(**COMMON).fit(X, Y)
    b = MLPClassifier(**COMMON).fit(X, Y, X_val=X[:50], y_val=Y[:50], sample_weight_val=np.arange(50.0))
    same_weights(a, b)
    assert a.validation_scores_ is None
    assert len(b.validation_scores_) == b.n_iter_
    assert b.best_loss_ == min(b.loss_curve_)
    expected = log_loss(Y[:50], b.predict_proba(X[:50]), sample_weight=np.arange(50.0))
    assert b.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-10)
    assert b.validation_scores_[-1] == pytest.approx(b.score(X[:50], Y[:50], np.arange(50.0)), rel=1e-12)


def test_scoring_by_loss_and_by_name_and_by_callable():
    parameters = {**COMMON, "early_stopping": True, "max_iter": 40}
    by_loss = MLPClassifier(**parameters, scoring="loss").fit(X, Y)
    np.testing.assert_array_equal(by_loss.validation_scores_, -np.array(by_loss.validation_loss_curve_))
    assert by_loss.best_validation_score_ == -min(by_loss.validation_loss_curve_)
    by_name = MLPClassifier(**parameters, scoring="accuracy").fit(X, Y)
    default = MLPClassifier(**parameters).fit(X, Y)
    np.testing.assert_allclose(by_name.validation_scores_, default.validation_scores_, rtol=1e-12)
    same_weights(by_name, default)
    weight = np.linspace(1, 2, len(X))
    scorer = make_scorer(recall_score, average="macro", zero_division=0)
    by_scorer = MLPClassifier(**parameters, scoring=scorer).fit(X, Y, weight)
    assert 0 <= by_scorer.best_validation_score_ <= 1
    with pytest.raises(ValueError, match="takes no sample_weight"):
        MLPClassifier(**parameters, scoring=lambda estimator, X, y: 0.0).fit(X, Y, weight)


@pytest.mark.parametrize(
    ("score", "error"),
    [(math.nan, ValueError), (np.float32("nan"), ValueError), (None, TypeError), ("0.5", TypeError)],
    ids=str,
)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_score_that_is_no_number_ends_the_fit(score, error, early_stopping):
    scores = iter([0.5, -math.inf, score])
    clf = MLPClassifier(**COMMON, early_stopping=early_stopping, scoring=lambda estimator, X, y: next(scores))
    with pytest.raises(error, match=r"scoring must return a real number.*got .* after epoch 2"):
        clf.fit(X[50:], Y[50:], X_val=X[:50], y_val=Y[:50])
    assert clf.validation_scores_ == [0.5, -math.inf]
    assert np.isfinite(clf.predict_proba(X)).all()


def test_validation_rows_of_one_class_have_no_area_under_the_curve():
    clf = MLPClassifier(**COMMON, early_stopping=True, scoring="roc_auc")
    rare = (Y == 2).astype(int)
    with pytest.raises(ValueError, match="scoring"), pytest.warns(UserWarning, match="one class"):
        clf.fit(X, rare, X_val=X[rare == 0], y_val=rare[rare == 0])


def test_divergence_goes_before_the_score():
    reg = MLPRegressor(
        activation="identity", solver="sgd", learning_rate_init=1.0, early_stopping=True, random_state=0,
        scoring=lambda estimator, X, y: -np.square(estimator.predict(X) - y).mean(),
    )  # fmt: skip
    with pytest.warns(ConvergenceWarning, match="diverged"):
        reg.fit(X_REG * 10, Y_REG * 1e6)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_last_update_diverges_before_the_score(early_stopping):
    scored = []
    clf = MLPClassifier(
        (10, 10), solver="sgd", momentum=0, learning_rate_init=1e300, batch_size=len(Y), random_state=0,
        max_iter=20, early_stopping=early_stopping, scoring=lambda estimator, X, y: scored.append(0) or 0.0,
    )  # fmt: skip
    expected = (
        pytest.warns(ConvergenceWarning) if early_stopping else pytest.raises(ValueError, match="Solver")
    )
    with expected:
        clf.fit(X, Y, X_val=X, y_val=Y)
    assert not scored
    assert np.isfinite(clf.predict_proba(X)).all() == early_stopping


def test_last_weights_where_the_best_are_not_wanted():
    parameters = {**COMMON, "max_iter": 30, "learning_rate_init": 0.1, "early_stopping": True}
    val = {"X_val": X[:60], "y_val": Y[:60]}
    last = MLPClassifier(**parameters, restore_best=False).fit(X[60:], Y[60:], **val)
    assert last.score(X[:60], Y[:60]) == last.validation_scores_[-1]
    assert last.validation_scores_[-1] < last.best_validation_score_


def test_validation_of_a_regressor():
    parameters = {**COMMON, "early_stopping": True, "max_iter": 20}
    reg = MLPRegressor(**parameters).fit(X_REG[:150], Y_REG[:150], X_val=X_REG[150:], y_val=Y_REG[150:])
    assert reg.score(X_REG[150:], Y_REG[150:]) == pytest.approx(reg.best_validation_score_, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X_val": X}, "X_val and y_val"),
        ({"y_val": Y}, "X_val and y_val"),
        ({"X_val": X[:, :3], "y_val": Y}, "X_val.*features"),
        ({"X_val": X, "y_val": Y + 1}, "y_val.*classes"),
        ({"X_val": X, "y_val": Y[:9]}, "y_val.*inconsistent"),
        ({"X_val": X, "y_val": np.eye(3, dtype=int)[Y]}, "y_val.*indicator"),
        ({"X_val": X, "y_val": np.where(Y, Y, np.nan)}, "y_val.*NaN"),
        ({"X_val": X, "y_val": Y, "sample_weight_val": np.zeros(len(X))}, "sample_weight_val.*(zero|weight)"),
        ({"X_val": X, "y_val": Y, "sample_weight_val": np.ones(3)}, "sample_weight_val.*shape"),
        ({"X_val": np.full_like(X, np.nan), "y_val": Y}, "X_val.*NaN"),
        ({"X_val": X[:0], "y_val": Y[:0]}, "X_val.*0 sample"),
    ],
)
def test_bad_validation_rows_change_nothing(arguments, message):
    clf = MLPClassifier(**COMMON).fit(X, Y)
    before = clf.predict_proba(X)
    with pytest.raises(ValueError, match=message):
        clf.fit(X[:100], Y[:100], **arguments)
    np.testing.assert_array_equal(clf.predict_proba(X), before)
    with pytest.raises(ValueError, match="solver"):
        MLPClassifier(solver="lbfgs").fit(X, Y, X_val=X, y_val=Y)


@pytest.mark.parametrize("y_val", [-np.ones(40), ["a"] * 40, np.ones((40, 2))], ids=["-1", "a", "columns"])
def test_bad_validation_targets_of_a_regressor_are_named(y_val):
    with pytest.raises((TypeError, ValueError), match="y_val"):
        MLPRegressor("poisson", **COMMON).fit(X, Y, X_val=X[:40], y_val=y_val)


def test_one_row_is_too_few_for_r2_to_stop_by():
    val = {"X_val": X_REG[:1], "y_val": Y_REG[:1]}
    with pytest.raises(ValueError, match="validation set is too small"):
        MLPRegressor(**COMMON, early_stopping=True).fit(X_REG, Y_REG, **val)
    MLPRegressor(**COMMON, early_stopping=True, scoring="loss").fit(X_REG, Y_REG, **val)


def test_weights_of_zero_on_one_side_of_the_split_are_refused():
    clf = MLPClassifier(**COMMON, early_stopping=True)
    seen = []
    clf.set_params(scoring=lambda estimator, rows, y: seen.append(rows) or 0.0).fit(X, Y)
    set_aside = (X[:, None] == seen[0]).all(axis=2).any(axis=1)
    clf.set_params(scoring=None)
    with pytest.raises(ValueError, match=r"sample_weight.*validate.*early_stopping"):
        clf.fit(X, Y, ~set_aside)
    with pytest.raises(ValueError, match=r"sample_weight.*train.*early_stopping"):
        clf.fit(X, Y, set_aside)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 3.0, 2: 0.5}, {2: 5.0}], ids=str)
def test_class_weight_counts_in_validation_rows(class_weight):
    of_class = compute_class_weight(class_weight, classes=np.arange(3), y=Y[60:])
    known = np.flatnonzero(Y[:60] < 2)  # not all classes need to be among the validation rows
    X_val, y_val, weight = X[known], Y[known], np.linspace(1, 2, len(known))
    clf = MLPClassifier(**COMMON, class_weight=class_weight).fit(
        X[60:], Y[60:], X_val=X_val, y_val=y_val, sample_weight_val=weight
    )
    weight *= of_class[y_val]
    expected = log_loss(y_val, clf.predict_proba(X_val), sample_weight=weight, labels=[0, 1, 2])
    assert clf.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-10)
    assert clf.validation_scores_[-1] == pytest.approx(clf.score(X_val, y_val, weight), rel=1e-12)


def test_class_weight_of_several_labels_counts_in_validation_rows():
    Xm, Ym = make_multilabel_classification(100, 5, n_classes=2, random_state=0)
    weight = compute_sample_weight("balanced", Ym[:60])
    of_row = {tuple(y): w for y, w in zip(Ym[:60], weight, strict=True)}
    balanced = MLPClassifier(**COMMON, class_weight="balanced")
    balanced.fit(Xm[:60], csr_array(Ym[:60]), X_val=Xm[60:], y_val=Ym[60:])
    given = MLPClassifier(**COMMON).fit(
        Xm[:60], Ym[:60], weight,
        X_val=Xm[60:], y_val=Ym[60:], sample_weight_val=[of_row[tuple(y)] for y in Ym[60:]],
    )  # fmt: skip
    same_weights(balanced, given)
    assert balanced.validation_loss_curve_ == given.validation_loss_curve_


def test_max_time_ends_the_training():
    began = time.monotonic()
    clf = MLPClassifier(max_iter=10**6, tol=0, n_iter_no_change=np.inf, max_time=0.2).fit(X, Y)
    assert 0.2 <= time.monotonic() - began < 5
    assert 1 <= clf.n_iter_ < 10**6


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_equal_scikit_learns(weighted):
    rng = np.random.RandomState(0)
    weight = rng.uniform(0, 2, 40) if weighted else None
    for shape in ((40,), (40, 3)):
        y, prediction = rng.normal(size=shape), rng.normal(size=shape)
        assert R2(y, weight)(prediction) == pytest.approx(
            r2_score(y, prediction, sample_weight=weight), rel=1e-12
        )
        labels, predicted = rng.randint(0, 2, shape), rng.randint(0, 2, shape)
        expected = accuracy_score(labels, predicted, sample_weight=weight)
        assert accuracy(predicted, labels, weight) == pytest.approx(expected, rel=1e-12)
    constant = np.full(40, 2.0)
    assert R2(constant, weight)(constant) == r2_score(constant, constant, sample_weight=weight)
    assert R2(constant, weight)(constant + 1) == r2_score(constant, constant + 1, sample_weight=weight)
    assert math.isnan(R2(constant, weight)(constant * np.nan))


def test_divergence_says_what_to_try():
    with pytest.raises(ValueError, match=r"Solver produced non-finite parameter weights.*learning_rate_init"):
        MLPRegressor(activation="identity", solver="sgd", learning_rate_init=1e6, random_state=0).fit(
            X_REG * 1e3, Y_REG * 1e9
        )


def test_divergence_under_early_stopping_restores_the_best():
    reg = MLPRegressor(
        activation="identity", solver="sgd", learning_rate_init=1.0, early_stopping=True, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="diverged"):
        reg.fit(X_REG * 10, Y_REG * 1e6)
    assert np.isfinite(reg.predict(X_REG)).all()


def test_a_scorer_that_fails_is_named():
    clf = MLPClassifier(**COMMON, early_stopping=True, scoring="f1")
    with pytest.raises(ValueError, match="pos_label") as caught:
        clf.fit(X, np.where(Y > 0, "yes", "no"))
    (note,) = caught.value.__notes__
    assert note.startswith("raised by scoring='f1', which is called with the validation rows. make_scorer(")


def test_scoring_of_named_columns_warns_of_nothing():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])
    for scoring in ("neg_log_loss", "balanced_accuracy", lambda e, A, b: e.score(A, b)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", ConvergenceWarning)
            clf = MLPClassifier(8, early_stopping=True, scoring=scoring, max_iter=3, random_state=0)
            clf.fit(frame, Y > 0)
        assert len(clf.validation_scores_) == 3
        assert "feature_names_in_" in vars(clf)


def test_the_network_of_an_estimator_can_be_looked_at():
    clf = MLPClassifier(**COMMON)
    assert not hasattr(clf, "network_")
    clf.fit(X, Y)
    np.testing.assert_array_equal(clf.network_.predict(X), clf.predict_proba(X))
    assert clf.network_.backpropagate(X, Y).loss_gradients[1].shape == (len(X), 12)
