"""Checks of arguments at the boundary: each error names the argument, what came and what is allowed."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Iterable, Sized
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

#: What draws random numbers: NumPy's two kinds of generators have the methods used here in common.
RandomSource: TypeAlias = np.random.RandomState | np.random.Generator


def integer(name: str, value: object, low: int, high: int = 2**62) -> int:
    """Return `value` as an int in [low, high]."""
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


def real(
    name: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    closed: str = "both",
) -> float:
    """Return `value` as a finite float between `low` and `high`; `closed` names the ends that are allowed."""
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
        raise ValueError(f"{name} must be one of {', '.join(names)}; got {value!r}")
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
        return np.random.mtrand._rand
    try:
        return np.random.RandomState(integer("random_state", random_state, 0, 2**32 - 1))
    except TypeError:
        raise TypeError(
            "random_state must be None, an integer in [0, 4294967295], a numpy.random.RandomState or a "
            f"numpy.random.Generator; got {random_state!r}"
        ) from None


def outline(value: object) -> str:
    """Return the type of `value`, with its shape or length if it has one, for messages."""
    kind = type(value).__name__
    if hasattr(value, "shape"):
        return f"{kind} of shape {value.shape}"
    return f"{kind} of length {len(value)}" if isinstance(value, Sized) else kind


def unmasked(name: str, value: object) -> None:
    """Raise TypeError where entries of `value` are masked: they would be taken for numbers."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError(f"{name} must not have masked entries; fill them first, by `filled`")


def not_sparse(name: str, value: object) -> None:
    """Raise TypeError where `value` is a sparse matrix: NumPy would take it for a single object."""
    if hasattr(value, "tocsr"):
        raise TypeError(f"{name} must not be sparse; give an array, which its `toarray` returns")


def real_array(name: str, value: ArrayLike) -> NDArray[Any]:
    """Return `value` as an array of bool, integers or real floating-point numbers."""
    if value is None:
        raise TypeError(f"{name} must be an array of real numbers; got None")
    not_sparse(name, value)
    unmasked(name, value)
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O" and all(isinstance(x, (Real, np.bool_)) for x in array.flat):
            array = array.astype(np.float64)  # frames of several types of numbers come as objects
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{name} must be an array of real numbers; got {type(value).__name__}: {error}"
        ) from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers; got dtype {array.dtype}")
    return array


def to_float(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` as float32 or float64 that the core reads in place, exact where one is wide enough."""
    if array.dtype.kind == "f":
        dtype = np.float32 if array.dtype.itemsize <= 4 else np.float64
    else:
        dtype = np.float32 if array.dtype.itemsize <= 2 else np.float64
    array = np.require(array, dtype, "A")
    # The stride of a single row or column may be any number of bytes, aligned or not.
    return array.copy() if any(stride % array.itemsize for stride in array.strides) else array


def readable_array(array: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """Return `array` as the core reads it: in C order, aligned and in `dtype`; itself where it is so."""
    readable = np.ascontiguousarray(array, dtype)
    return readable if readable.flags.aligned else readable.copy()


def readable_rows(X: Any, name: str = "X") -> Any:
    """Return `X` as something that the core reads in place: a float array of two dimensions or a CSR matrix.

    Arrays and CSR matrices of float32 or float64 are returned as they are.
    """
    if hasattr(X, "tocsr"):
        return _readable_csr(X, name)
    array = real_array(name, X)
    if array.ndim != 2:
        raise ValueError(f"{name} must have two dimensions, (rows, columns); got shape {array.shape}")
    return to_float(array)


def _readable_csr(X: Any, name: str) -> Any:
    matrix = X.tocsr()  # X itself where it is such: not to be changed
    if matrix.ndim != 2:
        raise ValueError(f"{name} must have two dimensions, (rows, columns); got shape {matrix.shape}")
    if matrix.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers; got dtype {matrix.dtype}")
    data, indices, indptr = matrix.data, np.asarray(matrix.indices), np.asarray(matrix.indptr)
    wide = indices.dtype != np.int32 or indptr.dtype != np.int32
    data = readable_array(data, data.dtype if data.dtype in (np.float32, np.float64) else np.float64)
    indices = readable_array(indices, np.int64 if wide else np.int32)
    indptr = readable_array(indptr, np.int64 if wide else np.int32)
    if (
        len(indptr) != matrix.shape[0] + 1
        or indptr[0] != 0
        or indptr[-1] > min(len(indices), len(data))
        or np.any(indptr[1:] < indptr[:-1])
        or (len(indices) and not 0 <= indices.min() <= indices.max() < matrix.shape[1])
    ):
        raise ValueError(f"{name} is not a valid CSR matrix: its indices point outside of it")
    if not (data is matrix.data and indices is matrix.indices and indptr is matrix.indptr):
        matrix = copy.copy(matrix)
        matrix.data, matrix.indices, matrix.indptr = data, indices, indptr
    return matrix


def weights_of_rows(name: str, value: ArrayLike | None, n_rows: int) -> NDArray[np.float64] | None:
    """Return sample weights as float64 of shape (n_rows,): finite, none negative, not all zero."""
    if value is None:
        return None
    array = real_array(name, value)
    if array.shape != (n_rows,):
        raise ValueError(
            f"{name} must have shape ({n_rows},), one weight a row of X; got shape {array.shape}"
        )
    weights = readable_array(array, np.float64)
    if not np.all(np.isfinite(weights)):
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    if np.any(weights < 0):
        raise ValueError(f"{name} must not be negative; got {weights.min():g}")
    if n_rows and not np.any(weights):
        raise ValueError(f"{name} must not be zero for every row")
    with np.errstate(over="ignore"):
        total = weights.sum()
    if n_rows and not np.finfo(np.float64).tiny <= total < math.inf:
        raise ValueError(
            f"{name} must have a sum that float64 can hold; got numbers that are too large or small"
        )
    return weights


def finite(name: str, array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return `array` as the core reads it, in `dtype`, if all its numbers are finite there."""
    with np.errstate(over="ignore"):
        converted = readable_array(array, dtype)
    if not np.all(np.isfinite(converted)):
        raise ValueError(f"{name} must be finite; got NaN, infinity or a number too large for {dtype}")
    return converted


def all_finite(values: NDArray[Any]) -> bool:
    """Tell whether no number is NaN or infinite; one pass without a copy where that is so."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.sum(values))) or bool(np.isfinite(values).all())


def finite_rows(name: str, X: Any, dtype: np.dtype[Any]) -> None:
    """Raise ValueError where `X` has NaN, or what is infinite in `dtype`; needs no memory to speak of."""
    if hasattr(X, "tocsr"):
        X = X.data if getattr(X, "format", "") in ("csr", "csc", "coo") else X.tocsr().data
    array = np.asarray(X)
    if array.dtype.kind == "O":
        array = real_array(name, array)
    if array.dtype.kind != "f" or array.size == 0:
        return
    low, high = array.min(), array.max()
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    if max(-low, high) > np.finfo(dtype).max:
        raise ValueError(f"{name} must be finite in the network's dtype; got numbers too large for {dtype}")


def checked_score(score: Any, epoch: int) -> float:
    """Return what `scoring` gave after an epoch as a float; it may be infinite, but not NaN."""
    wanted = "scoring must return a real number"
    if isinstance(score, (str, bytes)):
        raise TypeError(f"{wanted}; got {score!r} after epoch {epoch}")
    try:
        number = float(score)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{wanted}; got {score!r} after epoch {epoch}") from None
    if math.isnan(number):
        raise ValueError(f"{wanted}; got {score!r} after epoch {epoch}")
    return number
