"""The core's tables of activations, losses, optimizers, kinds of layers: one place names them, in C++."""

from __future__ import annotations

from typing import Final

from densegrad import _core

_TABLES = _core.tables()

ACTIVATIONS: Final = _TABLES["activations"]
LOSSES: Final = _TABLES["losses"]
OPTIMIZERS: Final = _TABLES["optimizers"]

ACTIVATION_NUMBER: Final = {name: i for i, name in enumerate(ACTIVATIONS)}
LOSS_NUMBER: Final = {name: i for i, name in enumerate(LOSSES)}
LAYER_KIND_NUMBER: Final = {name: i for i, name in enumerate(_TABLES["layer_kinds"])}
OPTIMIZER_NUMBER: Final = {name: i for i, name in enumerate(OPTIMIZERS)}


def activations() -> tuple[str, ...]:
    """Return the names of the activations that `Dense` takes; two functions are taken as well.

    Examples
    --------
    >>> from densegrad import activations
    >>> print(*activations())
    identity relu leaky_relu tanh logistic softplus elu selu silu gelu mish exp softmax
    """
    return tuple(name for name in ACTIVATIONS if name != "custom")


def losses() -> tuple[str, ...]:
    """Return the names of the losses that `Network` takes; a callable is taken as well.

    Examples
    --------
    >>> from densegrad import losses
    >>> print(*losses()[:6])
    squared_error log_loss poisson absolute_error huber log_cosh
    >>> print(*losses()[6:])
    quantile gamma tweedie gaussian_nll focal hinge squared_hinge
    """
    return tuple(name for name in LOSSES if name != "custom")


def optimizers() -> tuple[str, ...]:
    """Return the names of the optimizers, which are those of their classes.

    Examples
    --------
    >>> from densegrad import optimizers
    >>> print(*optimizers())
    SGD Adam AdamW NAdam RMSprop Adagrad Lion LBFGS
    """
    return (*OPTIMIZERS, "LBFGS")
