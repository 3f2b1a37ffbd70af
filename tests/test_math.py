"""The error of every activation and of its local gradient, in units in the last place, against mpmath.

A network of one unit with weights [[1], [0]] hands its input on as the preactivation, exactly. Run with a
number of points, this file prints the table of docs/numerics.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from densegrad import Dense, Network, activations

Array = NDArray[Any]
Exact = Callable[[Any], Any]

CONTEXT = mpmath.MPContext()
CONTEXT.prec = 140
SELU_SCALE = CONTEXT.mpf("1.0507009873554804934193349852946")
SELU_ALPHA = CONTEXT.mpf("1.6732632423543772848170429916717")


def logistic(z: Any) -> Any:
    return 1 / (1 + CONTEXT.exp(-z))


def softplus(z: Any) -> Any:
    return CONTEXT.log1p(CONTEXT.exp(z))


def normal_cdf(z: Any) -> Any:
    return CONTEXT.erfc(-z / CONTEXT.sqrt(2)) / 2


def normal_density(z: Any) -> Any:
    return CONTEXT.exp(-z * z / 2) / CONTEXT.sqrt(2 * CONTEXT.pi)


def mish_slope(z: Any) -> Any:
    t = CONTEXT.tanh(softplus(z))
    return t + z * (1 - t * t) * logistic(z)


@dataclass(frozen=True)
class Case:
    """An activation, and how far it may be off.

    The error is counted in ULP of the exact value, or of `unit` if that is greater. A local gradient that
    follows from a rounded y, or passes through zero, can be good to no more than that.
    """

    output: Exact
    local: Exact
    output_ulp: float
    local_ulp: float
    unit: float = 0.0
    relative_tail_ulp: float | None = None  # bound of the local gradient's own ULP for z < -2


CASES = {
    "identity": Case(lambda z: z, lambda z: 1, 0, 0),
    "relu": Case(lambda z: max(z, 0), lambda z: int(z > 0), 0, 0),
    "leaky_relu": Case(
        lambda z: z if z > 0 else z / 100, lambda z: 1 if z > 0 else CONTEXT.mpf(1) / 100, 1, 0.3
    ),
    "tanh": Case(CONTEXT.tanh, lambda z: 1 - CONTEXT.tanh(z) ** 2, 2.8, 3.2, unit=0.5),
    "logistic": Case(
        logistic, lambda z: logistic(z) * logistic(-z), 2.5, 1.7, unit=0.5, relative_tail_ulp=2.5
    ),
    "softplus": Case(softplus, logistic, 1.9, 2.6, relative_tail_ulp=2.6),
    "elu": Case(
        lambda z: z if z > 0 else CONTEXT.expm1(z), lambda z: 1 if z > 0 else CONTEXT.exp(z), 1.3, 1, unit=0.5
    ),
    "selu": Case(
        lambda z: SELU_SCALE * (z if z > 0 else SELU_ALPHA * CONTEXT.expm1(z)),
        lambda z: SELU_SCALE * (1 if z > 0 else SELU_ALPHA * CONTEXT.exp(z)),
        3,
        2,
        unit=1,
    ),
    "silu": Case(
        lambda z: z * logistic(z),
        lambda z: logistic(z) * (1 + z * logistic(-z)),
        3.8,
        2.6,
        unit=0.5,
        relative_tail_ulp=6,
    ),
    "gelu": Case(
        lambda z: z * normal_cdf(z),
        lambda z: normal_cdf(z) + z * normal_density(z),
        5.8,
        3.2,
        unit=0.5,
        relative_tail_ulp=4.3,
    ),
    "mish": Case(
        lambda z: z * CONTEXT.tanh(softplus(z)), mish_slope, 4.1, 2.4, unit=0.5, relative_tail_ulp=9.5
    ),
    "exp": Case(CONTEXT.exp, CONTEXT.exp, 1.15, 1.15, relative_tail_ulp=1.15),
}


@dataclass(frozen=True)
class Errors:
    output: float
    local: float
    tail: float


def one_unit(activation: str, dtype: str) -> Network:
    network = Network(1, [Dense(1, activation)], loss="squared_error", dtype=dtype, random_state=0)
    network.weights[1] = np.array([[1.0], [0.0]])
    return network


def evaluate(activation: str, dtype: str, z: Array) -> tuple[Array, Array]:
    """Return y and dy/dz."""
    p = one_unit(activation, dtype).backpropagate(z[:, np.newaxis], np.zeros(len(z)))
    return p.outputs[1][:, 0], p.local_gradients[1].wrt_input[:, 0, 0]


def points(activation: str, dtype: str, n: int, rng: np.random.Generator) -> Array:
    """Preactivations over the whole range, around zero, and close to it."""
    bound = 87.3 if dtype == "float32" else 708.3
    if activation == "gelu":
        bound = 12.9 if dtype == "float32" else 37.5
    wide = rng.uniform(-bound, bound, n // 2)
    near = rng.uniform(-6, 6, n // 4)
    small = rng.choice([-1.0, 1.0], n // 4) * np.exp(rng.uniform(np.log(1e-25), 0, n // 4))
    return np.concatenate([wide, near, small]).astype(dtype)


def ulps(got: Array, exact: list[Any], dtype: str, unit: float) -> Array:
    digits = np.finfo(dtype).nmant
    error = np.zeros(len(got))
    for i, (y, t) in enumerate(zip(got, exact, strict=True)):
        size = max(abs(t), unit)
        if size == 0:
            assert y == 0
            continue
        exponent = int(CONTEXT.floor(CONTEXT.log(size, 2))) if size != 1 else 0
        error[i] = float(abs(CONTEXT.mpf(float(y)) - t) / CONTEXT.ldexp(1, exponent - digits))
    return error


def measure(activation: str, dtype: str, n: int, rng: np.random.Generator) -> Errors:
    case = CASES[activation]
    z = points(activation, dtype, n, rng)
    y, local = evaluate(activation, dtype, z)
    exact_z = [CONTEXT.mpf(float(x)) for x in z]
    exact_local = [case.local(x) for x in exact_z]
    tail = z < -2
    return Errors(
        ulps(y, [case.output(x) for x in exact_z], dtype, 0.0).max(),
        ulps(local, exact_local, dtype, case.unit).max(),
        ulps(local[tail], [t for t, far in zip(exact_local, tail, strict=True) if far], dtype, 0.0).max(),
    )


def test_every_elementwise_activation_is_measured() -> None:
    assert {*CASES, "softmax"} == set(activations())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", CASES)
def test_errors(activation: str, dtype: str, rng: np.random.Generator) -> None:
    case = CASES[activation]
    errors = measure(activation, dtype, 800, rng)
    assert errors.output <= case.output_ulp
    assert errors.local <= case.local_ulp
    if case.relative_tail_ulp is not None:
        assert errors.tail <= case.relative_tail_ulp


# y far to the left and far to the right of zero (None: z itself).
LIMITS: dict[str, tuple[float | None, float | None]] = {
    "tanh": (-1, 1),
    "logistic": (0, 1),
    "softplus": (0, None),
    "elu": (-1, None),
    "silu": (0, None),
    "gelu": (0, None),
    "mish": (0, None),
    "exp": (0, np.inf),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", LIMITS)
def test_far_from_zero(activation: str, dtype: str) -> None:
    far = np.array([800.0, 1e4, 1e30], dtype)
    for side, limit in zip((-1, 1), LIMITS[activation], strict=True):
        y, local = evaluate(activation, dtype, side * far)
        np.testing.assert_array_equal(y, side * far if limit is None else np.full(3, limit))
        np.testing.assert_array_equal(local, np.inf if limit == np.inf else float(limit is None))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", LIMITS)
def test_tails_end_in_zero_not_in_denormals(activation: str, dtype: str) -> None:
    low = 80.0 if dtype == "float32" else 700.0
    if activation == "gelu":
        low = 12.5 if dtype == "float32" else 37.0
    z = -np.linspace(low, 1.4 * low, 4001).astype(dtype)
    for values in evaluate(activation, dtype, z):
        assert np.all((values == 0) | (np.abs(values) >= np.finfo(dtype).tiny))
        assert np.all(np.isfinite(values))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tanh_is_odd_to_the_bit(dtype: str, rng: np.random.Generator) -> None:
    z = points("tanh", dtype, 4000, rng)
    np.testing.assert_array_equal(evaluate("tanh", dtype, -z)[0], -evaluate("tanh", dtype, z)[0])


def test_exp_has_no_steps_where_its_power_of_two_changes() -> None:
    seams = (np.arange(-120, 120) + 0.5) * np.log(2)
    z = np.sort(np.concatenate([seams + d for d in (-1e-5, -1e-6, 0, 1e-6, 1e-5)])).astype(np.float32)
    y = evaluate("exp", "float32", z)[0].astype(np.float64)
    assert np.all(np.diff(y) >= -2 * np.spacing(y[1:].astype(np.float32)))


def main(n: int) -> None:
    rng = np.random.default_rng(0)
    for activation, case in CASES.items():
        single, double = (measure(activation, dtype, n, rng) for dtype in ("float32", "float64"))
        unit = f"max(·, {case.unit:g})" if case.unit else "own"
        print(
            f"| `{activation}` | {single.output:.2f} | {double.output:.2f} "
            f"| {single.local:.2f} | {double.local:.2f} | {unit} "
            + (f"| {single.tail:.2f} | {double.tail:.2f} |" if case.relative_tail_ulp else "| | |")
        )


if __name__ == "__main__":
    main(int(sys.argv[1]))
