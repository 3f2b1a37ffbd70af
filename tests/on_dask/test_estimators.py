"""Estimators on a cluster: the bits of any other cluster, and scikit-learn's manners."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from densegrad import Adam, MLPClassifier, MLPRegressor, Network, Trainer
from densegrad.dask import DaskMLPClassifier, DaskMLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


def chunked(array: NDArray[Any], size: int = 130) -> da.Array:
    return da.from_array(array, chunks=(size, *array.shape[1:]))


def weights(clf: Any) -> bytes:
    return clf.to_local().network_.parameters.tobytes()


def local_classifier(**options: Any) -> MLPClassifier:
    return MLPClassifier((16,), max_iter=4, learning_rate_init=0.01, batch_size=64, random_state=0, **options)


def test_any_number_of_workers(
    client: Client, four_workers: Client, X: NDArray[Any], y: NDArray[Any]
) -> None:
    fitted = [
        DaskMLPClassifier(local_classifier(alpha=0.01), shards=8, client=one).fit(chunked(X), chunked(y))
        for one in (client, four_workers)
    ]
    assert weights(fitted[0]) == weights(fitted[1])
    assert fitted[0].history_.loss == fitted[1].history_.loss


def test_the_bits_of_a_trainer_on_one_machine(client: Client, X: NDArray[Any], y: NDArray[Any]) -> None:
    clf = DaskMLPClassifier(local_classifier(alpha=0.01), shards=8, client=client).fit(chunked(X), chunked(y))
    start = local_classifier(alpha=0.01).set_params(max_iter=1)
    spec = clf.local_.network_.spec
    draws = np.random.RandomState(0)
    net = Network.from_spec(spec, first_weights(start, X, y, spec.n_parameters, draws))
    trainer = Trainer(net, Adam(0.01), batch_size=64, shards=8, random_state=0, l2=0.01)
    trainer.fit(X, np.searchsorted(clf.classes_, y), epochs=4, patience=11, restore_best=False)
    assert weights(clf) == net.parameters.tobytes()


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_lbfgs(kind: str, client: Client, four_workers: Client, X: NDArray[Any], y: NDArray[Any]) -> None:
    """Any workers give the same bits, and one machine without shards the same up to rounding."""
    one: Any = (
        local_classifier() if kind == "classifier" else MLPRegressor(hidden_layer_sizes=(16,), random_state=0)
    )
    on_cluster: Any = DaskMLPClassifier if kind == "classifier" else DaskMLPRegressor
    y = y if kind == "classifier" else np.sin(X[:, 0])
    one.set_params(solver="lbfgs", max_iter=12, alpha=0.01)
    weight = np.linspace(0.5, 2, len(X))
    found = [
        on_cluster(one, shards=8, client=there).fit(chunked(X), chunked(y), chunked(weight))
        for there in (client, four_workers)
    ]
    assert weights(found[0]) == weights(found[1])
    assert found[0].history_.loss == found[1].history_.loss
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        one.fit(X, y, weight)
    local = found[0].to_local()
    assert (local.n_iter_, local.solver, local.max_iter) == (12, "lbfgs", 12)
    np.testing.assert_allclose(local.loss_, one.loss_, rtol=1e-4)
    assert vars(local).keys() == vars(one).keys()
    with pytest.raises(ValueError, match="X_val and y_val need a stochastic solver"):
        found[0].fit(chunked(X), chunked(y), X_val=chunked(X), y_val=chunked(y))


def first_weights(
    clf: MLPClassifier, X: NDArray[Any], y: NDArray[Any], count: int, draws: np.random.RandomState
) -> NDArray[Any]:
    """The weights that scikit-learn's estimator begins with: those of a fit that cannot move."""
    still = clf.set_params(solver="sgd", learning_rate_init=1e-30, momentum=0.0, alpha=0.0).fit(X, y)
    assert still.network_.n_parameters == count
    return still.network_.parameters


def test_predictions_scores_and_local_copies(four_workers: Client, X: NDArray[Any], y: NDArray[Any]) -> None:
    clf = DaskMLPClassifier(local_classifier(), shards=8, client=four_workers).fit(chunked(X), chunked(y))
    local = clf.to_local()
    assert isinstance(local, MLPClassifier)
    assert clf.classes_.tolist() == ["low", "mid", "top"]
    np.testing.assert_array_equal(clf.predict(chunked(X)).compute(), local.predict(X))
    np.testing.assert_array_equal(clf.predict_proba(chunked(X)).compute(), local.predict_proba(X))
    assert clf.score(chunked(X), chunked(y)) == pytest.approx(local.score(X, y))
    assert local.score(X, y) > 0.8
    assert local.get_params() == local_classifier().get_params()
    assert (local.n_iter_, local.loss_curve_) == (4, clf.history_.loss)


