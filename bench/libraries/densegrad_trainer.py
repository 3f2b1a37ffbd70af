"""densegrad itself, through its public interface."""

from __future__ import annotations

from typing import Any

import densegrad
from densegrad import Adam, Dense, Network, Trainer
from libraries.base import Library
from workloads import BETA_1, BETA_2, EPSILON, LEARNING_RATE, Matrix, Problem


class DensegradLibrary(Library):
    """densegrad as a peer; with `auto` it chooses the number of threads itself."""

    reads_sparse = True

    def __init__(self, threads: int, dtype: str, auto: bool = False) -> None:
        super().__init__(threads, dtype)
        self.n_threads = None if auto else threads

    def versions(self) -> dict[str, str]:
        return {"densegrad": densegrad.__version__}

    def load(self, problem: Problem) -> None:
        self.problem = problem
        # Seeds the shuffling, so that every repeat shuffles differently.
        self.resets = 0
        layers = [Dense(n, "relu") for n in problem.sizes[1:-1]] + [Dense(problem.sizes[-1], "softmax")]
        self.network = Network(problem.sizes[0], layers, loss="log_loss", dtype=self.dtype, random_state=0)

    def reset(self) -> None:
        for l, W in enumerate(self.problem.weights, start=1):
            self.network.weights[l] = W
        optimizer = Adam(LEARNING_RATE, BETA_1, BETA_2, EPSILON)
        self.trainer = Trainer(
            self.network,
            optimizer,
            batch_size=self.problem.batch,
            random_state=self.resets,
            n_threads=self.n_threads,
        )
        self.resets += 1

    def train(self, epochs: int) -> None:
        self.history = self.trainer.fit(self.problem.X, self.problem.y, epochs=epochs)

    def predict(self, X: Any) -> Matrix:
        return self.network.predict(X)
