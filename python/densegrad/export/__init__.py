"""Trained networks for other programs: ONNX models and C files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from densegrad.export.c import to_c
from densegrad.export.onnx import to_onnx

if TYPE_CHECKING:
    from densegrad.export.converters import register_converters

__all__ = ["register_converters", "to_c", "to_onnx"]


def __getattr__(name: str) -> Any:
    # It needs the estimators, and so scikit-learn, which takes a second to import.
    if name == "register_converters":
        return import_module("densegrad.export.converters").register_converters
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
