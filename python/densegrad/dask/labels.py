"""The labels in a Dask collection, of which a partition may have only some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Distinct labels of a partition, and how many rows have each.
Counts = tuple[NDArray[Any], NDArray[np.int64]]


def labels_of_block(number: int, y: Any) -> Counts:
    """Return the labels of a partition, on its worker; an error names it."""
    try:
        labels = _checked_labels(np.asarray(y))
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"partition {number} of y: {error}") from None
    return np.unique(labels, return_counts=True)


def _checked_labels(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels as numbers or text, none of which is missing."""
    objects = labels.tolist() if labels.dtype.kind == "O" else []
    missing = [_is_missing(value) for value in objects] if objects else labels != labels
    if np.any(missing):
        row = int(np.flatnonzero(missing)[0])
        raise ValueError(
            f"labels must not be missing; row {row} of the partition has {labels[row]}. Drop such rows, or"
            " give them a label"
        )
    text = [isinstance(value, str) for value in objects]
    if any(text) and not all(text):
        raise TypeError(
            f"labels must be all numbers or all text; got {str(objects[text.index(True)])!r} and"
            f" {objects[text.index(False)]!r}"
        )
    if objects and not any(text):
        labels = np.array(objects)
    if labels.dtype.kind == "f" and np.any(labels != np.floor(labels)):
        fraction = labels[labels != np.floor(labels)][0]
        raise ValueError(
            f"labels must have no fractions; got {fraction:g}. DaskMLPRegressor predicts numbers"
        )
    return labels


def _is_missing(value: Any) -> bool:
    """Tell whether an object is None, NaN, or pandas.NA, which compares as NA."""
    equal = value == value
    return value is None or not isinstance(equal, (bool, np.bool_)) or not equal


def all_labels(found: Sequence[Counts]) -> Counts:
    """Return the labels of all partitions, sorted, and how many rows have each."""
    parts = [(number, labels) for number, (labels, _) in enumerate(found) if len(labels)]
    if not parts:
        raise ValueError("y must have at least one row; all of its partitions are empty")
    first, example = parts[0]
    for number, labels in parts:
        if _is_text(labels) != _is_text(example):
            raise TypeError(
                f"labels must be all numbers or all text; partition {first} of y has {_shown(example)},"
                f" partition {number} has {_shown(labels)}"
            )
    classes, codes = np.unique(np.concatenate([labels for _, labels in parts]), return_inverse=True)
    counts = np.zeros(len(classes), np.int64)
    np.add.at(counts, codes, np.concatenate([counts for _, counts in found if len(counts)]))
    return classes, counts


def _is_text(labels: NDArray[Any]) -> bool:
    return isinstance(labels[0], str)


def _shown(labels: NDArray[Any]) -> str:
    return repr(str(labels[0])) if _is_text(labels) else str(labels[0])
