"""The examples in docstrings and in docs/gradients.md do what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import densegrad

DOCS = Path(__file__).resolve().parent.parent / "docs"
MODULES = ["densegrad", *[f"densegrad.{module.name}" for module in pkgutil.iter_modules(densegrad.__path__)]]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_gradients_page() -> None:
    results = doctest.testfile(str(DOCS / "gradients.md"), module_relative=False)
    assert results.failed == 0
    assert results.attempted > 20
