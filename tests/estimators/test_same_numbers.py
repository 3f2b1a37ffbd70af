"""The same random_state gives scikit-learn's loss curve, weights and predictions, in float64 within 1e-7."""

import itertools
import warnings

import numpy as np
import pytest
import sklearn.neural_network
from scipy import sparse
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning

import densegrad

RELATIVE = 1e-7

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def data_of(task):
    n, p = 330, 12
    if task == "binary":
        return make_classification(n, p, n_informative=6, random_state=0)
    if task == "multiclass":
        return make_classification(n, p, n_informative=6, n_classes=4, random_state=0)
    if task == "multilabel":
        return make_multilabel_classification(n, p, n_classes=3, random_state=0)
    if task == "poisson":
        X, y = make_regression(n, p, n_informative=4, random_state=0)
        return X, np.random.RandomState(1).poisson(np.exp(y / np.abs(y).max())).astype(float)
    X, y = make_regression(n, p, n_informative=6, n_targets=3 if task == "multioutput" else 1, random_state=0)
    return X, y / np.abs(y).max()


CLASSIFICATION = ("binary", "multiclass", "multilabel")
REGRESSION = ("regression", "poisson", "multioutput")
BASE = {"hidden_layer_sizes": (9, 7), "max_iter": 8, "random_state": 5, "batch_size": 50}
SOLVERS = {
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
    "adam, own betas": {"solver": "adam", "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "sgd without momentum": {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.05},
    "sgd, plain momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.02},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.2, "learning_rate_init": 0.1},
    "adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.1,
        "tol": 0.05,
        "n_iter_no_change": 1,
        "max_iter": 30,
    },
    # Few iterations: a line search decides by comparisons, which a difference in the last bit may turn.
    "lbfgs": {"solver": "lbfgs", "max_iter": 5},
}
ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
VARIATIONS = {
    "default": {},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "one number": {"hidden_layer_sizes": 11},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.2},
    "early stopping, stops": {"early_stopping": True, "n_iter_no_change": 1, "tol": 0.1, "max_iter": 20},
    "not shuffled": {"shuffle": False},
    "alpha": {"alpha": 5.0},
    "auto batches": {"batch_size": "auto"},
    "batch of one": {"batch_size": 1, "max_iter": 2, "learning_rate_init": 1e-3},
    "defaults, stops": {"batch_size": "auto", "tol": 0.02, "n_iter_no_change": 2, "max_iter": 30},
}


def fit_both(task, *, weighted=False, **parameters):
    X, y = data_of(task)
    kind = "MLPClassifier" if task in CLASSIFICATION else "MLPRegressor"
    parameters = {**BASE, **parameters}
    if task == "poisson":
        parameters["loss"] = "poisson"
    weight = np.random.RandomState(2).uniform(0.2, 3, len(X)) if weighted else None
    ours = getattr(densegrad, kind)(**parameters).fit(X, y, sample_weight=weight)
    theirs = getattr(sklearn.neural_network, kind)(**parameters).fit(X, y, sample_weight=weight)
    return ours, theirs, X, y


def relative_difference(ours, theirs):
    """Largest difference, relative to the largest number."""
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-300)


