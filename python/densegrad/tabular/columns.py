"""Kinds of columns, learned from the training rows: numbers, categories with their levels, and dates."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import repeat
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad.estimators.warn import warn
from densegrad.tabular.frame import Table, table_of

#: The squares of larger numbers would overflow; those of numbers below 1 / LARGEST would vanish.
LARGEST = 1e150
#: Text of fewer levels is a category, whatever it looks like.
_MANY_LEVELS = 20
#: Words for missing values in one column, at most.
_FEW_OTHERS = 3
#: Days as 31/12/2024 or 31.12.2024.
_DAY = re.compile(r"\s*\d{1,2}([./-])\d{1,2}\1\d{4}\s*")
#: Numbers with a unit before or after them, such as $1,250.50, 12.5 % or -3 EUR. Whole numbers need a sign
#: of money or per cent: others may be codes.
_BEFORE, _AFTER = r"\s*[-+]?(?:[^\W\d_]{1,3}\s+|[$€£¥]\s*)?[-+]?", r"\s*(?:%|[$€£¥]|[^\W\d_]{1,4})?\s*"
_WITH_POINT = re.compile(rf"{_BEFORE}(?:[1-9]\d{{0,2}}(?:,\d{{3}})+(?:\.\d+)?|\d+\.\d+){_AFTER}")
_WITH_COMMA = re.compile(rf"{_BEFORE}(?:[1-9]\d{{0,2}}(?:\.\d{{3}})+,\d+|\d+,\d+){_AFTER}")
_WHOLE = re.compile(r"\s*(?:[-+]?[$€£¥]\s*[-+]?\d+|[-+]?\d+\s*[%$€£¥])\s*")
_WAY_OUT = "Convert the column as it was for fit, or fit again"


@dataclass(frozen=True)
class Parsed:
    """The rows of a table as numbers and codes of levels."""

    #: (n_rows, number columns), float64; NaN if a value is missing.
    numbers: NDArray[np.float64]
    #: (n_rows, categories), int32; level 0 is the most frequent one, -1 stands for an unknown level.
    codes: NDArray[np.int32]

    def take(self, rows: NDArray[Any] | slice) -> Parsed:
        """Return some of the rows."""
        return Parsed(self.numbers[rows], self.codes[rows])


@dataclass(frozen=True)
class Category:
    """The levels of a column, the most frequent one first; None among them if a value was missing."""

    levels: tuple[Any, ...]
    counts: NDArray[np.int64]

    def codes(self, values: NDArray[Any]) -> NDArray[np.int32]:
        """Return the level's number of each value, -1 for others."""
        return np.fromiter(map(self._numbers.get, _keys(values), repeat(-1)), np.int32, len(values))

    def check_kind(self, codes: NDArray[np.int32], values: NDArray[Any], label: str) -> None:
        """Raise ValueError if no value is a level, and all are of another kind than the levels are."""
        if len(codes) == 0 or ((codes >= 0) & (codes != self._numbers.get(None, -1))).any():
            return
        given, known = _kinds_of_values(_keys(values)), _kinds_of_values(self.levels)
        if given and known and not given & known:
            raise ValueError(
                f"{label} held levels such as {self._example!r} in fit, and now holds {_described(values)}."
                f" {_WAY_OUT}"
            )

    @cached_property
    def _numbers(self) -> dict[Any, int]:
        return {level: number for number, level in enumerate(self.levels)}

    @property
    def _example(self) -> Any:
        return next(level for level in self.levels if level is not None)


