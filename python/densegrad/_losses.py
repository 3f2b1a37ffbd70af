"""The loss of a network: one of the core's with its parameter, or a custom loss.

The name has an underscore because `losses` is a function of the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densegrad import _validation
from densegrad._tables import LOSSES, losses
from densegrad.typing import ActivationName

#: A custom loss maps the targets of a batch and y_(L) to the loss of each row, (batch,), and its derivative
#: by y_(L), (batch, n_L).
CustomLoss: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], tuple[ArrayLike, ArrayLike]]


@dataclass(frozen=True)
class Loss:
    """A loss with its parameter; made by `Loss.checked`."""

    name: str  # "custom" for a callable
    custom: CustomLoss | None
    parameter: float
    quantile_levels: tuple[float, ...]
    label_smoothing: float

    @classmethod
    def checked(
        cls,
        loss: str | CustomLoss,
        *,
        delta: float | None = None,
        quantile: float | Sequence[float] | None = None,
        power: float | None = None,
        gamma: float | None = None,
        label_smoothing: float = 0.0,
    ) -> Loss:
        """Return the loss that the arguments of `Network` describe."""
        if callable(loss):
            name = "custom"
        elif isinstance(loss, str):
            name = _validation.choice("loss", loss, losses())
        else:
            raise TypeError(f"loss must be a callable or one of {', '.join(losses())}; got {loss!r}")
        label_smoothing = _validation.real("label_smoothing", label_smoothing, 0, 1, closed="left")
        if label_smoothing and name != "log_loss":
            raise ValueError(f"label_smoothing is of the loss log_loss; the loss is {name}")
        given = {"delta": delta, "quantile": quantile, "power": power, "gamma": gamma}
        for parameter, value in given.items():
            if value is not None and parameter != LOSSES[name]["parameter"]:
                owner = next(loss for loss in LOSSES if LOSSES[loss]["parameter"] == parameter)
                raise ValueError(f"{parameter} is of the loss {owner}; the loss is {name}")
        number, levels = _parameter(name, given.get(LOSSES[name]["parameter"] or ""))
        return cls(name, loss if callable(loss) else None, number, levels, label_smoothing)

    def head_activation(self, units: int) -> ActivationName:
        """Return the activation of a head of so many units whose layer does not name one."""
        heads = LOSSES[self.name]["heads"]
        if "identity" in heads:
            return "identity"
        if "softmax" in heads:
            return "softmax" if units > 1 else "logistic"
        return "exp"

    @property
    def parameters(self) -> dict[str, Any]:
        """The loss's own parameter by its name, if it has one."""
        name = LOSSES[self.name]["parameter"]
        return {} if name is None else {name: list(self.quantile_levels) or self.parameter}

    @property
    def outputs_per_target(self) -> int:
        """Outputs of the head for each value of a target."""
        return len(self.quantile_levels) or LOSSES[self.name]["outputs_per_target"]


def _parameter(loss: str, value: Any) -> tuple[float, tuple[float, ...]]:
    """Return the loss's parameter, the default for None, and the levels if there are several quantiles."""
    row = LOSSES[loss]
    name = row["parameter"]
    if name is None:
        return 0.0, ()
    if value is None:
        return row["default"], ()
    high = math.inf if row["high"] >= 1e300 else row["high"]
    if name == "quantile" and np.ndim(value) == 1 and len(value):
        levels = tuple(_validation.real(name, level, row["low"], high, closed="neither") for level in value)
        if any(low >= high for low, high in pairwise(levels)):
            raise ValueError(f"quantile must hold increasing levels; got {list(levels)}")
        return row["default"], levels
    return _validation.real(name, value, row["low"], high, closed="neither"), ()
