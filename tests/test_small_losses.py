"""Losses keep their digits if they are small, and if a row has no weight."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

from densegrad import Dense, Network

EPS = 2.0**-24  # float32, in which a loss has the fewest digits to lose


def one_output(z: float, loss: str, head: str, **parameters: float) -> Network:
    """A float32 network whose preactivation is z for every row."""
    network = Network(1, [Dense(1, head)], loss=loss, random_state=0, **parameters)
    network.weights[1] = [[0.0], [z]]
    return network


def half_deviance(loss: str, power: float, z: float, t: float) -> Any:
    with mpmath.workdps(60):
        y, t = mpmath.exp(mpmath.mpf(z)), mpmath.mpf(t)
        if loss == "poisson":
            return y - t + t * mpmath.log(t / y)
        if loss == "gamma":
            return t / y - mpmath.log(t / y) - 1
        p = mpmath.mpf(power)
        return t ** (2 - p) / ((1 - p) * (2 - p)) - t * y ** (1 - p) / (1 - p) + y ** (2 - p) / (2 - p)


@pytest.mark.parametrize(
    ("loss", "power"), [("poisson", 0.0), ("gamma", 0.0), ("tweedie", 1.5), ("tweedie", 1.0 + 2.0**-13)]
)
def test_deviances_close_to_their_target(loss: str, power: float) -> None:
    parameters = {"power": power} if power else {}
    for t in (1e-3, 1.0, 100.0, 1e6):
        t = float(np.float32(t))
        for off in (1e-4, 1e-3, 1e-2, 0.1, 0.3, 0.5, 1.0, 3.0):
            for sign in (-1, 1):
                z = float(np.float32(np.log(t) + sign * off))
                got = one_output(z, loss, "exp", **parameters).evaluate(np.zeros((1, 1)), [t])
                exact = float(half_deviance(loss, power, z, t))
                # log y - log t is what its rounded terms leave of it, and the loss is its square.
                allowed = 40 * EPS + 4 * EPS * (abs(z) + 1) / off
                assert got == pytest.approx(exact, rel=allowed), (t, off * sign)


@pytest.mark.parametrize("loss", ["poisson", "gamma", "tweedie"])
@pytest.mark.parametrize("head", ["exp", "softplus"])
@pytest.mark.parametrize(("dtype", "t"), [("float32", 1e-40), ("float64", 1e-310)])
def test_deviances_of_a_denormal_target(loss: str, head: str, dtype: str, t: float) -> None:
    network = Network(1, [Dense(1, head)], loss=loss, dtype=dtype, random_state=0)
    normal = float(np.finfo(dtype).tiny)
    got, of_normal, of_zero = (
        network.evaluate(np.ones((1, 1)), [target]) for target in (t, normal, 0.0 if loss != "gamma" else t)
    )
    assert got == pytest.approx(of_normal, rel=1e-5)
    assert got == of_zero


@pytest.mark.parametrize("r", [1e-6, 1e-4, 3e-4, 0.01, 0.3, 0.99, 1.01, 3.0, 50.0, 1e5])
def test_log_cosh(r: float) -> None:
    r = float(np.float32(r))
    with mpmath.workdps(60):
        exact = float(mpmath.log(mpmath.cosh(mpmath.mpf(r))))
    for sign in (-1, 1):
        got = one_output(sign * r, "log_cosh", "identity").evaluate(np.zeros((1, 1)), [0.0])
        assert got == pytest.approx(exact, rel=8 * EPS)


@pytest.mark.parametrize("gap", [0.0, 0.5, 5.0, 17.0, 30.0, 80.0])
@pytest.mark.parametrize("target", [0, 1])
def test_softmax_that_is_sure_of_itself(gap: float, target: int) -> None:
    network = Network(1, [Dense(3, "softmax")], loss="log_loss", random_state=0)
    network.weights[1] = [[0.0, 0.0, 0.0], [0.0, -gap, -gap]]
    p = network.backpropagate(np.zeros((1, 1)), [target])
    rest = 2 * np.exp(-gap)
    assert p.loss == pytest.approx(np.log1p(rest) + gap * target, rel=8 * EPS)
    delta = p.weight_gradients[1][-1].astype(np.float64)  # X is zero: the bias row is dLoss/dz
    y = np.exp(-gap) / (1 + rest)
    exact = [-rest / (1 + rest), y, y] if target == 0 else [1 / (1 + rest), y - 1, y]
    np.testing.assert_allclose(delta, exact, rtol=8 * EPS, atol=2.0**-80)  # smaller ones count as zero


def test_gaussian_of_a_tiny_variance_that_is_right() -> None:
    network = Network(1, [Dense(2, "identity")], loss="gaussian_nll", random_state=0)
    network.weights[1] = [[0.0, 0.0], [2.0, -90.0]]
    p = network.backpropagate(np.zeros((1, 1)), [2.0])
    assert p.loss == pytest.approx(0.5 * (np.log(2 * np.pi) - 90.0))
    np.testing.assert_array_equal(p.weight_gradients[1][-1], [0.0, 0.5])


@pytest.mark.parametrize("loss", ["poisson", "squared_error"])
def test_a_row_of_weight_zero_counts_for_nothing_even_where_it_overflows(loss: str) -> None:
    head = "exp" if loss == "poisson" else "identity"
    network = Network(1, [Dense(1, head)], loss=loss, random_state=0)
    network.weights[1] = [[1.0], [0.0]]
    X = np.array([[0.5], [1e30 if loss == "squared_error" else 100.0]])
    p, q = network.backpropagate(X, [1.0, 1.0], [2.0, 0.0]), network.backpropagate(X[:1], [1.0])
    assert p.loss == q.loss
    np.testing.assert_array_equal(p.weight_gradients[1], q.weight_gradients[1])
    assert network.evaluate(X, [1.0, 1.0], [2.0, 0.0]) == q.loss


@pytest.mark.parametrize("weights", [[5e-324, 0.0], [1e308, 1e308]])
def test_weights_whose_sum_cannot_be_divided_by_are_refused(weights: list[float]) -> None:
    network = Network(1, [Dense(1, "identity")], random_state=0)
    with pytest.raises(ValueError, match="sample_weight must have a sum"):
        network.evaluate(np.zeros((2, 1)), [0.0, 1.0], weights)


def test_a_parameter_that_vanishes_in_float32_is_refused() -> None:
    with pytest.raises(ValueError, match="gamma is out of its range"):
        Network(2, [Dense(3, "softmax")], loss="focal", gamma=1e-50)
    Network(2, [Dense(3, "softmax")], loss="focal", gamma=1e-50, dtype="float64")
