"""From an estimator's parameters to a Network and a Trainer."""

from __future__ import annotations

import warnings
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from densegrad import Dense, Network, Trainer, _optimizers
from densegrad._arrays import real_array
from densegrad._optimizers import Optimizer, RMSprop
from densegrad._tables import ACTIVATIONS, optimizers
from densegrad._validation import choice

if TYPE_CHECKING:
    from densegrad.estimators._base import BaseMLP

OPTIMIZERS: dict[str, type[Optimizer]] = {name.lower(): getattr(_optimizers, name) for name in optimizers()}
HIDDEN_ACTIVATIONS = [name for name, row in ACTIVATIONS.items() if not row["head_only"]]

# Parameters that say how steps are made; L-BFGS has no steps to make so.
_STOCHASTIC_ONLY = ("dropout", "l1", "weight_decay", "max_norm", "clip_norm", "schedule")


def hidden_units(sizes: Any) -> list[int]:
    """Return hidden_layer_sizes as a list."""
    units = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    for number in units:
        if isinstance(number, (bool, np.bool_)) or int(number) != number:
            raise ValueError(f"hidden_layer_sizes must be integers, got {units}.")
        if number <= 0:
            raise ValueError(f"hidden_layer_sizes must be > 0, got {units}.")
    return [int(number) for number in units]


def check_parameters(estimator: BaseMLP) -> None:
    """Refuse what the constraints of single parameters let through."""
    for callback in estimator.callbacks or ():
        if not callable(callback):
            raise TypeError(f"callbacks must be callables f(epoch, logs); got {callback!r}")
    if estimator.solver != "lbfgs":
        return
    for name in _STOCHASTIC_ONLY:
        if np.any(np.asarray(getattr(estimator, name), dtype=object)):  # a name, a number or several
            raise ValueError(
                f"solver='lbfgs' makes no gradient steps that {name} could act on; got"
                f" {name}={getattr(estimator, name)!r}. Choose another solver, or leave {name} alone."
            )


def _per_layer(name: str, value: Any, n_layers: int, allowed: type) -> list[Any]:
    if isinstance(value, allowed):
        return [value] * n_layers
    values = list(value)
    if len(values) != n_layers:
        raise ValueError(
            f"{name} must have one value for each of the {n_layers} hidden layers; got {value!r}"
        )
    if not all(isinstance(item, allowed) for item in values):
        raise TypeError(f"{name} must hold {'names' if allowed is str else 'numbers'}; got {value!r}")
    return values


def glorot_with_bias(bound: float, n_in: int, n_out: int, random: Any) -> NDArray[np.float64]:
    """Draw weights, then biases, uniformly from ± sqrt(bound / (n_in + n_out)): scikit-learn's draws."""
    limit = np.sqrt(bound / (n_in + n_out))
    weights = random.uniform(-limit, limit, (n_in, n_out))
    return np.vstack([weights, random.uniform(-limit, limit, n_out)])


class _Initializer:
    """`glorot_with_bias` with its bound: 2 in networks of logistic units, 6 in all others."""

    def __init__(self, activation: str) -> None:
        self.bound = 2.0 if activation == "logistic" else 6.0

    def __call__(self, n_in: int, n_out: int, random: Any) -> NDArray[np.float64]:
        return glorot_with_bias(self.bound, n_in, n_out, random)


def architecture(estimator: Any, units: list[int], head: str) -> dict[str, Any]:
    """Return what makes the network: compared to tell whether training can go on with the one there is."""
    n_hidden = len(units) - 2
    hidden = _per_layer("activation", estimator.activation, n_hidden, str)
    rates = _per_layer("dropout", estimator.dropout, n_hidden, Real)
    return {
        "units": units,
        "activations": [*(choice("activation", a, HIDDEN_ACTIVATIONS) for a in hidden), head],
        "dropout": [float(rate) for rate in rates],
        "scaled_for": estimator.activation if isinstance(estimator.activation, str) else None,
        "loss_arguments": estimator._loss_arguments(),
    }


