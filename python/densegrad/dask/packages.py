"""Packages of the extra `dask`, imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def imported(package: str) -> Any:
    """Return a package of the extra, or a module inside one that is there.

    Raises
    ------
    ImportError
        If it is missing; the message names the extra.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name not in (package, package.split(".")[0]):
            raise
        raise ImportError(
            f"this needs the package {package.split('.')[0]}, which is not installed; densegrad's extra for"
            " it is 'dask': pip install 'densegrad[dask]'"
        ) from error
