"""One member of the ensemble: a network with the weights of its best epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import Adam, Network, Trainer
from densegrad.tabular.recipe import Recipe


@dataclass(frozen=True)
class Rows:
    """Rows to train on or to judge by."""

    X: NDArray[np.float32]
    target: NDArray[Any]
    weight: NDArray[np.float64] | None


@dataclass(frozen=True)
class Member:
    """A trained network."""

    network: Network
    #: The validation error after each epoch.
    curve: list[float]
    best_epoch: int
    #: (n_rows, n_outputs) of the rows that it was judged by, before the head's activation.
    outputs: NDArray[np.float32]


#: From outputs before the head's activation to an error; less is better.
Judge = Callable[[NDArray[np.float32]], float]
#: From the errors after each epoch so far to whether the training goes on.
GoesOn = Callable[[list[float]], bool]


def trained(
    recipe: Recipe,
    samples: Rows,
    rows: NDArray[np.int64],
    judged: NDArray[np.float32],
    error_of: Judge,
    seed: int,
    goes_on: GoesOn,
    n_threads: int = 1,
) -> Member:
    """Train on the rows `rows` of `samples`; keep the epoch of the lowest error, the last of equal ones.

    Parameters
    ----------
    recipe : Recipe
    samples : Rows
        Inputs times `recipe.input_scale`.
    rows : ndarray of shape (n_training_rows,)
    judged : ndarray of shape (n_judged_rows, n_inputs)
    error_of : callable
        From the outputs of the judged rows to their error.
    seed : int
    goes_on : callable
        Called after each epoch with the errors so far; False ends the training.
    n_threads : int, default 1
    """
    random = np.random.RandomState(seed)
    batch = min(recipe.batch_size, len(rows))
    n_steps = max(1, int(recipe.part * (len(rows) // batch)))
    factor = recipe.factor(0)
    network = Network.from_spec(recipe.spec(factor), recipe.initial(random))
    trainer = _trainer(recipe, network, factor, batch, random, n_threads)
    data = network.samples(samples.X, samples.target, samples.weight)
    curve: list[float] = []
    best, best_parameters, best_outputs = math.inf, network.parameters, None
    best_epoch = 0
    for epoch in range(recipe.epochs):
        if recipe.factor(epoch) != factor:
            factor = recipe.factor(epoch)
            state = trainer.state_dict()
            network = Network.from_spec(recipe.spec(factor), network.parameters)
            trainer = _trainer(recipe, network, factor, batch, random, n_threads)
            trainer.load_state_dict(state)
            data = network.samples(samples.X, samples.target, samples.weight)
        order = rows[random.permutation(len(rows))[: n_steps * batch]]
        rates = recipe.rates(epoch * n_steps, n_steps, recipe.epochs * n_steps)
        trainer.epoch(data, order=order, learning_rate=rates)
        outputs = network.predict(judged, n_threads)
        error = error_of(outputs)
        curve.append(error)
        if error <= best:
            best, best_epoch, best_parameters, best_outputs = error, epoch, network.parameters, outputs
        if not goes_on(curve):
            break
    if best_outputs is None:
        raise ValueError(
            "Training diverged: no epoch gave finite predictions. Look for huge values in X and y"
        )
    return Member(Network.from_spec(recipe.spec(0.0), best_parameters), curve, best_epoch, best_outputs)


def _trainer(
    recipe: Recipe,
    network: Network,
    factor: float,
    batch: int,
    random: np.random.RandomState,
    n_threads: int,
) -> Trainer:
    return Trainer(
        network,
        Adam(recipe.learning_rate, beta_1=0.9, beta_2=0.95),
        batch_size=batch,
        weight_decay=recipe.weight_decay * factor,
        random_state=int(random.randint(2**31 - 1)),
        n_threads=n_threads,
    )
