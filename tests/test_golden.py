"""Trained weights against the hashes in tests/golden: no change may move them unnoticed.

If a change is meant to move them, `make golden` writes them anew, and CHANGELOG.md says what moved.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import densegrad
import golden_training
from builds import ROOT, build, output_of
from choices import ISAS

GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture(scope="module")
def program(build_directory: Path) -> Path:
    return build(build_directory, "test_golden") / "test_golden"


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("isa", ISAS)
def test_core(isa: str, n_threads: int, program: Path) -> None:
    assert output_of(program, isa, str(n_threads)) == (GOLDEN / "core.txt").read_text()


@pytest.mark.parametrize("n_threads", [None, 1, 3])
def test_training(isa: str, n_threads: int | None) -> None:
    assert densegrad._core.instruction_set() == isa
    wanted = (GOLDEN / "training.txt").read_text().splitlines()
    assert list(golden_training.lines(n_threads)) == wanted


def test_every_name_of_the_tables_is_there() -> None:
    core, training = ((GOLDEN / f"{name}.txt").read_text() for name in ("core", "training"))
    for name in densegrad.optimizers():
        assert f"Trainer {name.lower()} " in training
        assert f" solver {name} " in core or name == "LBFGS"  # which is not of the core's table
    for name in golden_training.HIDDEN:
        assert f" activation {name} " in core
        assert f" adam {name} " in training
    for name in densegrad.losses():
        assert f" loss {name}-" in core
    for name in golden_training.SOLVERS:
        assert f"MLPClassifier {name} " in training
