"""MLPRegressor: its parameters and its predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import d2_pinball_score
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from densegrad._losses import Loss
from densegrad.estimators.base import BaseMLP
from densegrad.estimators.decorators import available_if, validated
from densegrad.estimators.docs import documented
from densegrad.estimators.parameters import CONSTRAINTS
from densegrad.estimators.preparation import Fit
from densegrad.estimators.targets import POSITIVE_LOSSES, REGRESSION_LOSSES, Values
from densegrad.estimators.validation import R2
from densegrad.estimators.warn import warn
from densegrad.training.rates import AnySchedule
from densegrad.typing import (
    HiddenActivationName,
    LearningRateName,
    RegressionLossName,
    ScheduleName,
    SolverName,
)

#: A target's mean, and its standard deviation and the inverse of that, are far from 0 and 1 above this.
_FAR = 10.0


@documented("R², or 'loss' for several quantiles")
class MLPRegressor(RegressorMixin, BaseMLP[Values]):
    r"""Multi-layer perceptron for regression: scikit-learn's, on densegrad's C++ core.

    Replaces :class:`sklearn.neural_network.MLPRegressor`. The parameters up to `max_fun`, the attributes,
    warnings and errors are the same, and so are the numbers for the same `random_state`. The parameters after
    `max_fun`, and the losses except 'squared_error' and 'poisson', are additions.

    Parameters
    ----------
    loss : str or callable, default='squared_error'
        The loss of a row is the sum over its outputs of

        - 'squared_error': (y - t)² / 2
        - 'absolute_error': \|y - t\|
        - 'huber': (y - t)² / 2 up to `delta`, a straight line beyond
        - 'log_cosh': log cosh(y - t)
        - 'quantile': the pinball loss at the level, or at each of the levels, of `quantile`
        - 'poisson', 'gamma', 'tweedie': half the deviance; predictions are positive, through an exponential
        - 'gaussian_nll': minus the log likelihood of a normal distribution with predicted mean and variance

        A custom loss takes targets and predictions, both (batch, n_outputs_). It returns the loss of each
        row, (batch,), and its derivatives by the predictions, (batch, n_outputs_).
    <parameters>
    <threads>
    delta : float, default=1.0
        Used by loss='huber': the error at which the parabola becomes a line, in units of y.
    quantile : float or list of float, default=0.5
        Used by loss='quantile': a level in (0, 1), or several increasing levels. Predictions never cross.
    power : float, default=1.5
        Used by loss='tweedie': the variance is the mean to this power, in (1, 2).
    <regularisation>

    Attributes
    ----------
    <attributes>

    Examples
    --------
    >>> from densegrad import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
    >>> reg = MLPRegressor(random_state=1, max_iter=2000, tol=0.1).fit(X, y)
    >>> reg.predict(X[:2]).shape
    (2,)
    """

    _kind: ClassVar[str] = "MLPRegressor"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        "loss": [StrOptions(set(REGRESSION_LOSSES)), callable],
        "delta": [Interval(Real, 0, None, closed="neither")],
        "quantile": [Interval(Real, 0, 1, closed="neither"), "array-like"],
        "power": [Interval(Real, 1, 2, closed="neither")],
    }

    def __init__(
        self,
        loss: RegressionLossName | Callable[..., Any] = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: HiddenActivationName | Sequence[HiddenActivationName] = "relu",
        *,
        solver: SolverName = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: LearningRateName = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        n_threads: int | None = None,
        delta: float = 1.0,
        quantile: float | list[float] = 0.5,
        power: float = 1.5,
        dropout: float | list[float] = 0.0,
        l1: float = 0.0,
        weight_decay: float | None = None,
        max_norm: float | None = None,
        clip_norm: float | None = None,
        schedule: ScheduleName | AnySchedule | None = None,
        scoring: Any = None,
        restore_best: bool = True,
        max_time: float | None = None,
        callbacks: list[Callable[..., Any]] | None = None,
        progress: bool = False,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.n_threads = n_threads
        self.delta = delta
        self.quantile = quantile
        self.power = power
        self.dropout = dropout
        self.l1 = l1
        self.weight_decay = weight_decay
        self.max_norm = max_norm
        self.clip_norm = clip_norm
        self.schedule = schedule
        self.scoring = scoring
        self.restore_best = restore_best
        self.max_time = max_time
        self.callbacks = callbacks
        self.progress = progress

    @available_if(lambda self: self._check_solver())
    @validated
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on the given rows, from the present state on.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or iterable of batches
            Without y, an iterable of mini-batches, (X, y) or (X, y, sample_weight). Each is trained on once.
            Ctrl-C ends the call with a warning, as in fit.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights in the loss, not negative. None: all ones.

        Returns
        -------
        self : MLPRegressor
        """
        self._partial_fit(X, y, sample_weight)
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return predictions.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        return_std : bool, default=False
            Whether to return the standard deviations as well, which needs loss='gaussian_nll'.

        Returns
        -------
        y : ndarray of shape (n_samples,), or (n_samples, n_targets) for several targets
            Several quantiles have shape (n_samples, n_levels), or (n_samples, n_targets, n_levels).
        std : ndarray of the shape of y
            Only with return_std.
        """
        outputs = self._forward(X)
        loss = self._current_network().spec.loss
        targets = Values(outputs.shape[1] // loss.outputs_per_target)
        if return_std and loss.name != "gaussian_nll":
            raise ValueError(f"return_std=True needs a fit with loss='gaussian_nll'; got loss={loss.name!r}")
        predictions = targets.predictions(outputs, loss)
        return (predictions, targets.deviations(outputs)) if return_std else predictions

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R²; for several quantiles D² of the pinball loss, the mean over the levels.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
            At most 1; 0 for the best constant.
        """
        check_is_fitted(self)
        levels = self._current_network().spec.loss.quantile_levels
        if not levels:
            r2: float = super().score(X, y, sample_weight)
            return r2
        predictions = self.predict(X)
        scores = [
            d2_pinball_score(y, predictions[..., k], sample_weight=sample_weight, alpha=level)
            for k, level in enumerate(levels)
        ]
        return float(np.mean(scores))

    # The base's parts, for regression.

    _kind_of_targets = Values

    def _begin(self, fit: Fit[Values]) -> None:
        super()._begin(fit)
        name = fit.training.network.spec.loss.name
        if self.verbose and fit.record is not None and name != "custom" and name not in POSITIVE_LOSSES:
            _warn_of_scale(fit.target)

    def _default_score(
        self, targets: Values, y: NDArray[Any], sample_weight: NDArray[np.float64] | None, loss: Loss
    ) -> Callable[[NDArray[Any]], float] | None:
        if loss.quantile_levels:
            return None
        if self.early_stopping and y.shape[0] < 2:
            raise ValueError(
                "The validation set is too small: R² needs at least two rows in X_val. Give more, or choose"
                " another scoring."
            )
        r2 = R2(y, sample_weight)
        return lambda outputs: r2(outputs[:, : targets.n_targets])


def _warn_of_scale(target: NDArray[Any]) -> None:
    """Warn of a target that small initial weights are far from, (n_samples, n_targets)."""
    for k in range(target.shape[1]):
        values = target[:, k].astype(np.float64)
        mean, std = float(values.mean()), float(values.std())
        if abs(mean) > _FAR or std > _FAR or 0 < std < 1 / _FAR:
            column = f"column {k} of y" if target.shape[1] > 1 else "y"
            warn(
                f"{column} has mean {mean:.3g} and standard deviation {std:.3g}, far from 0 and 1. It is not"
                " scaled, and the network may learn slowly or not at all. Scale it by a"
                " TransformedTargetRegressor with a StandardScaler, or train a TabularRegressor"
            )
            return
