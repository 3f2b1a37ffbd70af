"""Predictions on Dask collections: the bits of the model, the index and the blocks of X."""

from __future__ import annotations

import sys
from typing import Any

import cloudpickle
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from distributed import Client
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import densegrad.dask
from densegrad import Dense, MLPClassifier, MLPRegressor, Network, TabularClassifier, Trainer

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


def assert_same(lazy: Any, expected: NDArray[Any]) -> None:
    """The meta is what comes, and what comes is what the model gives."""
    computed = lazy.compute(scheduler="sync")
    assert lazy.dtype == computed.dtype == expected.dtype
    assert lazy.ndim == expected.ndim
    np.testing.assert_array_equal(computed, expected, strict=True)


def networks(X: NDArray[Any]) -> list[Network]:
    return [
        Network(5, [Dense(8), Dense(3, "softmax")], loss="log_loss", dtype=dtype, random_state=0)
        for dtype in ("float32", "float64")
    ]


@pytest.mark.parametrize("chunks", [(1000, 5), (300, 5), (7, 2)])
def test_arrays(chunks: tuple[int, int], X: NDArray[Any], y: NDArray[Any], classifier: MLPClassifier) -> None:
    collection = da.from_array(X, chunks=chunks)
    assert_same(densegrad.dask.predict(classifier, collection), classifier.predict(X))
    assert_same(densegrad.dask.predict_proba(classifier, collection), classifier.predict_proba(X))
    assert densegrad.dask.predict(classifier, collection).chunks[0] == collection.chunks[0]
    for net in networks(X):
        assert_same(densegrad.dask.predict(net, collection), net.predict(X))


TARGETS = {
    "one value": lambda X: X[:, 0],
    "two values": lambda X: X[:, :2],
}


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("loss", ["squared_error", "quantile"])
def test_regressors(kind: str, loss: str, X: NDArray[Any]) -> None:
    levels = {"quantile": [0.1, 0.9]} if loss == "quantile" else {}
    reg = MLPRegressor(loss, (8,), max_iter=2, random_state=0, **levels).fit(X, TARGETS[kind](X))
    assert_same(densegrad.dask.predict(reg, da.from_array(X, chunks=(300, 5))), reg.predict(X))


def test_several_labels(X: NDArray[Any]) -> None:
    clf = MLPClassifier((8,), max_iter=2, random_state=0).fit(X, (X[:, :3] > 0).astype(int))
    collection = da.from_array(X, chunks=(300, 5))
    assert_same(densegrad.dask.predict(clf, collection), clf.predict(X))
    assert_same(densegrad.dask.predict_proba(clf, collection), clf.predict_proba(X))


def test_pipelines_and_searches(X: NDArray[Any], y: NDArray[Any]) -> None:
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=2, random_state=0))
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1e-2]}, cv=2)
    collection = da.from_array(X, chunks=(300, 5))
    for model in (pipeline.fit(X, y), search.fit(X, y)):
        assert_same(densegrad.dask.predict(model, collection), model.predict(X))
        assert_same(densegrad.dask.predict_proba(model, collection), model.predict_proba(X))


def test_sparse_blocks(X: NDArray[Any], classifier: MLPClassifier) -> None:
    rows = np.where(X > 0, X, 0)
    collection = da.from_array(rows, chunks=(300, 5)).map_blocks(scipy.sparse.csr_array)
    assert_same(densegrad.dask.predict(classifier, collection), classifier.predict(rows))


def test_frames_keep_index_and_divisions(X: NDArray[Any], y: NDArray[Any]) -> None:
    frame = pd.DataFrame(X, columns=list("abcde"), index=pd.date_range("2020-01-01", periods=len(X)))
    clf = MLPClassifier((8,), max_iter=2, random_state=0).fit(frame, y)
    collection = dd.from_pandas(frame, npartitions=4)
    labels = densegrad.dask.predict(clf, collection)
    assert labels.divisions == collection.divisions
    pd.testing.assert_series_equal(
        labels.compute(), pd.Series(clf.predict(frame), index=frame.index, name=None), check_freq=False
    )
    assert labels.dtype == labels.compute().dtype
    probabilities = densegrad.dask.predict_proba(clf, collection)
    assert list(probabilities.columns) == ["low", "mid", "top"]
    expected = pd.DataFrame(clf.predict_proba(frame), index=frame.index, columns=["low", "mid", "top"])
    pd.testing.assert_frame_equal(probabilities.compute(), expected, check_freq=False)


def test_a_network_gives_a_frame_its_outputs(X: NDArray[Any]) -> None:
    frame = pd.DataFrame(X, columns=list("abcde"))
    for net in networks(X):
        outputs = densegrad.dask.predict(net, dd.from_pandas(frame, npartitions=3))
        pd.testing.assert_frame_equal(outputs.compute(), pd.DataFrame(net.predict(X)))


def test_tabular_frames() -> None:
    frame = pd.DataFrame({"n": np.arange(300.0), "colour": ["red", "green", "blue"] * 100})
    clf = TabularClassifier(
        2, hidden_layer_sizes=(16,), encodings=("plain",), max_epochs=2, random_state=0
    ).fit(frame, frame["n"] > 150)
    collection = dd.from_pandas(frame, npartitions=3)
    labels, probabilities = (
        densegrad.dask.predict(clf, collection),
        densegrad.dask.predict_proba(clf, collection),
    )
    np.testing.assert_array_equal(labels.compute(), clf.predict(frame))
    np.testing.assert_array_equal(probabilities.compute(), clf.predict_proba(frame))
    assert labels.dtype == bool
    assert list(probabilities.columns) == [False, True]


