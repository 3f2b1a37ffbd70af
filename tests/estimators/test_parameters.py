"""Bad parameters are named; numbers of any type are taken."""

import numpy as np
import pytest

from densegrad import MLPClassifier, MLPRegressor, optimizers
from problems import X, Y

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize(
    ("Estimator", "parameters", "error", "message"),
    [
        (MLPRegressor, {"loss": "quantile", "quantile": []}, ValueError, "quantile"),
        (MLPRegressor, {"loss": "quantile", "quantile": [0.9, 0.1]}, ValueError, "quantile"),
        (MLPRegressor, {"loss": "quantile", "quantile": [0.1, 1.0]}, ValueError, "quantile"),
        (MLPRegressor, {"loss": "huber", "delta": 0.0}, ValueError, "delta"),
        (MLPRegressor, {"loss": "tweedie", "power": 2.0}, ValueError, "power"),
        (MLPClassifier, {"callbacks": [3]}, TypeError, "callbacks"),
        (MLPClassifier, {"schedule": lambda step, n_steps: "fast"}, TypeError, "schedule"),
        (MLPClassifier, {"schedule": lambda step, n_steps: -1.0}, ValueError, "schedule"),
        (MLPClassifier, {"dropout": 1.0}, ValueError, "dropout"),
        (MLPClassifier, {"dropout": [1.5]}, ValueError, "dropout"),
        (MLPClassifier, {"loss": lambda t, p: (p[:, 0], p[:3])}, ValueError, "loss must return"),
        (MLPClassifier, {"hidden_layer_sizes": 10**12}, ValueError, "units"),
        (MLPClassifier, {"n_threads": 0}, ValueError, "n_threads"),
        (MLPClassifier, {"n_threads": 10**30}, ValueError, "n_threads"),
        (MLPClassifier, {"activation": np.array(2)}, TypeError, "activation must hold names"),
        (MLPClassifier, {"max_time": 0}, ValueError, "max_time"),
        (MLPClassifier, {"dropout": ["a"]}, TypeError, "dropout must hold numbers"),
        (MLPClassifier, {"activation": [3]}, TypeError, "activation must hold names"),
        (
            MLPClassifier,
            {"activation": (np.sin, np.cos)},
            TypeError,
            r"must hold names \(functions are for Network\)",
        ),
        (MLPClassifier, {"class_weight": {0: -1.0}}, ValueError, "class_weight"),
        (MLPClassifier, {"class_weight": {0: np.nan}}, ValueError, "class_weight must be finite"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_parameters_are_named(Estimator, parameters, error, message):
    with pytest.raises(error, match=message):
        Estimator(**parameters).fit(X, Y)


@pytest.mark.parametrize("activation", ["nonsense", "exp", "softmax"])
def test_activations_named_in_errors_are_those_allowed(activation):
    with pytest.raises(ValueError, match="must be one of") as error:
        MLPClassifier(3, [activation]).fit(X, Y)
    allowed = str(error.value).split("one of ")[1].split(";")[0].split(", ")
    assert len(allowed) > 5
    for name in allowed:
        MLPClassifier(3, [name], max_iter=1).fit(X, Y)


def test_solvers_are_the_optimizers_in_lower_case():
    (names,) = MLPClassifier._parameter_constraints["solver"]
    assert names.options == {"lbfgs", *(name.lower() for name in optimizers())}


@pytest.mark.parametrize("size", [0, -3, 2.5, True])
def test_bad_layer_sizes_are_named(size):
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        MLPClassifier(hidden_layer_sizes=(3, size)).fit(X, Y)


def test_numbers_of_numpy_are_parameters():
    MLPClassifier(dropout=np.float32(0.1), alpha=np.float32(0), l1=np.float64(0), max_iter=1).fit(X, Y)
    MLPClassifier(dropout=np.int64(0), alpha=True, max_iter=1).fit(X, Y)
    MLPClassifier(learning_rate_init=True, epsilon=True, max_iter=1).fit(X, Y)
    MLPClassifier(np.array(3), np.array("relu"), dropout=np.array(0.1), max_iter=1).fit(X, Y)


def test_limits_beyond_all_counts():
    MLPClassifier(3, solver="lbfgs", max_iter=10**30, max_fun=10**30, tol=1.0).fit(X, Y)


@pytest.mark.parametrize("size", [np.inf, np.nan, "3", None, 2.5, True, [3]])
def test_sizes_of_layers_that_are_no_integers(size):
    with pytest.raises(ValueError, match=r"hidden_layer_sizes must be integers, got \["):
        MLPClassifier([4, size]).fit([[0.0], [1.0]], [0, 1])
