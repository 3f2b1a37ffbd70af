"""The order in which the epochs visit the rows: scikit-learn's draws, resumable."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import _core


def _fingerprint(rng: np.random.RandomState) -> tuple[int, int]:
    state: Any = rng.get_state(legacy=False)
    return zlib.crc32(state["state"]["key"]), int(state["state"]["pos"])


class RowOrder:
    """Row numbers of an epoch after another.

    Each epoch shuffles the order of the epoch before it, as scikit-learn does, so the order is part of what
    a continued training needs. It is as long as the training set: a pickle holds the state that the
    generator had at first and the number of shuffles instead, and the order is drawn again when needed.

    Parameters
    ----------
    rng : numpy.random.RandomState
        Shared with the estimator; one shuffle an epoch is drawn from it.
    n_rows : int
        Number of rows that an epoch visits.
    rows : ndarray of int64, shape (n_rows,), default=None
        The rows themselves where they are a part of X. None stands for 0 … n_rows - 1.
    shared : bool, default=True
        Whether somebody else may draw from `rng`, too.
    """

    def __init__(
        self,
        rng: np.random.RandomState,
        n_rows: int,
        rows: NDArray[np.int64] | None = None,
        *,
        shared: bool = True,
    ) -> None:
        self.n_rows = n_rows
        self._rng = rng
        self._shared = shared
        self._start: dict[str, Any] = rng.get_state(legacy=False)
        self._end: tuple[int, int] | None = None
        self._n_shuffles = 0
        self._order: NDArray[np.int64] | None = np.arange(n_rows) if rows is None else rows

    def shuffled(self) -> NDArray[np.int64]:
        """Return the order of the next epoch, int64 of shape (n_rows,)."""
        assert self._order is not None
        self._order = self._shuffle(self._rng, self._order)
        self._n_shuffles += 1
        return self._order

    def pause(self) -> None:
        """Note where the generator stands, at the end of a fit."""
        self._end = _fingerprint(self._rng) if self._shared else None

    def resumes(self, rng: np.random.RandomState, n_rows: int) -> bool:
        """Tell whether the next epoch of `n_rows` rows may go on from here.

        It may not when somebody else has drawn from the generator meanwhile: then no uninterrupted training
        exists that could be continued.
        """
        if n_rows != self.n_rows or rng is not self._rng:
            return False
        return not self._shared or _fingerprint(rng) == self._end

    def resume(self, rows: NDArray[np.int64] | None = None) -> None:
        """Draw the order again if it was dropped. `rows` as at construction."""
        if self._order is None:
            rng = np.random.RandomState()
            rng.set_state(self._start)
            order: NDArray[np.int64] = np.arange(self.n_rows) if rows is None else rows
            for _ in range(self._n_shuffles):
                order = self._shuffle(rng, order)
            self._order = order

    @staticmethod
    def _shuffle(rng: np.random.RandomState, order: NDArray[np.int64]) -> NDArray[np.int64]:
        permutation = np.arange(order.shape[0], dtype=np.int64)
        _core.shuffle(permutation, rng)
        return order[permutation]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_order": None}