def network(
    units: list[int],
    activations: list[str],
    dropout: list[float],
    scaled_for: str | None,
    loss_arguments: dict[str, Any],
    *,
    dtype: Any,
    random_state: Any = 0,
) -> Network:
    """Make a network of an `architecture`."""
    layers = [
        # scikit-learn scales the head, too, by the activation of the hidden layers.
        Dense(n, a, dropout=rate, initializer=_Initializer(scaled_for or a))
        for n, a, rate in zip(units[1:], activations, [*dropout, 0.0], strict=True)
    ]
    return Network(units[0], layers, dtype=dtype, random_state=random_state, **loss_arguments)


def joined_weights(coefs: Any, intercepts: Any) -> list[NDArray[Any]]:
    """Return [coef; intercept] of each layer, from what a user has assigned."""
    if len(coefs) != len(intercepts):
        raise ValueError(
            f"coefs_ has {len(coefs)} arrays, intercepts_ {len(intercepts)}: there must be as many"
        )
    joined: list[NDArray[Any]] = []
    for i, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
        W, b = np.asarray(coef), np.asarray(intercept)
        if W.ndim != 2 or b.shape != (W.shape[1],):
            raise ValueError(
                f"coefs_[{i}] must have shape (n_in, n_out) and intercepts_[{i}] (n_out,);"
                f" got {W.shape} and {b.shape}"
            )
        if joined and joined[-1].shape[1] != W.shape[0]:
            raise ValueError(f"coefs_[{i}] must have {joined[-1].shape[1]} rows; got shape {W.shape}")
        joined.append(np.vstack([W, b]))
    return joined


def check_shapes(coefs: Any, intercepts: Any, network: Network) -> None:
    """Refuse assigned weights that do not fit the network."""
    for name, arrays in (("coefs_", coefs), ("intercepts_", intercepts)):
        if len(arrays) != network.depth:
            raise ValueError(f"{name} must have {network.depth} arrays; got {len(arrays)}")
        for i, value in enumerate(arrays):
            array = real_array(f"{name}[{i}]", value)
            shape = (network.width(i), network.width(i + 1))[0 if name == "coefs_" else 1 :]
            if array.shape != shape:
                raise ValueError(f"{name}[{i}] must have shape {shape}; got {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name}[{i}] must be finite; got NaN or infinity")


def batch_size(value: Any, n_rows: int) -> int:
    """Return the number of rows of a batch."""
    if value == "auto":
        return min(200, n_rows)
    if value > n_rows:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=8
        )
    return min(int(value), n_rows)


def optimizer(estimator: BaseMLP) -> tuple[Optimizer, dict[str, Any]]:
    """Return the optimizer and the regularisation that the parameters ask for."""
    kind = OPTIMIZERS[estimator.solver]
    numbers: dict[str, Any] = {
        "lr": estimator.learning_rate_init,
        "momentum": estimator.momentum,
        "nesterov": bool(estimator.nesterovs_momentum),
        "beta_1": estimator.beta_1,
        "beta_2": estimator.beta_2,
        "epsilon": estimator.epsilon,
        "weight_decay": estimator.weight_decay,
    }
    if kind is RMSprop:
        del numbers["momentum"]
    fields = set(kind.__dataclass_fields__)
    chosen = kind(**{name: n for name, n in numbers.items() if name in fields and n is not None})
    regularisation = {
        "l2": float(estimator.alpha),
        "l1": float(estimator.l1),
        "weight_decay": 0.0 if "weight_decay" in fields else estimator.weight_decay or 0.0,
        "max_norm": estimator.max_norm,
        "clip_norm": estimator.clip_norm,
    }
    return chosen, regularisation


def updated_trainer(
    before: Trainer | None,
    network: Network,
    optimizer: Optimizer,
    regularisation: dict[str, Any],
    changed: bool,
    seed: int,
) -> Trainer:
    """Return the trainer to go on with: where it can be the one there was, or else one with its state.

    Parameters
    ----------
    before : Trainer or None
        Of the same network.
    changed : bool
        Whether `before` was made with another regularisation.
    seed : int
        Of the dropout masks of a trainer that has no predecessor.
    """
    same_kind = before is not None and type(before.optimizer) is type(optimizer)
    if before is not None and same_kind and not changed:
        if before.optimizer != optimizer:
            before.optimizer = optimizer
        return before
    after = Trainer(network, optimizer, shuffle=False, random_state=seed, **regularisation)
    if before is not None and same_kind:
        after._load_state_dict(before.state_dict(), check_numbers=False)
    return after
