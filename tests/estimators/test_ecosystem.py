"""The estimators among scikit-learn's tools and other people's frames."""

import inspect
import pickle

import numpy as np
import pytest
import sklearn.neural_network
from joblib import Parallel, delayed
from sklearn import config_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import BaggingClassifier, BaggingRegressor, StackingClassifier, VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, cross_validate
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr, get_tags

from densegrad import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(200, 6, n_informative=4, n_classes=3, random_state=0)
X_REG, Y_REG = make_regression(200, 6, random_state=0)
CLF = MLPClassifier(12, max_iter=30, random_state=0, learning_rate_init=0.01)
REG = MLPRegressor("squared_error", 12, max_iter=30, random_state=0, learning_rate_init=0.01)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_in_a_pipeline(n_jobs):
    pipeline = make_pipeline(StandardScaler(), CLF)
    grid = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__class_weight": [None, "balanced"]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs).fit(X, Y)
    assert search.best_score_ > 0.5
    assert search.predict_proba(X).shape == (200, 3)


def test_cross_validation():
    assert cross_val_score(CLF, X, Y, cv=3).mean() > 0.5
    assert cross_val_predict(CLF, X, Y, cv=2, method="predict_proba").shape == (200, 3)
    result = cross_validate(
        REG, X_REG, Y_REG, cv=2, scoring=["r2", "neg_mean_absolute_error"], return_estimator=True
    )
    assert len(result["estimator"]) == 2


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration(method):
    weight = np.linspace(1, 2, len(X))
    calibrated = CalibratedClassifierCV(CLF, method=method, cv=2).fit(X, Y, sample_weight=weight)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    hinge = MLPClassifier(12, max_iter=60, random_state=0, learning_rate_init=0.01, loss="hinge")
    assert CalibratedClassifierCV(hinge, cv=2).fit(X, Y).score(X, Y) > 0.5


def test_ensembles():
    assert BaggingClassifier(CLF, n_estimators=3, n_jobs=2, random_state=0).fit(X, Y).score(X, Y) > 0.5
    BaggingRegressor(REG, n_estimators=2, random_state=0).fit(X_REG, Y_REG)
    logistic = LogisticRegression(max_iter=200)
    VotingClassifier([("mlp", CLF), ("logistic", logistic)], voting="soft").fit(X, Y)
    assert StackingClassifier([("mlp", CLF)], logistic, cv=2).fit(X, Y).score(X, Y) > 0.5
    MultiOutputClassifier(CLF).fit(X, np.column_stack([Y, Y > 0]))


def test_joblib_processes_and_threads_give_the_same_bits():
    def fitted(seed):
        return MLPClassifier(12, max_iter=4, random_state=seed).fit(X, Y).predict_proba(X)

    alone = [fitted(seed) for seed in range(3)]
    for backend in ("loky", "threading"):
        for a, b in zip(
            alone, Parallel(2, backend=backend)(delayed(fitted)(s) for s in range(3)), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_threads_may_predict_at_the_same_time():
    clf = MLPClassifier(12, max_iter=4, random_state=0).fit(X, Y)
    expected = clf.predict_proba(X)
    for outputs in Parallel(4, backend="threading")(delayed(clf.predict_proba)(X) for _ in range(50)):
        np.testing.assert_array_equal(outputs, expected)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_frames(library, early_stopping):
    frames = pytest.importorskip(library)
    names = [f"column {i}" for i in range(6)]
    frame = frames.DataFrame({name: X[:, i] for i, name in enumerate(names)})
    labels = frames.Series(np.array(["a", "b", "c"])[Y])
    clf = MLPClassifier(12, max_iter=5, random_state=0, early_stopping=early_stopping).fit(frame, labels)
    assert list(clf.feature_names_in_) == names
    assert set(clf.predict(frame)) <= {"a", "b", "c"}
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        proba = clf.predict_proba(X)
    np.testing.assert_array_equal(proba, clf.predict_proba(frame))
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(
            frame.rename({"column 0": "x"})
            if library == "polars"
            else frame.rename(columns={"column 0": "x"})
        )
    make_pipeline(StandardScaler().set_output(transform=library), CLF).fit(frame, labels).predict(frame)


def test_metadata_routing():
    weight = np.linspace(0.1, 2, len(X))
    with config_context(enable_metadata_routing=True):
        clf = MLPClassifier(12, max_iter=5, random_state=0)
        clf.set_fit_request(sample_weight=True, X_val=True, y_val=True).set_score_request(sample_weight=True)
        clf.set_partial_fit_request(sample_weight=True, classes=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), clf)
        pipeline.fit(X, Y, sample_weight=weight, X_val=X[:40], y_val=Y[:40])
        assert len(pipeline[-1].validation_scores_) == 5
        scores = cross_validate(clf, X, Y, cv=2, params={"sample_weight": weight})
        assert scores["test_score"].shape == (2,)


def test_permutation_importance():
    importance = permutation_importance(CLF.fit(X, Y), X, Y, n_repeats=2, random_state=0)
    assert importance.importances_mean.max() > 0


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_signature_begins_with_scikit_learns(name):
    ours = inspect.signature({"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}[name]).parameters
    theirs = inspect.signature(getattr(sklearn.neural_network, name)).parameters
    for own, original in zip(ours.values(), theirs.values(), strict=False):
        assert (own.name, own.default, own.kind) == (original.name, original.default, original.kind)
    assert len(ours) > len(theirs)
    additions = list(ours.values())[len(theirs) :]
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in additions)


@pytest.mark.parametrize("estimator", [CLF, REG], ids=str)
def test_tags_and_representations(estimator):
    original = getattr(sklearn.neural_network, type(estimator).__name__)()
    assert get_tags(estimator) == get_tags(original)
    fitted = type(estimator)(12, max_iter=2) if estimator is CLF else type(estimator)(max_iter=2)
    fitted.fit(X, Y)
    assert type(estimator).__name__ in estimator_html_repr(fitted)
    assert repr(fitted).startswith(type(estimator).__name__ + "(")


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_fitted_attributes_are_scikit_learns(name):
    kind = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}[name]
    for solver in ("adam", "lbfgs"):
        for early_stopping in (False, True):
            parameters = {
                "max_iter": 3,
                "solver": solver,
                "early_stopping": early_stopping,
                "random_state": 0,
            }
            theirs = getattr(sklearn.neural_network, name)(**parameters).fit(X, Y)
            ours = kind(**parameters).fit(X, Y)
            for attribute, value in vars(theirs).items():
                if attribute.endswith("_") and not attribute.startswith("_"):
                    assert isinstance(getattr(ours, attribute), type(value)) or value == pytest.approx(
                        getattr(ours, attribute)
                    ), attribute


def test_a_pickle_without_later_parameters():
    clf = MLPClassifier(3, max_iter=5, random_state=0).fit(X, Y)
    state = clf.__getstate__()
    del state["members"]["max_time"]
    older = MLPClassifier.__new__(MLPClassifier)
    older.__setstate__(state)
    assert older.get_params()["max_time"] is None
    np.testing.assert_array_equal(older.fit(X, Y).predict(X), clf.predict(X))


def test_unpickled_in_another_process(tmp_path):
    path = tmp_path / "clf.pickle"
    clf = MLPClassifier(12, max_iter=4, random_state=0).fit(X, Y)
    path.write_bytes(pickle.dumps(clf))

    def elsewhere(path, X):
        with open(path, "rb") as file:
            return pickle.load(file).predict_proba(X)

    (outputs,) = Parallel(2, backend="loky")([delayed(elsewhere)(path, X)])
    np.testing.assert_array_equal(outputs, clf.predict_proba(X))
