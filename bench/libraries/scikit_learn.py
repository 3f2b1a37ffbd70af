"""scikit-learn's MLPClassifier, with its L2 penalty and early stopping switched off.

Two classes get one logistic output there instead of two softmax outputs: the same function, less work.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from libraries.base import Library
from workloads import LEARNING_RATE, Matrix, Problem


class SklearnLibrary(Library):
    """scikit-learn as a peer."""

    reads_sparse = True

    def __init__(self, threads: int, dtype: str) -> None:
        super().__init__(threads, dtype)
        threadpool_limits(threads)
        warnings.simplefilter("ignore", ConvergenceWarning)

    def versions(self) -> dict[str, str]:
        return {"scikit-learn": sklearn.__version__}

    def load(self, problem: Problem) -> None:
        self.problem = problem
        self.two_classes = problem.sizes[-1] == 2
        self.classifier = MLPClassifier(
            problem.sizes[1:-1],
            alpha=0.0,
            batch_size=min(problem.batch, len(problem.y)),
            learning_rate_init=LEARNING_RATE,
            max_iter=1,
            tol=0.0,
            n_iter_no_change=np.inf,
            warm_start=True,
            # An instance, not a number: every fit then shuffles differently.
            random_state=np.random.RandomState(0),
        )
        # A short fit gives the attributes that `reset` overwrites; a warm start then keeps them.
        few = max(problem.batch, 50 * problem.sizes[-1])
        self.classifier.fit(problem.X[:few], problem.y[:few])
        if not np.array_equal(self.classifier.classes_, np.arange(problem.sizes[-1])):
            raise RuntimeError("the first rows do not hold every class")
        self.reset()

    def reset(self) -> None:
        for l, W in enumerate(self.problem.weights):
            if self.two_classes and l == len(self.problem.weights) - 1:
                W = W[:, 1:] - W[:, :1]
            self.classifier.coefs_[l][...] = W[:-1]
            self.classifier.intercepts_[l][...] = W[-1]

    def train(self, epochs: int) -> None:
        self.classifier.max_iter = epochs
        self.classifier.fit(self.problem.X, self.problem.y)

    def predict(self, X: Any) -> Matrix:
        return self.classifier.predict_proba(X)
