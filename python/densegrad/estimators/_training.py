"""The epochs of a fit: one call into the core for each, and the rules that end them."""

from __future__ import annotations

import math
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from densegrad._arrays import all_finite
from densegrad._epochs import divergence
from densegrad.estimators._order import RowOrder
from densegrad.estimators._schedules import LearningRate, StepRates
from densegrad.estimators._watcher import watcher

if TYPE_CHECKING:
    from densegrad.estimators._callbacks import FitHooks
    from densegrad.estimators._preparation import TrainingData, Validation

LONGEST_CURVE = 10_000  # kept by partial_fit, so that a pickle does not grow with the calls


def fit_epochs(
    estimator: Any,
    data: TrainingData,
    validation: Validation | None,
    hooks: FitHooks | None,
    *,
    incremental: bool,
) -> bool:
    """Train `estimator` for up to max_iter epochs, or for one where `incremental`; False after Ctrl-C."""
    run = _Epochs(estimator, data, validation, incremental)
    completed = False
    try:
        run.train(hooks)
        completed = True
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=5)
    finally:
        run.finish()
    if not all_finite(estimator._network.parameters):
        raise divergence(estimator._network, "learning_rate_init")
    return completed


class _Epochs:
    """One fit. The estimator holds all that must outlive it."""

    def __init__(
        self, estimator: Any, data: TrainingData, validation: Validation | None, incremental: bool
    ) -> None:
        self.estimator = estimator
        self.data = data
        self.validation = validation
        self.incremental = incremental
        self.judged = validation is not None and estimator.early_stopping
        self.trainer = estimator._trainer
        self.network = self.trainer.network
        self.rate: LearningRate = estimator._optimizer
        self.diverged = False
        self._go_on_from_the_last()
        self.best: NDArray[Any] | None = None
        if self.judged and estimator.restore_best:
            self.best = estimator.__dict__.pop("_best_parameters", None)
            if self.best is None:
                self.best = self.network.parameters
        self.order: RowOrder | None = estimator._row_order

    def _go_on_from_the_last(self) -> None:
        """Take back the last weights of early stopping, unless others than the best ones are there now."""
        last = self.estimator.__dict__.pop("_last_parameters", None)
        if last is None:
            return
        if np.array_equal(self.network.parameters, self.estimator._best_parameters):
            self.network.parameters = last
            self.estimator._hide_weights()
        else:
            del self.estimator._best_parameters

    def train(self, hooks: FitHooks | None) -> None:
        estimator, data = self.estimator, self.data
        epoch = self.trainer.epoch
        samples, n_rows, curve = data.samples, data.n_rows, estimator.loss_curve_
        last = 1 if self.incremental else estimator.max_iter
        rates = self._step_rates(n_rows)
        start = time.monotonic()
        deadline = math.inf if estimator.max_time is None else start + estimator.max_time
        watched = None if self.incremental else watcher(estimator)
        state = estimator.__dict__
        rate: Any
        estimator.n_iter_ = 0
        try:
            for n_iter in range(1, last + 1):
                if hooks is not None:
                    hooks.epoch_begins()
                rate = self.rate.learning_rate if rates is None else rates.of_epoch(n_iter - 1)
                order = data.rows if self.order is None else self.order.shuffled()
                began = time.monotonic()
                loss = epoch(samples, order=order, learning_rate=rate)
                seconds = time.monotonic() - began
                if "_known" in state:
                    estimator._hide_weights()
                estimator.n_iter_ = n_iter
                estimator.loss_ = loss
                estimator.t_ += n_rows
                curve.append(loss)
                if estimator.verbose:
                    print(f"Iteration {n_iter}, loss = {loss:.8f}")
                if self.validation is not None:
                    self._validate(self.validation, loss)
                ends = self._judge(loss)
                if not math.isfinite(loss):
                    self._stop_diverged()
                    break
                if rates is not None and rates.epoch_ends(self._monitored(loss)):
                    ends = True
                # All of them see the epoch, also where it is the last one.
                if hooks is not None and hooks.epoch_ends():
                    ends = True
                if watched is not None and watched.stops(n_iter - 1, loss, seconds, rate):
                    ends = True
                if ends:
                    break
                if time.monotonic() >= deadline:
                    if estimator.verbose:
                        print(f"Training took max_time={estimator.max_time} seconds. Stopping.")
                    break
                if n_iter == estimator.max_iter and not self.incremental:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({n_iter}) reached and the optimization"
                        " hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=7,
                    )
        finally:
            if watched is not None:
                watched.close()

    def _step_rates(self, n_rows: int) -> StepRates | None:
        estimator, trainer = self.estimator, self.trainer
        if estimator.schedule is None:
            return None
        n_steps = math.ceil(n_rows / int(trainer.batch_size))
        # partial_fit does not know how long training will last: max_iter epochs like this one.
        first = 0 if self.incremental else trainer.steps
        return StepRates(
            estimator.schedule,
            estimator.learning_rate_init,
            estimator._schedule_memory,
            step=trainer.steps,
            epoch=trainer.epochs,
            first=first,
            last=first + n_steps * estimator.max_iter,
            n_steps=n_steps,
        )

    def _monitored(self, loss: float) -> float:
        """Return what schedules are shown: minus the score of the validation rows, or the training loss."""
        if self.validation is None:
            return loss
        return -float(self.estimator.validation_scores_[-1])

    def _validate(self, validation: Validation, training_loss: float) -> None:
        estimator = self.estimator
        loss = self.network.evaluate(validation.samples, n_threads=estimator.n_threads)
        score = math.nan  # of a network that diverges, whose predictions are not fit for a scorer
        if math.isfinite(training_loss):
            if validation.score is None:
                score = -loss
            elif math.isfinite(loss) and all_finite(self.network.parameters):
                score = validation.score()
        estimator.validation_loss_curve_.append(loss)
        estimator.validation_scores_.append(score)
        if estimator.verbose:
            print(f"Validation score: {score:f}")
        self.enough = not score < estimator.best_validation_score_ + estimator.tol
        if score > estimator.best_validation_score_:
            estimator.best_validation_score_ = score
            if self.best is not None:
                self.best = self.network.parameters

    def _judge(self, loss: float) -> bool:
        """Count the epochs without improvement; True where there have been too many."""
        estimator = self.estimator
        if self.judged:
            enough = self.enough
        else:
            enough = not loss > estimator.best_loss_ - estimator.tol
            if loss < estimator.best_loss_:
                estimator.best_loss_ = loss
        estimator._no_improvement_count = 0 if enough else estimator._no_improvement_count + 1
        self.rate.epoch_ends(estimator.t_)
        if estimator._no_improvement_count <= estimator.n_iter_no_change:
            return False
        what = (
            "Validation score did not improve more than"
            if self.judged
            else "Training loss did not improve more than"
        )
        message = f"{what} tol={estimator.tol:f} for {estimator.n_iter_no_change} consecutive epochs."
        if self.rate.no_improvement(message, bool(estimator.verbose)):
            return True
        estimator._no_improvement_count = 0
        return False

    def _stop_diverged(self) -> None:
        self.diverged = True
        if self.best is None:
            raise divergence(self.network, "learning_rate_init")
        warnings.warn(
            f"Training diverged in epoch {self.estimator.n_iter_} and stopped; the best weights before it"
            " were restored.",
            ConvergenceWarning,
            stacklevel=8,
        )

    def finish(self) -> None:
        """Leave the weights that the fit ends with, and what a continued training needs."""
        estimator = self.estimator
        if self.incremental:
            del estimator.loss_curve_[:-LONGEST_CURVE]
        if self.order is not None:
            self.order.pause()
        if self.best is not None:
            last, self.network.parameters = self.network.parameters, self.best
            estimator._best_parameters = self.best
            if self.diverged or not all_finite(last):
                del estimator._trainer  # the optimizer's state is of no more use than the last weights
            else:
                estimator._last_parameters = last
            estimator._hide_weights()
