"""The notebooks are those of their scripts, and run as scripts and, with Jupyter, as notebooks."""

from __future__ import annotations

import json
import runpy
import tempfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
MAKER = runpy.run_path(str(EXAMPLES / "notebooks" / "make.py"))
SCRIPTS = {script.stem: script for script in MAKER["SCRIPTS"]}


def test_there_is_one_for_each_reader() -> None:
    assert sorted(SCRIPTS) == ["data_scientist", "researcher", "teacher"]
    assert sorted(path.stem for path in EXAMPLES.glob("*.ipynb")) == sorted(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_notebook_is_that_of_its_script(name: str) -> None:
    made = MAKER["notebook"](SCRIPTS[name].read_text())
    path = MAKER["path_of"](SCRIPTS[name])
    assert path.read_text() == made, "run python examples/notebooks/make.py"
    cells = json.loads(made)["cells"]
    assert all(not cell["outputs"] for cell in cells if cell["cell_type"] == "code")
    joined = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    for line in SCRIPTS[name].read_text().splitlines():
        assert line.startswith("#") or line in joined


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plt, "show", lambda: None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    runpy.run_path(str(SCRIPTS[name]), run_name="__main__")
    plt.close("all")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_notebook_runs(name: str, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient")
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat")
    pytest.importorskip("ipykernel", reason="needs ipykernel")
    notebook: Any = nbformat.read(MAKER["path_of"](SCRIPTS[name]), as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    if name == "teacher":  # networks and passes show themselves
        assert sum("text/html" in output.get("data", {}) for output in outputs) == 2