@dataclass(frozen=True)
class Columns:
    """The facts learned about the columns of a table."""

    names: tuple[str, ...] | None
    #: "number", "category", "date" or "empty" for each column.
    kinds: tuple[str, ...]
    categories: tuple[Category, ...]
    #: Of each date column, whether its times have hours.
    hours: tuple[bool, ...]

    @classmethod
    def learned(cls, table: Table, categorical: Any = None) -> tuple[Columns, Parsed]:
        """Return the columns of a table, and its rows; `categorical` names numbers that are categories."""
        chosen = _chosen(table, categorical)
        kinds, categories, hours = [], [], []
        for j, column in enumerate(table.columns):
            kinds.append(kind := _kind(column, chosen[j] or table.categorical[j]))
            if kind == "category":
                categories.append(_learned_category(column))
                if not chosen[j] and not table.categorical[j]:
                    _warn_of_text(categories[-1], table.label(j))
            elif kind == "date":
                hours.append(_has_hours(column))
        columns = cls(table.names, tuple(kinds), tuple(categories), tuple(hours))
        return columns, columns.parsed(table)

    def read(self, X: Any, owner: str) -> Parsed:
        """Return the rows of another table; `owner` is the estimator's name in messages."""
        return self.parsed(self._matched(table_of(X), owner))

    def _matched(self, table: Table, owner: str) -> Table:
        """Return the table with its columns in the order of the training."""
        if self.names is None or table.names is None:
            if len(table.columns) != len(self.kinds):
                raise ValueError(
                    f"X has {len(table.columns)} features, but {owner} is expecting {len(self.kinds)}"
                    " features as input"
                )
            if self.names is not None:
                warn(
                    f"X does not have valid feature names, but {owner} was fitted with feature names; its"
                    " columns are taken in the order of fit"
                )
            elif table.names is not None:
                warn(
                    f"X has feature names, but {owner} was fitted without feature names; its columns are"
                    " taken in their order"
                )
            return Table(self.names, table.columns, table.categorical, table.n_rows)
        place = {name: j for j, name in enumerate(table.names)}
        lost = [name for name in self.names if name not in place]
        unseen = [name for name in table.names if name not in set(self.names)]
        if lost or unseen:
            parts = ["The feature names should match those that were passed during fit."]
            if unseen:
                parts.append(_listed("Feature names unseen at fit time:", unseen))
            if lost:
                parts.append(_listed("Feature names seen at fit time, yet now missing:", lost))
            parts.append("Rename the columns back, or drop those that fit did not see.\n")
            raise ValueError("\n".join(parts))
        order = [place[name] for name in self.names]
        return Table(
            self.names,
            tuple(table.columns[j] for j in order),
            tuple(table.categorical[j] for j in order),
            table.n_rows,
        )

    def parsed(self, table: Table) -> Parsed:
        """Return the rows of a table whose columns are in this order."""
        numbers: list[NDArray[np.float64]] = []
        codes: list[NDArray[np.int32]] = []
        hours = iter(self.hours)
        for j, (kind, column) in enumerate(zip(self.kinds, table.columns, strict=True)):
            if kind == "number":
                numbers.append(_numbers(column, table.label(j)))
            elif kind == "date":
                numbers += _date_parts(_dates(column, table.label(j)), next(hours))
            elif kind == "category":
                category = self.categories[len(codes)]
                codes.append(category.codes(column))
                category.check_kind(codes[-1], column, table.label(j))
        return Parsed(_stacked(numbers, table.n_rows, np.float64), _stacked(codes, table.n_rows, np.int32))

    @property
    def n_features(self) -> int:
        """The number of columns of the table."""
        return len(self.kinds)

    def input_names(self) -> list[str]:
        """Return the names of the columns; x0, x1 … for an array."""
        return [f"x{j}" for j in range(len(self.kinds))] if self.names is None else list(self.names)

    def names_of(self, names: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return the names of the parsed numbers, and of the parsed categories."""
        numbers: list[str] = []
        categories: list[str] = []
        hours = iter(self.hours)
        for name, kind in zip(names, self.kinds, strict=True):
            if kind == "number":
                numbers.append(name)
            elif kind == "date":
                numbers += [f"{name}_{part}" for part in _parts(next(hours))]
            elif kind == "category":
                categories.append(name)
        return numbers, categories


def _listed(heading: str, names: list[str], most: int = 5) -> str:
    lines = [heading, *(f"- {name}" for name in names[:most])]
    return "\n".join([*lines, "- ..."] if len(names) > most else lines)


def _stacked(columns: list[NDArray[Any]], n_rows: int, dtype: Any) -> NDArray[Any]:
    return np.column_stack(columns) if columns else np.empty((n_rows, 0), dtype)


def _chosen(table: Table, categorical: Any) -> NDArray[np.bool_]:
    """Return which columns `categorical_features` names."""
    n = len(table.columns)
    chosen = np.zeros(n, bool)
    if categorical is None:
        return chosen
    allowed = "categorical_features must be names or numbers of columns, or a boolean mask"
    if isinstance(categorical, str | bytes) or not hasattr(categorical, "__len__"):
        raise TypeError(f"{allowed}; got {categorical!r}")
    wanted = list(categorical)
    if len(wanted) == n and all(isinstance(flag, bool | np.bool_) for flag in wanted):
        return np.array(wanted, bool)
    place = {} if table.names is None else {name: j for j, name in enumerate(table.names)}
    for column in wanted:
        if isinstance(column, str):
            if column not in place:
                raise ValueError(f"{allowed}; X has no column {column!r}")
            chosen[place[column]] = True
        elif isinstance(column, int | np.integer) and not isinstance(column, bool):
            if not -n <= column < n:
                raise ValueError(f"{allowed}; X has no column {column}, only {n} columns")
            chosen[column] = True
        else:
            raise TypeError(f"{allowed}; got {column!r} among them")
    return chosen


def _kind(column: NDArray[Any], chosen: bool) -> str:
    kind = column.dtype.kind
    if kind == "M":
        empty = bool(np.isnat(column).all())
    elif kind == "f":
        empty = bool(np.isnan(column).all())
    else:
        empty = all(value is None for value in column)
    if empty:
        return "empty"
    if chosen or kind == "O":
        return "category"
    return "date" if kind == "M" else "number"


def _keys(values: NDArray[Any]) -> list[Any]:
    """Return values as keys of levels: Python's own objects, None if a value is missing."""
    if values.dtype.kind == "f":
        return [None if value != value else value for value in values.tolist()]
    if values.dtype.kind == "M":
        return [None if value is None else str(value) for value in values.astype("datetime64[us]").tolist()]
    keys: list[Any] = values.tolist()
    return keys


def _kinds_of_values(values: Iterable[Any]) -> set[Any]:
    """Return the types of values, one for all numbers; missing values have none."""
    return {Real if isinstance(value, Real) else type(value) for value in values if value is not None}


def _learned_category(column: NDArray[Any]) -> Category:
    counts = Counter(_keys(column))
    # Ties by text, so that equal tables of several libraries have equal levels.
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0]), type(item[0]).__name__))
    return Category(tuple(level for level, _ in ordered), np.array([count for _, count in ordered], np.int64))


