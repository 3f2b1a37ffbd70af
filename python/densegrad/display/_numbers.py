"""Numbers as readers see them, and norms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def norm(array: Any) -> float:
    """Return the square root of the sum of squares, in float64."""
    return float(np.sqrt(np.square(np.asarray(array, dtype=np.float64)).sum()))


def short(value: float, digits: int = 3) -> str:
    """Return a number in few characters: 0.125, −1.5, 3.2e−07.

    Examples
    --------
    >>> short(0.125), short(-1.5), short(3.24e-7), short(1024.0)
    ('0.125', '−1.5', '3.24e−07', '1024')
    """
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "NaN")
    text = f"{value:.{digits}g}"
    if "e+" in text and abs(value) < 1e6:
        text = f"{value:.0f}"
    return text.replace("-0", "0", 1).replace("-", "−") if float(text) == 0 else text.replace("-", "−")


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as `785 × 1024`."""
    return " × ".join(str(n) for n in shape)


def matrix_lines(array: NDArray[Any], digits: int = 3) -> list[str]:
    """Return the rows of a matrix as text, each column flush right."""
    columns = [[short(float(v), digits) for v in column] for column in array.T]
    wide = [max(map(len, column)) for column in columns]
    return [
        "  ".join(cell.rjust(n) for cell, n in zip(row, wide, strict=True))
        for row in zip(*columns, strict=True)
    ]