def test_frames_validation_and_weights(four_workers: Client, X: NDArray[Any], y: NDArray[Any]) -> None:
    frame, labels = pd.DataFrame(X, columns=list("abcde")), pd.Series(y, name="label")
    rows, targets = dd.from_pandas(frame, npartitions=5), dd.from_pandas(labels, npartitions=5)
    weight = dd.from_pandas(pd.Series(np.linspace(0.5, 2, len(X))), npartitions=5)
    clf = DaskMLPClassifier(
        local_classifier(early_stopping=True, n_iter_no_change=1, tol=0.5), shards=8, client=four_workers
    )
    clf.fit(rows, targets, weight, X_val=rows, y_val=targets)
    assert clf.local_.feature_names_in_.tolist() == list("abcde")
    assert clf.history_.stopped == "patience"
    assert len(clf.local_.validation_loss_curve_) == len(clf.history_.loss)
    predicted = clf.predict(rows)
    assert predicted.divisions == rows.divisions
    np.testing.assert_array_equal(predicted.compute(), clf.to_local().predict(frame))


@pytest.mark.parametrize("n_targets", [1, 2])
def test_regression(n_targets: int, four_workers: Client, X: NDArray[Any]) -> None:
    y = X[:, 0] if n_targets == 1 else X[:, :2]
    estimator = MLPRegressor(
        hidden_layer_sizes=(16,), max_iter=20, batch_size=64, learning_rate_init=0.01, random_state=0
    )
    reg = DaskMLPRegressor(estimator, shards=8, client=four_workers).fit(chunked(X), chunked(y))
    np.testing.assert_array_equal(reg.predict(chunked(X)).compute(), reg.to_local().predict(X))
    assert reg.score(chunked(X), chunked(y)) == pytest.approx(reg.to_local().score(X, y))
    assert reg.to_local().score(X, y) > 0.8


def test_clones_pickles_and_nested_parameters(four_workers: Client, X: NDArray[Any], y: NDArray[Any]) -> None:
    clf = DaskMLPClassifier(local_classifier(), shards=8, client=four_workers)
    clf.set_params(estimator__alpha=0.1, shards=4)
    assert clone(clf).get_params()["estimator__alpha"] == 0.1
    with pytest.raises(NotFittedError):
        clf.predict(chunked(X))
    clf.fit(chunked(X), chunked(y))
    copy = pickle.loads(pickle.dumps(clf))
    assert copy.client is None
    np.testing.assert_array_equal(
        copy.predict(chunked(X)).compute(scheduler="sync"), clf.to_local().predict(X)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "lbfgs", "max_fun": 5}, "max_fun must be 15000 on a cluster"),
        ({"solver": "lbfgs", "dropout": 0.5}, "solver='lbfgs' makes no gradient steps that dropout"),
        ({"early_stopping": True}, "early_stopping=True needs X_val and y_val"),
        ({"class_weight": {"none": 2.0}}, "class_weight names 'none', which is no class"),
        ({"class_weight": {"low": -1.0}}, "class_weight must be finite and not negative"),
        ({"warm_start": True}, "warm_start must be False on a cluster"),
        ({"alpha": -1.0}, "alpha"),
    ],
)
def test_refused_parameters(
    options: dict[str, Any], message: str, four_workers: Client, X: NDArray[Any], y: NDArray[Any]
) -> None:
    with pytest.raises(ValueError, match=message):
        DaskMLPClassifier(local_classifier(**options), client=four_workers).fit(chunked(X), chunked(y))


def test_refused_arguments(four_workers: Client, X: NDArray[Any], y: NDArray[Any]) -> None:
    clf = DaskMLPClassifier(local_classifier(), shards=8, client=four_workers)
    with pytest.raises(ValueError, match="X_val and y_val must be given together"):
        clf.fit(chunked(X), chunked(y), X_val=chunked(X))
    with pytest.raises(ValueError, match=r"y_val has labels that y has not: \['odd'\]"):
        clf.fit(chunked(X), chunked(y), X_val=chunked(X), y_val=chunked(np.full(len(X), "odd")))
    with pytest.raises(ValueError, match="y must be labels in one column; got 2 dimensions"):
        clf.fit(chunked(X), chunked(np.stack([y, y], axis=1)))
    with pytest.raises(TypeError, match="estimator must be an MLPClassifier; got MLPRegressor"):
        clf.set_params(estimator=MLPRegressor()).fit(chunked(X), chunked(y))


