"""Optional packages, imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def imported(package: str, *, extra: str) -> Any:
    """Return a package of an extra, or a module inside one that is there.

    Raises
    ------
    ImportError
        If the package is missing; the message names the extra.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        needed = package.split(".")[0]
        if error.name not in (package, needed):
            raise
        raise ImportError(
            f"this needs the package {needed}, which is not installed; densegrad's extra for it is"
            f" '{extra}': pip install 'densegrad[{extra}]'"
        ) from error
