"""From an estimator's parameters to the settings of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Final, Literal, cast

import numpy as np
from sklearn.metrics import get_scorer_names
from sklearn.utils._param_validation import Interval, Options, StrOptions

from densegrad import schedules
from densegrad._losses import Loss
from densegrad._names import suggestion
from densegrad._optimizers import BY_NAME, STOCHASTIC, Optimizer, RMSprop
from densegrad._tables import ACTIVATIONS, LOSSES, activations
from densegrad._validation import MOST_THREADS, choice
from densegrad.layers import Dense
from densegrad.training.descent import Regularisation
from densegrad.training.observers import Callback, callbacks_from
from densegrad.training.rates import RULES, AnySchedule
from densegrad.typing import ActivationName

HIDDEN_ACTIVATIONS: Final = [name for name in activations() if not ACTIVATIONS[name]["head_only"]]

#: The checks by scikit-learn of each parameter that both estimators have.
CONSTRAINTS: Final[dict[str, list[Any]]] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions(set(HIDDEN_ACTIVATIONS)), "array-like"],
    "solver": [StrOptions(set(BY_NAME))],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions(set(RULES))],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {math.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "n_threads": [Interval(Integral, 1, MOST_THREADS, closed="both"), None],
    "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
    "l1": [Interval(Real, 0, None, closed="left")],
    "weight_decay": [Interval(Real, 0, None, closed="left"), None],
    "max_norm": [Interval(Real, 0, None, closed="neither"), None],
    "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
    "schedule": [StrOptions(set(schedules.BY_NAME)), schedules.Schedule, callable, None],
    "scoring": [StrOptions({*get_scorer_names(), "loss"}), callable, None],
    "restore_best": ["boolean"],
    "max_time": [Interval(Real, 0, None, closed="neither"), None],
    "callbacks": [list, tuple, None],
    "progress": ["boolean"],
}

_MOST_CALLS: Final = 2**63 - 1  # that the core can count

# Parameters that say how steps are made; L-BFGS has no steps to make so.
_STOCHASTIC_ONLY = ("dropout", "l1", "weight_decay", "max_norm", "clip_norm", "schedule")


@dataclass(frozen=True)
class Recipe:
    """The settings that the parameters of an estimator ask for, checked."""

    hidden: tuple[Dense, ...]
    #: The activation of all hidden layers; None if each has its own.
    activation: str | None
    loss: Loss
    #: None for 'lbfgs'.
    optimizer: Optimizer | None
    regularisation: Regularisation
    #: Arguments of `LearningRateRule`.
    learning_rate: tuple[float, str, float]
    schedule: AnySchedule | None
    batch_size: int | Literal["auto"]
    max_iter: int
    shuffle: bool
    random_state: Any
    class_weight: Any
    tol: float
    n_iter_no_change: float
    early_stopping: bool
    validation_fraction: float
    scoring: Any
    restore_best: bool
    max_time: float
    max_fun: int
    n_threads: int | None
    callbacks: tuple[Callback, ...]
    progress: bool

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Recipe:
        """Return the recipe for an estimator's parameters, each of which scikit-learn has checked alone."""
        callbacks = callbacks_from(parameters["callbacks"] or ())
        solver, rule = parameters["solver"], parameters["learning_rate"]
        if solver == "lbfgs":
            _check_lbfgs(parameters)
        optimizer = None if solver == "lbfgs" else _optimizer(STOCHASTIC[solver], parameters)
        max_time = parameters["max_time"]
        return cls(
            hidden=_hidden_layers(parameters),
            activation=parameters["activation"] if isinstance(parameters["activation"], str) else None,
            loss=_loss(parameters),
            optimizer=optimizer,
            regularisation=_regularisation(optimizer, parameters),
            learning_rate=(
                float(parameters["learning_rate_init"]),
                rule if solver == "sgd" else "constant",
                parameters["power_t"],
            ),
            schedule=schedules.checked(parameters["schedule"]),
            batch_size=parameters["batch_size"],
            max_iter=min(parameters["max_iter"], _MOST_CALLS),
            shuffle=parameters["shuffle"],
            random_state=parameters["random_state"],
            class_weight=parameters.get("class_weight"),
            tol=parameters["tol"],
            n_iter_no_change=parameters["n_iter_no_change"],
            early_stopping=parameters["early_stopping"],
            validation_fraction=parameters["validation_fraction"],
            scoring=parameters["scoring"],
            restore_best=parameters["restore_best"],
            max_time=math.inf if max_time is None else max_time,
            max_fun=min(parameters["max_fun"], _MOST_CALLS),
            n_threads=parameters["n_threads"],
            callbacks=callbacks,
            progress=parameters["progress"],
        )


