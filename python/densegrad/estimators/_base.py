"""What the two estimators have in common: the manners of scikit-learn's estimators around a Network."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, _fit_context
from sklearn.metrics import get_scorer_names
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from densegrad import Network, activations
from densegrad._validation import all_finite, finite_rows
from densegrad.estimators import _model
from densegrad.estimators._callbacks import CallbackSupportMixin, FitHooks, with_callbacks
from densegrad.estimators._lbfgs import fit_lbfgs, loss_and_gradient
from densegrad.estimators._order import RowOrder
from densegrad.estimators._schedules import LearningRate
from densegrad.estimators._scores import Score, scorer_score
from densegrad.estimators._split import split_rows
from densegrad.estimators._training import (
    DIVERGED,
    TrainingData,
    Validation,
    fit_epochs,
)
from densegrad.estimators._weights import ShownWeights
from densegrad.schedules import BY_NAME, Schedule

_SMALL = 4096  # numbers that are checked one by one faster than summed up


class BaseMLP(ShownWeights, CallbackSupportMixin, BaseEstimator, ABC):
    """Base of the two estimators."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(activations()) - {"exp", "softmax"}), "array-like"],
        "solver": [StrOptions({"lbfgs", *_model.OPTIMIZERS})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
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
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "l1": [Interval(Real, 0, None, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left"), None],
        "max_norm": [Interval(Real, 0, None, closed="neither"), None],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "schedule": [StrOptions(set(BY_NAME)), Schedule, callable, None],
        "scoring": [StrOptions({*get_scorer_names(), "loss"}), callable, None],
        "restore_best": ["boolean"],
        "max_time": [Interval(Real, 0, None, closed="neither"), None],
        "callbacks": [list, tuple, None],
        "progress": ["boolean"],
    }

    _random_state: np.random.RandomState
    _random_state_from: Any  # the parameter random_state that it was made of
    _optimizer: LearningRate
    _row_order: RowOrder | None
    _regularisation: dict[str, Any]
    _schedule_memory: dict[str, float]
    _no_improvement_count: int
    _split: tuple[int, Any]
    n_features_in_: int
    loss_: float
    best_loss_: float | None
    loss_curve_: list[float]
    # Of validation rows; None without such.
    validation_scores_: list[float] | None
    validation_loss_curve_: list[float] | None
    best_validation_score_: float | None

    # What the two kinds of targets make different.

    @abstractmethod
    def _validated(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, NDArray[Any]]:
        """Check X and y as scikit-learn does; y comes back as an array."""

    @abstractmethod
    def _encoded(self, y: NDArray[Any]) -> NDArray[Any]:
        """Turn y into the target of the network."""

    @abstractmethod
    def _outputs(self, y: NDArray[Any]) -> tuple[int, str]:
        """Return the number of units of the head, and its activation."""

    @abstractmethod
    def _loss_arguments(self) -> dict[str, Any]:
        """Return the arguments of Network that concern the loss."""

    @abstractmethod
    def _default_score(self, X: Any, y: NDArray[Any], sample_weight: Any) -> Score | None:
        """Return scikit-learn's score of validation rows; None stands for minus the loss."""

    def _class_weighted(self, y: NDArray[Any], weight: Any, incremental: bool) -> Any:
        """Multiply the weights of the rows by those of their classes."""
        return weight

    def __sklearn_is_fitted__(self) -> bool:
        return "_network" in self.__dict__ or "_coefs" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @property
    def network_(self) -> Network:
        """The fitted network: to look at a backward pass, or to save it. Training goes on in it."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'network_' before fit")
        return self._current_network()

    # Prediction.

    def _forward(self, X: Any) -> NDArray[Any]:
        """Return y_(L) for X, (n_samples, n_outputs_)."""
        if "_network" not in self.__dict__:
            check_is_fitted(self)
        if not self._readable(X):
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        network = self._current_network()
        outputs: NDArray[Any] = network.predict(X, self.n_threads)
        if network.dtype == np.float32 and not np.isfinite(outputs).all():
            finite_rows("X", X, network.dtype)
        return outputs

    def _readable(self, X: Any) -> bool:
        """Tell whether X plainly passes scikit-learn's checks, which take longer than a small prediction."""
        if (
            type(X) is not np.ndarray
            or X.ndim != 2
            or X.dtype.char not in "fd"
            or X.shape[1] != self.n_features_in_
            or X.shape[0] == 0
            or "feature_names_in_" in self.__dict__
        ):
            return False
        if X.size <= _SMALL:
            return bool(np.isfinite(X).all())
        with np.errstate(over="ignore", invalid="ignore"):
            return math.isfinite(X.sum())

    # Training.

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Fit the network to X and y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            float32 and float64 are computed in as they are, anything else in float64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or a label indicator matrix; numbers for regression.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the loss, none negative. None stands for ones.
        X_val, y_val : like X and y, default=None
            Rows to validate on after each epoch. With ``early_stopping=True`` they take the place of the part
            of X that would be set aside; without it their loss and score are recorded, and
            decide nothing but what the schedules 'plateau' and 'adaptive' follow.
        sample_weight_val : array-like of shape (n_val,), default=None
            Weights of the validation rows in their loss and score.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            Where an argument is not as described, which leaves the estimator as it was; or where training
            diverges. That, and an error that a callable of yours raises during the training, leaves it as the
            training stands.
        """
        validation = (X_val, y_val, sample_weight_val)
        return self._fit(X, y, sample_weight, validation, incremental=False)

    def _check_solver(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
            )
        return True

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, **arguments: Any) -> Any:
        if y is None and not _is_iterable_of_batches(X):
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
                " Only an iterable of batches, tuples (X, y) or (X, y, sample_weight), comes without."
            )
        if y is not None:
            return self._fit(X, y, sample_weight, incremental=True, **arguments)
        if sample_weight is not None:
            raise ValueError(
                "sample_weight must be part of the batches, (X, y, sample_weight), where X is such"
            )
        for batch in _batches(X):
            self._fit(*batch, incremental=True, **arguments)
        return self

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        validation: tuple[Any, Any, Any] = (None, None, None),
        *,
        incremental: bool,
        **arguments: Any,
    ) -> Any:
        before = self.__dict__.copy()
        try:
            data, judged = self._prepare(X, y, sample_weight, validation, incremental, **arguments)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        hooks = None if incremental else FitHooks(self, data.X, data.y, data.sample_weight)
        if self.solver == "lbfgs":
            fit_lbfgs(self, data, hooks)
        else:
            fit_epochs(self, data, judged, hooks, incremental=incremental)
        if hooks is not None:
            hooks.fit_ends()
        return self

    def _prepare(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation: tuple[Any, Any, Any],
        incremental: bool,
        **arguments: Any,
    ) -> tuple[TrainingData, Validation | None]:
        """Check everything, and make or find the network, its trainer and the order of the rows."""
        hidden = _model.hidden_units(self.hidden_layer_sizes)
        first = not self.__sklearn_is_fitted__() or (not self.warm_start and not incremental)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        _model.check_parameters(self)
        reset = first or not hasattr(self, "n_features_in_")
        X, y = self._validated(X, y, incremental, reset, **arguments)
        if hasattr(X, "tocsr"):
            X = X.tocsr()
        weight = self._class_weighted(y, self._weights(sample_weight, X, "sample_weight"), incremental)
        n_outputs, head = self._outputs(y)
        units = [X.shape[1], *hidden, n_outputs]
        self._begin(first, units, head, X.dtype)
        data = TrainingData(X, y, self._encoded(y), weight)
        if self.solver == "lbfgs":
            if any(part is not None for part in validation):
                raise ValueError("X_val and y_val need a stochastic solver; got solver='lbfgs'")
            return data, None
        self._find_trainer()
        data.samples = self._network.samples(X, data.target, weight)
        judged = None
        if any(part is not None for part in validation):
            judged = self._given_validation(*validation)
        elif self.early_stopping:
            data, judged = self._set_aside(data)
        self._begin_epochs(first, data.n_rows, judged is not None)
        self._order_rows(data)
        return data, judged

    def _weights(self, sample_weight: Any, X: Any, name: str) -> NDArray[np.float64] | None:
        if sample_weight is None:
            return None
        weight: NDArray[np.float64] = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if (weight < 0).any():
            raise ValueError(f"{name} must not be negative; got {weight.min()}")
        if not weight.any():
            raise ValueError(f"{name} must contain at least one non-zero number: all sample weights are zero")
        return weight

    def _begin(self, first: bool, units: list[int], head: str, dtype: Any) -> None:
        """Make the network, or check that training can go on with the one there is."""
        seed = self.random_state
        if first or "_random_state" not in self.__dict__ or not _same(seed, self._random_state_from):
            self._random_state = check_random_state(seed)
            self._random_state_from = seed
        if first:
            for key in ("_coefs", "_intercepts", "_known", "_trainer", "_best_parameters", "_row_order"):
                self.__dict__.pop(key, None)
            self._network = self._new_network(units, head, dtype, self._random_state)
            self.n_iter_ = 0
            self.t_ = 0
        elif "_network" not in self.__dict__:
            self._current_network()
        known = self._current_network()
        there = [known.n_inputs, *(layer.units for layer in known.layers)]
        if there != units:
            raise ValueError(
                f"training can only go on with the layers it began with: the network has {there} units, X,"
                f" hidden_layer_sizes and y ask for {units}"
            )
        architecture = _model.architecture(self, units, head)
        if architecture != self._architecture:
            self._architecture = architecture
            self._network = self._copied_network()
            if "_trainer" in self.__dict__:
                del self._trainer
        self.n_outputs_ = units[-1]
        self.n_layers_ = len(units)
        self.out_activation_ = head
        self.__dict__.setdefault("n_iter_", 0)
        self.__dict__.setdefault("t_", 0)

    def _begin_epochs(self, first: bool, n_rows: int, validated: bool) -> None:
        """Set up what the epochs of a fit write to."""
        if first or "loss_curve_" not in self.__dict__:
            self.loss_curve_ = []
            self._no_improvement_count = 0
            self.best_loss_ = None if self.early_stopping else math.inf
            self.validation_scores_ = None
            self.validation_loss_curve_ = None
            self.best_validation_score_ = None
        if validated and self.validation_scores_ is None:
            self.validation_scores_ = []
            self.validation_loss_curve_ = []
            self.best_validation_score_ = -math.inf
        if not self.early_stopping and self.best_loss_ is None:
            self.best_loss_ = math.inf
        self._trainer.batch_size = _model.batch_size(self.batch_size, n_rows)
        self._trainer.n_threads = self.n_threads
        rule = self.learning_rate if self.solver == "sgd" else "constant"
        settings = (float(self.learning_rate_init), rule, self.power_t)
        rate = self.__dict__.get("_optimizer")
        if first or rate is None or (rate.initial, rate.rule, rate.power_t) != settings:
            self._optimizer = LearningRate(*settings)
            if self.t_:
                self._optimizer.epoch_ends(self.t_)

    def _find_trainer(self) -> None:
        optimizer, regularisation = _model.optimizer(self)
        before = self.__dict__.get("_trainer")
        if before is not None:
            self._network = before.network
        changed = regularisation != self.__dict__.get("_regularisation")
        seed = 0
        if before is None and self._architecture["has_dropout"]:
            seed = int(self._random_state.randint(2**31 - 1))
        self._trainer = _model.updated_trainer(
            before, self._network, optimizer, regularisation, changed, seed
        )
        self._regularisation = regularisation
        if self._trainer is not before:
            self._schedule_memory = {}

    def _order_rows(self, data: TrainingData) -> None:
        order = self.__dict__.get("_row_order")
        if not self.shuffle:
            self._row_order = None
        elif order is not None and order.resumes(self._random_state, data.n_rows):
            order.resume(data.rows)
        else:
            shared = not isinstance(self.random_state, Integral)
            self._row_order = RowOrder(self._random_state, data.n_rows, data.rows, shared=shared)

    # Validation.

    def _given_validation(self, X: Any, y: Any, sample_weight: Any) -> Validation:
        if X is None or y is None:
            raise ValueError("X_val and y_val must be given together")
        X, y = self._validated_rows(X, y)
        if hasattr(X, "tocsr"):
            X = X.tocsr()
        return self._validation(X, y, self._encoded(y), self._weights(sample_weight, X, "sample_weight_val"))

    @abstractmethod
    def _validated_rows(self, X: Any, y: Any) -> tuple[Any, NDArray[Any]]:
        """Check X_val and y_val against what has been fitted."""

    def _set_aside(self, data: TrainingData) -> tuple[TrainingData, Validation]:
        """Split X as scikit-learn does, without copying the rows that are trained on."""
        training, validation = split_rows(self, data)
        X, y = data.X[validation], data.y[validation]
        weight = None if data.sample_weight is None else data.sample_weight[validation]
        data.rows = training
        return data, self._validation(X, y, data.target[validation], weight)

    def _validation(self, X: Any, y: NDArray[Any], target: NDArray[Any], weight: Any) -> Validation:
        if self.scoring == "loss":
            score = None
        elif self.scoring is None:
            score = self._default_score(X, y, weight)
        else:
            score = scorer_score(self, self.scoring, X, y, weight)
        return Validation(self._network.samples(X, target, weight), score)

    # L-BFGS.

    def _loss_grad_lbfgs(
        self, packed: NDArray[Any], X: Any, y: NDArray[Any], sample_weight: Any, *_: Any
    ) -> tuple[float, NDArray[np.float64]]:
        """Return loss and gradient at `packed`: the weights of all layers, then the biases of all layers.

        Takes and ignores the scratch arrays that scikit-learn's method of this name is called with.
        """
        return loss_and_gradient(self, packed, X, y, sample_weight)

    def _check_finite(self) -> None:
        if not all_finite(self._network.parameters):
            raise ValueError(DIVERGED)


def _same(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, Integral) and isinstance(b, Integral) and a == b)


def _is_iterable_of_batches(X: Any) -> bool:
    return isinstance(X, Iterator) or (
        isinstance(X, Iterable)
        and not hasattr(X, "shape")
        and not hasattr(X, "__array__")
        and isinstance(next(iter(X), None), tuple)
    )


def _batches(X: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    for number, batch in enumerate(X):
        if not isinstance(batch, tuple) or len(batch) not in (2, 3):
            raise ValueError(
                f"batch {number} must be a tuple (X, y) or (X, y, sample_weight); got {type(batch)}"
            )
        yield batch
