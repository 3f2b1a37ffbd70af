"""The numbers of the recipe: network, rates, batches and epochs.

They follow RealMLP (Holzmüller et al., "Better by default: strong pre-tuned MLPs and boosted trees on
tabular data", 2024). Its rates are for W in z = x W / sqrt(n_in). The weights here are V = W / sqrt(n_in).
The rate of V is 1 / sqrt(n_in) times that of W, and the decay of V is sqrt(n_in) times as large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from densegrad import Dense
from densegrad._losses import Loss
from densegrad.spec import NetworkSpec
from densegrad.tabular.portable import cosine, log
from densegrad.typing import ActivationName

EPOCHS = 64
MOST_STEPS = 10_000
_CYCLES: Final = 4
#: Dropout, decay and label smoothing change in so many steps.
_STAGES = 8


@dataclass(frozen=True)
class Recipe:
    """How one member of the ensemble is trained."""

    n_inputs: int
    hidden: tuple[int, ...]
    activation: str
    n_outputs: int
    head: str
    loss: Loss
    rate: float
    decay: float
    dropout: float
    batch_size: int
    epochs: int
    #: Part of the rows that an epoch takes.
    part: float = 1.0

    @property
    def typical_width(self) -> float:
        """The number of inputs of a typical layer; the rates are for it."""
        return sum(self.hidden) / len(self.hidden)

    @property
    def input_scale(self) -> float:
        """The factor of the inputs, so that one rate is right for all layers."""
        return math.sqrt(self.typical_width / self.n_inputs)

    @property
    def learning_rate(self) -> float:
        """The largest learning rate."""
        return self.rate / math.sqrt(self.typical_width)

    @property
    def weight_decay(self) -> float:
        """The largest decoupled decay."""
        return self.decay * math.sqrt(self.typical_width)

    def spec(self, factor: float) -> NetworkSpec:
        """Return the network with `factor` times the dropout and the label smoothing."""
        loss = replace(self.loss, label_smoothing=self.loss.label_smoothing * factor)
        activation, head = cast(ActivationName, self.activation), cast(ActivationName, self.head)
        layers = [Dense(units, activation, dropout=self.dropout * factor) for units in self.hidden]
        return NetworkSpec(self.n_inputs, (*layers, Dense(self.n_outputs, head)), loss, np.dtype(np.float32))

    def initial(self, random: np.random.RandomState) -> NDArray[np.float32]:
        """Return initial parameters: normal weights, normal biases, a head of zeros."""
        parameters = np.zeros(self.spec(0.0).n_parameters, np.float32)
        *hidden, _ = self.spec(0.0).split(parameters)
        for W in hidden:
            drawn = random.standard_normal(W.shape)
            drawn[:-1] /= math.sqrt(self.typical_width)
            W[:] = drawn
        return parameters

    def rates(self, first: int, n_steps: int, total: int) -> NDArray[np.float64]:
        """Return the learning rates of some updates: ever longer cosines, down to 0 at the last one."""
        part = np.arange(first, first + n_steps) / total
        turns = log(1 + (2**_CYCLES - 1) * part) / math.log(2)
        return self.learning_rate * (0.5 - 0.5 * cosine(turns))

    def factor(self, epoch: int) -> float:
        """Return the factor of decay, dropout and smoothing: 1, then half a cosine in the second half."""
        part = max(0.0, 2 * (epoch + 0.5) / self.epochs - 1)
        smooth = 0.5 + 0.5 * float(cosine(np.array([part / 2]))[0])
        return math.ceil(smooth * _STAGES) / _STAGES if smooth > 0.5 / _STAGES else 0.0


def batch_size(n_rows: int) -> int:
    """Return the number of rows of an update."""
    size = 64 if n_rows <= 1024 else 128 if n_rows <= 8192 else 256
    return min(size, n_rows)


def epochs_for(n_rows: int) -> int:
    """Return the number of epochs."""
    steps = max(1, n_rows // batch_size(n_rows))
    return max(1, min(EPOCHS, MOST_STEPS // steps))


def last_cosine(epochs: int) -> int:
    """Return the number of epochs before the last cosine of the rate, which takes more than half of them."""
    return -(-epochs * (2**_CYCLES // 2 - 1) // (2**_CYCLES - 1))
