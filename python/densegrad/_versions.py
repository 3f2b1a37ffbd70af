"""The stamp of the version that wrote a pickle or file, and the formats that this version can read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

#: Of the state that `__getstate__` returns; goes up when an older version could no longer read it.
PICKLE_FORMAT: Final = 1


@cache
def installed() -> str:
    """Return the version of densegrad that runs."""
    # Here, since it would take a third of the time to import densegrad.
    from importlib.metadata import version

    return version("densegrad")


def stamped(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state for a pickle, with the format and the version that wrote it."""
    return {"format": PICKLE_FORMAT, "densegrad": installed(), **state}


def read(kind: str, state: Any) -> dict[str, Any]:
    """Return the state in a pickle of a `kind` without its stamp.

    Raises
    ------
    ValueError
        If the pickle has no stamp, or a newer one than this version reads.
    """
    if not isinstance(state, dict) or not isinstance(state.get("format"), int):
        raise ValueError(f"this is no pickle of a {kind} that densegrad {installed()} can read")
    check(f"this pickle of a {kind}", state["format"], PICKLE_FORMAT, state.get("densegrad"))
    return {name: value for name, value in state.items() if name not in ("format", "densegrad")}


def check(what: str, number: int, readable: int, writer: Any) -> None:
    """Raise ValueError if a pickle or file is of a format above `readable`."""
    if number > readable:
        raise ValueError(
            f"{what} has format {number}, written by densegrad {writer or 'of an unknown version'};"
            f" densegrad {installed()} reads formats up to {readable}. Use the newer version"
        )