def test_unknown_and_empty_blocks(X: NDArray[Any], y: NDArray[Any], classifier: MLPClassifier) -> None:
    collection = da.from_array(X, chunks=(300, 5))
    some, none = X[:, 0] > 0, X[:, 0] > 100
    for wanted in (some, none):
        chosen = collection[da.from_array(wanted, chunks=300)]
        expected = classifier.predict(X[wanted]) if wanted.any() else classifier.predict(X[:1])[:0]
        assert_same(densegrad.dask.predict(classifier, chosen), expected)
    frame = pd.DataFrame(X, columns=list("abcde"))
    frame["a"] = np.arange(1000, dtype=np.float32)
    clf = MLPClassifier((8,), max_iter=2, random_state=0).fit(frame, y)
    only_last = dd.from_pandas(frame, npartitions=4)
    only_last = only_last[only_last["a"] >= 900]
    np.testing.assert_array_equal(densegrad.dask.predict(clf, only_last).compute(), clf.predict(frame[900:]))
    probabilities = densegrad.dask.predict_proba(clf, only_last).compute()
    np.testing.assert_array_equal(probabilities, clf.predict_proba(frame[900:]))


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_every_scheduler(scheduler: str, X: NDArray[Any], classifier: MLPClassifier) -> None:
    collection = da.from_array(X, chunks=(300, 5))
    computed = densegrad.dask.predict(classifier, collection).compute(scheduler=scheduler)
    np.testing.assert_array_equal(computed, classifier.predict(X), strict=True)


def test_a_cluster_and_a_future(client: Client, X: NDArray[Any], classifier: MLPClassifier) -> None:
    collection = da.from_array(X, chunks=(100, 5))
    for model in (classifier, client.scatter(classifier, hash=False)):
        computed = client.compute(densegrad.dask.predict(model, collection), sync=True)
        np.testing.assert_array_equal(computed, classifier.predict(X), strict=True)


def test_training_before_the_result_is_computed_changes_nothing(X: NDArray[Any]) -> None:
    (net, _) = networks(X)
    expected = net.predict(X)
    lazy = densegrad.dask.predict(net, da.from_array(X, chunks=(300, 5)))
    Trainer(net, random_state=0).fit(X, np.zeros(len(X), np.int64), epochs=1)
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), expected)


def test_refused_arguments(X: NDArray[Any], y: NDArray[Any], classifier: MLPClassifier) -> None:
    collection = da.from_array(X, chunks=(300, 5))
    with pytest.raises(TypeError, match=r"X must be a Dask Array.*got numpy\.ndarray"):
        densegrad.dask.predict(classifier, X)
    with pytest.raises(TypeError, match="X must be a Dask Array of two dimensions"):
        densegrad.dask.predict(classifier, collection[:, 0])
    with pytest.raises(ValueError, match=r"X must have 5 columns.*got 4"):
        densegrad.dask.predict(classifier, collection[:, :4])
    with pytest.raises(TypeError, match=r"model must be a Network.*got LogisticRegression"):
        densegrad.dask.predict(LogisticRegression().fit(X, y), collection)
    with pytest.raises(TypeError, match="predict_proba needs a classifier; got a Network"):
        densegrad.dask.predict_proba(networks(X)[0], collection)
    with pytest.raises(TypeError, match="predict_proba needs a classifier; got MLPRegressor"):
        densegrad.dask.predict_proba(MLPRegressor(max_iter=2).fit(X, X[:, 0]), collection)
    quantiles = MLPRegressor("quantile", max_iter=2, quantile=[0.1, 0.9]).fit(X, X[:, :2])
    with pytest.raises(ValueError, match=r"predictions of shape \(2, 2\).*to_dask_array"):
        densegrad.dask.predict(quantiles, dd.from_pandas(pd.DataFrame(X), npartitions=2))
    with pytest.raises(NotFittedError):
        densegrad.dask.predict(MLPClassifier(), collection)
    with pytest.raises(AttributeError, match="no attribute 'predict_proba'"):
        densegrad.dask.predict_proba(MLPClassifier(loss="hinge", max_iter=2).fit(X, y), collection)


def test_nan_is_refused_where_it_is(X: NDArray[Any], classifier: MLPClassifier) -> None:
    rows = X.copy()
    rows[700, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        densegrad.dask.predict(classifier, da.from_array(rows, chunks=(300, 5))).compute(scheduler="sync")


def test_the_extra_is_named_if_dask_is_missing(
    monkeypatch: pytest.MonkeyPatch, X: NDArray[Any], classifier: MLPClassifier
) -> None:
    collection = da.from_array(X, chunks=(300, 5))
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(ImportError, match=r"needs the package dask,.*densegrad\[dask\]"):
        densegrad.dask.predict(classifier, collection)


def test_the_model_is_one_node_of_the_graph(X: NDArray[Any], classifier: MLPClassifier) -> None:
    """So it travels to a worker once, not with each block."""
    lazy = densegrad.dask.predict(classifier, da.from_array(X, chunks=(10, 5)))
    nodes = [cloudpickle.dumps(node) for node in dict(lazy.__dask_graph__()).values()]
    assert len(nodes) > 100
    assert sum(len(node) >= len(cloudpickle.dumps(classifier.network_)) for node in nodes) == 1
