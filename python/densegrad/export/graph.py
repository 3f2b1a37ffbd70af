"""The computation of a network, as operators of ONNX."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from densegrad.export.functions import LEAKY_SLOPE, NORMAL, SELU_SCALE, SELU_SCALE_ALPHA, no_form
from densegrad.layers import Dense, Scale
from densegrad.network import Network

#: From here on, every operator that the graphs use has the form that they use.
OLDEST_OPSET: Final = 13


class Graph(ABC):
    """A graph under construction, in the precision `dtype`. Constants and results of nodes go by names."""

    # Element types, by their numbers in ONNX.
    FLOAT, INT64, STRING, DOUBLE = 1, 7, 8, 11

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype

    @property
    def real(self) -> int:
        """The element type of the precision."""
        return self.FLOAT if self.dtype == np.float32 else self.DOUBLE

    @abstractmethod
    def constant(self, value: NDArray[Any], name: str = "constant") -> str:
        """Add a constant tensor and return its name, which begins with `name`."""

    @abstractmethod
    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one result and return the name of the result."""

    def number(self, value: float) -> str:
        """Add a number in the precision of the graph."""
        return self.constant(np.array(value, self.dtype))

    def integers(self, *values: int) -> str:
        """Add a list of integers: a shape, axes, or ends of slices."""
        return self.constant(np.array(values, np.int64))

    def columns(self, x: str, begin: int, end: int, axis: int = 1) -> str:
        """Add a slice along an axis."""
        return self.node("Slice", x, self.integers(begin), self.integers(end), self.integers(axis))


# Activations. Runtimes lack several operators in float64, so that it is put together from simpler ones.


def _leaky_relu(g: Graph, z: str) -> str:
    if g.dtype == np.float32:
        return g.node("LeakyRelu", z, alpha=LEAKY_SLOPE)
    return g.node("Max", z, g.node("Mul", z, g.number(LEAKY_SLOPE)))


def _softplus(g: Graph, z: str) -> str:
    if g.dtype == np.float32:
        return g.node("Softplus", z)
    tail = g.node("Exp", g.node("Neg", g.node("Abs", z)))
    log1p = g.node("Log", g.node("Add", tail, g.number(1)))
    return g.node("Add", g.node("Relu", z), log1p)


def _expm1_of_negative(g: Graph, z: str) -> str:
    return g.node("Sub", g.node("Exp", g.node("Min", z, g.number(0))), g.number(1))


def _elu(g: Graph, z: str) -> str:
    if g.dtype == np.float32:
        return g.node("Elu", z)
    return g.node("Add", g.node("Relu", z), _expm1_of_negative(g, z))


def _selu(g: Graph, z: str) -> str:
    if g.dtype == np.float32:
        return g.node("Selu", z, alpha=SELU_SCALE_ALPHA / SELU_SCALE, gamma=SELU_SCALE)
    positive = g.node("Mul", g.node("Relu", z), g.number(SELU_SCALE))
    negative = g.node("Mul", _expm1_of_negative(g, z), g.number(SELU_SCALE_ALPHA))
    return g.node("Add", positive, negative)


def _silu(g: Graph, z: str) -> str:
    return g.node("Mul", z, g.node("Sigmoid", z))


def _mish(g: Graph, z: str) -> str:
    return g.node("Mul", z, g.node("Tanh", _softplus(g, z)))


def _gelu(g: Graph, z: str) -> str:
    if g.dtype == np.float32:
        erf = g.node("Erf", g.node("Mul", z, g.number(math.sqrt(0.5))))
        return g.node("Mul", g.node("Mul", z, g.number(0.5)), g.node("Add", erf, g.number(1)))
    a = g.node("Min", g.node("Abs", z), g.number(38))
    bell = g.node("Exp", g.node("Mul", g.node("Mul", a, a), g.number(-0.5)))
    p, q = (_polynomial(g, a, coefficients) for coefficients in NORMAL["float64"])
    tail = g.node("Mul", bell, g.node("Div", p, q))
    rest = g.node("Sub", g.number(1), tail)
    return g.node("Mul", z, g.node("Where", g.node("Less", z, g.number(0)), tail, rest))


def _polynomial(g: Graph, x: str, coefficients: tuple[float, ...]) -> str:
    """Add a polynomial, highest power first, by Horner's rule."""
    total = g.number(coefficients[0])
    for coefficient in coefficients[1:]:
        total = g.node("Add", g.node("Mul", total, x), g.number(coefficient))
    return total


def _plain(operator: str, **attributes: Any) -> Callable[[Graph, str], str]:
    return lambda g, z: g.node(operator, z, **attributes)


_ACTIVATIONS: Final[dict[str, Callable[[Graph, str], str]]] = {
    "identity": lambda g, z: z,
    "relu": _plain("Relu"),
    "leaky_relu": _leaky_relu,
    "tanh": _plain("Tanh"),
    "logistic": _plain("Sigmoid"),
    "softplus": _softplus,
    "elu": _elu,
    "selu": _selu,
    "silu": _silu,
    "gelu": _gelu,
    "mish": _mish,
    "exp": _plain("Exp"),
    "softmax": _plain("Softmax", axis=1),
}


def add_network(g: Graph, network: Network, x: str) -> str:
    """Add the computation of `Network.predict` from x, in the precision of the graph."""
    spec = network.spec
    for l, layer in enumerate(spec.layers, 1):
        if layer.activation_kind not in _ACTIVATIONS:
            raise no_form(l, layer, "ONNX")
    y = x
    for l, layer in enumerate(spec.layers, 1):
        W = network.weights[l]
        if not isinstance(layer, Dense):
            v = g.constant(W, f"v{l}")
            if isinstance(layer, Scale):
                y = g.node("Mul", y, v)
            else:
                a = _ACTIVATIONS[layer.activation](g, y)
                y = g.node("Add", y, g.node("Mul", v, g.node("Sub", a, y)))
            continue
        z = g.node("Gemm", y, g.constant(W[:-1], f"W{l}"), g.constant(W[-1], f"b{l}"))
        y = _ACTIVATIONS[layer.activation_kind](g, z)
    n_levels = len(spec.loss.quantile_levels)
    return _increasing(g, y, spec.n_targets, n_levels) if n_levels > 1 else y


def _increasing(g: Graph, z: str, n_targets: int, n_levels: int) -> str:
    """Add quantiles that never cross: each level adds a softplus to the one below."""
    z = g.node("Reshape", z, g.integers(0, n_targets, n_levels))
    lowest, others = g.columns(z, 0, 1, axis=2), g.columns(z, 1, n_levels, axis=2)
    steps = g.node("Concat", lowest, _softplus(g, others), axis=2)
    levels = g.node("CumSum", steps, g.constant(np.array(2, np.int64)))
    return g.node("Reshape", levels, g.integers(0, n_targets * n_levels))
