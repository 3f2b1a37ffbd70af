"""A refused fit touches nothing; promises of fit on time, callbacks, batches and later parameters."""

import inspect
import pickle
import threading
import time
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from densegrad import Dense, MLPClassifier, MLPRegressor, Network, Trainer
from problems import COMMON, Y_REG, X, Y

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda clf: clf.fit(X, Y, -np.ones(len(X))),
        lambda clf: clf.fit(X, Y, X_val=X[:, :2], y_val=Y),
        lambda clf: clf.set_params(hidden_layer_sizes=(3,)).partial_fit(X, Y),
        lambda clf: clf.set_params(class_weight={7: 2.0}).partial_fit(X, Y),
        lambda clf: clf.set_params(activation=["relu"] * 5).fit(X[:, :3], Y),
        lambda clf: clf.fit(np.full_like(X, np.nan), Y),
    ],
)
def test_a_refused_fit_touches_nothing(wrong):
    clf = MLPClassifier(**{**COMMON, "early_stopping": False}).fit(X, Y)
    before, proba = dict(vars(clf)), clf.predict_proba(X)
    curve = list(clf.loss_curve_)
    with pytest.raises((ValueError, TypeError)):
        wrong(clf)
    given = clf.get_params()
    assert vars(clf).keys() == before.keys()
    assert all(vars(clf)[name] is value for name, value in before.items() if name not in given)
    assert clf.loss_curve_ == curve
    np.testing.assert_array_equal(clf.predict_proba(X), proba)


@pytest.mark.parametrize(
    "wrong",
    [{"validation_fraction": 0.001}, {"validation_fraction": 0.001, "dropout": 0.2}, {}],
)
def test_a_refused_fit_draws_nothing(wrong):
    parameters = {**COMMON, "warm_start": True, "max_iter": 2}
    refused, other = (MLPClassifier(**parameters).fit(X, Y) for _ in range(2))
    given = refused.get_params()
    weight = np.zeros(len(X))
    weight[0] = 1.0  # in one of the two parts of the rows
    with pytest.raises(ValueError, match=r"validation set is too small|weight is zero for every row"):
        refused.set_params(early_stopping=True, **wrong).fit(X, Y, weight)
    refused.set_params(**given).fit(X, Y)
    np.testing.assert_array_equal(refused.predict_proba(X), other.fit(X, Y).predict_proba(X))


def test_max_time_ends_a_fit_in_the_middle_of_an_epoch():
    rows = np.broadcast_to(np.linspace(0, 1, 50), (2_000_000, 50))
    target = np.zeros(len(rows))
    reg = MLPRegressor(hidden_layer_sizes=(200,), max_time=0.2, batch_size=100, random_state=0, shuffle=False)
    samples = reg.fit(rows[:100], target[:100]).t_
    assert samples == 100 * reg.n_iter_
    reg.fit(rows, target)
    assert reg.n_iter_ == 1
    assert 0 < reg.t_ < len(rows)
    assert np.isfinite(reg.loss_)


def test_an_error_in_lbfgs_keeps_the_weights_that_the_loss_is_of():
    calls = []

    def loss(y_true, y_pred):
        calls.append(len(y_true))
        if len(calls) > 20:
            raise ValueError("no more")
        error = y_pred - y_true
        return error[:, 0] ** 2, 2 * error

    reg = MLPRegressor(**{**COMMON, "alpha": 0.0, "solver": "lbfgs"}, loss=loss)
    with pytest.raises(ValueError, match="no more"):
        reg.fit(X, Y_REG)
    assert reg.n_iter_ > 3
    assert np.mean((reg.predict(X) - Y_REG) ** 2) == pytest.approx(reg.loss_)


def test_a_callback_may_not_fit_the_estimator_that_calls_it():
    def again(epoch, logs):
        clf.fit(X, Y)

    clf = MLPClassifier(**COMMON, callbacks=[again])
    with pytest.raises(RuntimeError, match="being fitted by another call"):
        clf.fit(X, Y)
    clf.set_params(callbacks=None).fit(X, Y)
    assert clf.n_iter_ == COMMON["max_iter"]


