"""`check_gradients` and `check_function`: the errors they find, and their reports."""

from __future__ import annotations

import copy
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from sklearn.neural_network import MLPRegressor as SklearnRegressor

from assertions import refused
from builders import half_square, make_network
from choices import NAN
from densegrad import (
    Dense,
    GradientReport,
    MLPClassifier,
    MLPRegressor,
    Network,
    check_function,
    check_gradients,
)


def doubled(y_true: Any, y_pred: Any) -> Any:
    losses, derivative = half_square(y_true, y_pred)
    return losses, 2 * derivative


def one_wrong_output(y_true: Any, y_pred: Any) -> Any:
    losses, derivative = half_square(y_true, y_pred)
    derivative = derivative.copy()
    derivative[4, 1] *= 1.5
    return losses, derivative


def custom_network(loss: Any, dtype: str = "float64") -> Network:
    return Network(3, [Dense(4, "tanh"), Dense(2, "identity")], loss=loss, dtype=dtype, random_state=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_right_custom_loss(dtype: str, rng: np.random.Generator) -> None:
    network = custom_network(half_square, dtype)
    report = check_gradients(network, rng.normal(size=(9, 3)), rng.normal(size=(9, 2)))
    assert report.wrong == ()
    assert report.loss_layer is not None
    assert report.loss_layer.max_relative_error < 1e-8
    assert (report.loss_layer.layer, report.loss_layer.n_checked) == (3, 18)
    assert "no gradient is wrong" in str(report)


def test_a_wrong_custom_loss_is_named(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    report = check_gradients(custom_network(doubled), X, target)
    assert report.wrong == (1, 2, 3)
    assert report.loss_layer is not None
    assert report.loss_layer.max_relative_error == pytest.approx(0.5)
    assert "the derivative of the loss function is wrong, in layer 3" in str(report)
    report = check_gradients(custom_network(one_wrong_output), X, target)
    assert report.loss_layer is not None
    assert report.loss_layer.index == (4, 1)
    assert report.loss_layer.max_relative_error == pytest.approx(1 / 3)


def test_the_loss_may_write_to_what_it_gets(rng: np.random.Generator) -> None:
    def writes(y_true: Any, y_pred: Any) -> Any:
        y_pred -= y_true
        y_true[:] = 0
        return 0.5 * (y_pred**2).sum(axis=1), y_pred

    report = check_gradients(custom_network(writes), rng.normal(size=(9, 3)), rng.normal(size=(9, 2)))
    assert report.wrong == ()


XOR = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def network_at_kinks() -> Network:
    """Biases begin at 0. So the sums of the first row of XOR are 0, where relu has its kink."""
    layers = [Dense(3, "relu"), Dense(1, "logistic")]
    return Network(2, layers, loss="log_loss", dtype="float64", random_state=0)


def test_weights_at_a_kink_are_not_compared() -> None:
    report = check_gradients(network_at_kinks(), XOR, [0, 1, 1, 0])
    assert report.wrong == ()
    assert [check.n_kinks for check in report.layers] == [3, 0]
    assert [check.n_checked for check in report.layers] == [6, 4]
    assert str(report).splitlines()[-1].endswith("at a kink, and not compared: 3")


def test_a_sample_at_a_kink_of_a_custom_loss(rng: np.random.Generator) -> None:
    def absolute(y_true: Any, y_pred: Any) -> Any:
        r = y_pred - y_true
        return np.abs(r).sum(axis=1), np.where(r < 0, -1.0, 1.0)

    network, X = custom_network(absolute), rng.normal(size=(9, 3))
    target = rng.normal(size=(9, 2))
    target[4, 1] = network.predict(X)[4, 1]
    report = check_gradients(network, X, target)
    assert report.loss_layer is not None
    assert (report.loss_layer.n_kinks, report.loss_layer.max_relative_error < 1e-6) == (1, True)
    assert report.wrong == ()


def test_a_kink_within_the_step() -> None:
    def function(arrays: Any) -> Any:
        (w,) = arrays
        return np.abs(w - 4e-6).sum(), [np.sign(w - 4e-6)]

    assert check_function(function, [np.array([0.0, 1.0])]).wrong == ()


def test_kinks_hide_no_wrong_gradient_and_no_jump() -> None:
    def jumps(arrays: Any) -> Any:
        (w,) = arrays
        return float((w > 0).sum()), [0.0 * w]

    def wrong_beside_a_kink(arrays: Any) -> Any:
        (w,) = arrays
        return np.abs(w).sum(), [np.where(w < 0, -2.0, 2.0)]

    def steep(arrays: Any) -> Any:
        (w,) = arrays
        return np.exp(300 * w).sum(), [301 * np.exp(300 * w)]

    assert check_function(jumps, [np.zeros(1)]).wrong == (1,)
    report = check_function(wrong_beside_a_kink, [np.array([0.0, 1.0])])
    assert (report.wrong, report.layers[0].n_kinks, report.layers[0].index) == ((1,), 1, (1,))
    assert check_function(steep, [np.full(1, 0.1)]).wrong == (1,)


def fitted_estimators() -> list[Any]:
    random = np.random.RandomState(0)
    X = random.normal(size=(60, 4))
    letters = np.array(["a", "b", "c"])[random.randint(3, size=60)]
    settings: dict[str, Any] = {
        "hidden_layer_sizes": (5,),
        "activation": "tanh",
        "max_iter": 3,
        "random_state": 0,
    }
    cases = [
        (MLPClassifier(**settings), letters),
        (MLPClassifier(**settings), letters == "a"),
        (MLPClassifier(loss="hinge", **settings), letters),
        (MLPClassifier(**settings), random.randint(2, size=(60, 3))),
        (MLPClassifier(loss=half_square, **settings), letters),
        (MLPClassifier(loss=half_square, **settings), letters == "a"),
        (MLPRegressor(**settings), X[:, 0]),
        (MLPRegressor(**settings), X[:, :2]),
        (MLPRegressor(loss="quantile", quantile=(0.1, 0.9), **settings), X[:, 0]),
    ]
    return [pytest.param(model, X, y, id=f"{i}-{type(model).__name__}") for i, (model, y) in enumerate(cases)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("model", "X", "y"), fitted_estimators())
def test_fitted_estimators(model: Any, X: Any, y: Any) -> None:
    report = check_gradients(model.fit(X, y), X[:20], y[:20])
    assert report.wrong == (), str(report)
    assert len(report.layers) == 2


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_models_that_cannot_be_checked(rng: np.random.Generator) -> None:
    X, y = rng.normal(size=(20, 2)), np.array(["yes", "no"] * 10)
    refused("MLPClassifier has no network yet: fit it", lambda: check_gradients(MLPClassifier(), X, y))
    refused("must be a Network or a fitted estimator", lambda: check_gradients("net", X, y))
    refused("must be a Network or a fitted", lambda: check_gradients(SklearnRegressor(), X, y))
    model = MLPClassifier((3,), max_iter=1).fit(X, y)
    refused(
        "target must hold the classes .*; got .*'maybe'", lambda: check_gradients(model, X, ["maybe"] * 20)
    )


def test_large_layers_say_how_much_was_compared(rng: np.random.Generator) -> None:
    network = make_network((5, 30, 40, 2))
    X, target = rng.normal(size=(5, 30)), rng.normal(size=(5, 2))
    report = check_gradients(network, X, target, max_parameters=50)
    assert [(c.n_checked, c.n_weights) for c in report.layers] == [(50, 1240), (50, 82)]
    assert "50 of 1,240" in str(report)


class Cells(HTMLParser):
    """The text of the cells of a table, and the tags that are open at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)


def test_report_as_text_and_html(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    report = check_gradients(custom_network(doubled), X, target)
    assert repr(report) == str(report)
    lines = repr(report).splitlines()
    assert len(lines) == 5
    assert max(map(len, lines)) < 100
    assert lines[1].split()[:2] == ["1", f"{report.layers[0].max_relative_error:.3g}"]
    page = Cells()
    page.feed(report._repr_html_())
    assert page.open == []
    assert [row[0] for row in page.rows] == ["l", "1", "2", "3"]
    assert page.rows[3][1] == f"{report.loss_layer.max_relative_error:.3g}"  # type: ignore[union-attr]


def test_functions_right_and_wrong() -> None:
    A = np.array([[2.0, 1.0], [1.0, 3.0]])

    def quadratic(factor: float) -> Any:
        def function(arrays: Any) -> Any:
            x, c = arrays
            gradient = A @ x
            gradient[1] *= factor
            return 0.5 * x @ A @ x + np.sum(np.sin(c)), [gradient, np.cos(c)]

        return function

    point = [[1.0, -2.0], [[0.1, 0.2, 0.3]]]
    assert check_function(quadratic(1), point).wrong == ()
    report = check_function(quadratic(1.1), point)
    assert report.wrong == (1,)
    assert report.worst.index == (1,)
    assert report.worst.numeric == pytest.approx(-5)
    assert report.worst.analytic == pytest.approx(-5.5)
    assert report.layers[1].index[0] == 0
    assert "the gradient of layer 1 is wrong" in str(report)


def test_the_verdict_names_the_layer_that_the_others_inherit_from() -> None:
    wrong_slope = Dense(4, (np.tanh, lambda z: 0.9 * (1 - np.tanh(z) ** 2)))
    layers = [Dense(3, "tanh"), wrong_slope, Dense(1, "identity")]
    network = Network(2, layers, dtype="float64", random_state=0)
    report = check_gradients(network, np.random.default_rng(0).normal(size=(5, 2)), np.ones(5))
    assert report.wrong == (1, 2)
    assert str(report).endswith(
        "the gradient of layers 1, 2 is wrong; in a network the error begins in layer 2,"
        " and the layers below inherit it"
    )


def test_nan_is_wrong() -> None:
    report = check_function(lambda arrays: (NAN, [np.ones(2)]), [[1.0, 2.0]])
    assert report.wrong == (1,)


@pytest.mark.parametrize(
    ("function", "parameters", "message"),
    [
        (lambda arrays: 1.0, [[1.0]], "function must return a tuple of a loss and a list of gradients"),
        (lambda arrays: (1.0, [np.ones(2)]), [[1.0]], r"gradients of shapes \[\(1,\)\]; got \[\(2,\)\]"),
        (lambda arrays: (1.0, arrays), [], "parameters must hold at least one array"),
        (lambda arrays: (1.0, arrays), [[]], "none without numbers"),
        (lambda arrays: (1.0, arrays), [["a"]], r"parameters\[0\] must hold real numbers"),
    ],
)
def test_functions_that_do_not_fit(function: Any, parameters: Any, message: str) -> None:
    refused(message, lambda: check_function(function, parameters))
    refused("step must", lambda: check_function(lambda arrays: (1.0, arrays), [[1.0]], step=0))


def sklearns_gradient(model: Any, X: Any, y: Any) -> GradientReport:
    """Check the gradient of scikit-learn's regressor, which is what a step of gradient descent subtracts."""

    def loss_and_gradient(weights: Any) -> Any:
        twin, half = copy.deepcopy(model), len(weights) // 2
        twin.coefs_, twin.intercepts_ = [w.copy() for w in weights[:half]], [b.copy() for b in weights[half:]]
        twin.partial_fit(X, y)
        after = [*twin.coefs_, *twin.intercepts_]
        steps = [w - moved for w, moved in zip(weights, after, strict=True)]
        return twin.loss_, [step / model.learning_rate_init for step in steps]

    return check_function(loss_and_gradient, [*model.coefs_, *model.intercepts_])


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_scikit_learns_gradient_is_that_of_its_loss_times_the_outputs(
    n_outputs: int, rng: np.random.Generator
) -> None:
    X, y = rng.normal(size=(20, 4)), rng.normal(size=(20, n_outputs))
    model = SklearnRegressor(
        hidden_layer_sizes=(5,),
        activation="tanh",
        solver="sgd",
        momentum=0,
        learning_rate_init=1e-3,
        alpha=0,
        batch_size=20,
        shuffle=False,
        random_state=0,
    ).partial_fit(X, y if n_outputs > 1 else y[:, 0])
    report = sklearns_gradient(model, X, y if n_outputs > 1 else y[:, 0])
    for check in report.layers:
        assert check.analytic == pytest.approx(n_outputs * check.numeric, rel=1e-5)
    assert bool(report.wrong) == (n_outputs > 1)
