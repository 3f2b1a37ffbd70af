"""Packages of the extra `onnx`, imported when they are first used."""

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
        if error.name != package:
            raise
        raise ImportError(
            f"this needs the package {package}, which is not installed; densegrad's extra for it is 'onnx':"
            " pip install 'densegrad[onnx]'"
        ) from error
