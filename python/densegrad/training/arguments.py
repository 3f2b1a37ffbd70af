"""Checks of the arguments of a trainer and of its calls."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densegrad import _arrays, _validation
from densegrad._optimizers import BY_NAME, AnyOptimizer
from densegrad._tables import optimizers
from densegrad.samples import Samples, nonempty, samples_of
from densegrad.spec import NetworkSpec
from densegrad.training.shards import rows_of_shard


def checked_settings(batch_size: Any, shuffle: Any, n_threads: Any, shards: Any) -> dict[str, Any]:
    """Return these arguments of `Trainer`, checked, by the names of its attributes."""
    shards = checked_shards(shards)
    batch_size = "auto" if batch_size == "auto" else _validation.integer("batch_size", batch_size, 1)
    rows_of_shard(batch_size, shards)
    return {
        "batch_size": batch_size,
        "shuffle": _validation.boolean("shuffle", shuffle),
        "n_threads": _validation.threads(n_threads),
        "shards": shards,
    }


def checked_shards(shards: Any) -> int:
    """Return this argument of `Trainer`, checked."""
    return _validation.integer("shards", shards, 1, 1 << 30)


def checked_rhythm(average_every: Any, shards: int) -> int | None:
    """Return this argument of `Trainer`, checked."""
    if average_every is None:
        return None
    if shards == 1:
        raise ValueError(
            f"average_every must be None without shards; got {average_every!r}. Give shards=8, say"
        )
    return _validation.integer("average_every", average_every, 1)


def checked_limit(name: str, value: float | None) -> float:
    """Return a largest norm; zero stands for none."""
    return 0.0 if value is None else _validation.real(name, value, 0, closed="neither")


def drawn_seed(random: _validation.RandomSource) -> int:
    """Draw the seed of dropout masks and of the orders of shards."""
    if isinstance(random, np.random.Generator):
        return int(random.integers(2**63))
    return int(random.randint(2**63 - 1, dtype=np.int64))


def checked_optimizer(optimizer: Any) -> AnyOptimizer:
    """Return this argument of `Trainer`, checked; a name stands for an optimizer with its defaults."""
    if isinstance(optimizer, str):
        return BY_NAME[_validation.choice("optimizer", optimizer, BY_NAME)]()
    if type(optimizer) not in BY_NAME.values():  # files name the class, so no subclass can come back
        a_class = next((kind for kind in BY_NAME.values() if optimizer is kind), None)
        hint = "" if a_class is None else f". Call it: {a_class.__name__}()"
        raise TypeError(
            f"optimizer must be an instance of {', '.join(optimizers())}, but of no subclass, or the name of"
            f" one; got {optimizer!r}{hint}"
        )
    checked: AnyOptimizer = optimizer
    return checked


def checked_order(order: ArrayLike) -> NDArray[np.int64]:
    """Return row numbers as the core reads them; it checks itself that X has such rows."""
    _arrays.check_unmasked("order", order)
    array = np.asarray(order)
    if array.ndim != 1 or array.dtype.kind not in "iu" or len(array) == 0:
        raise ValueError(
            f"order must be row numbers in one dimension; got shape {array.shape}, {array.dtype}"
        )
    if array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"order must hold numbers of rows; got {array.max()}")
    return _arrays.readable_array(array, np.int64)


def checked_validation(spec: NetworkSpec, validation: Any, is_part: bool) -> Samples:
    """Return this argument of `fit` as samples; `is_part` as for `samples_of`."""
    if isinstance(validation, Samples):
        X, target, sample_weight = validation, None, None
    elif isinstance(validation, (tuple, list)) and len(validation) in (2, 3):
        X, target, sample_weight = (*validation, None)[:3]
    else:
        raise TypeError(
            "validation must be (X, target) or (X, target, sample_weight); "
            f"got {_validation.outline(validation)}"
        )
    try:
        samples = samples_of(spec, X, target, sample_weight, is_part=is_part)
        if not is_part:
            nonempty(samples)
        samples.check_finite()
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"validation: {error}") from error
    return samples
