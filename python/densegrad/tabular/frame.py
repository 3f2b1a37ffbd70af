"""The columns of a table, of whatever kind the table is, without an import of the library that made it.

A table is a NumPy array, a nested list, or a frame of pandas, polars or Arrow. Each column becomes one of
three plain arrays: float64 with NaN for missing values, datetime64 with NaT, or objects with None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from numbers import Real
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Types without a missing value, but for None, which is what all others become.
_NEVER_MISSING = {str, bool, int, NoneType}


@dataclass(frozen=True)
class Table:
    """The columns of a table; `names` is None if it has no names, as an array."""

    names: tuple[Any, ...] | None
    columns: tuple[NDArray[Any], ...]
    #: Whether the table's own types say that a column holds categories.
    categorical: tuple[bool, ...]
    n_rows: int

    def take(self, rows: NDArray[Any]) -> Table:
        """Return some of the rows."""
        columns = tuple(column[rows] for column in self.columns)
        return Table(self.names, columns, self.categorical, int(np.count_nonzero(rows)))

    def label(self, j: int) -> str:
        """Return the name of column j in messages."""
        return f"column {j}" if self.names is None else f"column {self.names[j]!r}"


def table_of(X: Any) -> Table:
    """Return the columns of X.

    Raises
    ------
    ValueError, TypeError
        If X is not a table, two columns have the same name, or a column holds values that cannot be read.
    """
    if hasattr(X, "tocsr"):
        raise TypeError(
            "X must not be a sparse matrix: its columns are read as numbers, categories and dates. Pass"
            " X.toarray(), or train an MLPClassifier or MLPRegressor, which take sparse matrices"
        )
    names, columns, n_rows = _split(X)
    if names is not None:
        names = _text_names(names)
    if names is not None:
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ValueError(f"X must not have two columns of one name; got {twice} more than once")
    if n_rows == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape=(0, {len(columns)})) while a minimum of 1 is required."
        )
    if not columns:
        raise ValueError(f"0 feature(s) (shape=({n_rows}, 0)) while a minimum of 1 is required.")
    plain = []
    for j, column in enumerate(columns):
        try:
            plain.append(_plain(column))
        except (TypeError, ValueError, OverflowError) as error:
            label = f"column {j}" if names is None else f"column {names[j]!r}"
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{label} of X cannot be read: {error}") from error
    return Table(names, tuple(plain), tuple(map(_is_categorical, columns)), n_rows)


def _text_names(names: tuple[Any, ...]) -> tuple[str, ...] | None:
    """Return names that are text; None for numbers, which stand for no names, as pandas gives them."""
    text = [isinstance(name, str) for name in names]
    if not any(text):
        return None
    if all(text):
        return names
    raise TypeError(
        "Feature names are only supported if all input features have string names, but your input has"
        f" {sorted({type(name).__name__ for name in names})} as feature name / column name types. Convert"
        " them to text: X.columns = X.columns.astype(str)"
    )


def _split(X: Any) -> tuple[tuple[Any, ...] | None, Sequence[Any], int]:
    """Return names, columns and the number of rows."""
    if hasattr(X, "iloc") and hasattr(X, "columns"):  # pandas
        return tuple(X.columns), [column for _, column in X.items()], len(X)
    if hasattr(X, "collect_schema") and hasattr(X, "get_columns"):  # polars
        return tuple(X.columns), X.get_columns(), X.height
    if hasattr(X, "collect_schema"):
        raise TypeError("X must be a polars DataFrame; got a LazyFrame: call its collect()")
    if hasattr(X, "column_names") and hasattr(X, "num_rows"):  # an Arrow table
        return tuple(X.column_names), [X.column(j) for j in range(X.num_columns)], X.num_rows
    if isinstance(X, dict) or (isinstance(X, list) and X and isinstance(X[0], dict)):
        raise TypeError(
            f"X must be a data frame or an array; got a {'dict' if isinstance(X, dict) else 'list of dicts'}."
            " Make a frame of it, as by pandas.DataFrame(X)"
        )
    if np.ma.is_masked(X):
        X = np.where(np.ma.getmaskarray(X), None, X.data)
    array = np.asarray(X) if hasattr(X, "dtype") else np.array(X, dtype=object)
    if array.dtype.names is not None:
        return array.dtype.names, [array[name] for name in array.dtype.names], len(array)
    if array.ndim != 2:
        hint = (
            "Reshape your data either using array.reshape(-1, 1) if your data has a single feature or"
            " array.reshape(1, -1) if it contains a single sample."
        )
        raise ValueError(
            f"Expected 2D array or data frame, got an array of shape {array.shape} instead. {hint}"
        )
    return None, list(array.T), len(array)


def _is_categorical(column: Any) -> bool:
    dtype = getattr(column, "dtype", None)
    return str(dtype).split("(")[0] in ("category", "Categorical", "Enum")


def _plain(column: Any) -> NDArray[Any]:
    """Return a column as float64, datetime64 or objects."""
    if isinstance(column, np.ndarray):
        return _plain_array(column)
    dtype: Any = getattr(column, "dtype", None)
    if isinstance(dtype, np.dtype):  # pandas
        return _plain_array(column.to_numpy())
    kind = getattr(dtype, "kind", "")
    if kind == "O" and hasattr(dtype, "categories"):  # pandas: few categories, many codes
        categories = _objects(_object_array([*dtype.categories.tolist(), None]))
        coded: NDArray[Any] = categories[column.array.codes]
        return coded
    if kind == "c":
        return _plain_array(column.to_numpy())
    if hasattr(dtype, "freq"):  # pandas' periods: their beginnings
        column, kind = column.dt.to_timestamp(), "M"
    if kind and kind in "iuf":  # pandas' nullable types and its types of Arrow
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    if kind == "M":
        # Times with a zone become times in UTC.
        return np.asarray(column.to_numpy(dtype="datetime64[us]"))
    if kind == "m":
        return _plain_array(np.asarray(column.to_numpy(dtype="timedelta64[us]")))
    if hasattr(column, "to_pylist"):  # an Arrow column
        return _plain_array(_object_array(column.to_pylist()))
    if hasattr(dtype, "is_temporal") and hasattr(column, "to_list"):  # polars
        if dtype.is_numeric() and not dtype.is_decimal():
            return np.asarray(column.to_numpy(), dtype=np.float64)
        return _plain_array(_object_array(column.to_list()))
    if hasattr(dtype, "fill_value"):  # pandas' sparse columns
        column = column.sparse.to_dense()
    return _plain_array(np.asarray(column, dtype=object))


def _object_array(values: list[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _plain_array(array: NDArray[Any]) -> NDArray[Any]:
    kind = array.dtype.kind
    if kind in "iuf":
        return array.astype(np.float64)
    if kind == "M":
        return array
    if kind == "m":
        return _days(array)
    if kind in "bUST":
        return _objects(array.astype(object))
    if kind == "O":
        return _recognised(_objects(array))
    if kind == "c":
        raise ValueError("Complex data not supported: split it into two columns, real and imaginary part")
    raise TypeError(f"its dtype {array.dtype} is none of numbers, booleans, text, categories and dates")


def _days(array: NDArray[Any]) -> NDArray[np.float64]:
    """Return durations in days."""
    days = array.astype("timedelta64[us]").astype(np.int64) / 86_400_000_000
    days[np.isnat(array)] = np.nan
    return days


def _objects(array: NDArray[Any]) -> NDArray[Any]:
    """Return objects with None for every kind of missing value."""
    kinds = set(map(type, array))
    if kinds <= _NEVER_MISSING:
        return array
    missing = np.fromiter((is_missing(value) for value in array), bool, len(array))
    if missing.any():
        array = array.copy()
        array[missing] = None
    return array


def is_missing(value: Any) -> bool:
    """Tell whether a value stands for a missing one, in any library."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    if isinstance(value, Decimal):
        return value.is_nan()
    return isinstance(value, float | np.floating) and value != value


def _recognised(array: NDArray[Any]) -> NDArray[Any]:
    """Return objects that are all numbers, or all dates, as such; text, booleans and mixtures as they are."""
    kinds = set(map(type, array)) - {NoneType}
    if kinds == {str}:
        return array
    if not kinds:
        return np.full(len(array), np.nan)
    if all(issubclass(kind, bool | np.bool_) for kind in kinds):
        return array
    if all(issubclass(kind, Real | Decimal | np.bool_) for kind in kinds):
        return np.array([np.nan if value is None else float(value) for value in array])
    if all(issubclass(kind, date | np.datetime64) for kind in kinds):
        return np.array([_instant(value) for value in array], "datetime64[us]")
    if all(issubclass(kind, timedelta | np.timedelta64) for kind in kinds):
        return _days(
            np.array(
                [np.timedelta64("NaT", "us") if value is None else value for value in array],
                "timedelta64[us]",
            )
        )
    for value in array:
        try:
            hash(value)
        except TypeError:
            raise TypeError(
                f"argument must be a string or a number, a boolean or a date; got {type(value).__name__}."
                " Make columns of what it holds, or drop it"
            ) from None
    return array


def _instant(value: Any) -> Any:
    if value is None:
        return np.datetime64("NaT", "us")
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value