def _warn_of_text(category: Category, label: str) -> None:
    """Warn of text that seems to stand for numbers or dates, or for missing values among numbers."""
    levels = [level for level in category.levels if isinstance(level, str)]
    n_real = sum(isinstance(level, Real) for level in category.levels)
    n_numbers = n_real + sum(level.strip().isdecimal() for level in levels)
    others = [level for level in levels if not _is_number(level)]
    if n_numbers >= _MANY_LEVELS and 0 < len(others) <= max(n_real, _FEW_OTHERS):
        warn(
            f"{label} is taken for a category, since it holds text, such as {others[0]!r}, beside {n_numbers}"
            " levels that are numbers. If the text stands for missing values, convert the column, as by"
            " pandas.to_numeric(column, errors='coerce'). If not, name it in categorical_features"
        )
        return
    if len(levels) < _MANY_LEVELS:
        return
    readings = [
        (_is_decimal, "numbers", "pandas.to_numeric(column, errors='coerce')"),
        (_is_date, "dates", "pandas.to_datetime(column, errors='coerce')"),
        (_is_day, "dates", "pandas.to_datetime(column, dayfirst=True, errors='coerce')"),
        (
            _has_point,
            "numbers with a unit",
            r"pandas.to_numeric(column.str.replace(r'[^-\d.]', '', regex=True), errors='coerce')",
        ),
        (
            _has_comma,
            "numbers with a comma",
            r"pandas.to_numeric(column.str.replace(r'[^-\d,]', '', regex=True).str.replace(',', '.'),"
            " errors='coerce')",
        ),
    ]
    # 1,250 reads as either of the last two; other levels tell which.
    reads, what, way_out = max(readings, key=lambda reading: sum(map(reading[0], levels)))
    if sum(map(reads, levels)) > len(levels) / 2:
        warn(
            f"{label} is taken for a category, but most of its {len(levels)} levels, such as"
            f" {next(filter(reads, levels))!r}, look like {what}. If they are, convert the column, as by"
            f" {way_out}. If not, name it in categorical_features"
        )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_decimal(text: str) -> bool:
    """Tell whether text is a number with a fraction; whole numbers may be codes."""
    return "." in text and _is_number(text)


