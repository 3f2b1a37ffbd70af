"""What files and pickles of the tabular estimators hold: plain data, checked when it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import Network, _validation, files
from densegrad.tabular.columns import Category, Columns
from densegrad.tabular.crossings import Crossing
from densegrad.tabular.ensemble import Ensemble, Member
from densegrad.tabular.inputs import ENCODINGS, Inputs
from densegrad.tabular.level_encoding import LevelEncoding, TargetMeans
from densegrad.tabular.number_encoding import NumberEncoding
from densegrad.tabular.tasks import Scaling

_KINDS = ("number", "category", "date", "empty")


def check_levels(columns: Columns) -> None:
    """Raise TypeError, with the column's name, for levels that files do not hold."""
    _, names = columns.names_of(columns.input_names())
    for name, category in zip(names, columns.categories, strict=True):
        strange = [level for level in category.levels if not files.is_writable(level)]
        if strange:
            raise TypeError(
                f"save cannot write column {name!r}: its levels are of type {type(strange[0]).__name__}. Make"
                " text of them before fit, or use pickle"
            )


def columns_state(columns: Columns) -> dict[str, Any]:
    """Return plain data of the columns."""
    return {
        "names": columns.names,
        "kinds": columns.kinds,
        "levels": [category.levels for category in columns.categories],
        "counts": [category.counts for category in columns.categories],
        "hours": columns.hours,
    }


def columns_of(state: dict[str, Any]) -> Columns:
    """Return the columns that gave `columns_state`."""
    names, kinds, hours = state["names"], _tuple("kinds", state["kinds"]), _tuple("hours", state["hours"])
    if names is not None:
        names = _tuple("names", names)
        if len(names) != len(kinds) or len(set(names)) != len(names):
            raise ValueError(f"names must be {len(kinds)} different ones; got {len(names)}")
        if not all(isinstance(name, str) for name in names):
            raise ValueError("names must be strings")
    for kind in kinds:
        _validation.choice("kinds", kind, _KINDS)
    categories = []
    for levels, counts in zip(state["levels"], state["counts"], strict=True):
        levels = _tuple("levels", levels)
        if len(set(levels)) != len(levels) or levels in ((), (None,)):
            raise ValueError("levels must differ, and be more than a missing one")
        check_array("counts", counts, np.int64, (len(levels),))
        categories.append(Category(levels, counts))
    if len(categories) != kinds.count("category") or len(hours) != kinds.count("date"):
        raise ValueError("levels and hours must be of as many columns as kinds tell")
    return Columns(names, kinds, tuple(categories), tuple(_validation.boolean("hours", x) for x in hours))


def inputs_state(inputs: Inputs) -> dict[str, Any]:
    """Return plain data of the inputs."""
    return {
        "numbers": [_fields(number) for number in inputs.numbers],
        "categories": [_fields(level) for level in inputs.categories],
    }


def inputs_of(state: dict[str, Any], columns: Columns) -> Inputs:
    """Return the inputs that gave `inputs_state`."""
    names, _ = columns.names_of(columns.input_names())
    if len(state["numbers"]) != len(names) or len(state["categories"]) != len(columns.categories):
        raise ValueError("numbers and categories must be as many as the columns have")
    levels = [
        _level_encoding(level, len(category.levels))
        for level, category in zip(state["categories"], columns.categories, strict=True)
    ]
    return Inputs(tuple(map(_number_encoding, state["numbers"])), tuple(levels))


def ensemble_state(ensemble: Ensemble) -> dict[str, Any]:
    """Return plain data of the ensemble."""
    return {
        "encoding": ensemble.encoding,
        "race": ensemble.race,
        **inputs_state(ensemble.inputs),
        "members": [_member_state(member) for member in ensemble.members],
    }


def ensemble_of(state: dict[str, Any], columns: Columns) -> Ensemble:
    """Return the ensemble that gave `ensemble_state`."""
    inputs = inputs_of(state, columns)
    n_numbers = len(inputs.numbers)
    members = [_member(member, inputs.width, n_numbers, columns.categories) for member in state["members"]]
    if not members or len({member.network.spec.head.units for member in members}) > 1:
        raise ValueError("members must be one or more, with as many outputs each")
    race = {
        _validation.choice("race", name, ENCODINGS): _validation.number("race", error)
        for name, error in state["race"].items()
    }
    return Ensemble(_validation.choice("encoding", state["encoding"], ENCODINGS), inputs, members, race)