def as_frame(y: NDArray[Any], npartitions: int = 5) -> Any:
    return dd.from_pandas(pd.Series(y), npartitions=npartitions)


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("class_weight", ["balanced", {"low": 3.0, "top": 0.5}])
def test_class_weights(
    class_weight: Any, weighted: bool, framed: bool, four_workers: Client, X: NDArray[Any], y: NDArray[Any]
) -> None:
    made = as_frame if framed else chunked
    rows = dd.from_pandas(pd.DataFrame(X), npartitions=5) if framed else chunked(X)
    weight = np.linspace(0.5, 2, len(X)) if weighted else None
    of_class = class_weight
    if class_weight == "balanced":
        names, counts = np.unique(y, return_counts=True)
        of_class = dict(zip(names, len(y) / (len(names) * counts), strict=True))
    by_row = np.array([of_class.get(label, 1.0) for label in y]) * (1.0 if weight is None else weight)
    here = DaskMLPClassifier(local_classifier(), shards=8, client=four_workers)
    here.fit(rows, made(y), made(by_row), X_val=rows, y_val=made(y), sample_weight_val=made(by_row))
    there = DaskMLPClassifier(local_classifier(class_weight=class_weight), shards=8, client=four_workers)
    given = None if weight is None else made(weight)
    there.fit(rows, made(y), given, X_val=rows, y_val=made(y), sample_weight_val=given)
    assert weights(here) == weights(there)
    assert here.history_.validation_loss == there.history_.validation_loss
    assert there.to_local().class_weight == class_weight


def test_averages(client: Client, four_workers: Client, X: NDArray[Any], y: NDArray[Any]) -> None:
    fitted = [
        DaskMLPClassifier(local_classifier(), shards=4, average_every=4, client=one).fit(
            chunked(X), chunked(y)
        )
        for one in (client, four_workers)
    ]
    assert weights(fitted[0]) == weights(fitted[1])
    other = DaskMLPClassifier(local_classifier(), shards=4, client=client).fit(chunked(X), chunked(y))
    assert weights(other) != weights(fitted[0])


def unlike(y: NDArray[Any], *parts: Any) -> da.Array:
    """Labels of blocks that have types of their own."""
    blocks = [da.from_array(np.asarray(part), chunks=-1) for part in parts]
    return da.concatenate(blocks, allow_unknown_chunksizes=True)


def test_partitions_with_some_of_the_labels(four_workers: Client, X: NDArray[Any], y: NDArray[Any]) -> None:
    """Sorted text: each partition has one or two labels, some have none, and divisions are not known."""
    order = np.argsort(y, kind="stable")
    frame = pd.DataFrame(X[order], columns=list("abcde")).assign(y=y[order])
    parts = [frame[k : k + 100] for k in range(0, 1000, 100)]
    lazy = dd.from_map(lambda part: part, [frame[:0], *parts[:4], frame[:0], *parts[4:]])
    assert not lazy.known_divisions
    fitted = [
        DaskMLPClassifier(local_classifier(), shards=8, client=four_workers).fit(rows[list("abcde")], rows.y)
        for rows in (lazy, dd.from_pandas(frame, npartitions=1, sort=False))
    ]
    assert weights(fitted[0]) == weights(fitted[1])
    assert fitted[0].classes_.tolist() == ["low", "mid", "top"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda y: np.where(np.arange(len(y)) == 733, None, y),
            "partition 7 of y: .* row 33 .* has None",
        ),
        (
            lambda y: np.where(np.arange(len(y)) == 733, np.nan, 1.0),
            "partition 7 of y: .* row 33 .* has nan",
        ),
        (
            lambda y: np.where(np.arange(len(y)) == 733, pd.NA, y.astype(object)),
            "partition 7 of y: .* row 33 .* has <NA>",
        ),
        (
            lambda y: np.linspace(0, 1, len(y)),
            r"partition \d of y: labels must have no fractions",
        ),
        (
            lambda y: np.array([*y[:500], *range(500)], object),
            "partition 0 of y has '(low|mid|top)', partition 5 has 0",
        ),
        (
            lambda y: np.array([*y[:550], *range(450)], object),
            "partition 5 of y: labels must be all numbers or all text; got '(low|mid|top)' and 0",
        ),
    ],
)
def test_bad_labels(
    change: Any, message: str, four_workers: Client, X: NDArray[Any], y: NDArray[Any]
) -> None:
    clf = DaskMLPClassifier(local_classifier(), shards=8, client=four_workers)
    with pytest.raises((ValueError, TypeError), match=message):
        clf.fit(chunked(X, 100), chunked(change(y), 100))
    assert not hasattr(clf, "local_")
