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


def source_of(module: ModuleType) -> str:
    return inspect.getsource(module).replace(":\n", "(")


@pytest.mark.parametrize(
    "module", [module for module in MODULES if ">>>" in inspect.getsource(module)], ids=lambda m: m.__name__
)
def test_docstrings(module: ModuleType) -> None:
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    found = finder.find(module)
    for name, kind in vars(module).items():
        # Public classes name the package as their module, wherever they stand.
        here = f"class {name}(" in source_of(module)
        if isinstance(kind, type) and kind.__module__ == "densegrad" and here:
            found += finder.find(kind, name, module=False, globs=vars(module).copy())
    for examples in found:
        runner.run(examples)
    assert runner.failures == 0
    assert runner.tries > 0


@pytest.mark.parametrize(("page", "at_least"), [("gradients.md", 21), ("migration.md", 8)])
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


def test_files_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "files.md").read_text(), re.DOTALL)
    exec(compile("".join(blocks), "files.md", "exec"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"clf.safetensors", "fit.safetensors"}


def test_links_between_the_pages() -> None:
    for page in [*ROOT.glob("*.md"), *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
