"""How a fit begins: arguments checked, and network, trainer and the order of the rows made or found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight

from densegrad.estimators import _model
from densegrad.estimators._order import RowOrder
from densegrad.estimators._schedules import LearningRate
from densegrad.estimators._scores import Score, scorer_score
from densegrad.estimators._split import split_rows

if TYPE_CHECKING:
    from densegrad.estimators._base import BaseMLP
    from densegrad.samples import Samples


@dataclass
class TrainingData:
    """What a fit trains on, checked and encoded.

    X and target are whole, as the caller gave them; `rows` are the row numbers that training visits, or None
    for all.
    """

    X: Any
    y: NDArray[Any]
    target: NDArray[Any]
    sample_weight: NDArray[np.float64] | None
    rows: NDArray[np.int64] | None = None
    samples: Samples | None = None

    @property
    def n_rows(self) -> int:
        """Rows an epoch visits."""
        return int(self.X.shape[0]) if self.rows is None else self.rows.shape[0]


@dataclass
class Validation:
    """The rows that the epochs are judged by."""

    samples: Samples
    score: Score | None  # None stands for minus the loss


def prepare(
    estimator: BaseMLP,
    X: Any,
    y: Any,
    sample_weight: Any,
    validation: tuple[Any, Any, Any],
    incremental: bool,
    **arguments: Any,
) -> tuple[TrainingData, Validation | None]:
    """Check everything, and make or find the network, its trainer and the order of the rows."""
    hidden = _model.hidden_units(estimator.hidden_layer_sizes)
    first = not estimator.__sklearn_is_fitted__() or (not estimator.warm_start and not incremental)
    if incremental and estimator.early_stopping:
        raise ValueError("partial_fit does not support early_stopping=True")
    _model.check_parameters(estimator)
    reset = first or not hasattr(estimator, "n_features_in_")
    X, y = estimator._validated(X, y, incremental, reset, **arguments)
    if hasattr(X, "tocsr"):
        X = X.tocsr()
    weight = estimator._class_weighted(y, _checked_weights(sample_weight, X), incremental)
    n_outputs, head = estimator._outputs(y)
    units = [X.shape[1], *hidden, n_outputs]
    _begin(estimator, first, units, head, X.dtype)
    data = TrainingData(X, y, estimator._encoded(y), weight)
    if estimator.solver == "lbfgs":
        if any(part is not None for part in validation):
            raise ValueError("X_val and y_val need a stochastic solver; got solver='lbfgs'")
        return data, None
    _find_trainer(estimator)
    data.samples = estimator._network.samples(X, data.target, weight)
    judged = None
    if any(part is not None for part in validation):
        judged = _given_validation(estimator, y, *validation)
    elif estimator.early_stopping:
        data, judged = _set_aside(estimator, data)
    _begin_epochs(estimator, first, data.n_rows, judged is not None)
    _order_rows(estimator, data)
    return data, judged


def _checked_weights(sample_weight: Any, X: Any) -> NDArray[np.float64] | None:
    if sample_weight is None:
        return None
    weight: NDArray[np.float64] = _check_sample_weight(sample_weight, X, dtype=np.float64)
    if (weight < 0).any():
        raise ValueError(f"sample_weight must not be negative; got {weight.min()}")
    if not weight.any():
        raise ValueError("sample_weight must contain at least one non-zero number; got zeros only")
    return weight


def _begin(estimator: BaseMLP, first: bool, units: list[int], head: str, dtype: Any) -> None:
    """Make the network, or check that training can go on with the one there is."""
    seed = estimator.random_state
    if first or "_random_state" not in estimator.__dict__ or not _same(seed, estimator._random_state_from):
        estimator._random_state = check_random_state(seed)
        estimator._random_state_from = seed
    if first:
        estimator._hide_weights()
        for key in ("_trainer", "_best_parameters", "_last_parameters", "_row_order"):
            estimator.__dict__.pop(key, None)
        estimator._network = estimator._new_network(units, head, dtype, estimator._random_state)
        estimator.n_iter_ = 0
        estimator.t_ = 0
    known = estimator._current_network()
    there = [known.n_inputs, *(layer.units for layer in known.layers)]
    if there != units:
        raise ValueError(
            f"training can only go on with the layers it began with: the network has {there} units, X,"
            f" hidden_layer_sizes and y ask for {units}"
        )
    architecture = _model.architecture(estimator, units, head)
    if architecture != estimator._architecture:
        estimator._architecture = architecture
        estimator._network = estimator._copied_network()
        for key in ("_trainer", "_last_parameters"):
            estimator.__dict__.pop(key, None)
    estimator.n_outputs_ = units[-1]
    estimator.n_layers_ = len(units)
    estimator.out_activation_ = head
    estimator.__dict__.setdefault("n_iter_", 0)
    estimator.__dict__.setdefault("t_", 0)


def _begin_epochs(estimator: BaseMLP, first: bool, n_rows: int, validated: bool) -> None:
    """Set up what the epochs of a fit write to."""
    if first or "loss_curve_" not in estimator.__dict__:
        estimator.loss_curve_ = []
        estimator._no_improvement_count = 0
        estimator.best_loss_ = None if estimator.early_stopping else math.inf
        estimator.validation_scores_ = None
        estimator.validation_loss_curve_ = None
        estimator.best_validation_score_ = None
    if validated and estimator.validation_scores_ is None:
        estimator.validation_scores_ = []
        estimator.validation_loss_curve_ = []
        estimator.best_validation_score_ = -math.inf
    if not estimator.early_stopping and estimator.best_loss_ is None:
        estimator.best_loss_ = math.inf
    estimator._trainer.batch_size = _model.batch_size(estimator.batch_size, n_rows)
    estimator._trainer.n_threads = estimator.n_threads
    rule = estimator.learning_rate if estimator.solver == "sgd" else "constant"
    settings = (float(estimator.learning_rate_init), rule, estimator.power_t)
    rate = estimator.__dict__.get("_optimizer")
    if first or rate is None or (rate.initial, rate.rule, rate.power_t) != settings:
        estimator._optimizer = LearningRate(*settings)
        if estimator.t_:
            estimator._optimizer.epoch_ends(estimator.t_)


def _find_trainer(estimator: BaseMLP) -> None:
    optimizer, regularisation = _model.optimizer(estimator)
    before = estimator.__dict__.get("_trainer")
    changed = regularisation != estimator.__dict__.get("_regularisation")
    seed = 0
    if before is None and any(estimator._architecture["dropout"]):
        seed = int(estimator._random_state.randint(2**31 - 1))
    estimator._trainer = _model.updated_trainer(
        before, estimator._network, optimizer, regularisation, changed, seed
    )
    estimator._regularisation = regularisation
    if estimator._trainer is not before:
        estimator._schedule_memory = {}


def _order_rows(estimator: BaseMLP, data: TrainingData) -> None:
    order = estimator.__dict__.get("_row_order")
    if not estimator.shuffle:
        estimator._row_order = None
    elif order is not None and order.resumes(estimator._random_state, data.n_rows):
        order.resume(data.rows)
    else:
        shared = not isinstance(estimator.random_state, Integral)
        estimator._row_order = RowOrder(estimator._random_state, data.n_rows, data.rows, shared=shared)


def _given_validation(
    estimator: BaseMLP, training_y: NDArray[Any], X: Any, y: Any, sample_weight: Any
) -> Validation:
    if X is None or y is None:
        raise ValueError("X_val and y_val must be given together")
    try:
        X, y = estimator._validated_rows(X, y)
        if hasattr(X, "tocsr"):
            X = X.tocsr()
        weight = _checked_weights(sample_weight, X)
        weight = estimator._class_weighted(y, weight, incremental=False, training_y=training_y)
        samples = estimator._network.samples(X, estimator._encoded(y), weight)
    except (TypeError, ValueError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"in the validation data X_val, y_val, sample_weight_val: {error}") from error
    return Validation(samples, _score(estimator, X, y, weight))


def _set_aside(estimator: BaseMLP, data: TrainingData) -> tuple[TrainingData, Validation]:
    """Split X as scikit-learn does, without copying the rows that are trained on."""
    training, validation = split_rows(estimator, data)
    weight = data.sample_weight
    if weight is not None:
        for rows, purpose in ((training, "is left to train on"), (validation, "is set aside to validate on")):
            if not weight[rows].any():
                raise ValueError(
                    f"sample_weight is zero for every row that {purpose} by early_stopping=True: change"
                    " validation_fraction or random_state, or give X_val and y_val"
                )
        weight = weight[validation]
    data.rows = training
    X, y = data.X[validation], data.y[validation]
    samples = estimator._network.samples(X, data.target[validation], weight)
    return data, Validation(samples, _score(estimator, X, y, weight))


def _score(estimator: BaseMLP, X: Any, y: NDArray[Any], weight: Any) -> Score | None:
    if estimator.scoring == "loss":
        return None
    if estimator.scoring is None:
        return estimator._default_score(X, y, weight)
    return scorer_score(estimator, estimator.scoring, X, y, weight)


def _same(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, Integral) and isinstance(b, Integral) and a == b)
