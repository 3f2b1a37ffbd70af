"""The scripts of the gallery run as they are, without a warning, and draw."""

from __future__ import annotations

import runpy
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FIGURES = {
    "plot_custom_activation": 1,
    "plot_decision_boundary": 1,
    "plot_five_pictures": 5,
    "plot_gradient_check": 2,
    "plot_gradient_flow": 3,
    "plot_learning_curves": 1,
    "plot_step_by_step_page": 0,
    "plot_weights": 3,
}


def test_all_scripts_are_run() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("plot_*.py")) == sorted(FIGURES)


@pytest.mark.parametrize(("name", "figures"), FIGURES.items())
def test_a_script_runs(name: str, figures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plt, "show", lambda: None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert len(plt.get_fignums()) == figures
