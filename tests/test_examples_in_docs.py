"""The examples in docstrings and in pages of docs/ do what they say."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

import densegrad

DOCS = Path(__file__).resolve().parent.parent / "docs"
MODULES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(densegrad.__path__, "densegrad.")
    if not module.name.endswith("._core")
]


@pytest.mark.parametrize(
    "module", [module for module in MODULES if ">>>" in inspect.getsource(module)], ids=lambda m: m.__name__
)
def test_docstrings(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.failed == 0
    assert results.attempted > 0


@pytest.mark.parametrize(("page", "at_least"), [("gradients.md", 21), ("migration.md", 8)])
def test_pages(page: str, at_least: int) -> None:
    results = doctest.testfile(str(DOCS / page), module_relative=False)
    assert results.failed == 0
    assert results.attempted >= at_least