def worst_difference(ours, theirs, X, y):
    differences = [
        relative_difference(a, b)
        for a, b in zip([*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True)
    ]
    if hasattr(ours, "predict_proba"):
        differences.append(relative_difference(ours.predict_proba(X), theirs.predict_proba(X)))
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    else:
        differences.append(relative_difference(ours.predict(X), theirs.predict(X)))
    if y.ndim == 2 and not hasattr(ours, "predict_proba"):
        # The loss of several outputs is the sum over them here, and their mean there.
        assert ours.loss_ > theirs.loss_
    else:
        differences.append(relative_difference(ours.loss_, theirs.loss_))
        if hasattr(theirs, "loss_curve_"):
            differences.append(relative_difference(ours.loss_curve_, theirs.loss_curve_))
            if theirs.best_loss_ is not None:
                differences.append(relative_difference(ours.best_loss_, theirs.best_loss_))
    if getattr(theirs, "validation_scores_", None) is not None:
        differences.append(relative_difference(ours.validation_scores_, theirs.validation_scores_))
        differences.append(relative_difference(ours.best_validation_score_, theirs.best_validation_score_))
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    return max(differences)


def comparable(task, parameters):
    # With several outputs scikit-learn's L-BFGS is given a gradient that is not that of its loss.
    return not (task == "multioutput" and parameters.get("solver") == "lbfgs")


def cases():
    solvers = [(task, name, "relu", "default") for task in CLASSIFICATION + REGRESSION for name in SOLVERS]
    activations = itertools.product(
        ("binary", "regression"), ("adam", "sgd", "lbfgs"), ACTIVATIONS, ["default"]
    )
    variations = itertools.product(
        ("binary", "multiclass", "regression"), ("adam", "sgd"), ["tanh"], VARIATIONS
    )
    linear = itertools.product(("multilabel", "poisson"), ("lbfgs",), ["relu"], ["no hidden layer"])
    return sorted(
        {c for c in (*solvers, *activations, *variations, *linear) if comparable(c[0], SOLVERS[c[1]])}
    )


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize(("task", "solver", "activation", "variation"), cases())
def test_same_numbers(task, solver, activation, variation, weighted, record_property):
    parameters = {**SOLVERS[solver], "activation": activation, **VARIATIONS[variation]}
    worst = worst_difference(*fit_both(task, weighted=weighted, **parameters))
    record_property("relative_difference", worst)
    assert worst < RELATIVE


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_sparse_X(container):
    X, y = data_of("multiclass")
    X = np.where(np.abs(X) > 1, X, 0)
    ours = densegrad.MLPClassifier(**BASE).fit(container(X), y)
    theirs = sklearn.neural_network.MLPClassifier(**BASE).fit(container(X), y)
    assert worst_difference(ours, theirs, X, y) < RELATIVE
    assert relative_difference(ours.predict_proba(container(X)), ours.predict_proba(X)) == 0


def test_several_outputs_take_the_same_steps_and_report_their_true_loss():
    ours, theirs, X, y = fit_both(
        "multioutput", alpha=0.0, max_iter=1, batch_size=len(data_of("multioutput")[0])
    )
    # One full batch: the loss is that of the first weights; scikit-learn's is the mean of 3 outputs.
    assert relative_difference(ours.loss_, 3 * theirs.loss_) < RELATIVE
    assert worst_difference(ours, theirs, X, y) < RELATIVE


def test_a_shared_generator_is_drawn_from_as_scikit_learn_draws():
    X, y = data_of("binary")
    ours, theirs = np.random.RandomState(3), np.random.RandomState(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        densegrad.MLPClassifier(max_iter=4, early_stopping=True, random_state=ours).fit(X, y)
        sklearn.neural_network.MLPClassifier(max_iter=4, early_stopping=True, random_state=theirs).fit(X, y)
    assert ours.randint(2**31) == theirs.randint(2**31)


def test_first_partial_fit_and_those_in_order():
    X, y = data_of("multiclass")
    parameters = {"hidden_layer_sizes": 8, "random_state": 1, "shuffle": False, "batch_size": 40}
    ours, theirs = densegrad.MLPClassifier(**parameters), sklearn.neural_network.MLPClassifier(**parameters)
    for part in np.array_split(np.arange(len(X)), 4):
        for estimator in (ours, theirs):
            estimator.partial_fit(X[part], y[part], classes=np.unique(y))
    assert worst_difference(ours, theirs, X, y) < RELATIVE


def test_float32_follows_scikit_learn():
    X, y = data_of("multiclass")
    X = X.astype(np.float32)
    ours = densegrad.MLPClassifier(**BASE).fit(X, y)
    theirs = sklearn.neural_network.MLPClassifier(**BASE).fit(X, y)
    assert ours.coefs_[0].dtype == theirs.coefs_[0].dtype == np.float32
    assert relative_difference(ours.coefs_[0], theirs.coefs_[0]) < 1e-4
