"""The core's tables of activations, losses and optimizers: the one place that names them is in C++."""

from __future__ import annotations

from typing import Final

from densegrad import _core

_TABLES = _core.tables()

ACTIVATIONS: Final = _TABLES["activations"]
LOSSES: Final = _TABLES["losses"]
OPTIMIZERS: Final = _TABLES["optimizers"]

ACTIVATION_NUMBER: Final = {name: i for i, name in enumerate(ACTIVATIONS)}
LOSS_NUMBER: Final = {name: i for i, name in enumerate(LOSSES)}
OPTIMIZER_NUMBER: Final = {name: i for i, name in enumerate(OPTIMIZERS)}

# Facts of the losses and optimizers that belong to the core's tables, and are not there yet.

#: The lowest target of a loss, and whether it is allowed itself; the other losses take any number.
LOWEST_TARGET: Final = {"poisson": (0.0, True), "tweedie": (0.0, True), "gamma": (0.0, False)}
#: Outputs of the head for each target; the other losses have one, or one for each quantile level.
OUTPUTS_PER_TARGET: Final = {"gaussian_nll": 2}
#: Losses of a margin: a class is told by the sign of the output.
MARGIN_LOSSES: Final = ("hinge", "squared_hinge")
#: Which of an optimizer's arrays of state holds means or sums of g², and so nothing below zero.
SQUARES: Final = {"Adam": 1, "AdamW": 1, "NAdam": 1, "RMSprop": 0, "Adagrad": 0}


def activations() -> tuple[str, ...]:
    """Return the names of the activations."""
    return tuple(ACTIVATIONS)


def losses() -> tuple[str, ...]:
    """Return the names of the losses that `Network` takes; a callable is taken as well."""
    return tuple(name for name in LOSSES if name != "custom")


def optimizers() -> tuple[str, ...]:
    """Return the names of the optimizers, which are those of their classes."""
    return tuple(OPTIMIZERS)
