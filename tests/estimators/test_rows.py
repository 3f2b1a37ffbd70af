"""Rows as batches and memory maps, of either precision, on any number of threads."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from densegrad import MLPClassifier, MLPRegressor
from problems import COMMON, X_REG, Y_REG, X, Y

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
    with pytest.raises(TypeError, match="a batch 1 that is ndarray"):
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


def test_rows_beyond_the_range_of_float32_are_refused_by_a_float32_network():
    clf = MLPClassifier(**COMMON).fit(X.astype(np.float32), Y)
    with pytest.raises(ValueError, match="too large for float32"):
        clf.predict(X * 1e100)


def test_partial_fit_without_y_says_so():
    with pytest.raises(ValueError, match="requires y to be passed"):
        MLPRegressor().partial_fit(X_REG)
