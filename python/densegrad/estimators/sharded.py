"""An estimator's recipe for a `Trainer` with shards: where it begins, and how it is fitted."""

from __future__ import annotations

import math
from typing import Any

from densegrad._optimizers import LBFGS, AnyOptimizer
from densegrad.estimators.parameters import Recipe
from densegrad.estimators.training import Training
from densegrad.spec import NetworkSpec
from densegrad.training.trainer import Trainer


def trainer_of(recipe: Recipe, spec: NetworkSpec, shards: int, average_every: int | None = None) -> Trainer:
    """Return a trainer of a new network, with the initial weights and the settings of an estimator.

    Parameters
    ----------
    recipe : Recipe
        Of L-BFGS, or of a stochastic solver with a constant learning rate; `schedule` may change it.
    spec : NetworkSpec
    shards : int
    average_every : int or None
        As for `Trainer`.
    """
    limits = recipe.regularisation
    optimizer: AnyOptimizer | None = recipe.optimizer
    batch_size = recipe.batch_size
    if optimizer is None:
        optimizer, batch_size = LBFGS(recipe.tol), "auto"
    return Trainer(
        Training.begun(recipe, spec).network,
        optimizer,
        batch_size=batch_size,
        shuffle=recipe.shuffle,
        random_state=recipe.random_state,
        n_threads=recipe.n_threads,
        l2=limits.l2,
        l1=limits.l1,
        weight_decay=limits.weight_decay,
        max_norm=limits.max_norm or None,
        clip_norm=limits.clip_norm or None,
        schedule=recipe.schedule,
        shards=shards,
        average_every=average_every,
    )


def fit_arguments(recipe: Recipe) -> dict[str, Any]:
    """Return the arguments of `Trainer.fit` that a recipe asks for, without rows."""
    by_patience = recipe.optimizer is not None and not math.isinf(recipe.n_iter_no_change)
    # scikit-learn ends after more epochs without improvement than it is told, `Trainer` after as many.
    patience = int(recipe.n_iter_no_change) + 1 if by_patience else None
    return {
        "epochs": recipe.max_iter,
        "patience": patience,
        "tol": recipe.tol,
        "restore_best": recipe.early_stopping and recipe.restore_best,
        "max_time": None if math.isinf(recipe.max_time) else recipe.max_time,
        "callbacks": recipe.callbacks,
        "progress": recipe.progress,
    }
