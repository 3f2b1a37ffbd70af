"""A twin of the network in plain float64 NumPy, written for reading: the tests compare the core with it.

It follows the lecture: y_(l) = a_(l)([y_(l-1), 1] W_(l)), L'_(l-1) = L'_(l) dy_(l)/dy_(l-1),
dLoss/dW_(l) = L'_(l) dy_(l)/dW_(l). Nothing is fused, and nothing is shared with the core but names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit, xlogy

Array = NDArray[np.float64]

# --- activations: y = a(z), and a'(z) ---

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
LEAKY_SLOPE = 0.01


def softplus(z: Array) -> Array:
    return np.logaddexp(0, z)


def normal_cdf(z: Array) -> Array:
    return 0.5 * (1 + erf(z / math.sqrt(2)))


def normal_density(z: Array) -> Array:
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def exp_negative(z: Array) -> Array:
    return np.exp(np.minimum(z, 0))


ACTIVATIONS = {
    "identity": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "leaky_relu": (
        lambda z: np.where(z < 0, LEAKY_SLOPE * z, z),
        lambda z: np.where(z > 0, 1.0, LEAKY_SLOPE),
    ),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "logistic": (expit, lambda z: expit(z) * expit(-z)),
    "softplus": (softplus, expit),
    "elu": (
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        lambda z: np.where(z > 0, 1.0, exp_negative(z)),
    ),
    "selu": (
        lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0))),
        lambda z: SELU_SCALE * np.where(z > 0, 1.0, SELU_ALPHA * exp_negative(z)),
    ),
    "silu": (lambda z: z * expit(z), lambda z: expit(z) * (1 + z * expit(-z))),
    "gelu": (lambda z: z * normal_cdf(z), lambda z: normal_cdf(z) + z * normal_density(z)),
    "mish": (
        lambda z: z * np.tanh(softplus(z)),
        lambda z: np.tanh(softplus(z)) + z * (1 - np.tanh(softplus(z)) ** 2) * expit(z),
    ),
    "exp": (np.exp, np.exp),
    "softmax": (softmax, None),
}


def functions_of(activation: Any) -> Any:
    """a and a' of a name, or of a custom activation itself."""
    return ACTIVATIONS[activation] if isinstance(activation, str) else activation


def local_jacobian(activation: Any, z: Array, n_levels: int = 1) -> Array:
    """dy/dz of a layer, (batch, n, n)."""
    if activation == "softmax":
        y = softmax(z)
        return y[:, :, np.newaxis] * np.eye(y.shape[1]) - y[:, :, np.newaxis] * y[:, np.newaxis, :]
    if n_levels > 1:
        return _quantile_jacobian(z, n_levels)
    return functions_of(activation)[1](z)[:, :, np.newaxis] * np.eye(z.shape[1])


# --- several quantiles of a target: q_0 = z_0, q_k = q_(k-1) + softplus(z_k), so that they never cross ---


def _quantile_outputs(z: Array, n_levels: int) -> Array:
    steps = z.reshape(len(z), -1, n_levels).copy()
    steps[:, :, 1:] = softplus(steps[:, :, 1:])
    return np.cumsum(steps, axis=2).reshape(z.shape)


def _quantile_jacobian(z: Array, n_levels: int) -> Array:
    slopes = z.reshape(len(z), -1, n_levels).copy()
    slopes[:, :, 0] = 1
    slopes[:, :, 1:] = expit(slopes[:, :, 1:])
    jacobian = np.zeros((len(z), z.shape[1], z.shape[1]))
    for output in range(z.shape[1]):
        first = output - output % n_levels
        for k in range(first, output + 1):
            jacobian[:, output, k] = slopes.reshape(len(z), -1)[:, k]
    return jacobian


# --- losses: the loss of each row, summed over the outputs, and its derivative by y_(L) ---


