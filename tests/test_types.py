"""Type checkers see the names and results of the public interface as `tests/types/uses.py` says."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import densegrad
from builds import ROOT
from choices import HIDDEN
from densegrad import schedules, typing
from densegrad._optimizers import BY_NAME as OPTIMIZERS
from densegrad.estimators.parameters import CONSTRAINTS
from densegrad.training.rates import RULES

USES = ROOT / "tests" / "types" / "uses.py"


def names(alias: object) -> set[str]:
    """The names of an alias, of a union of literals too."""
    parts = get_args(alias)
    return {name for part in parts for name in ([part] if isinstance(part, str) else names(part))}


def test_the_types_have_the_names_of_the_tables() -> None:
    assert names(typing.ActivationName) == set(densegrad.activations())
    assert names(typing.HiddenActivationName) == set(HIDDEN)
    assert names(typing.LossName) == set(densegrad.losses())
    assert names(typing.OptimizerName) == set(OPTIMIZERS)
    assert names(typing.ScheduleName) == set(schedules.BY_NAME)
    assert names(typing.LearningRateName) == set(RULES)
    assert names(typing.SolverName) == set(CONSTRAINTS["solver"][0].options)
    for estimator, alias in (
        (densegrad.MLPClassifier, typing.ClassificationLossName),
        (densegrad.MLPRegressor, typing.RegressionLossName),
    ):
        assert names(alias) == set(estimator._parameter_constraints["loss"][0].options)


def wrong_lines() -> set[int]:
    lines = USES.read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# error")}


def checked_by(*command: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command, str(USES)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="needs mypy")
def test_mypy(tmp_path: Path) -> None:
    # In a folder without the settings of this project: the installed package, as a user's program sees it.
    output = checked_by("mypy", "--strict", "--no-error-summary", "--show-error-codes", folder=tmp_path)
    found = {int(line) for line in re.findall(r"uses\.py:(\d+): error", output)}
    assert found == wrong_lines(), output


@pytest.mark.skipif(importlib.util.find_spec("basedpyright") is None, reason="needs basedpyright")
def test_pyright(tmp_path: Path) -> None:
    settings = tmp_path / "pyrightconfig.json"
    settings.write_text(json.dumps({"typeCheckingMode": "standard", "pythonVersion": "3.11"}))
    command = ("basedpyright", "--outputjson", "--project", str(settings), "--pythonpath", sys.executable)
    output = checked_by(*command, folder=tmp_path)
    errors = [d for d in json.loads(output)["generalDiagnostics"] if d["severity"] == "error"]
    assert {d["range"]["start"]["line"] + 1 for d in errors} == wrong_lines(), errors