def _member_state(member: Member) -> dict[str, Any]:
    return {
        "network": member.network,
        "means": [{**_fields(crossing), **_fields(means)} for crossing, means in member.means],
        "offset": member.scaling.offset,
        "factor": member.scaling.factor,
        "input_scale": member.input_scale,
        "curve": member.curve,
        "best_epoch": member.best_epoch,
    }


def _member(state: dict[str, Any], width: int, n_numbers: int, categories: Sequence[Category]) -> Member:
    network = state["network"]
    if not isinstance(network, Network) or network.dtype != np.float32:
        raise ValueError("network must be a network of float32")
    means = [_means(of_member, n_numbers, categories) for of_member in state["means"]]
    width += sum(of_levels.means.shape[1] for _, of_levels in means)
    if network.spec.n_inputs != width:
        raise ValueError(f"network must have {width} inputs; got {network.spec.n_inputs}")
    offset, factor = state["offset"], state["factor"]
    size = len(check_array("offset", offset, np.float64, (None,)))
    check_array("factor", factor, np.float64, (size,))
    if size not in (1, network.spec.head.units):
        raise ValueError(f"offset must have {network.spec.head.units} numbers; got {size}")
    curve = [_validation.number("curve", error) for error in state["curve"]]
    return Member(
        network,
        means,
        Scaling(offset, factor),
        _validation.number("input_scale", state["input_scale"]),
        curve,
        _validation.integer("best_epoch", state["best_epoch"], 0, len(curve) - 1),
        np.empty(0, np.int64),
        np.empty((0, network.spec.head.units), np.float32),
    )


def _means(
    state: dict[str, Any], n_numbers: int, categories: Sequence[Category]
) -> tuple[Crossing, TargetMeans]:
    columns, edges = _tuple("columns", state["columns"]), _tuple("edges", state["edges"])
    if len(columns) not in (1, 2):
        raise ValueError(f"columns must be one or two; got {len(columns)}")
    sizes = []
    for column, of_column in zip(columns, edges, strict=True):
        last = len(categories) + n_numbers - 1
        column = _validation.integer("columns", column, 0, last)
        _edges(of_column)
        is_category = column < len(categories)
        sizes.append(len(categories[column].levels) if is_category else len(of_column) + 2)
    crossing = Crossing(columns, tuple(sizes), edges)
    if sizes != list(_tuple("sizes", state["sizes"])):
        raise ValueError(f"sizes must be {tuple(sizes)}, as columns and edges tell; got {state['sizes']}")
    means = check_array("means", state["means"], np.float64, (crossing.n_levels, None))
    return crossing, TargetMeans(means)


def _edges(value: object) -> NDArray[Any]:
    edges = check_array("edges", value, np.float64, (None,))
    if (np.diff(edges) <= 0).any():
        raise ValueError("edges must increase")
    return edges


def _number_encoding(state: dict[str, Any]) -> NumberEncoding:
    names = ("median", "robust_factor", "mean", "standard_factor", "low", "high")
    return NumberEncoding(
        **{name: _validation.number(name, state[name]) for name in names},
        missing=_validation.boolean("missing", state["missing"]),
        edges=_edges(state["edges"]),
        values=check_array("values", state["values"], np.float64, (None,)),
    )


def _level_encoding(state: dict[str, Any], n_levels: int) -> LevelEncoding:
    signed = _validation.boolean("signed", state["signed"])
    n = _validation.integer("n_indicators", state["n_indicators"], int(signed), 1 if signed else n_levels)
    return LevelEncoding(n, signed)


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _tuple(name: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise ValueError(f"{name} must be a tuple; got {type(value).__name__}")
    return value


def check_array(
    name: str, value: object, dtype: Any, shape: tuple[int | None, ...], *, finite: bool = True
) -> NDArray[Any]:
    """Return an array of this dtype and shape (None: any size); with `finite` its numbers must be."""
    if (
        not isinstance(value, np.ndarray)
        or value.dtype != dtype
        or value.ndim != len(shape)
        or any(n not in (None, found) for n, found in zip(shape, value.shape, strict=True))
        or (finite and not np.isfinite(value).all())
    ):
        raise ValueError(f"{name} must be an array of {np.dtype(dtype)} and shape {shape}, and finite")
    return value
