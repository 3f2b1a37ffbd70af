"""Optimizers: how an update follows from the gradient g of the loss and its penalties.

`lr` is the learning rate, w a weight, t the number of the update, from 1. The name has an underscore because
`optimizers` is a function of the package.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

from densegrad import _validation

__all__ = ["LBFGS", "SGD", "Adagrad", "Adam", "AdamW", "Lion", "NAdam", "RMSprop"]

# Of every number that an optimizer may have: the lowest and highest value, and which of them are allowed.
_RANGES: dict[str, tuple[float, float, str]] = {
    "lr": (0.0, float("inf"), "neither"),
    "momentum": (0.0, 1.0, "both"),
    "beta_1": (0.0, 1.0, "left"),
    "beta_2": (0.0, 1.0, "left"),
    "epsilon": (0.0, float("inf"), "neither"),
    "weight_decay": (0.0, float("inf"), "left"),
    "gradient_tolerance": (0.0, float("inf"), "left"),
    "reduction_tolerance": (0.0, float("inf"), "left"),
}


class _Checked:
    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value: Any = getattr(self, field.name)
            if field.name == "nesterov":
                checked: Any = _validation.boolean(field.name, value)
            else:
                low, high, closed = _RANGES[field.name]
                checked = _validation.real(field.name, value, low, high, closed=closed)
            object.__setattr__(self, field.name, checked)


@dataclass(frozen=True)
class SGD(_Checked):
    """Stochastic gradient descent with momentum.

    v ← momentum · v - lr · g; w ← w + v, and with `nesterov` w ← w + momentum · v - lr · g.

    Parameters
    ----------
    lr : float, default 0.01
        Learning rate, positive.
    momentum : float, default 0.0
        Share of the last step that the next one keeps, in [0, 1].
    nesterov : bool, default False
        Nesterov's momentum, in the form of Sutskever et al., "On the importance of initialization and
        momentum in deep learning", 2013.
    """

    lr: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False


@dataclass(frozen=True)
class Adam(_Checked):
    """Adam (Kingma and Ba, "Adam: a method for stochastic optimization", 2015).

    m ← beta_1 m + (1 - beta_1) g; v ← beta_2 v + (1 - beta_2) g²;
    w ← w - lr · sqrt(1 - beta_2^t) / (1 - beta_1^t) · m / (sqrt(v) + epsilon).

    The paper's efficient form, as in scikit-learn: epsilon is added before the correction of the bias.

    Parameters
    ----------
    lr : float, default 0.001
        Learning rate, positive.
    beta_1, beta_2 : float, default 0.9 and 0.999
        Decay of the means of the gradient and of its square, in [0, 1).
    epsilon : float, default 1e-8
        Positive; keeps the division finite.
    """

    lr: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8


@dataclass(frozen=True)
class AdamW(_Checked):
    """Adam with decoupled weight decay (Loshchilov and Hutter, "Decoupled weight decay", 2019).

    m and v as in Adam; w ← w - lr · m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon). Then
    w ← w - lr · weight_decay · w, without the biases.

    Parameters
    ----------
    lr : float, default 0.001
        Learning rate, positive.
    beta_1, beta_2 : float, default 0.9 and 0.999
        Decay of the means of the gradient and of its square, in [0, 1).
    epsilon : float, default 1e-8
        Positive; keeps the division finite.
    weight_decay : float, default 0.01
        Not negative.
    """

    lr: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01


@dataclass(frozen=True)
class NAdam(_Checked):
    """Adam with Nesterov's momentum (Dozat, "Incorporating Nesterov momentum into Adam", 2016).

    m and v as in Adam; w ← w - lr · (m̂ + ĝ) / (sqrt(v̂) + epsilon). The momentum is
    μ_t = beta_1 (1 - 0.96^(0.004 t) / 2), with the product P_t = μ_1 ⋯ μ_t. Further
    ĝ = (1 - μ_t) g / (1 - P_t), m̂ = μ_(t+1) m / (1 - P_(t+1)) and v̂ = v / (1 - beta_2^t).

    Parameters
    ----------
    lr : float, default 0.002
        Learning rate, positive.
    beta_1, beta_2 : float, default 0.9 and 0.999
        Decay of the means of the gradient and of its square, in [0, 1).
    epsilon : float, default 1e-8
        Positive; keeps the division finite.
    """

    lr: float = 0.002
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8


@dataclass(frozen=True)
class RMSprop(_Checked):
    """RMSprop (Tieleman and Hinton, lecture 6.5 of "Neural networks for machine learning", 2012).

    v ← beta_2 v + (1 - beta_2) g²; b ← momentum · b + g / (sqrt(v) + epsilon); w ← w - lr · b.

    Parameters
    ----------
    lr : float, default 0.001
        Learning rate, positive.
    beta_2 : float, default 0.99
        Decay of the mean of the squared gradient, in [0, 1).
    epsilon : float, default 1e-8
        Positive; keeps the division finite.
    momentum : float, default 0.0
        Share of the last step that the next one keeps, in [0, 1].
    """

    lr: float = 0.001
    beta_2: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0


@dataclass(frozen=True)
class Adagrad(_Checked):
    """Adagrad (Duchi et al., "Adaptive subgradient methods for online learning", 2011).

    v ← v + g²; w ← w - lr · g / (sqrt(v) + epsilon).

    Parameters
    ----------
    lr : float, default 0.01
        Learning rate, positive.
    epsilon : float, default 1e-10
        Positive; keeps the division finite.
    """

    lr: float = 0.01
    epsilon: float = 1e-10


@dataclass(frozen=True)
class Lion(_Checked):
    """Lion (Chen et al., "Symbolic discovery of optimization algorithms", 2023).

    w ← w - lr · sign(beta_1 m + (1 - beta_1) g); m ← beta_2 m + (1 - beta_2) g; and
    w ← w - lr · weight_decay · w, without the biases.

    Parameters
    ----------
    lr : float, default 0.0001
        Learning rate, positive.
    beta_1, beta_2 : float, default 0.9 and 0.99
        Decay of the mean of the gradient, for the step and for the next mean, in [0, 1).
    weight_decay : float, default 0.0
        Not negative.
    """

    lr: float = 0.0001
    beta_1: float = 0.9
    beta_2: float = 0.99
    weight_decay: float = 0.0


@dataclass(frozen=True)
class LBFGS(_Checked):
    """L-BFGS (Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989).

    w ← w + step · d, with d = -H g. H approximates the inverse of the Hessian from the last ten steps and the
    differences of g along them. The line search of Moré and Thuente finds the step. Iterates are those of
    SciPy's L-BFGS-B without bounds, up to rounding.

    It needs all rows at once, so an epoch is one iteration, and `batch_size` is "auto". Everything is
    computed in float64, whatever the precision of the network.

    Parameters
    ----------
    gradient_tolerance : float, default 1e-5
        The fit ends if no component of g is larger than this. Not negative.
    reduction_tolerance : float, default 2.2e-9
        The fit ends if an iteration lowers the loss by no more than this, relative to the loss or to 1. Not
        negative.
    """

    gradient_tolerance: float = 1e-5
    reduction_tolerance: float = 1e7 * sys.float_info.epsilon


#: Those whose updates are gradient steps, each with a learning rate.
Optimizer: TypeAlias = SGD | Adam | AdamW | NAdam | RMSprop | Adagrad | Lion
AnyOptimizer: TypeAlias = Optimizer | LBFGS

#: By the names that stand for them: `Trainer` takes their defaults, the estimators numbers of their own.
STOCHASTIC: Final[dict[str, type[Optimizer]]] = {
    kind.__name__.lower(): kind for kind in (SGD, Adam, AdamW, NAdam, RMSprop, Adagrad, Lion)
}
BY_NAME: Final[dict[str, type[AnyOptimizer]]] = {**STOCHASTIC, "lbfgs": LBFGS}
