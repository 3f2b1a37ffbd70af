"""What partial_fit takes in place of X and y: an iterable of batches, (X, y) or (X, y, sample_weight)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def is_iterable_of_batches(X: Any) -> bool:
    """Tell batches from rows: a generator, or a collection of tuples that is no array."""
    return isinstance(X, Iterator) or (
        isinstance(X, Iterable)
        and not hasattr(X, "shape")
        and not hasattr(X, "__array__")
        and isinstance(next(iter(X), None), tuple)
    )


def batches(X: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Go over the batches, checked one by one; there must be one at least."""
    number = -1
    for number, batch in enumerate(X):
        if not isinstance(batch, tuple) or len(batch) not in (2, 3):
            raise ValueError(
                f"batch {number} must be a tuple (X, y) or (X, y, sample_weight); got {type(batch)}"
            )
        yield batch
    if number < 0:
        raise ValueError("X must give at least one batch, (X, y) or (X, y, sample_weight); got none")