@dataclass
class Loss:
    name: str
    head: str
    parameter: float = 0.0
    levels: tuple[float, ...] = ()
    label_smoothing: float = 0.0

    def rows(self, y: Array, target: NDArray[Any]) -> tuple[Array, Array]:
        t = self._target(y, target)
        losses, derivative = getattr(self, f"_{self.name}")(y, t)
        return losses.sum(axis=1), derivative

    def _target(self, y: Array, target: NDArray[Any]) -> Array:
        t = np.asarray(target)
        n_out = y.shape[1]
        if t.ndim == 1 and self.name in ("log_loss", "focal", "hinge", "squared_hinge"):
            t = t[:, np.newaxis] if n_out == 1 else np.eye(n_out)[t.astype(int)]
        t = np.asarray(t, np.float64).reshape(len(y), -1)
        if self.label_smoothing:
            n_classes = n_out if self.head == "softmax" else 2
            t = (1 - self.label_smoothing) * t + self.label_smoothing / n_classes
        return t

    def _squared_error(self, y: Array, t: Array) -> tuple[Array, Array]:
        return 0.5 * (y - t) ** 2, y - t

    def _log_loss(self, y: Array, t: Array) -> tuple[Array, Array]:
        if self.head == "softmax":
            return -xlogy(t, y), -np.divide(t, y)
        return -xlogy(t, y) - xlogy(1 - t, 1 - y), (y - t) / (y * (1 - y))

    def _poisson(self, y: Array, t: Array) -> tuple[Array, Array]:
        return xlogy(t, t / y) - t + y, 1 - t / y

    def _absolute_error(self, y: Array, t: Array) -> tuple[Array, Array]:
        return np.abs(y - t), np.sign(y - t)

    def _huber(self, y: Array, t: Array) -> tuple[Array, Array]:
        r, delta = y - t, self.parameter
        inside = np.abs(r) <= delta
        return np.where(inside, 0.5 * r * r, delta * (np.abs(r) - 0.5 * delta)), np.clip(r, -delta, delta)

    def _log_cosh(self, y: Array, t: Array) -> tuple[Array, Array]:
        r = y - t
        return np.abs(r) + np.log1p(np.exp(-2 * np.abs(r))) - math.log(2), np.tanh(r)

    def _quantile(self, y: Array, t: Array) -> tuple[Array, Array]:
        levels = np.tile(self.levels or (self.parameter,), t.shape[1])
        r = np.repeat(t, len(self.levels) or 1, axis=1) - y
        derivative = np.where(r > 0, -levels, np.where(r < 0, 1 - levels, 0.0))
        return np.maximum(levels * r, (levels - 1) * r), derivative

    def _gamma(self, y: Array, t: Array) -> tuple[Array, Array]:
        return t / y - np.log(t / y) - 1, 1 / y - t / y**2

    def _tweedie(self, y: Array, t: Array) -> tuple[Array, Array]:
        p = self.parameter
        losses = t ** (2 - p) / ((1 - p) * (2 - p)) - t * y ** (1 - p) / (1 - p) + y ** (2 - p) / (2 - p)
        return losses, y ** (1 - p) - t * y**-p

    def _gaussian_nll(self, y: Array, t: Array) -> tuple[Array, Array]:
        mean, s = y[:, : t.shape[1]], y[:, t.shape[1] :]
        r, precision = mean - t, np.exp(-s)
        losses = 0.5 * (s + r * r * precision) + 0.5 * math.log(2 * math.pi)
        return losses, np.concatenate([r * precision, 0.5 * (1 - r * r * precision)], axis=1)

    def _focal(self, y: Array, t: Array) -> tuple[Array, Array]:
        g = self.parameter

        def focal(p: Array) -> tuple[Array, Array]:
            return -((1 - p) ** g) * np.log(p), g * (1 - p) ** (g - 1) * np.log(p) - (1 - p) ** g / p

        if self.head == "softmax":
            losses, derivative = focal(y)
            return t * losses, t * derivative
        right, wrong = focal(y), focal(1 - y)
        return t * right[0] + (1 - t) * wrong[0], t * right[1] - (1 - t) * wrong[1]

    def _hinge(self, y: Array, t: Array) -> tuple[Array, Array]:
        sign = 2 * t - 1
        return np.maximum(0, 1 - sign * y), np.where(sign * y < 1, -sign, 0.0)

    def _squared_hinge(self, y: Array, t: Array) -> tuple[Array, Array]:
        sign = 2 * t - 1
        margin = np.maximum(0, 1 - sign * y)
        return margin**2, -2 * sign * margin


# --- the network ---


@dataclass
class Passes:
    """Every quantity of both passes; lists by the layer's number, from 0."""

    loss: float
    outputs: list[Array]
    preactivations: list[Array]
    loss_gradients: list[Array]
    weight_gradients: list[Array]


