"""The examples in docstrings, in README.md and in pages of docs/ do what they say."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import densegrad

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
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


@pytest.mark.parametrize(
    ("page", "at_least"), [("gradients.md", 21), ("migration.md", 8), ("tabular.md", 30)]
)
def test_pages(page: str, at_least: int) -> None:
    results = doctest.testfile(str(DOCS / page), module_relative=False)
    assert results.failed == 0
    assert results.attempted >= at_least


def test_readme(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    accuracy, first_loss, _, last_loss, error = capsys.readouterr().out.split()
    assert f"# {float(accuracy):.3f}, the same as scikit-learn's" in page
    assert float(last_loss) < 0.05 * float(first_loss)
    assert float(error) < 1e-5


def test_links_between_the_pages() -> None:
    for page in [*ROOT.glob("*.md"), *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
