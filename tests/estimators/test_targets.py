"""Targets of a wrong kind are named, and sparse ones read."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as TheirClassifier

from densegrad import MLPClassifier, MLPRegressor
from problems import COMMON, X, Y

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_LABELS, Y_LABELS = make_multilabel_classification(100, 8, n_classes=3, random_state=0)


def test_columns_of_labels_and_indicators_are_not_mixed_up():
    several = MLPClassifier(**COMMON, warm_start=True).fit(X_LABELS, Y_LABELS)
    for wrong in (Y_LABELS[:, 0], Y_LABELS[:, :2]):
        for train in (
            lambda wrong=wrong: several.fit(X_LABELS, wrong),
            lambda wrong=wrong: several.partial_fit(X_LABELS, wrong),
            lambda wrong=wrong: several.fit(X_LABELS, Y_LABELS, X_val=X_LABELS, y_val=wrong),
        ):
            with pytest.raises(ValueError, match=r"y must have shape \(n_samples, 3\)"):
                train()
    one = MLPClassifier(**COMMON, warm_start=True).fit(X, Y)
    indicators = np.eye(3, dtype=int)[Y]
    for train in (
        lambda: one.fit(X, indicators),
        lambda: one.partial_fit(X, indicators),
        lambda: one.fit(X, Y, X_val=X, y_val=indicators),
    ):
        with pytest.raises(ValueError, match=r"y must have shape \(n_samples,\)"):
            train()
    assert one.t_ == one.n_iter_ * len(X)


@pytest.mark.parametrize(
    "label", [np.int8(1), np.uint8(200), 5, -1, 1.0, 0.5, True, "b", "bc", "", "1"], ids=repr
)
@pytest.mark.parametrize(
    "classes", [[1], [0, 1], [-3, 1, 5], [0.0, 1.0], ["a", "b"], ["b", "bb"], [False, True]], ids=str
)
def test_a_label_is_known_as_scikit_learn_sees_it(classes, label):
    def is_refused(Classifier):
        clf = Classifier((3,), random_state=0).partial_fit(X[:1], classes[:1], classes=classes)
        try:
            clf.partial_fit(X[:1], np.array([label]))
        except ValueError:
            return True
        return False

    assert is_refused(MLPClassifier) == is_refused(TheirClassifier)


@pytest.mark.parametrize("low", [-1, 2])
def test_indicators_are_0_and_1(low):
    wrong = np.where(Y_LABELS, 1, low)
    with pytest.raises(ValueError, match=r"y with several columns .* 0 and 1"):
        MLPClassifier(**COMMON).fit(X_LABELS, wrong)
    with pytest.raises(ValueError, match=r"y_val.* 0 and 1"):
        MLPClassifier(**COMMON).fit(X_LABELS, Y_LABELS, X_val=X_LABELS, y_val=wrong)


@pytest.mark.parametrize("arguments", [{}, {"early_stopping": True}], ids=str)
def test_sparse_targets(arguments):
    parameters = {**COMMON, "max_iter": 3, **arguments}
    for Estimator in (MLPClassifier, MLPRegressor):
        dense = Estimator(**parameters).fit(X_LABELS, Y_LABELS)
        sparse = Estimator(**parameters).fit(X_LABELS, csr_array(Y_LABELS))
        np.testing.assert_array_equal(dense.coefs_[0], sparse.coefs_[0])


@pytest.mark.parametrize(
    ("factor", "offset", "words"),
    [(1000.0, 0.0, r"deviation 9\d\d,"), (0.001, 0.0, r"deviation 0\.0009"), (1.0, 5000.0, r"mean 5e\+03")],
)
def test_a_target_far_from_unit_scale(factor, offset, words):
    y = np.linspace(-1.7, 1.7, len(X)) * factor + offset
    chatty = MLPRegressor(**COMMON, verbose=True)
    with pytest.warns(UserWarning, match=f"y has .*{words}.*train a TabularRegressor"):
        chatty.fit(X, y)
    with pytest.warns(UserWarning, match="column 1 of y has mean"):
        chatty.fit(X, np.stack([y / factor - offset / factor, y], axis=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        MLPRegressor(**COMMON).fit(X, y)  # scikit-learn's does not warn
        chatty.fit(X, (y - offset) / factor)
        MLPRegressor("poisson", **COMMON, verbose=True).fit(X, np.abs(y) + 1e4)


@pytest.mark.parametrize(
    ("y", "error", "words"),
    [
        (["a", "b", "c"], TypeError, "y must hold numbers; got dtype <U1. For labels take MLPClassifier"),
        (
            np.array(["a", "b", "c"], object),
            ValueError,
            "y must hold numbers: .* For labels take MLPClassifier",
        ),
        (
            np.array(["2024", "2025", "2026"], "M8[Y]"),
            TypeError,
            "y must hold numbers.*For dates pass numbers",
        ),
        ([None, 1, 2], ValueError, "Input y contains NaN"),
    ],
)
def test_targets_that_are_no_numbers(y, error, words):
    with pytest.raises(error, match=words):
        MLPRegressor().fit(np.zeros((3, 2)), y)


@pytest.mark.parametrize(
    "y",
    [
        ["a", None, "b"],
        (None, 1, None),
        np.array(["a", np.nan, "b"], object),
        pd.Series(["a", pd.NA, "b"], dtype="string"),
        pd.Series(["a", None, "b"], dtype="category"),
    ],
    ids=repr,
)
def test_missing_labels_are_counted(y):
    with pytest.raises(
        ValueError, match=r"y must not have missing values; got NaN or None [12] times?\. Leave"
    ):
        MLPClassifier().fit(np.zeros((3, 2)), y)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        MLPClassifier().fit(np.full((3, 2), np.nan), y)


def test_columns_of_classes_are_for_another_estimator():
    with pytest.raises(ValueError, match="Multioutput") as caught:
        MLPClassifier().fit(np.zeros((3, 2)), [["a", "x"], ["b", "y"], ["c", "x"]])
    assert caught.value.__notes__ == [
        "MultiOutputClassifier of scikit-learn fits one network for each column of y"
    ]
