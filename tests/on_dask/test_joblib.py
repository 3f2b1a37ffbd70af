"""Many models on a cluster: joblib's Dask backend under scikit-learn's searches and ensembles."""

from __future__ import annotations

from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from distributed import Client
from numpy.typing import NDArray
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_predict

from densegrad import MLPClassifier, TabularClassifier

pytestmark = [
    pytest.mark.filterwarnings("ignore:Stochastic Optimizer"),
    pytest.mark.filterwarnings("ignore:Sending large graph"),
]


def weights(clf: MLPClassifier) -> bytes:
    return clf.network_.parameters.tobytes()


def on_workers(client: Client) -> Any:
    return joblib.parallel_config("dask", client=client)


def test_a_search_has_the_same_bits(client: Client, X: NDArray[Any], y: NDArray[Any]) -> None:
    grid = {"alpha": [1e-4, 1e-2], "hidden_layer_sizes": [(8,), (16, 8)]}
    search = GridSearchCV(MLPClassifier(max_iter=3, random_state=0), grid, cv=2)
    here = search.fit(X, y)
    expected, scores = weights(here.best_estimator_), here.cv_results_["mean_test_score"]
    with on_workers(client):
        search.fit(X, y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], scores)
    assert weights(search.best_estimator_) == expected


def test_folds_have_the_same_bits(client: Client, X: NDArray[Any], y: NDArray[Any]) -> None:
    clf = MLPClassifier((8,), max_iter=3, random_state=0)
    expected = cross_val_predict(clf, X, y, cv=3, method="predict_proba")
    with on_workers(client):
        got = cross_val_predict(clf, X, y, cv=3, method="predict_proba")
    np.testing.assert_array_equal(got, expected)


def test_a_bag_has_the_same_bits(client: Client, X: NDArray[Any], y: NDArray[Any]) -> None:
    bag = BaggingClassifier(MLPClassifier((8,), max_iter=3), n_estimators=4, n_jobs=2, random_state=0)
    expected = [weights(member) for member in bag.fit(X, y).estimators_]
    with on_workers(client):
        bag.fit(X, y)
    assert [weights(member) for member in bag.estimators_] == expected


def test_tabular_folds(client: Client) -> None:
    frame = pd.DataFrame({"n": np.arange(300.0), "colour": ["red", "green", "blue"] * 100})
    clf = TabularClassifier(2, hidden_layer_sizes=(16,), encodings=("plain",), max_epochs=2, random_state=0)
    expected = cross_val_predict(clf, frame, frame["n"] > 150, cv=2, method="predict_proba")
    with on_workers(client):
        got = cross_val_predict(clf, frame, frame["n"] > 150, cv=2, method="predict_proba")
    np.testing.assert_array_equal(got, expected)
