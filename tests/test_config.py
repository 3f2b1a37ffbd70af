"""The output of `show_config`."""

import pytest

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
