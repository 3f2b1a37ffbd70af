"""Checks of arguments at the boundary: each error names the argument, its value and the allowed values."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sized
from typing import Any, Final, TypeAlias

import numpy as np

from densegrad._names import suggestion

MOST_THREADS: Final = 1 << 20

#: A source of random numbers: NumPy's two kinds of generators share the methods used here. It is a string, as
#: NumPy imports `numpy.random` at its first use, which is a third of the time that our own import would take.
RandomSource: TypeAlias = "np.random.RandomState | np.random.Generator"


def integer(name: str, value: object, low: int, high: int = 2**62) -> int:
    """Return `value` as an int in [low, high]."""
    if type(value) is int and low <= value <= high:
        return value  # at once, since the words of an error take longer than a prediction of one row
    allowed = f"an integer of at least {low}" if high >= 2**62 else f"an integer in [{low}, {high}]"
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be {allowed}; got {value!r}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be {allowed}; got {value!r}") from None
    if not low <= number <= high:
        raise ValueError(f"{name} must be {allowed}; got {number}")
    return number


def threads(n_threads: object) -> int | None:
    """Return `n_threads` as a limit on threads; None is no limit."""
    return None if n_threads is None else integer("n_threads", n_threads, 1, MOST_THREADS)


def real(
    name: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    closed: str = "both",
) -> float:
    """Return `value` as a finite float between `low` and `high`; `closed` names the ends that are allowed."""
    if type(value) is float and low < value < high:
        return value
    left, right = closed in ("both", "left"), closed in ("both", "right")
    if math.isinf(high):
        allowed = f"a finite number {'of at least' if left else 'above'} {low:g}"
        allowed = "a finite number" if math.isinf(low) else allowed
    else:
        allowed = f"a number in {'[' if left else '('}{low:g}, {high:g}{']' if right else ')'}"
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise TypeError(f"{name} must be {allowed}; got {value!r}")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be {allowed}; got {value!r}") from None
    except OverflowError:
        raise ValueError(f"{name} must be {allowed}; got a number too large for float64") from None
    above = number >= low if left else number > low
    below = number <= high if right else number < high
    if not (math.isfinite(number) and above and below):
        raise ValueError(f"{name} must be {allowed}; got {number!r}")
    return number


def number(name: str, value: object) -> float:
    """Return `value` as a float, which may be infinite or NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must hold numbers; got {value!r}")
    return float(value)


def boolean(name: str, value: object) -> bool:
    """Return `value` as a bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False; got {value!r}")
    return bool(value)


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return `value`, one of the names in `allowed`."""
    names = tuple(allowed)
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(names)}; got {value!r}")
    if value not in names:
        meant = suggestion(value, names)
        hint = "" if meant is None else f". Did you mean {meant!r}?"
        raise ValueError(f"{name} must be one of {', '.join(names)}; got {value!r}{hint}")
    return value


def float_dtype(value: object) -> np.dtype[Any]:
    """Return `value` as the dtype float32 or float64."""
    try:
        dtype: np.dtype[Any] = np.dtype(value)  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(f"dtype must be float32 or float64; got {value!r}") from None
    if dtype not in (np.float32, np.float64) or value is None:
        raise ValueError(f"dtype must be float32 or float64; got {value!r}")
    return dtype


def random_source(random_state: object) -> RandomSource:
    """Return the generator that `random_state` stands for.

    A number seeds a `RandomState`, whose stream NumPy has promised never to change.
    """
    if isinstance(random_state, (np.random.RandomState, np.random.Generator)):
        return random_state
    if random_state is None:
        return np.random.RandomState()
    if random_state is np.random:
        return _global_random_state()
    try:
        return np.random.RandomState(integer("random_state", random_state, 0, 2**32 - 1))
    except TypeError:
        raise TypeError(
            "random_state must be None, an integer in [0, 4294967295], a numpy.random.RandomState or a "
            f"numpy.random.Generator; got {random_state!r}"
        ) from None


def _global_random_state() -> np.random.RandomState:
    from numpy.random.mtrand import _rand

    return _rand


def outline(value: object) -> str:
    """Return the type of `value`, with its shape or length if it has one, for messages."""
    kind = type(value).__name__
    if hasattr(value, "shape"):
        return f"{kind} of shape {value.shape}"
    return f"{kind} of length {len(value)}" if isinstance(value, Sized) else kind


def score(value: Any, epoch: int) -> float:
    """Return the result of `scoring` after an epoch as a float; it may be infinite, but not NaN."""
    wanted = "scoring must return a real number"
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{wanted}; got {value!r} after epoch {epoch}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{wanted}; got {value!r} after epoch {epoch}") from None
    except OverflowError:
        raise ValueError(f"{wanted}; got one too large for float64 after epoch {epoch}") from None
    if math.isnan(number):
        raise ValueError(f"{wanted}; got {value!r} after epoch {epoch}")
    return number
