"""Trained networks for other programs: ONNX graphs and C files."""

from densegrad.export.c import to_c

__all__ = ["to_c"]
