"""Second derivatives of activations and losses, in float64: the core has the first alone.

The formulas use y = a(z), a'(z) and, if these do not suffice, z.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from densegrad._activations import CustomActivation, of_preactivation
from densegrad.samples import Samples
from densegrad.spec import NetworkSpec

Array: TypeAlias = NDArray[np.float64]


def _silu(z: Array) -> Array:
    z = np.clip(z, -700, 700)
    s = 1 / (1 + np.exp(-z))
    slope = s * (1 - s)
    curvature: Array = slope * (2 + z * (1 - 2 * s))
    return curvature


def _gelu(z: Array) -> Array:
    z = np.clip(z, -40, 40)
    curvature: Array = (2 - z * z) * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return curvature


def _mish(z: Array) -> Array:
    # y = z w, w = n / m, with e = exp(z), n = e (e + 2), m = n + 2; beyond 100 everything is zero.
    z = np.clip(z, -700, 100)
    e = np.exp(z)
    m = e * (e + 2) + 2
    slope = 4 * e * (e + 1) / m**2
    curvature = 4 * e * (2 * e + 1) / m**2 - 16 * (e * (e + 1)) ** 2 / m**3
    total: Array = 2 * slope + z * curvature
    return total


_OF_PREACTIVATION: dict[str, Callable[[Array], Array]] = {"silu": _silu, "gelu": _gelu, "mish": _mish}

_OF_OUTPUT: dict[str, Callable[[Array, Array], Array]] = {
    "tanh": lambda y, slope: -2 * y * slope,
    "logistic": lambda y, slope: slope * (1 - 2 * y),
    "softplus": lambda y, slope: slope * (1 - slope),
    "elu": lambda y, slope: np.where(y > 0, 0, slope),
    "selu": lambda y, slope: np.where(y > 0, 0, slope),
    "exp": lambda y, slope: y,
}


def activation_curvature(
    activation: str | CustomActivation,
    preactivation: Callable[[], NDArray[Any]],
    output: NDArray[Any],
    slope: NDArray[Any],
) -> NDArray[Any] | None:
    """Return a''(z) in the dtype of `output`, or None if it is zero everywhere.

    Parameters
    ----------
    activation : str or tuple of callable
        An elementwise one. A custom activation needs its second derivative.
    preactivation : callable
        Returns z, for the activations that need it.
    output, slope : ndarray
        y = a(z) and a'(z).
    """
    if not isinstance(activation, str):
        return of_preactivation(activation, 2, preactivation())
    if activation in _OF_PREACTIVATION:
        z = preactivation().astype(np.float64)
        return _OF_PREACTIVATION[activation](z).astype(output.dtype)
    if activation in _OF_OUTPUT:
        curvature = _OF_OUTPUT[activation](output.astype(np.float64), slope.astype(np.float64))
        return curvature.astype(output.dtype)
    return None  # identity, relu, leaky_relu: pieces of lines


def _log_cosh(y: Array, t: Array, parameter: float) -> Array:
    e = np.exp(-2 * np.abs(y - t))
    second: Array = 4 * e / (1 + e) ** 2
    return second


def _squared_hinge(y: Array, t: Array, parameter: float) -> Array:
    return np.where((2 * t - 1) * y < 1, 2.0, 0.0)


def _tweedie(y: Array, t: Array, power: float) -> Array:
    second: Array = (1 - power) * y**-power + power * t * y ** (-power - 1)
    return second


def _focal(p: Array, gamma: float) -> Array:
    """Return the second derivative of -(1 - p)^gamma log p."""
    q = 1 - p
    logarithm = np.where(q > 0, np.log(p) / q, -1.0)
    first = q ** (gamma - 1)
    second: Array = -gamma * (gamma - 1) * first * logarithm + 2 * gamma * first / p + q**gamma / p**2
    return second


def _focal_of_target(y: Array, t: Array, gamma: float, softmax: bool) -> Array:
    right = np.where(t > 0, t * _focal(y, gamma), 0)
    return right if softmax else right + np.where(t < 1, (1 - t) * _focal(1 - y, gamma), 0)


#: Losses that are sums over the outputs: the second derivative of one summand by y.
_BY_OUTPUT: dict[str, Callable[[Array, Array, float], Array]] = {
    "squared_error": lambda y, t, _: np.ones_like(y),
    "absolute_error": lambda y, t, _: np.zeros_like(y),
    "quantile": lambda y, t, _: np.zeros_like(y),
    "hinge": lambda y, t, _: np.zeros_like(y),
    "huber": lambda y, t, delta: np.where(np.abs(y - t) <= delta, 1.0, 0.0),
    "log_cosh": _log_cosh,
    "squared_hinge": _squared_hinge,
    "poisson": lambda y, t, _: t / y**2,
    "gamma": lambda y, t, _: (2 * t / y - 1) / y**2,
    "tweedie": _tweedie,
}


def loss_derivative_change(
    spec: NetworkSpec, output: NDArray[Any], samples: Samples, change: NDArray[Any]
) -> NDArray[Any]:
    """Return the change of dLoss/dy_(L) of each sample's loss, if y_(L) = `output` moves along `change`.

    The loss is one of the core's. "log_loss" is left out: together with its head it is simpler.
    """
    y, r = output.astype(np.float64), change.astype(np.float64)
    t = target_columns(spec, samples)
    name, parameter = spec.loss.name, spec.loss.parameter
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if name == "gaussian_nll":
            return _gaussian_nll_change(y, t, r).astype(output.dtype)
        if name == "focal":
            second = _focal_of_target(y, t, parameter, spec.head.activation == "softmax")
        else:
            if spec.loss.quantile_levels:
                t = np.repeat(t, len(spec.loss.quantile_levels), axis=1)
            second = _BY_OUTPUT[name](y, t, parameter)
        # An output that does not move has no change, even at the end of its range.
        return np.where(r == 0, 0, second * r).astype(output.dtype)


def _gaussian_nll_change(y: Array, t: Array, r: Array) -> Array:
    """1/2 (s + (m - t)² exp(-s)), outputs m and s side by side."""
    mean, log_variance = np.split(y, 2, axis=1)
    mean_change, variance_change = np.split(r, 2, axis=1)
    residual, precision = mean - t, np.exp(-log_variance)
    of_mean = precision * (mean_change - residual * variance_change)
    of_variance = precision * residual * (0.5 * residual * variance_change - mean_change)
    return np.concatenate([of_mean, of_variance], axis=1)


def target_columns(spec: NetworkSpec, samples: Samples) -> Array:
    """Return the target as numbers, one column a value of it: class numbers become 0 and 1."""
    if samples.classes is None:
        assert samples.values is not None
        return samples.values.astype(np.float64)
    if spec.head.units == 1:
        return samples.classes[:, np.newaxis].astype(np.float64)
    columns = np.arange(spec.head.units)
    numbers: Array = (samples.classes[:, np.newaxis] == columns).astype(np.float64)
    return numbers
