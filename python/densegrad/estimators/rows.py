"""Rows as the plain estimators read them, and errors that name the column which they cannot read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import column_or_1d
from sklearn.utils.validation import _check_sample_weight, assert_all_finite, validate_data


def read_rows(
    reader: Any, estimator: str, X: Any, y: Any, sample_weight: Any, *, numbers: bool, reset: bool
) -> tuple[Any, NDArray[Any], NDArray[np.float64] | None]:
    """Check X, y and sample weights as scikit-learn does.

    Parameters
    ----------
    reader : object
        With ``reset`` it gets the number and the names of the columns; otherwise X must have them.
    estimator : str
        The name of the class, for advice.
    numbers : bool
        Whether y holds numbers, and not labels.

    Returns
    -------
    X : ndarray or csr_matrix of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
    sample_weight : ndarray of shape (n_samples,) or None
        `Samples` checks its values.
    """
    with columns_named(X, estimator), _missing_labels_counted(y):
        X, y = validate_data(
            reader,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=False,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if not numbers and y.dtype.kind == "O" and any(label is None for label in y.flat):
            raise ValueError("y holds None")
    if numbers:
        y = _numbers(y.toarray() if hasattr(y, "toarray") else y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    X = X.tocsr() if hasattr(X, "tocsr") else X
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
    return X, y, sample_weight


def _numbers(y: NDArray[Any]) -> NDArray[Any]:
    """Return y as numbers; objects become float64."""
    if y.dtype.kind == "O":
        try:
            y = y.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise type(error)(f"y must hold numbers: {error}. For labels take MLPClassifier") from None
        assert_all_finite(y, input_name="y")
    if y.dtype.kind not in "fiub":
        advice = "For dates pass numbers of days" if y.dtype.kind in "mM" else "For labels take MLPClassifier"
        raise TypeError(f"y must hold numbers; got dtype {y.dtype}. {advice}")
    return y


@contextmanager
def _missing_labels_counted(y: Any) -> Iterator[None]:
    """Let errors about missing values in a y of objects say so; scikit-learn's name neither y nor them."""
    try:
        yield
    except (TypeError, ValueError) as error:
        labels = np.asarray(y) if hasattr(y, "dtype") or isinstance(y, (list, tuple)) else np.zeros(0)
        if labels.dtype.kind != "O" or "X" in str(error):
            raise
        # Here, since only labels with a fault need it.
        from densegrad.tabular.frame import is_missing

        n_missing = sum(map(is_missing, labels.ravel()))
        if not n_missing:
            raise
        raise ValueError(
            f"y must not have missing values; got NaN or None {n_missing} times. Leave these rows out"
        ) from None


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
