"""Elementary functions of arrays with the same bits on every CPU, which NumPy's are not.

They use additions, multiplications and divisions alone, which every CPU rounds alike.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LN2_HIGH = 0.693147180369123816490
_LN2_LOW = 1.90821492927058770002e-10


def exp(x: Floats) -> Floats:
    """Return e ** x, for x clipped to [-700, 700]; the relative error is below 1e-15."""
    x = np.clip(x, -700.0, 700.0)
    k = np.rint(x * (1 / math.log(2)))
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    series = np.zeros_like(r)
    for n in range(13, -1, -1):
        series = series * r + 1 / math.factorial(n)
    result: Floats = np.ldexp(series, k.astype(np.int32))
    return result


def log(x: Floats) -> Floats:
    """Return the natural logarithm of x > 0; the error is below 1e-15, relative or absolute."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < math.sqrt(0.5)
    mantissa = np.where(low, 2 * mantissa, mantissa)
    k = exponent - low
    s = (mantissa - 1) / (mantissa + 1)
    square = s * s
    series = np.zeros_like(s)
    for n in range(11, -1, -1):
        series = series * square + 1 / (2 * n + 1)
    result: Floats = k * _LN2_HIGH + (k * _LN2_LOW + 2 * s * series)
    return result


def cosine(turns: Floats) -> Floats:
    """Return cos(2 pi turns) for turns >= 0; the error is below 5e-15."""
    part = np.abs(turns - np.rint(turns))  # in [0, 1/2]
    x = np.pi * part
    square = x * x
    sine = np.zeros_like(x)
    for n in range(11, -1, -1):
        sine = sine * square + (-1.0) ** n / math.factorial(2 * n + 1)
    sine = sine * x
    return 1.0 - 2.0 * sine * sine


def log_softmax(z: Floats) -> Floats:
    """Return the logarithm of softmax along the last axis."""
    shifted = z - z.max(axis=-1, keepdims=True)
    total = exp(shifted).sum(axis=-1, keepdims=True)
    return np.asarray(shifted - log(total))
