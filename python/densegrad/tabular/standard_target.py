"""Targets on one scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def standard_target(target: NDArray[Any]) -> NDArray[np.float64]:
    """Return the columns of a target with mean 0 and deviation 1; a constant column becomes zeros."""
    values = target.astype(np.float64)
    values -= values.mean(axis=0)
    deviation = np.sqrt(np.square(values).mean(axis=0))
    np.divide(values, deviation, out=values, where=deviation > 0)
    return values
