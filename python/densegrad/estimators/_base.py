"""What the two estimators have in common: the manners of scikit-learn's estimators around a Network."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, _fit_context
from sklearn.metrics import get_scorer_names
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from densegrad import Network
from densegrad._arrays import check_finite_rows
from densegrad.estimators import _model
from densegrad.estimators._batches import batches, is_iterable_of_batches
from densegrad.estimators._callbacks import CallbackSupportMixin, FitHooks, with_callbacks
from densegrad.estimators._lbfgs import fit_lbfgs, loss_and_gradient
from densegrad.estimators._order import RowOrder
from densegrad.estimators._preparation import prepare
from densegrad.estimators._schedules import LearningRate
from densegrad.estimators._scores import Score
from densegrad.estimators._training import fit_epochs
from densegrad.estimators._weights import ShownWeights
from densegrad.schedules import BY_NAME, Schedule

_SMALL = 4096  # numbers that are checked one by one faster than summed up


class BaseMLP(ShownWeights, CallbackSupportMixin, BaseEstimator, ABC):
    """Base of the two estimators."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(_model.HIDDEN_ACTIVATIONS)), "array-like"],
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
    def _validated_rows(self, X: Any, y: Any) -> tuple[Any, NDArray[Any]]:
        """Check X_val and y_val against what has been fitted."""

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

    def _class_weighted(
        self, y: NDArray[Any], weight: Any, incremental: bool, training_y: NDArray[Any] | None = None
    ) -> Any:
        """Multiply the weights of the rows by those of their classes, which come of `training_y` or of y."""
        return weight

    def __copy__(self) -> Self:
        """Return a copy that trains on its own; what fitting does not make, such as parameters, is shared."""
        state = self.__getstate__()
        given = self.get_params(deep=False)
        made = [key for key in state if key.startswith("_") or key.endswith("_")]
        trained = {key: state[key] for key in made if key not in given and "callback" not in key}
        other = object.__new__(type(self))
        other.__dict__.update(state)
        other.__dict__.update(copy.deepcopy(trained, {id(value): value for value in given.values()}))
        return other

    def __sklearn_is_fitted__(self) -> bool:
        return "_network" in self.__dict__ or "_coefs" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @property
    def network_(self) -> Network:
        """The fitted network: to look at a backward pass, to save it, or to train it with a Trainer.

        Predictions are its, and training goes on in it, whatever has changed its weights. Where activation,
        dropout or the loss are others than before, training goes on in a new one with its weights.
        """
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
            check_finite_rows("X", X, network.dtype)
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
            Weights of the validation rows in their loss and score. A classifier's `class_weight` multiplies
            them, too.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            Where an argument is not as described, which leaves the estimator as it was; or where training
            diverges, or `scoring` returns NaN. That, and an error that a callable of yours raises during the
            training, leaves it as the training stands.
        """
        validation = (X_val, y_val, sample_weight_val)
        self._fit(X, y, sample_weight, validation, incremental=False)
        return self

    def _check_solver(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
            )
        return True

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, **arguments: Any) -> Any:
        if y is None and not is_iterable_of_batches(X):
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
                " Only an iterable of batches, tuples (X, y) or (X, y, sample_weight), comes without."
            )
        if y is not None:
            if isinstance(X, Iterator):
                raise ValueError("y must be part of the batches, (X, y), where X is an iterator over such")
            self._fit(X, y, sample_weight, incremental=True, **arguments)
            return self
        if sample_weight is not None:
            raise ValueError(
                "sample_weight must be part of the batches, (X, y, sample_weight), where X is such"
            )
        for batch in batches(X):
            if not self._fit(*batch, incremental=True, **arguments):
                break
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
    ) -> bool:
        """Train; False where Ctrl-C has ended it."""
        before = self.__dict__.copy()
        try:
            data, judged = prepare(self, X, y, sample_weight, validation, incremental, **arguments)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        hooks = None if incremental else FitHooks(self, data.X, data.y, data.sample_weight)
        if self.solver == "lbfgs":
            completed = fit_lbfgs(self, data, hooks)
        else:
            completed = fit_epochs(self, data, judged, hooks, incremental=incremental)
        if hooks is not None:
            hooks.fit_ends()
        return completed

    # L-BFGS.

    def _loss_grad_lbfgs(
        self, packed: NDArray[Any], X: Any, y: NDArray[Any], sample_weight: Any, *_: Any
    ) -> tuple[float, NDArray[np.float64]]:
        """Return loss and gradient at `packed`: the weights of all layers, then the biases of all layers.

        Takes and ignores the scratch arrays that scikit-learn's method of this name is called with.
        """
        return loss_and_gradient(self, packed, X, y, sample_weight)
