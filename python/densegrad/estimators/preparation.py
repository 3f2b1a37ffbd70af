"""What an estimator's fit has to do, found out before the estimator is touched."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from densegrad._losses import Loss
from densegrad.estimators.parameters import Recipe
from densegrad.estimators.persistence import Saved
from densegrad.estimators.rows import read_rows
from densegrad.estimators.targets import Targets, TargetsT, same_targets
from densegrad.estimators.training import Plan, Training, rows_of_batch
from densegrad.estimators.validation import Score, Validation, by_scorer
from densegrad.samples import Samples
from densegrad.spec import NetworkSpec
from densegrad.training.checkpoint import Checkpoint, Progress
from densegrad.training.observers import StepObservers


@dataclass(frozen=True)
class Before(Generic[TargetsT]):
    """What an estimator is before a fit."""

    #: An object like the estimator. It gets the number and the names of the columns.
    stand_in: Any
    kind_of_targets: type[TargetsT]
    #: What y must agree with; None: nothing yet.
    targets: TargetsT | None
    #: Whether the fit continues an earlier one.
    continues: bool
    #: Returns the earlier training, with weights that have been assigned since.
    training: Callable[[], Training]
    #: Returns the estimator as it is after an epoch, for scorers. It takes rows without names.
    estimator_of_epoch: Callable[[], Any]
    #: Returns scikit-learn's score of validation rows; None stands for minus the loss.
    default_score: Callable[
        [TargetsT, NDArray[Any], NDArray[np.float64] | None, Loss], Callable[[NDArray[Any]], float] | None
    ]

    def read(
        self, X: Any, y: Any, sample_weight: Any, *, reset: bool
    ) -> tuple[Any, NDArray[Any], NDArray[np.float64] | None]:
        """Check rows; the stand-in gets the number and the names of the columns."""
        name, numbers = type(self.stand_in).__name__, self.kind_of_targets.is_numeric
        return read_rows(self.stand_in, name, X, y, sample_weight, numbers=numbers, reset=reset)

    def score(self, targets: TargetsT, recipe: Recipe, X: Any, y: NDArray[Any], weight: Any) -> Score | None:
        """Return the score of validation rows that the recipe asks for; None stands for minus the loss."""
        if recipe.scoring == "loss":
            return None
        if recipe.scoring is None:
            score = self.default_score(targets, y, weight, recipe.loss)
            if score is None:
                return None
            return lambda network, _: score(network.predict(X, recipe.n_threads))
        return by_scorer(self.estimator_of_epoch, recipe.scoring, X, y, weight)


@dataclass(frozen=True)
class Fit(Generic[TargetsT]):
    """What a fit has to do, before the estimator is touched."""

    training: Training
    targets: TargetsT
    #: Has the number and the names of the columns.
    columns: Any
    X: Any
    y: NDArray[Any]
    #: The network's target for y.
    target: NDArray[Any]
    sample_weight: NDArray[np.float64] | None
    #: The fitted attributes that the fit begins with; None if it goes on with the estimator's.
    record: dict[str, Any] | None = field(default_factory=dict)
    #: None for L-BFGS.
    plan: Plan | None = None


def prepared(
    before: Before[TargetsT],
    recipe: Recipe,
    X: Any,
    y: Any,
    sample_weight: Any,
    validation: tuple[Any, Any, Any],
    incremental: bool,
    classes: Any,
    saver: Checkpoint | None,
    saved: Saved | None,
) -> Fit[TargetsT]:
    """Return all that a fit needs; the estimator is not changed.

    `saved` is the contents of the file of `saver`, from which the fit goes on.
    """
    reset = not before.continues or "n_features_in_" not in vars(before.stand_in)
    X, y, weight = before.read(X, y, sample_weight, reset=reset)

    targets = before.kind_of_targets.learnt(y, before.targets, classes, incremental)
    weight = targets.row_weights(y, weight, recipe.class_weight, None if incremental else y)
    target = targets.target(y, recipe.loss)
    layers = *recipe.hidden, targets.head(recipe.loss)

    earlier = before.training() if before.continues and saved is None else None
    dtype = X.dtype if earlier is None else earlier.network.dtype
    spec = NetworkSpec(X.shape[1], layers, recipe.loss, dtype)
    samples = Samples(spec, X, target, weight)
    if X.dtype != dtype:
        samples.check_finite()  # in the dtype of a model that goes on
    judged = None
    if any(part is not None for part in validation):
        judged = _given_validation(before, targets, recipe, spec, y, *validation)

    if saver is not None and saved is not None:
        training = _resumed(saver, saved, recipe, spec, targets)
    elif earlier is not None:
        training = earlier.continued(recipe, spec)
    else:
        training = Training.begun(recipe, spec)
    fit = Fit(training, targets, before.stand_in, X, y, target, weight)
    if saved is not None:
        fit = replace(fit, record=saved.record)
    elif earlier is not None:
        fit = replace(fit, record=None)
    if recipe.optimizer is None:
        return fit

    rows = None
    # A partial_fit is refused before it draws.
    with nullcontext() if incremental else training.undrawn_if_refused():
        training.set_optimizer(recipe)
        if judged is None and recipe.early_stopping:
            rows, judged = _set_aside(before, training, targets, recipe, X, y, samples, target)
        n_rows = samples.n_rows if rows is None else len(rows)
        training.set_rates(recipe)
        training.set_order(recipe, n_rows, rows)

    batch_size = rows_of_batch(recipe.batch_size, n_rows)
    checksum = None if saver is None else zlib.crc32(np.ascontiguousarray(target).data)
    so_far = Progress(0, training.steps, math.ceil(n_rows / batch_size), "", checksum)
    if saver is not None and saved is not None:
        assert saved.progress is not None
        saved.progress.check(saver, so_far, recipe.max_iter, "max_iter")
        so_far = saved.progress
    return replace(fit, plan=Plan(samples, rows, batch_size, judged, so_far))


def _resumed(
    saver: Checkpoint, saved: Saved, recipe: Recipe, spec: NetworkSpec, targets: Targets
) -> Training:
    """Return the training of a checkpoint, to go on with."""
    training = saved.training
    assert training is not None
    if training.network.spec != spec:
        raise saver.refuse("its network is not that of these parameters, X and y")
    if not same_targets(targets, saved.targets):
        raise saver.refuse("y has other labels")
    training.random_from = recipe.random_state  # one that was drawn from stands in the file
    return training.continued(recipe, spec)


def _given_validation(
    before: Before[TargetsT],
    targets: TargetsT,
    recipe: Recipe,
    spec: NetworkSpec,
    training_y: NDArray[Any],
    X: Any,
    y: Any,
    sample_weight: Any,
) -> Validation:
    if X is None or y is None:
        raise ValueError("X_val and y_val must be given together")
    try:
        X, y, weight = before.read(X, y, sample_weight, reset=False)
        targets.check_validation(y)
        weight = targets.row_weights(y, weight, recipe.class_weight, training_y)
        samples = Samples(spec, X, targets.target(y, recipe.loss), weight)
    except (TypeError, ValueError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"in the validation data X_val, y_val, sample_weight_val: {error}") from error
    return Validation(samples, before.score(targets, recipe, X, y, weight))


def _set_aside(
    before: Before[TargetsT],
    training: Training,
    targets: TargetsT,
    recipe: Recipe,
    X: Any,
    y: NDArray[Any],
    samples: Samples,
    target: NDArray[Any],
) -> tuple[NDArray[np.int64], Validation]:
    """Split X as scikit-learn does, without copying the rows that are trained on."""
    stratify = None
    if is_classifier(before.stand_in) and samples.spec.head.units == 1:
        stratify = target.astype(bool)
    rows, aside = training.split_rows(samples.n_rows, recipe.validation_fraction, stratify)
    weight = samples.sample_weight
    if weight is not None:
        for part, purpose in ((rows, "is left to train on"), (aside, "is set aside to validate on")):
            if not weight[part].any():
                raise ValueError(
                    f"sample_weight is zero for every row that {purpose} by early_stopping=True: change"
                    " validation_fraction or random_state, or give X_val and y_val"
                )
        weight = weight[aside]
    X, y = X[aside], y[aside]
    judged = Samples(samples.spec, X, target[aside], weight)
    return rows, Validation(judged, before.score(targets, recipe, X, y, weight))


def refuse_impossible(
    recipe: Recipe, incremental: bool, validation: tuple[Any, Any, Any], saver: Checkpoint | None
) -> None:
    """Raise ValueError if the solver cannot do what the call asks for."""
    observers = StepObservers(recipe.callbacks)
    if incremental and recipe.early_stopping:
        raise ValueError("partial_fit does not support early_stopping=True")
    if recipe.optimizer is None and any(part is not None for part in validation):
        raise ValueError("X_val and y_val need a stochastic solver; got solver='lbfgs'")
    if recipe.optimizer is None and saver is not None:
        raise ValueError("checkpoint needs a stochastic solver; got solver='lbfgs'")
    if recipe.optimizer is None and observers:
        raise ValueError(
            "callbacks with every_steps need a stochastic solver; got solver='lbfgs', whose iterations are"
            " what callbacks see as epochs"
        )
