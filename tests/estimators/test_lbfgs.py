"""solver='lbfgs': scikit-learn's words, exact continuation, time limits, Ctrl-C."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as Original

from densegrad import MLPClassifier, MLPRegressor

X, Y = make_moons(60, noise=0.3, random_state=0)
COMMON = {"hidden_layer_sizes": (9, 7), "solver": "lbfgs", "random_state": 0}


@pytest.mark.parametrize("limit", [{"max_iter": 10}, {"max_fun": 10}, {"max_iter": 1, "max_fun": 1}])
def test_warns_in_scikit_learns_words(limit):
    messages = []
    for Estimator in (MLPClassifier, Original):
        with pytest.warns(ConvergenceWarning) as caught:
            clf = Estimator(**COMMON, **limit).fit(X, Y)
        lines = [line for warning in caught for line in str(warning.message).splitlines()]
        assert any(line.startswith("STOP: TOTAL NO. ") for line in lines)
        # SciPy's own line is not the same in all of its versions.
        messages.append((clf.n_iter_, [line for line in lines if not line.startswith("STOP")]))
    assert messages[0] == messages[1]


def test_ends_as_scikit_learn_where_it_converges():
    fits = [
        Estimator(**COMMON, alpha=10.0, max_iter=2000).fit(X, Y) for Estimator in (MLPClassifier, Original)
    ]
    assert fits[0].loss_ == pytest.approx(fits[1].loss_, rel=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_warm_start_goes_on_exactly(dtype):
    rows = X.astype(dtype)
    whole = MLPClassifier(**COMMON, max_iter=30).fit(rows, Y)
    parts = MLPClassifier(**COMMON, max_iter=10, warm_start=True).fit(rows, Y)
    for _ in range(2):
        parts = pickle.loads(pickle.dumps(parts))
        parts.fit(rows, Y)
    assert parts.coefs_[0].dtype == dtype
    for a, b in zip(parts.coefs_, whole.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    assert parts.loss_ == whole.loss_
    assert len(pickle.dumps(parts)) > 2 * len(pickle.dumps(whole))  # which keeps no memory


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_warm_start_from_other_weights_begins_anew():
    clf = MLPClassifier(**COMMON, max_iter=10, warm_start=True).fit(X, Y)
    clf.coefs_ = [0.5 * W for W in clf.coefs_]
    plain = MLPClassifier(**COMMON, max_iter=10).fit(X, Y)
    plain.coefs_ = [0.5 * W for W in plain.coefs_]
    plain.set_params(warm_start=True)
    np.testing.assert_array_equal(clf.fit(X, Y).coefs_[0], plain.fit(X, Y).coefs_[0])


@pytest.mark.parametrize("callbacks", [None, [lambda epoch, logs: None]])
def test_max_time_ends_it_without_a_warning(callbacks):
    rows, y = np.repeat(X, 20, axis=0), np.repeat(Y, 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf = MLPClassifier(
            (100, 100),
            solver="lbfgs",
            max_iter=100_000,
            max_fun=10**6,
            tol=0,
            max_time=0.3,
            callbacks=callbacks,
        ).fit(rows, y)
    assert 0 < clf.n_iter_ < 100_000
    assert np.isfinite(clf.loss_)


def test_an_interrupted_fit_keeps_its_last_iteration():
    def interrupt(epoch, logs):
        if epoch == 4:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted by user") as caught:
        clf = MLPClassifier(**COMMON, callbacks=[interrupt]).fit(X, Y)
    assert len(caught) == 1
    assert clf.n_iter_ == 5
    whole = MLPClassifier(**COMMON, callbacks=[lambda epoch, logs: epoch == 4]).fit(X, Y)
    assert clf.loss_ == whole.loss_
    np.testing.assert_array_equal(clf.coefs_[1], whole.coefs_[1])


def test_callbacks_change_nothing():
    plain = MLPRegressor(**COMMON).fit(X, X[:, 0])
    watched = MLPRegressor(**COMMON, callbacks=[lambda epoch, logs: None]).fit(X, X[:, 0])
    assert (plain.n_iter_, plain.loss_) == (watched.n_iter_, watched.loss_)
    np.testing.assert_array_equal(plain.coefs_[0], watched.coefs_[0])
