"""The code in docstrings, in README.md and in the pages of docs/ does what it says."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import inspect
import io
import os
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest

import densegrad

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
MODULES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(densegrad.__path__, "densegrad.")
    if not module.name.endswith("._core")
]
# docs/gallery is made of examples/, which tests of their own run.
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(page for page in DOCS.rglob("*.md") if DOCS / "gallery" not in page.parents),
]
# estimators/test_recipes.py runs every row of the recipes.
WITH_CODE = [
    page
    for page in PAGES
    if page.name != "recipes.md" and re.search(r"^```py", page.read_text(), re.MULTILINE)
]
# What is not run: commands, pseudo-code and output, formulas, and directives of the site.
# export/test_c.py compiles the C. "output" is what the Python block above it prints.
NOT_RUN = re.compile(r"sh|c|text|output|math|\{(toctree|include|raw|eval-rst|grid)\}.*")
# Packages that a page with these words needs, and that not every environment has.
NEEDED = {
    "densegrad.display": ("matplotlib",),
    "import onnxruntime": ("onnx", "onnxruntime", "skl2onnx"),
    "import torch": ("torch", "jax"),
    "import dask": ("dask", "distributed"),
}


@pytest.fixture(autouse=True)
def _environment_restored() -> Iterator[None]:
    """Dask sets limits of threads in this process, too, as it starts workers."""
    with patch.dict(os.environ):
        yield


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    code: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    language, lines, start = None, [], 0
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith("```"):
            if language is None:
                language, lines, start = line.strip("`").strip(), [], number
            else:
                yield Block(language, "\n".join(lines) + "\n", start)
                language = None
        elif language is not None:
            lines.append(line)
    assert language is None, f"{page.name}: the block of line {start} has no end"


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


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


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_is_run_or_is_no_code(page: Path) -> None:
    for block in blocks(page):
        assert block.language in ("python", "pycon") or NOT_RUN.fullmatch(block.language), block
        assert block.language == "pycon" or ">>> " not in block.code, f"call this block pycon: {block}"
    outside = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert ">>> " not in outside


@pytest.mark.parametrize("page", WITH_CODE, ids=named)
def test_code_of_a_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks run in order, in one namespace, in an empty folder."""
    for words, packages in NEEDED.items():
        for package in packages if words in page.read_text() else ():
            pytest.importorskip(package, reason=f"needs {package}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, Any] = {"__name__": "page"}
    runner = doctest.DocTestRunner()
    printed = ""
    for block in blocks(page):
        if block.language == "python":
            printed = run_script(page, block, names)
        elif block.language == "output":
            assert block.code == printed, f"{named(page)}:{block.line}"
        elif block.language == "pycon":
            test = doctest.DocTestParser().get_doctest(block.code, names, named(page), str(page), block.line)
            test.globs = names  # not a copy: the next block goes on from here
            assert test.examples, block
            assert runner.run(test, clear_globs=False).failed == 0


def run_script(page: Path, block: Block, names: dict[str, Any]) -> str:
    """Run a block and return what it prints. A comment after a print must say the same, before any comma."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * block.line + block.code, str(page), "exec"), names)
    lines = iter(printed.getvalue().splitlines())
    for promised in re.findall(r"^print\(.*\)  # (.*)$", block.code, re.MULTILINE):
        assert any(line and re.fullmatch(re.escape(line) + "(, .*)?", promised) for line in lines), (
            f"{named(page)}:{block.line}: {promised!r} is not printed: {printed.getvalue()}"
        )
    return printed.getvalue()


def test_code_is_no_wider_than_the_site_shows_it() -> None:
    """README.md and others at the root are read elsewhere."""
    long = [
        f"{named(page)}:{block.line}: {line}"
        for page in PAGES
        if page.parent != ROOT
        for block in blocks(page)
        if block.language in ("python", "pycon", "text", "sh", "c")
        for line in block.code.splitlines()
        if len(line) > 88 and not re.match(r"\w*Error: ", line)
    ]
    long += [
        f"{module.__name__}: {line}"
        for module in MODULES
        for line in inspect.getsource(module).splitlines()
        if line.strip().startswith((">>> ", "... ")) and len(line.strip()) > 88
    ]
    on_the_site = set((ROOT / "examples").glob("*.py")) - {
        ROOT / "examples" / f"{name}.py" for name in ("cluster", "fashion_mnist")
    }
    for example in sorted(on_the_site):
        code = re.sub(r'^""".*?"""', "", example.read_text(), count=1, flags=re.DOTALL)  # prose
        code = re.sub(r"^# .*$", "", code, flags=re.MULTILINE)
        long += [f"{named(example)}: {line}" for line in code.splitlines() if len(line) > 88]
    assert not long


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_between_the_pages(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        # index.rst of the gallery is made of examples/README.rst.
        path = (page.parent / target).resolve()
        if path == DOCS / "gallery" / "index.rst":
            path = ROOT / "examples" / "README.rst"
        assert path.exists(), f"{named(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_formulas_survive_any_markdown(page: Path) -> None:
    """Formulas stand in $`…`$ or in math blocks: elsewhere underscores would become italics."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    inline = re.findall(r"\$`([^`]*)`\$", text)
    assert text.count("$`") == text.count("`$") == len(inline)
    assert all(formula.count("{") == formula.count("}") for formula in inline)
    plain = re.sub(r"`[^`]*`", "", text.replace("$`", "`").replace("`$", "`"))
    assert "$" not in plain
    assert not re.search(r"\w'?_\(", plain)


def test_the_reference_names_every_public_name() -> None:
    named = set(re.findall(r"^   (\w+)$", (DOCS / "api" / "index.rst").read_text(), re.MULTILINE))
    modules = {"export", "initializers", "schedules"}
    assert set(densegrad.__all__) - modules <= named
