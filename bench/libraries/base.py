"""The interface of a measured library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from workloads import Matrix, Problem


class Library(ABC):
    """One library, set to a number of threads and a floating-point type.

    The order of calls is ``load``, then any number of ``reset`` + ``train``, with ``predict`` at any time.
    Only ``train`` and ``predict`` are timed.
    """

    trains = True
    reads_sparse = False

    def __init__(self, threads: int, dtype: str) -> None:
        self.threads = threads
        self.dtype = dtype

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Versions of what does the work."""

    @abstractmethod
    def load(self, problem: Problem) -> None:
        """Take the data and the initial weights."""

    @abstractmethod
    def reset(self) -> None:
        """Go back to the initial weights and an empty optimizer state."""

    @abstractmethod
    def train(self, epochs: int) -> None:
        """Run that many epochs of shuffled mini-batches and keep each epoch's training loss."""

    @abstractmethod
    def predict(self, X: Any) -> Matrix:
        """Class probabilities, (rows, classes), as a NumPy array."""
