"""Comparisons of the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


def assert_close(actual: Any, expected: Any, dtype: str, slack: float = 1.0) -> None:
    """Compare with the float64 twin: the error may be some units in the last place of the largest number."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    if expected.size == 0:
        return
    tolerance = slack * {"float32": 1e-5, "float64": 1e-13}[dtype]
    scale = max(float(np.max(np.abs(expected))), 1e-3)
    error = float(np.max(np.abs(actual - expected))) / scale
    assert error <= tolerance, f"error {error:.3g} of the largest number, {tolerance:.3g} allowed"


def refused(match: str, action: Callable[[], Any]) -> None:
    """The action is an error of its arguments, with a message that matches."""
    with pytest.raises((ValueError, TypeError), match=match):
        action()


def same_bits(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