def test_two_threads_may_not_fit_one_estimator():
    entered, leave = threading.Event(), threading.Event()

    def hold(epoch, logs):
        entered.set()
        leave.wait(30)

    clf = MLPClassifier(**{**COMMON, "max_iter": 2}, callbacks=[hold])
    thread = threading.Thread(target=clf.fit, args=(X, Y))
    thread.start()
    try:
        assert entered.wait(30)
        with pytest.raises(RuntimeError, match="being fitted"):
            clf.partial_fit(X, Y)
    finally:
        leave.set()
        thread.join()
    assert clf.n_iter_ == 2


class Checkpoint:
    """Keeps a pickle and a score of its model, epoch by epoch."""

    def __init__(self):
        self.model, self.pickles, self.scores = None, [], []

    def __call__(self, epoch, logs):
        self.scores.append(self.model.score(X, Y))
        kept, self.pickles = self.pickles, []
        kept.append(pickle.dumps(self.model))
        self.pickles = kept


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_see_the_network_as_it_is(solver):
    keep = Checkpoint()
    keep.model = MLPClassifier(**{**COMMON, "solver": solver}, callbacks=[keep])
    keep.model.fit(X, Y)
    plain = MLPClassifier(**{**COMMON, "solver": solver}).fit(X, Y)
    np.testing.assert_array_equal(keep.model.predict_proba(X), plain.predict_proba(X))
    assert len(set(keep.scores)) > 1
    middle = pickle.loads(keep.pickles[3])
    assert middle.score(X, Y) == keep.scores[3]


def test_a_checkpoint_trains_on_exactly():
    keep = Checkpoint()
    keep.model = MLPClassifier(**{**COMMON, "max_iter": 8}, callbacks=[keep])
    keep.model.fit(X, Y)
    middle = pickle.loads(keep.pickles[4]).set_params(callbacks=None)
    for _ in range(3):
        middle.partial_fit(X, Y)
    np.testing.assert_array_equal(middle.predict_proba(X), keep.model.predict_proba(X))


@pytest.mark.parametrize(("first", "later"), [("log_loss", "hinge"), ("hinge", "log_loss")])
@pytest.mark.parametrize("y", [Y, (Y > 0).astype(int), np.eye(3, dtype=int)[Y]], ids=["3", "2", "labels"])
def test_the_fitted_loss_decides_predictions(first, later, y):
    clf = MLPClassifier(**COMMON, loss=first).fit(X, y)
    outputs = "predict_proba" if first == "log_loss" else "decision_function"
    before, labels = getattr(clf, outputs)(X), clf.predict(X)
    clf.set_params(loss=later)
    np.testing.assert_array_equal(clf.predict(X), labels)
    np.testing.assert_array_equal(getattr(clf, outputs)(X), before)
    assert hasattr(clf, "predict_proba") == (first == "log_loss")
    assert hasattr(clf, "decision_function") == (first == "hinge")


@pytest.mark.parametrize(
    "names", [["0", "1", "2"], ["1", "2", "10"], ["01", "1", "2"], [1, 2, 3], ["a", "b", "c"]]
)
def test_class_weight_by_label_whatever_the_labels(names):
    y, weight = np.array(names)[Y], dict(zip(names, (5.0, 1.0, 0.25), strict=True))
    by_class = MLPClassifier(**COMMON, class_weight=weight).fit(X, y)
    by_row = MLPClassifier(**COMMON).fit(X, y, [weight[name] for name in y.tolist()])
    np.testing.assert_array_equal(by_class.predict_proba(X), by_row.predict_proba(X))


