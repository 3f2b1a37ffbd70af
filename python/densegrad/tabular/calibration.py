"""Calibration: the temperature that probabilities are most honest at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from densegrad.tabular.portable import exp, log, log_softmax

_TEMPERATURES = exp(np.arange(-30, 31) * (log(np.array([5.0]))[0] / 30))
#: How strongly few rows hold the temperature at 1, in rows.
_PRIOR_ROWS = 5.0


def best_temperature(
    log_probabilities: NDArray[np.float64], numbers: NDArray[np.int64], weight: NDArray[np.float64] | None
) -> tuple[float, float]:
    """Return the temperature of the least log loss, drawn towards 1 if the rows are few, and that loss.

    Parameters
    ----------
    log_probabilities : ndarray of shape (n_members, n_rows, n_classes)
        Members are averaged as probabilities.
    numbers : ndarray of shape (n_rows,)
        The true classes.
    weight : ndarray of shape (n_rows,) or None
    """
    n_rows = len(numbers)
    weight = np.ones(n_rows) if weight is None else weight
    size = float(np.square(weight.sum()) / np.square(weight).sum())  # as many rows of equal weights
    known: dict[int, float] = {}

    def cost(i: int) -> float:
        if i not in known:
            temperature = _TEMPERATURES[i]
            own = np.zeros(n_rows)
            for of_member in log_probabilities:
                scaled = log_softmax(of_member / temperature)
                own += exp(np.take_along_axis(scaled, numbers[:, np.newaxis], 1)[:, 0])
            losses = -log(np.maximum(own / len(log_probabilities), 1e-300))
            penalty = float(log(np.array([temperature]))[0]) ** 2 * _PRIOR_ROWS / size
            known[i] = float((weight * losses).sum() / weight.sum()) + penalty
        return known[i]

    low, high = 0, len(_TEMPERATURES) - 1
    while high - low > 2:  # the cost falls and then rises
        left, right = low + (high - low) // 3, high - (high - low) // 3
        if cost(left) <= cost(right):
            high = right
        else:
            low = left
    best = min(range(low, high + 1), key=cost)
    return float(_TEMPERATURES[best]), cost(best)
