"""The arguments of a fit, checked: sizes of hidden layers, weights of rows, groups."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight

from densegrad.estimators.warn import warn
from densegrad.tabular.columns import Columns, Parsed
from densegrad.tabular.constraints import Numbers
from densegrad.tabular.folds import names_groups
from densegrad.tabular.frame import is_missing
from densegrad.tabular.tasks import Classes

Floats = NDArray[np.float64]

#: Hidden layers that the race chooses from.
SHALLOW, DEEP = (256, 256), (256, 256, 256)


def refuse_name(argument: str, value: Any, what: str) -> None:
    """Raise TypeError for the name of a column in place of its values."""
    if isinstance(value, str):
        raise TypeError(
            f"{argument} must hold {what} a row of X, not the name of a column; got {value!r}. Pass"
            f" X.drop(columns={value!r}) and X[{value!r}]"
        )


def hidden_layers(sizes: Any) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Return the widths of the hidden layers, and those that are worth a try in their place."""
    if isinstance(sizes, str) and sizes == "auto":
        return SHALLOW, DEEP
    hidden = tuple(np.ravel(np.asarray(sizes, dtype=object)))
    allowed = Numbers(Integral, 1, None, closed="left")
    if not hidden or not all(map(allowed.is_satisfied_by, hidden)):
        raise ValueError(
            "hidden_layer_sizes must be 'auto', or widths of at least one layer, all integers above 0; got"
            f" {sizes!r}"
        )
    return tuple(map(int, hidden)), None


def row_weights(sample_weight: Any, n_rows: int) -> tuple[Floats | None, NDArray[np.bool_]]:
    """Return the weights, and which rows count."""
    refuse_name("sample_weight", sample_weight, "one weight")
    if sample_weight is None:
        return None, np.ones(n_rows, bool)
    weight: Floats = _check_sample_weight(
        sample_weight, np.empty((n_rows, 0)), dtype=np.float64, ensure_non_negative=True
    )
    if not weight.any():  # scikit-learn says so itself from 1.8 on
        raise ValueError("sample_weight must contain at least one non-zero number")
    if (weight == weight[0]).all():
        return None, np.ones(n_rows, bool)
    return weight, weight > 0


def group_numbers(groups: Any, n_rows: int) -> NDArray[np.int64]:
    """Return the number of each row's group, from 0."""
    refuse_name("groups", groups, "one group")
    values = np.asarray(groups)
    if values.shape != (n_rows,):
        raise ValueError(f"groups must have shape ({n_rows},), one group a row of X; got {values.shape}")
    if n_missing := sum(map(is_missing, values)):
        raise ValueError(
            f"groups must not have missing values; got {n_missing}. Give each such row a group of its own"
        )
    if values.dtype.kind == "O":
        values = values.astype(str)
    found, numbers = np.unique(values, return_inverse=True)
    if len(found) < 2:
        raise ValueError("groups must name at least two groups, one to train on and one to judge by; got one")
    return np.asarray(numbers)


def warn_of_groups(columns: Columns, parsed: Parsed, task: Classes) -> None:
    """Warn of categories that seem to name groups of rows: then folds of rows leak."""
    _, names = columns.names_of(columns.input_names())
    for j, name in enumerate(names):
        if names_groups(parsed.codes[:, j], task.numbers_of_rows):
            warn(
                f"rows of one level of column {name!r} are nearly all of one class, as if it named groups of"
                f" rows: then oof_score_ is too good. Pass groups=X[{name!r}] to fit, or leave the column out"
            )
