"""Errors that name the column which the plain estimators cannot read, and the way out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray


@contextmanager
def columns_named(X: Any, estimator: str) -> Iterator[None]:
    """Raise for dates, and let errors about text and missing values in X name the column."""
    if _has_dates(X):
        raise ValueError(_advice(X, estimator) or f"X must hold numbers; got dates in {type(X).__name__}")
    try:
        yield
    except (TypeError, ValueError) as error:
        first_line = str(error).partition("\n")[0]
        advice = _advice(X, estimator)
        if advice is None or "feature" in first_line:  # their number or their names are wrong
            raise
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{first_line}\n{advice}") from error


def _has_dates(X: Any) -> bool:
    """Tell whether X has a column of dates, which NumPy would take for nanoseconds."""
    dtypes = getattr(X, "dtypes", None)
    if dtypes is None:
        return getattr(getattr(X, "dtype", None), "kind", "") in ("M", "m")
    return any(
        getattr(dtype, "kind", "") in ("M", "m") or (hasattr(dtype, "is_temporal") and dtype.is_temporal())
        for dtype in np.ravel(dtypes)
    )


def _advice(X: Any, estimator: str) -> str | None:
    """Return the column of X that the estimators cannot read, and advice; None if all are numbers."""
    # Here, since only a table with a fault needs it.
    from densegrad.tabular.frame import table_of

    try:
        table = table_of(X)
    except (TypeError, ValueError):
        return None
    for j, column in enumerate(table.columns):
        held = _unreadable(column)
        if held:
            return (
                f"{table.label(j).capitalize()} of X holds {held}. TabularEncoder makes numbers of text,"
                f" dates and missing values: make_pipeline(TabularEncoder(), {estimator}())"
            )
    return None


def _unreadable(column: NDArray[Any]) -> str:
    if column.dtype.kind == "M":
        return "dates"
    if column.dtype.kind == "f":
        return "missing values" if np.isnan(column).any() else ""
    text = next((value for value in column if isinstance(value, str)), None)
    if text is not None:
        return f"text, such as {text!r}"
    return "missing values" if any(value is None for value in column) else ""
