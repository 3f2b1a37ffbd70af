"""The order in which an epoch visits the rows."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import _core, _validation
from densegrad._validation import RandomSource


class FreshOrder:
    """A random order for each epoch that does not depend on the one before.

    Parameters
    ----------
    random : RandomState or Generator
        One shuffle an epoch is drawn from it.
    """

    def __init__(self, random: RandomSource) -> None:
        self._random = random
        self._ascending = np.arange(0, dtype=np.int64)

    def of_epoch(self, n_rows: int) -> NDArray[np.int64]:
        """Return the row numbers of the next epoch, int64 of shape (n_rows,)."""
        if len(self._ascending) != n_rows:
            self._ascending = np.arange(n_rows, dtype=np.int64)
        order = self._ascending.copy()
        _core.shuffle(order, self._random)
        return order


def generator_in(state: dict[str, Any]) -> np.random.RandomState:
    """Return a generator of its own in a state that `get_state` gave."""
    random = np.random.RandomState()
    random.set_state(state)
    return random


def _fingerprint(random: np.random.RandomState) -> tuple[int, int]:
    state: Any = random.get_state(legacy=False)
    return zlib.crc32(state["state"]["key"]), int(state["state"]["pos"])


class CumulativeOrder:
    """scikit-learn's order: each epoch shuffles the order of the epoch before it.

    So a continued training needs the order. It is as long as the training set. Pickles and
    files therefore hold the generator's first state and the number of shuffles; the order is drawn again when
    needed.

    Parameters
    ----------
    random : numpy.random.RandomState
        Shared with the estimator; one shuffle an epoch is drawn from it.
    n_rows : int
        Number of rows that an epoch visits.
    rows : ndarray of int64, shape (n_rows,), or None
        The rows themselves if they are a part of X. None stands for 0 … n_rows - 1.
    shared : bool
        Whether somebody else may draw from `random`, too.
    """

    def __init__(
        self,
        random: np.random.RandomState,
        n_rows: int,
        rows: NDArray[np.int64] | None = None,
        *,
        shared: bool = True,
    ) -> None:
        self.n_rows = n_rows
        self._random = random
        self._shared = shared
        self._start: dict[str, Any] = random.get_state(legacy=False)
        self._end: tuple[int, int] | None = None  # the generator's state after a fit; None during one
        self._n_shuffles = 0
        self._order: NDArray[np.int64] | None = np.arange(n_rows) if rows is None else rows

    def of_epoch(self, n_rows: int) -> NDArray[np.int64]:
        """Return the row numbers of the next epoch, int64 of shape (n_rows,)."""
        assert self._order is not None
        self._end = None
        self._order = self._shuffled(self._random, self._order)
        self._n_shuffles += 1
        return self._order

    def pause(self) -> None:
        """Note the state of the generator, at the end of a fit."""
        self._end = _fingerprint(self._random) if self._shared else None

    def resumes(self, random: np.random.RandomState, n_rows: int) -> bool:
        """Tell whether the next epoch of `n_rows` rows may go on from here.

        It may not if somebody else has drawn from the generator meanwhile: then no uninterrupted training
        exists that could be continued.
        """
        if n_rows != self.n_rows or random is not self._random:
            return False
        return not self._shared or _fingerprint(random) == self._end

    def draws_from(self, random: np.random.RandomState) -> bool:
        """Tell whether this is the generator of the order."""
        return self._random is random

    def resume(self, rows: NDArray[np.int64] | None = None) -> None:
        """Draw the order again if it was dropped. `rows` as at construction."""
        if self._order is None:
            random = generator_in(self._start)
            order: NDArray[np.int64] = np.arange(self.n_rows) if rows is None else rows
            for _ in range(self._n_shuffles):
                order = self._shuffled(random, order)
            self._order = order

    @staticmethod
    def _shuffled(random: np.random.RandomState, order: NDArray[np.int64]) -> NDArray[np.int64]:
        permutation = np.arange(order.shape[0], dtype=np.int64)
        _core.shuffle(permutation, random)
        return order[permutation]

    def to_state(self) -> dict[str, Any]:
        """Return plain data to make this order of again; the generator and the rows are not part."""
        return {
            "n_rows": self.n_rows,
            "shared": self._shared,
            "start": generator_in(self._start),
            "end": _fingerprint(self._random) if self._shared and self._end is None else self._end,
            "n_shuffles": self._n_shuffles,
        }

    @classmethod
    def from_state(cls, random: np.random.RandomState, state: dict[str, Any]) -> CumulativeOrder:
        """Return the order that gave `to_state`; `random` is in the state of that moment."""
        shared = _validation.boolean("shared", state["shared"])
        n_rows = _validation.integer("n_rows", state["n_rows"], 1)
        order = cls(random, n_rows, np.zeros(0, np.int64), shared=shared)
        end = state["end"]
        order.restore(
            state["start"].get_state(legacy=False),
            None if end is None else (int(end[0]), int(end[1])),
            _validation.integer("n_shuffles", state["n_shuffles"], 0),
        )
        return order

    def restore(self, start: dict[str, Any], end: tuple[int, int] | None, n_shuffles: int) -> None:
        """Take the state after `n_shuffles` from the generator's state `start`; `resume` draws them again."""
        self._start, self._end, self._n_shuffles, self._order = start, end, n_shuffles, None