def hint(parameters: Mapping[str, Any], error: str) -> str:
    """Return what scikit-learn's `error` about a parameter may be due to, or ""."""
    sizes = parameters.get("loss")
    if "'loss' parameter of MLPRegressor" in error and isinstance(sizes, (int, list, tuple)):
        return f" hidden_layer_sizes={sizes!r} sets the hidden layers; loss is the first parameter."
    names = {
        "activation": HIDDEN_ACTIVATIONS,
        "solver": list(BY_NAME),
        "learning_rate": list(RULES),
        "schedule": list(schedules.BY_NAME),
        "loss": [name for name in LOSSES if repr(name) in error.partition(" Got ")[0]],
    }
    for parameter, allowed in names.items():
        value = parameters.get(parameter)
        if isinstance(value, str) and f"{parameter!r} parameter" in error:
            if parameter == "loss" and value in LOSSES:
                return f" It is a loss of {'MLPRegressor' if 'log_loss' in allowed else 'MLPClassifier'}."
            meant = suggestion(value, allowed)
            return "" if meant is None else f" Did you mean {meant!r}?"
    return ""


def _hidden_layers(parameters: Mapping[str, Any]) -> tuple[Dense, ...]:
    sizes, activation, dropout = (
        _without_array(parameters[name]) for name in ("hidden_layer_sizes", "activation", "dropout")
    )
    units = _hidden_units(sizes)
    activations = _per_layer("activation", activation, len(units), str)
    rates = _per_layer("dropout", dropout, len(units), Real)
    return tuple(
        Dense(
            n,
            cast(ActivationName, choice("activation", activation, HIDDEN_ACTIVATIONS)),
            dropout=float(rate),
        )
        for n, activation, rate in zip(units, activations, rates, strict=True)
    )


def _without_array(value: Any) -> Any:
    """Return the entry of an array without dimensions, and any other value as it is."""
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _hidden_units(sizes: Any) -> list[int]:
    units = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    for number in units:
        try:
            whole = not isinstance(number, (bool, np.bool_)) and int(number) == number
        except (TypeError, ValueError, OverflowError):
            whole = False
        if not whole:
            raise ValueError(f"hidden_layer_sizes must be integers, got {units}.")
        if number <= 0:
            raise ValueError(f"hidden_layer_sizes must be > 0, got {units}.")
    return [int(number) for number in units]


def _per_layer(name: str, value: Any, n_layers: int, allowed: type) -> list[Any]:
    if isinstance(value, allowed):
        return [value] * n_layers
    values = list(value) if hasattr(value, "__iter__") else [value]
    if not all(isinstance(item, allowed) for item in values):
        kind = "names (functions are for Network)" if allowed is str else "numbers"
        raise TypeError(f"{name} must hold {kind}; got {value!r}")
    if len(values) != n_layers:
        raise ValueError(
            f"{name} must have one value for each of the {n_layers} hidden layers; got {value!r}"
        )
    return values


def _loss(parameters: Mapping[str, Any]) -> Loss:
    loss = parameters["loss"]
    own = None if callable(loss) else LOSSES[loss]["parameter"]
    arguments = {} if own is None else {own: parameters[own]}
    if own == "quantile" and np.ndim(parameters[own]) == 1:
        if len(parameters[own]) == 0:
            raise ValueError("quantile must be a level in (0, 1), or hold at least one; got none")
        arguments[own] = [float(level) for level in np.asarray(parameters[own])]
    return Loss.checked(loss, label_smoothing=parameters.get("label_smoothing", 0.0), **arguments)


def _optimizer(kind: type[Optimizer], parameters: Mapping[str, Any]) -> Optimizer:
    values: dict[str, Any] = {
        "lr": float(parameters["learning_rate_init"]),
        "nesterov": bool(parameters["nesterovs_momentum"]),
        **{name: float(parameters[name]) for name in ("momentum", "beta_1", "beta_2", "epsilon")},
    }
    if parameters["weight_decay"] is not None:
        values["weight_decay"] = float(parameters["weight_decay"])
    if kind is RMSprop:
        del values["momentum"]  # scikit-learn's parameter is for SGD
    fields = kind.__dataclass_fields__
    return kind(**{name: value for name, value in values.items() if name in fields})


def _regularisation(optimizer: Optimizer | None, parameters: Mapping[str, Any]) -> Regularisation:
    has_decay = hasattr(optimizer, "weight_decay")
    return Regularisation(
        l2=float(parameters["alpha"]),
        l1=float(parameters["l1"]),
        weight_decay=0.0 if has_decay else parameters["weight_decay"] or 0.0,
        max_norm=parameters["max_norm"] or 0.0,
        clip_norm=parameters["clip_norm"] or 0.0,
    )


def _check_lbfgs(parameters: Mapping[str, Any]) -> None:
    for name in _STOCHASTIC_ONLY:
        if np.any(np.asarray(parameters[name], dtype=object)):  # a name, a number or several
            raise ValueError(
                f"solver='lbfgs' makes no gradient steps that {name} could act on; got"
                f" {name}={parameters[name]!r}. Choose another solver, or leave {name} alone."
            )
