"""The common base of the two estimators: the manners of scikit-learn's estimators around a training.

In a fit, only this file writes to the estimator. The functions that it calls take values and return values.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing
from time import monotonic
from typing import Any, ClassVar, Generic, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import InvalidParameterError

from densegrad import _core
from densegrad._losses import Loss
from densegrad.estimators.decorators import validated, with_callbacks
from densegrad.estimators.lbfgs import REDUCTION_TOLERANCE, Objective, warn_unless_converged
from densegrad.estimators.parameters import CONSTRAINTS, Recipe, hint
from densegrad.estimators.persistence import RECORD, Persistent, Saved, attributes_of
from densegrad.estimators.preparation import Before, Fit, prepared, refuse_impossible
from densegrad.estimators.sklearn_callbacks import CallbackSupportMixin, FitHooks
from densegrad.estimators.targets import TargetsT
from densegrad.estimators.training import Plan, Training
from densegrad.estimators.warn import warn
from densegrad.samples import Samples
from densegrad.training.checkpoint import Checkpoint
from densegrad.training.history import Epoch
from densegrad.training.loop import advice_on_divergence
from densegrad.training.observers import Observers
from densegrad.training.rates import LearningRateRule
from densegrad.training.sources import batch_parts, checked_batches, is_iterable_of_batches
from densegrad.typing import ActivationName

LONGEST_CURVE = 10_000  # kept by partial_fit, so that a pickle does not grow with the calls


class BaseMLP(CallbackSupportMixin, Persistent, ABC, Generic[TargetsT]):
    """Base of the two estimators, by the kind of their targets."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    _targets: TargetsT | None = None
    n_features_in_: int
    n_outputs_: int
    n_layers_: int
    out_activation_: ActivationName
    n_iter_: int
    t_: int
    loss_: float
    best_loss_: float | None
    loss_curve_: list[float]
    # Of validation rows; None without such.
    validation_scores_: list[float] | None
    validation_loss_curve_: list[float] | None
    best_validation_score_: float | None

    # The parts that depend on the kind of target.

    #: The class of the targets.
    _kind_of_targets: type[TargetsT]

    @abstractmethod
    def _default_score(
        self, targets: TargetsT, y: NDArray[Any], sample_weight: NDArray[np.float64] | None, loss: Loss
    ) -> Callable[[NDArray[Any]], float] | None:
        """Return scikit-learn's score of validation rows; None stands for minus the loss."""

    # The parts that both share.

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _stand_in(self) -> Any:
        """Return an object like this one; others may write to it."""
        other = object.__new__(type(self))
        other.__dict__.update(vars(self))
        return other

    def _nameless(self) -> Any:
        """Return a stand-in for rows that have been checked, and have no names of columns any more."""
        other = self._stand_in()
        other.__dict__.pop("feature_names_in_", None)
        return other

    def _validate_params(self) -> None:
        """Check the parameters as scikit-learn does; an error about a name says which one may be meant."""
        try:
            super()._validate_params()
        except InvalidParameterError as error:
            raise InvalidParameterError(f"{error}{hint(vars(self), str(error))}") from None

    # Training.

    @with_callbacks
    @validated
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1,
        resume: bool = True,
    ) -> Self:
        """Fit the network to X and y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            float32 and float64 data is trained on in its own precision, all other data in float64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or a label indicator matrix; numbers for regression.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights in the loss, not negative. None: all ones.
        X_val, y_val : like X and y, default=None
            Validation data. With ``early_stopping=True`` it replaces the part of X that would be set aside.
            Without early stopping its loss and score are recorded; only the schedules 'plateau' and
            'adaptive' follow them.
        sample_weight_val : array-like of shape (n_val,), default=None
            Sample weights of the validation data. A classifier multiplies them by `class_weight`.
        checkpoint : str or path-like, default=None
            A file of this fit, from which the same call continues after a crash. It is replaced in one step.
            An estimator with the same parameters, the same data and this file ends bit for bit as without
            the break. `load` reads the file, too. Not for solver='lbfgs'.
        checkpoint_every : int, default=1
            Epochs from one writing of the file to the next. It is also written when the fit ends. An epoch
            that `max_time` cuts short is not in it.
        resume : bool, default=True
            Continue from the file if it exists. A fit that has ended returns at once. False begins anew.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If an argument is not as described, or the file of `checkpoint` is damaged or of another training;
            the estimator is unchanged.
            If training diverges or `scoring` returns NaN; the estimator keeps the training so far.
        OSError
            If the file of `checkpoint` cannot be written; the one before stays, and the estimator keeps the
            training so far.
        """
        saver = Checkpoint.of(checkpoint, checkpoint_every, resume)
        validation = (X_val, y_val, sample_weight_val)
        self._fit(X, y, sample_weight, validation, incremental=False, saver=saver)
        return self

    def _check_solver(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
            )
        return True

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Any:
        if y is not None:
            if isinstance(X, Iterator):
                raise ValueError("y must be part of the batches, (X, y), if X is an iterator over such")
            self._fit(X, y, sample_weight, incremental=True, classes=classes)
            return self
        if not is_iterable_of_batches(X):
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
                " Only an iterable of batches, (X, y) or (X, y, sample_weight), comes without."
            )
        if sample_weight is not None:
            raise ValueError("sample_weight must be part of the batches: (X, y, sample_weight)")
        count = 0
        for batch in batch_parts(checked_batches(X, 1)):
            count += 1
            if not self._fit(*batch, incremental=True, classes=classes):
                break
        if not count:
            raise ValueError("X must give at least one batch, (X, y) or (X, y, sample_weight); got none")
        return self

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        validation: tuple[Any, Any, Any] = (None, None, None),
        *,
        incremental: bool,
        classes: Any = None,
        saver: Checkpoint | None = None,
    ) -> bool:
        """Train; False if Ctrl-C has ended it."""
        if self.__dict__.setdefault("_fit_under_way", mine := object()) is not mine:
            raise RuntimeError(
                f"this {type(self).__name__} is being fitted by another call, which a callback or another"
                " thread cannot do at the same time; fit a clone of it"
            )
        try:
            recipe = Recipe.of(vars(self))
            refuse_impossible(recipe, incremental, validation, saver)
            saved = None
            if saver is not None and saver.resumes():
                saved = self._read_checkpoint(saver, recipe.loss.custom)
            before = self._before(goes_on=incremental or self.warm_start, saved=saved)
            fit = prepared(
                before, recipe, X, y, sample_weight, validation, incremental, classes, saver, saved
            )
            self._begin(fit)
            hooks = None if incremental else FitHooks(self, fit.X, fit.y, fit.sample_weight)
            if fit.plan is None:
                completed = self._minimise(recipe, fit, hooks)
            else:
                completed = self._train(recipe, fit.training, fit.plan, hooks, incremental, saver)
            if hooks is not None:
                hooks.fit_ends()
            return completed
        finally:
            del self._fit_under_way

    def _before(self, goes_on: bool, saved: Saved | None) -> Before[TargetsT]:
        """Return what a fit begins with; `goes_on`: it is to continue, if there is a fit or a file."""

        def training() -> Training:
            self._current_network()
            assert self._training is not None
            return self._training

        continues = goes_on and self.__sklearn_is_fitted__()
        return Before(
            stand_in=self._stand_in(),
            kind_of_targets=self._kind_of_targets,
            targets=self._targets if goes_on and saved is None else None,
            continues=continues,
            training=training,
            estimator_of_epoch=self._nameless,
            default_score=self._default_score,
        )

    def _begin(self, fit: Fit[TargetsT]) -> None:
        """Publish the attributes that a fit begins with."""
        for name in ("n_features_in_", "feature_names_in_"):
            if name in vars(fit.columns):
                setattr(self, name, vars(fit.columns)[name])
            else:
                self.__dict__.pop(name, None)
        if fit.record is not None:
            for name in ("_weights", *RECORD):
                self.__dict__.pop(name, None)
        self.n_iter_ = 0
        self.__dict__.update(attributes_of(fit.training, fit.targets), **(fit.record or {}))

    def _publish(self, epoch: Epoch, message: str) -> None:
        """Publish the results of an epoch, and print them if asked to."""
        training = self._training
        assert training is not None
        self.n_iter_ = epoch.number + 1
        self.loss_ = epoch.loss
        self.t_ = training.n_rows_seen
        self.loss_curve_.append(epoch.loss)
        best = training.best
        if self.best_loss_ is not None:
            self.best_loss_ = best.loss
        if epoch.score is not None:
            assert self.validation_scores_ is not None
            assert self.validation_loss_curve_ is not None
            assert epoch.validation_loss is not None
            self.validation_scores_.append(epoch.score)
            self.validation_loss_curve_.append(epoch.validation_loss)
            self.best_validation_score_ = best.score
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {epoch.loss:.8f}")
            if epoch.score is not None:
                print(f"Validation score: {epoch.score:f}")
            if message:
                print(message)

    def _train(
        self,
        recipe: Recipe,
        training: Training,
        plan: Plan,
        hooks: FitHooks | None,
        incremental: bool,
        saver: Checkpoint | None,
    ) -> bool:
        """Train epoch after epoch; False if Ctrl-C has ended it."""
        self._begin_record(recipe, plan.validation is not None)
        limit, so_far = 1 if incremental else recipe.max_iter, plan.so_far
        epochs = training.epochs(recipe, plan, incremental=incremental)
        watched = () if incremental else recipe.callbacks
        stopped, completed, unsaved = so_far.stopped if so_far.ended else "", True, False
        title = type(self).__name__
        with (
            Observers(watched, limit, recipe.progress and not incremental, title, so_far.epochs) as observers,
            closing(epochs),
        ):
            try:
                if hooks is not None:
                    hooks.epoch_begins()
                for epoch, message in epochs:
                    self._publish(epoch, message)
                    stopped = epoch.stopped
                    if stopped == "diverged":
                        break
                    ended = _seen_by_all(epoch, hooks, observers, limit)
                    if ended:
                        stopped = stopped or "callback"
                    unsaved = epoch.stopped != "max_time"  # it may have cut the epoch short
                    if saver is not None and unsaved and saver.due(epoch.number + 1):
                        self._write_checkpoint(saver, training, so_far, stopped)
                        unsaved = False
                    if ended:
                        break
                if saver is not None and unsaved:
                    self._write_checkpoint(saver, training, so_far, stopped)
            except KeyboardInterrupt:
                warn("Training interrupted by user.")
                completed = False
        if incremental:
            del self.loss_curve_[:-LONGEST_CURVE]
        restores = plan.validation is not None and recipe.early_stopping and recipe.restore_best
        if not _core.has_finite_weights(training.network) or (stopped == "diverged" and not restores):
            advice = advice_on_divergence("learning_rate_init", recipe.loss.custom is not None)
            raise ValueError(f"Solver produced non-finite parameter weights. {advice}")
        self._tell_how_it_ended(stopped, limit, cut_off=incremental or not completed)
        return completed

    def _begin_record(self, recipe: Recipe, validated: bool) -> None:
        if "loss_curve_" not in vars(self):
            self.loss_curve_ = []
            self.validation_scores_ = self.validation_loss_curve_ = self.best_validation_score_ = None
        assert self._training is not None
        if not recipe.early_stopping:
            self.best_loss_ = self._training.best.loss
        elif "best_loss_" not in vars(self):
            self.best_loss_ = None
        if validated and self.validation_scores_ is None:
            self.validation_scores_, self.validation_loss_curve_ = [], []
            self.best_validation_score_ = -math.inf

    def _tell_how_it_ended(self, stopped: str, limit: int, *, cut_off: bool) -> None:
        """Warn or print; `cut_off`: something else than the limits may have ended it without a reason."""
        if stopped == "diverged":
            warn(
                f"Training diverged in epoch {self.n_iter_} and stopped; the best weights before it were"
                " restored.",
                ConvergenceWarning,
            )
        elif not stopped and not cut_off and self.n_iter_ == limit:
            warn(
                f"Stochastic Optimizer: Maximum iterations ({limit}) reached and the optimization hasn't"
                " converged yet.",
                ConvergenceWarning,
            )
        elif self.verbose and (stopped == "max_time" or (not stopped and not cut_off)):
            print(f"Training took max_time={self.max_time} seconds. Stopping.")

    def _minimise(self, recipe: Recipe, fit: Fit[TargetsT], hooks: FitHooks | None) -> bool:
        """Minimise the loss by L-BFGS; False if Ctrl-C has ended it."""
        network = fit.training.network
        lbfgs = fit.training.minimiser()
        # Its memory is as large as twenty networks.
        fit.training.lbfgs = lbfgs if self.warm_start else None
        shown = bool(recipe.callbacks) or recipe.progress or (hooks is not None and hooks.active)
        completed = True

        def see(epoch: Epoch) -> bool:
            self.n_iter_, self.loss_ = epoch.number + 1, epoch.loss
            network.parameters = lbfgs.network.parameters
            return _seen_by_all(epoch, hooks, observers, recipe.max_iter)

        with Observers(recipe.callbacks, recipe.max_iter, recipe.progress, type(self).__name__) as observers:
            try:
                if hooks is not None:
                    hooks.epoch_begins()
                lbfgs.minimise(
                    Samples(lbfgs.network.spec, fit.X, fit.target, fit.sample_weight),
                    l2=recipe.regularisation.l2,
                    max_iter=recipe.max_iter,
                    max_fun=recipe.max_fun,
                    gradient_tolerance=recipe.tol,
                    reduction_tolerance=REDUCTION_TOLERANCE,
                    n_threads=recipe.n_threads,
                    deadline=monotonic() + recipe.max_time,
                    see=see if shown else None,
                )
            except KeyboardInterrupt:
                warn("Training interrupted by user.")
                completed = False
            finally:
                # Also after an error: these belong together.
                self.loss_, self.n_iter_ = lbfgs.loss, lbfgs.iterations
                network.parameters = lbfgs.network.parameters
        if completed:
            warn_unless_converged(lbfgs.end, self.n_iter_, recipe.max_iter)
        return completed

    # Names that scikit-learn's own tests of its estimators read and assign.

    @property
    def _optimizer(self) -> LearningRateRule | None:
        return None if self._training is None else self._training.rule

    @property
    def _no_improvement_count(self) -> int:
        return 0 if self._training is None else self._training.best.no_improvement_count

    @_no_improvement_count.setter
    def _no_improvement_count(self, count: int) -> None:
        if self._training is not None:
            self._training.best.no_improvement_count = count

    def _loss_grad_lbfgs(
        self, packed: NDArray[Any], X: Any, y: NDArray[Any], sample_weight: Any, *_: Any
    ) -> tuple[float, NDArray[np.float64]]:
        """Return loss and gradient at `packed`: the weights of all layers, then the biases of all layers.

        Takes and ignores the scratch arrays that scikit-learn's method of this name is called with.
        """
        objective = Objective(self.network_, X, y, sample_weight, self.alpha, self.n_threads)
        return objective(np.asarray(packed, np.float64))


def _seen_by_all(epoch: Epoch, hooks: FitHooks | None, observers: Observers, limit: int) -> bool:
    """Show an epoch to scikit-learn's callbacks and the user's; True if one of them ends the fit."""
    stops = hooks is not None and hooks.epoch_ends()
    stops = observers.see(epoch) or stops
    if hooks is not None and not stops and not epoch.stopped and epoch.number + 1 < limit:
        hooks.epoch_begins()
    return stops