def _is_day(text: str) -> bool:
    return _DAY.fullmatch(text) is not None


def _has_point(text: str) -> bool:
    return _WITH_POINT.fullmatch(text) is not None or _WHOLE.fullmatch(text) is not None


def _has_comma(text: str) -> bool:
    return _WITH_COMMA.fullmatch(text) is not None


def _is_date(text: str) -> bool:
    if len(text) < len("2024-01-01"):
        return False
    try:
        datetime.fromisoformat(text.strip())
    except ValueError:
        return False
    return True


def _numbers(column: NDArray[Any], label: str) -> NDArray[np.float64]:
    if column.dtype.kind == "O" and all(
        value is None or isinstance(value, bool | np.bool_) for value in column
    ):
        column = np.array([np.nan if value is None else float(value) for value in column])
    if column.dtype.kind != "f":
        raise ValueError(f"{label} held numbers in fit, and now holds {_described(column)}. {_WAY_OUT}")
    largest = np.fmax.reduce(np.abs(column), initial=0.0)  # of all that are not NaN
    if largest == np.inf:
        raise ValueError(
            f"Input X contains infinity in {label}. Replace it by NaN, which is taken for a missing value, or"
            " by a large number"
        )
    if largest > LARGEST:
        raise ValueError(
            f"{label} holds numbers above {LARGEST:g} in absolute value. Scale it, or take its logarithm"
        )
    return column


def _described(column: NDArray[Any]) -> str:
    if column.dtype.kind == "M":
        return "dates"
    if column.dtype.kind == "f":
        return "numbers"
    strange = (value for value in column if value is not None and not isinstance(value, Real))
    example = next(strange, next((value for value in column if value is not None), None))
    return f"{type(example).__name__}, such as {example!r}"


def _dates(column: NDArray[Any], label: str) -> NDArray[Any]:
    if column.dtype.kind == "f" and np.isnan(column).all():
        return np.full(len(column), np.datetime64("NaT", "us"))
    if column.dtype.kind != "M":
        held = "numbers" if column.dtype.kind == "f" else _described(column)
        raise ValueError(f"{label} held dates in fit, and now holds {held}. {_WAY_OUT}")
    return column.astype("datetime64[us]")


def _has_hours(column: NDArray[Any]) -> bool:
    times = column[~np.isnat(column)]
    return bool((times != times.astype("datetime64[D]")).any())


def _parts(hours: bool) -> list[str]:
    return ["days", "year", "month", "weekday", *(["hour"] if hours else [])]


def _date_parts(times: NDArray[Any], hours: bool) -> list[NDArray[np.float64]]:
    """Return days since 1970, year, month from 1 and weekday from Monday = 0; and the hour, with its part."""
    missing = np.isnat(times)
    days = times.astype(np.int64) / 86_400_000_000
    parts = [
        days,
        times.astype("datetime64[Y]").astype(np.int64) + 1970.0,
        times.astype("datetime64[M]").astype(np.int64) % 12 + 1.0,
        (np.floor(days) + 3) % 7,
    ]
    if hours:
        parts.append((days - np.floor(days)) * 24)
    for part in parts:
        part[missing] = np.nan
    return parts
