"""The examples in docstrings and in docs/gradients.md do what they say."""

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


def test_gradients_page() -> None:
    results = doctest.testfile(str(DOCS / "gradients.md"), module_relative=False)
    assert results.failed == 0
    assert results.attempted > 20
