"""The caller's arrays as the core reads them: in place if it can, otherwise converted."""

from __future__ import annotations

import copy
import math
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray


def check_unmasked(name: str, value: object) -> None:
    """Raise TypeError if entries of `value` are masked: they would be taken for numbers."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError(f"{name} must not have masked entries; fill them first, by `filled`")


def check_not_sparse(name: str, value: object) -> None:
    """Raise TypeError if `value` is a sparse matrix: NumPy would take it for a single object."""
    if hasattr(value, "tocsr"):
        raise TypeError(f"{name} must not be sparse; give an array, which its `toarray` returns")


def real_array(name: str, value: ArrayLike) -> NDArray[Any]:
    """Return `value` as an array of bool, integers or real floating-point numbers."""
    if value is None:
        raise TypeError(f"{name} must be an array of real numbers; got None")
    check_not_sparse(name, value)
    check_unmasked(name, value)
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O":  # as frames of several types of numbers, or with a missing value
            _check_no_missing(name, value, array)
            if all(isinstance(x, (Real, np.bool_)) for x in array.flat):
                array = array.astype(np.float64)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{name} must be an array of real numbers; got {type(value).__name__}: {error}"
        ) from None
    if array.dtype.kind not in "fiub":
        example = ""
        if array.dtype.kind == "O":
            example = f", such as {next(x for x in array.flat if not isinstance(x, (Real, np.bool_)))!r}"
        raise TypeError(f"{name} must hold real numbers; got dtype {array.dtype}{example}")
    return array


def _check_no_missing(name: str, value: Any, array: NDArray[Any]) -> None:
    """Raise ValueError if an entry is None or pandas' NA; `array` is `value` as an array of objects."""
    for index, x in np.ndenumerate(array):
        if x is None or type(x).__name__ == "NAType":
            place = f" in row {index[0]}" if index else ""
            if len(index) == 2:
                columns = getattr(value, "columns", range(array.shape[1]))
                place += f" of column {columns[index[1]]!r}"
            raise ValueError(
                f"{name} must not have missing values; got {x!r}{place}. Fill it, or drop the row"
            )


def to_float(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` as float32 or float64 that the core reads in place, exact if one is wide enough."""
    if array.dtype.kind == "f":
        dtype = np.float32 if array.dtype.itemsize <= 4 else np.float64
    else:
        dtype = np.float32 if array.dtype.itemsize <= 2 else np.float64
    with np.errstate(over="ignore"):  # numbers that are too large become infinite
        array = np.require(array, dtype, "A")
    # The stride of a single row or column may be any number of bytes, aligned or not.
    return array.copy() if any(stride % array.itemsize for stride in array.strides) else array


def readable_array(array: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """Return `array` as the core reads it: in C order, aligned and in `dtype`; itself if it is so."""
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
        one_row = f": for one row give {name}[np.newaxis]" if array.ndim == 1 else ""
        raise ValueError(
            f"{name} must have two dimensions, (rows, columns); got shape {array.shape}{one_row}"
        )
    return to_float(array)


def _readable_csr(X: Any, name: str) -> Any:
    matrix = X.tocsr()  # may be X itself: not to be changed
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


def finite_array(name: str, array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return `array` as the core reads it, in `dtype`, if all its numbers are finite there."""
    with np.errstate(over="ignore"):
        converted = readable_array(array, dtype)
    if not np.all(np.isfinite(converted)):
        raise ValueError(f"{name} must be finite; got NaN, infinity or a number too large for {dtype}")
    return converted


def all_finite(values: NDArray[Any]) -> bool:
    """Tell whether no number is NaN or infinite; one pass without a copy if that is so."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.sum(values))) or bool(np.isfinite(values).all())


def first_bad_row(X: Any, dtype: np.dtype[Any]) -> int:
    """Return the first row of `X` with NaN or infinity in `dtype`; there is one."""
    with np.errstate(over="ignore"):
        if hasattr(X, "tocsr"):
            rows = X.tocsr()
            bad = np.flatnonzero(~np.isfinite(rows.data.astype(dtype)))
            return int(np.searchsorted(rows.indptr, bad[0], side="right")) - 1
        return int(np.flatnonzero(~np.isfinite(np.asarray(X, dtype)).all(axis=1))[0])


def check_finite_rows(name: str, X: Any, dtype: np.dtype[Any]) -> None:
    """Raise ValueError if `X` has NaN, or a number that is infinite in `dtype`; takes almost no memory."""
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
