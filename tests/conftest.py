"""Header of a test run, random numbers, instruction sets and builds."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import densegrad
from builds import CMAKE, ROOT
from choices import ISAS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="seed of the `rng` fixture (default 0)")


def pytest_report_header(config: pytest.Config) -> list[str]:
    core = densegrad._core
    return [
        f"densegrad {densegrad.__version__} from {os.path.dirname(densegrad.__file__)}",
        f"instruction set {core.instruction_set()} (built: {', '.join(core.built_instruction_sets())}; "
        f"here: {', '.join(core.supported_instruction_sets())}), {core.available_threads()} threads",
        f"seed {config.getoption('--seed')}",
    ]


@pytest.fixture(autouse=True, scope="session")
def threads_as_asked() -> None:
    """Small networks would otherwise be trained on one thread whatever a test asks for."""
    densegrad._core.set_exact_threads(True)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that depend on --seed and nothing else."""
    return np.random.default_rng(request.config.getoption("--seed"))


@pytest.fixture(scope="session")
def build_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the build under test, named by DENSEGRAD_BUILD (`make test` does), or an empty one."""
    if os.environ.get("DENSEGRAD_BUILD"):
        return ROOT / os.environ["DENSEGRAD_BUILD"]
    if CMAKE is None:
        pytest.skip("needs CMake")
    return tmp_path_factory.mktemp("build")


@pytest.fixture(scope="session")
def other_builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory for builds of other kinds: beside the build under test and kept like it, or an empty one."""
    if os.environ.get("DENSEGRAD_BUILD"):
        return (ROOT / os.environ["DENSEGRAD_BUILD"]).parent
    return tmp_path_factory.mktemp("builds")


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set in turn, for the networks that the test makes."""
    before = densegrad._core.instruction_set()
    densegrad._core.set_instruction_set(request.param)
    yield request.param
    densegrad._core.set_instruction_set(before)
