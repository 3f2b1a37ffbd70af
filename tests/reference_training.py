"""The training of the float64 twin in `reference`: penalties, optimizers, and the masks of dropout.

Like the twin itself written for reading: one update after the other, nothing fused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import LayerRates
from reference import Array, Reference


@dataclass
class Penalties:
    l2: float = 0.0
    l1: float = 0.0
    weight_decay: float = 0.0
    max_norm: float = 0.0
    clip_norm: float = 0.0


class ReferenceTrainer:
    """One update after the other; `optimizer` is one of densegrad's dataclasses."""

    def __init__(
        self, network: Reference, optimizer: Any, penalties: Penalties | None = None, seed: int = 0
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.penalties = penalties or Penalties()
        self.seed = seed
        self.steps = 0
        self.state = [[np.zeros_like(W), np.zeros_like(W)] for W in network.weights]
        self.rates = [LayerRates()] * len(network.weights)

    def step(
        self,
        X: Any,
        target: Any,
        sample_weight: Any = None,
        lr: float | None = None,
        factors: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> float:
        """Make an update; return the loss before it, penalties included.

        `factors` are those of the weight decay, of dropout and of label smoothing.
        """
        penalties, weights = self.penalties, self.network.weights
        dropout = [rate * factors[1] for rate in self.network.dropout]
        masks = dropout_masks(dropout, weights, len(X), self.seed, self.steps)
        loss_layer = self.network.loss
        self.network.loss = replace(loss_layer, label_smoothing=loss_layer.label_smoothing * factors[2])
        passes = self.network.backpropagate(X, target, sample_weight, masks)
        self.network.loss = loss_layer
        total = len(X) if sample_weight is None else float(np.sum(sample_weight))
        loss = passes.loss
        gradients = [g.copy() for g in passes.weight_gradients]
        if penalties.clip_norm:
            norm = math.sqrt(sum(float(np.sum(g * g)) for g in gradients))
            gradients = [g * min(1.0, penalties.clip_norm / norm) for g in gradients]
        for l, (W, gradient) in enumerate(zip(weights, gradients, strict=True), 1):
            if self.network.kind(l) != "dense":
                continue
            loss += penalties.l2 / total / 2 * np.sum(W[:-1] ** 2)
            loss += penalties.l1 / total * np.sum(np.abs(W[:-1]))
            gradient[:-1] += penalties.l2 / total * W[:-1] + penalties.l1 / total * np.sign(W[:-1])
        self.steps += 1
        lr = self.optimizer.lr if lr is None else lr
        take_off = getattr(self, f"_{type(self.optimizer).__name__.lower()}")
        decay = (penalties.weight_decay + getattr(self.optimizer, "weight_decay", 0.0)) * factors[0]
        parts = zip(weights, gradients, self.state, self.rates, strict=True)
        for l, (W, gradient, state, rates) in enumerate(parts, 1):
            n_decayed = len(W) - (self.network.kind(l) == "dense")  # rows that are no biases
            bias = np.arange(len(W))[:, np.newaxis] >= n_decayed
            rate = lr * np.where(bias, rates.bias, rates.weights)
            self.epsilon = getattr(self.optimizer, "epsilon", 0.0) * np.where(bias, 1.0, rates.epsilon)
            decayed = lr * rates.weights * decay * rates.decay * W[:n_decayed]
            W -= take_off(rate, gradient, state)
            W[:n_decayed] -= decayed
            if penalties.max_norm and n_decayed < len(W):
                norms = np.sqrt(np.sum(W[:-1] ** 2, axis=0))
                W[:-1] *= np.minimum(1.0, penalties.max_norm / np.maximum(norms, 1e-300))
        return float(loss)

    def epoch(
        self,
        X: Any,
        target: Any,
        order: Any,
        batch_size: int,
        sample_weight: Any = None,
        learning_rates: Any = None,
    ) -> float:
        """Go once over the rows named in `order`; return the mean over them of the loss of their batch."""
        X, target, total = np.asarray(X, np.float64), np.asarray(target), 0.0
        for step, first in enumerate(range(0, len(order), batch_size)):
            rows = order[first : first + batch_size]
            weight = None if sample_weight is None else np.asarray(sample_weight)[rows]
            lr = None if learning_rates is None else learning_rates[step]
            total += self.step(X[rows], target[rows], weight, lr) * len(rows)
        return total / len(order)

    # What is taken off the weights; `lr` is an array like them, and `state` is changed in place.

    def _sgd(self, lr: Array, g: Array, state: list[Array]) -> Array:
        momentum = self.optimizer.momentum
        state[0][:] = momentum * state[0] - lr * g
        return -(momentum * state[0] - lr * g) if self.optimizer.nesterov else -state[0]

    def _moments(self, g: Array, state: list[Array]) -> None:
        o = self.optimizer
        state[0][:] = o.beta_1 * state[0] + (1 - o.beta_1) * g
        state[1][:] = o.beta_2 * state[1] + (1 - o.beta_2) * g * g

    def _adam(self, lr: Array, g: Array, state: list[Array]) -> Array:
        o, t = self.optimizer, self.steps
        self._moments(g, state)
        rate = lr * math.sqrt(1 - o.beta_2**t) / (1 - o.beta_1**t)
        return rate * state[0] / (np.sqrt(state[1]) + self.epsilon)

    def _adamw(self, lr: Array, g: Array, state: list[Array]) -> Array:
        o, t = self.optimizer, self.steps
        self._moments(g, state)
        return lr / (1 - o.beta_1**t) * state[0] / (np.sqrt(state[1] / (1 - o.beta_2**t)) + self.epsilon)

    def _nadam(self, lr: Array, g: Array, state: list[Array]) -> Array:
        o, t = self.optimizer, self.steps
        self._moments(g, state)
        momenta = o.beta_1 * (1 - 0.5 * 0.96 ** (0.004 * np.arange(1, t + 2)))
        first = momenta[-1] * state[0] / (1 - np.prod(momenta))
        first += (1 - momenta[-2]) * g / (1 - np.prod(momenta[:-1]))
        return lr * first / (np.sqrt(state[1] / (1 - o.beta_2**t)) + self.epsilon)

    def _rmsprop(self, lr: Array, g: Array, state: list[Array]) -> Array:
        o = self.optimizer
        state[0][:] = o.beta_2 * state[0] + (1 - o.beta_2) * g * g
        state[1][:] = o.momentum * state[1] + g / (np.sqrt(state[0]) + self.epsilon)
        return lr * state[1]

    def _adagrad(self, lr: Array, g: Array, state: list[Array]) -> Array:
        state[0][:] += g * g
        return lr * g / (np.sqrt(state[0]) + self.epsilon)

    def _lion(self, lr: Array, g: Array, state: list[Array]) -> Array:
        o = self.optimizer
        update = lr * np.sign(o.beta_1 * state[0] + (1 - o.beta_1) * g)
        state[0][:] = o.beta_2 * state[0] + (1 - o.beta_2) * g
        return update


# --- dropout: masks drawn from counters ---

_64 = np.uint64
_32 = np.uint32


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64."""
    x = (x ^ x >> _64(30)) * _64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> _64(27)) * _64(0x94D049BB133111EB)
    return x ^ x >> _64(31)


_GOLDEN = _64(0x9E3779B97F4A7C15)


def dropout_bits(key: NDArray[np.uint64], n_rows: int, n_units: int) -> NDArray[np.uint32]:
    """Return the 32 random bits of each (row, unit)."""
    s = _mix(key + np.arange(1, n_rows + 1, dtype=_64) * _GOLDEN)
    low, high = s.astype(_32)[:, np.newaxis], (s >> _64(32)).astype(_32)[:, np.newaxis]
    h = np.arange(n_units, dtype=_32) * _32(0x9E3779B9) + low
    h = (h ^ h >> _32(16)) * _32(0x7FEB352D)
    h = h ^ high
    h = (h ^ h >> _32(15)) * _32(0x846CA68B)
    return h ^ h >> _32(16)


def dropout_masks(
    rates: list[float], weights: list[Array], n_rows: int, seed: int, step: int
) -> list[Array] | None:
    """Return a factor for each sample and unit of every layer but the head: 0, or 1 / (1 - rate)."""
    if not any(rates):
        return None
    masks = []
    of_step = _mix(np.array([seed], _64) + _64(step) + _GOLDEN)
    for l, (rate, W) in enumerate(zip(rates[:-1], weights, strict=False), 1):
        bits = dropout_bits(_mix(of_step + _64(l) + _GOLDEN), n_rows, W.shape[1])
        masks.append((bits >= int(rate * 2**32)) / (1 - rate))
    return masks