def test_class_weight_may_name_some_classes():
    weight = {2: 3.0}
    by_class = MLPClassifier(**COMMON, class_weight=weight)
    by_row = MLPClassifier(**COMMON)
    for part in (np.flatnonzero(Y < 2), np.flatnonzero(Y == 2), np.arange(len(Y))):
        by_class.partial_fit(X[part], Y[part], classes=[0, 1, 2])
        by_row.partial_fit(
            X[part], Y[part], [weight.get(label, 1.0) for label in Y[part].tolist()], [0, 1, 2]
        )
    np.testing.assert_array_equal(by_class.predict_proba(X), by_row.predict_proba(X))
    with pytest.raises(ValueError, match=r"names '2', which is no class; the classes are \[0, 1, 2\]"):
        MLPClassifier(**COMMON, class_weight={"2": 3.0}).fit(X, Y)


class Loader:
    """Gives lists [X, y], as data loaders do; has a length and no shape."""

    def __init__(self, y):
        self.y = y

    def __len__(self):
        return 3

    def __iter__(self):
        return ([X[part], self.y[part]] for part in np.array_split(np.arange(len(X)), 3))


@pytest.mark.parametrize("kind", [list, iter, lambda loader: loader])
def test_batches_may_be_lists(kind):
    parts = MLPRegressor(**COMMON)
    for rows, y in Loader(Y_REG[: len(X)]):
        parts.partial_fit(rows, y)
    whole = MLPRegressor(**COMMON).partial_fit(kind(Loader(Y_REG[: len(X)])))
    np.testing.assert_array_equal(whole.predict(X), parts.predict(X))


def test_a_generator_function_is_to_be_called():
    def batches():
        yield X, Y_REG

    network = Network(X.shape[1], [Dense(1, "identity")])
    for call in (lambda: MLPRegressor().partial_fit(batches), lambda: Trainer(network).fit(batches)):
        with pytest.raises(TypeError, match=r"generator function batches: call it"):
            call()


def test_rows_without_a_target_are_no_batches():
    with pytest.raises(ValueError, match="requires y to be passed"):
        MLPRegressor().partial_fit([[1.0, 2.0], [3.0, 4.0]])


def test_warnings_point_at_the_line_of_the_user():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        line = inspect.currentframe().f_lineno + 1
        MLPClassifier(**{**COMMON, "max_iter": 1, "batch_size": 10**6}).fit(X, Y)
    assert {warning.category for warning in caught} == {UserWarning, ConvergenceWarning}
    assert {(warning.filename, warning.lineno) for warning in caught} == {(__file__, line)}


def test_a_fit_that_has_no_time_at_all_leaves_an_untrained_model():
    began = time.monotonic()
    clf = MLPClassifier(**{**COMMON, "max_time": 1e-9}).fit(X, Y)
    assert time.monotonic() - began < 10
    assert np.isfinite(clf.predict_proba(X)).all()
    assert clf.n_iter_ <= 1


def test_a_fit_without_an_update_has_no_loss():
    clf = MLPClassifier(**{**COMMON, "max_iter": 2}).fit(X, Y)
    rows = np.broadcast_to(X[:1], (100_000, X.shape[1]))
    clf.set_params(hidden_layer_sizes=(2000, 2000), batch_size=len(rows), max_time=1e-9)
    clf.fit(rows, np.arange(len(rows)) % 2)
    assert clf.n_iter_ == 0
    assert not hasattr(clf, "loss_")


def test_the_network_says_how_labels_become_class_numbers():
    for names in (np.array(["p", "q", "r"]), np.array([1, 2, 3])):
        clf = MLPClassifier(**COMMON).fit(X, names[Y])
        with pytest.raises((ValueError, TypeError), match=r"np\.searchsorted\(clf\.classes_, y\)"):
            clf.network_.backpropagate(X, names[Y])
        p = clf.network_.backpropagate(X, np.searchsorted(clf.classes_, names[Y]))
        assert p.loss == pytest.approx(clf.network_.evaluate(X, Y))