@dataclass
class Reference:
    """A network: `weights[l - 1]` is W_(l), the bias in its last row.

    `kinds[l - 1]` is "dense", "scale" (z = v x) or "blend" (z = x + v (a(x) - x)). Of the latter two W_(l)
    has one row, v, and y = z.
    """

    weights: list[Array]
    activations: list[Any]
    loss: Loss
    dropout: list[float] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, network: Any) -> Reference:
        """Return the twin of a densegrad.Network."""
        return cls(
            [np.array(W, np.float64) for W in network.weights],
            [layer.activation for layer in network.layers],
            Loss(
                network.loss,
                network.layers[-1].activation,
                network.loss_parameter,
                tuple(network.quantile_levels),
                network.label_smoothing,
            ),
            [layer.dropout for layer in network.layers],
            [layer.kind for layer in network.layers],
        )

    @property
    def n_levels(self) -> int:
        return max(1, len(self.loss.levels))

    def kind(self, l: int) -> str:
        return self.kinds[l - 1] if self.kinds else "dense"

    def forward(self, X: Any, masks: list[Array] | None = None) -> tuple[list[Array], list[Array]]:
        """Return y_(0 … L) and z_(1 … L), the latter with a dummy at 0; masks are those of dropout."""
        outputs, preactivations = [np.asarray(X, np.float64)], [np.zeros(0)]
        for l, (W, activation) in enumerate(zip(self.weights, self.activations, strict=True), 1):
            x, kind = outputs[-1], self.kind(l)
            head = l == len(self.weights)
            if kind == "dense":
                z = x @ W[:-1] + W[-1]
                y = functions_of(activation)[0](z)
            else:
                y = z = W * x if kind == "scale" else x + W * (functions_of(activation)[0](x) - x)
            if head and self.n_levels > 1:
                y = _quantile_outputs(z, self.n_levels)
            if masks is not None and not head:
                y = y * masks[l - 1]
            preactivations.append(z)
            outputs.append(y)
        return outputs, preactivations

    def predict(self, X: Any) -> Array:
        return self.forward(X)[0][-1]

    def backward(
        self,
        outputs: list[Array],
        preactivations: list[Array],
        loss_gradient: Array,
        masks: list[Array] | None = None,
    ) -> tuple[list[Array], list[Array]]:
        """Return L'_(0 … L) and dLoss/dW_(1 … L), from L'_(L)."""
        loss_gradients, weight_gradients = [loss_gradient], []
        for l in range(len(self.weights), 0, -1):
            head, kind, x = l == len(self.weights), self.kind(l), outputs[l - 1]
            if kind != "dense":
                upper = loss_gradients[0] * (masks[l - 1] if masks is not None else 1.0)
                v, (a, slope) = self.weights[l - 1], ACTIVATIONS[self.activations[l - 1]]
                by_x, by_v = (v, x) if kind == "scale" else (1 + v * (slope(x) - 1), a(x) - x)
                weight_gradients.insert(0, (upper * by_v).sum(axis=0, keepdims=True))
                loss_gradients.insert(0, upper * by_x)
                continue
            n_levels = self.n_levels if head else 1
            jacobian = local_jacobian(self.activations[l - 1], preactivations[l], n_levels)
            upper = loss_gradients[0] * (masks[l - 1] if masks is not None and not head else 1.0)
            delta = np.einsum("bi,bij->bj", upper, jacobian)
            extended = np.concatenate([outputs[l - 1], np.ones((len(delta), 1))], axis=1)
            weight_gradients.insert(0, extended.T @ delta)
            loss_gradients.insert(0, delta @ self.weights[l - 1][:-1].T)
        return loss_gradients, weight_gradients

    def backpropagate(
        self,
        X: Any,
        target: Any,
        sample_weight: Any = None,
        masks: list[Array] | None = None,
    ) -> Passes:
        outputs, preactivations = self.forward(X, masks)
        losses, derivative = self.loss.rows(outputs[-1], np.asarray(target))
        weight = np.ones(len(losses)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        weight = weight / weight.sum()
        loss_gradient = derivative * weight[:, np.newaxis]
        loss_gradients, weight_gradients = self.backward(outputs, preactivations, loss_gradient, masks)
        return Passes(float(weight @ losses), outputs, preactivations, loss_gradients, weight_gradients)
