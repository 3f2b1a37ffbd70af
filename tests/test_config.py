"""The output of `show_config`."""

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
import sklearn

import densegrad
from choices import ISAS
from densegrad import _core
from densegrad.config import config


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    densegrad.show_config()
    lines = [line.split(":", 1) for line in capsys.readouterr().out.splitlines()]
    return {name: value.strip() for name, value in lines}


def test_build_and_machine(capsys: pytest.CaptureFixture[str]) -> None:
    printed = shown(capsys)
    assert printed["version"] == densegrad.__version__
    assert printed["python"] == f"{platform.python_implementation()} {platform.python_version()}"
    assert printed["numpy"] == np.__version__
    assert printed["scikit learn"] == sklearn.__version__
    assert printed["instruction sets built"].split(", ") == _core.built_instruction_sets()
    assert printed["instruction sets supported"].split(", ") == ISAS
    assert printed["threads"] == str(_core.available_threads())
    assert printed["openmp"] == str(_core.has_openmp())
    assert printed["compiler"] == _core.compiler() != ""
    assert [name.replace(" ", "_") for name in printed] == list(config())


@pytest.mark.parametrize("name", ISAS)
def test_chosen_instruction_set(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = _core.instruction_set()
    try:
        _core.set_instruction_set(name)
        assert shown(capsys)["instruction set"] == config()["instruction_set"] == name
    finally:
        _core.set_instruction_set(before)


def test_as_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "densegrad"], capture_output=True, text=True, check=True)
    densegrad.show_config()
    assert done.stdout == capsys.readouterr().out


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr("importlib.metadata.version", missing)
    monkeypatch.setattr("densegrad._versions.installed", lambda: "0.1.0")
    assert config()["scikit_learn"] == "not installed"
