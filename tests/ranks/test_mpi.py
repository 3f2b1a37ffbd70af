"""Ranks of MPI, started by mpiexec on this machine; `make test-mpi` has an environment for them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mpi4py", reason="mpi4py is not installed: make test-mpi")

PROGRAM = Path(__file__).with_name("program.py")
MPIEXEC = Path(sys.executable).with_name("mpiexec")


def run(size: int, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    launcher = [] if size == 0 else [str(MPIEXEC), "-n", str(size)]
    return subprocess.run(
        [*launcher, sys.executable, str(PROGRAM), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def results(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What each rank printed after its number, in their order."""
    # mpiexec may lose the end of a line if two ranks print at once.
    _, *found = re.split(r"rank (\d+): ", done.stdout)
    return [text.strip() for _, text in sorted(zip(found[::2], found[1::2], strict=True))]


@pytest.fixture(scope="module")
def alone() -> str:
    """The hash of the program as one process, without mpiexec."""
    (found,) = results(run(0))
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_one_result(size: int, alone: str) -> None:
    done = run(size)
    assert results(done) == [alone] * size, done.stderr


def test_one_result_of_other_instruction_sets(alone: str) -> None:
    assert results(run(2, DENSEGRAD_ISA="generic")) == [alone] * 2


@pytest.mark.parametrize(("before", "after"), [(3, 2), (2, 4), (2, 0)])
def test_a_job_that_was_killed_goes_on_with_other_ranks(
    before: int, after: int, alone: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "fit.safetensors")
    assert run(before, "killed", path).returncode != 0
    done = run(after, "fit", path)
    assert results(done) == [alone] * max(after, 1), done.stderr


def test_an_error_of_rank_0_ends_all() -> None:
    found = results(run(3, "raises"))
    assert found[0].startswith("LookupError, 15 updates: ")
    for text in found[1:]:
        assert text.startswith("Interrupted, 15 updates: rank 0 ended the training after 15 updates")
        assert "a callback of my own" in text


def test_a_rank_that_does_not_answer() -> None:
    found = results(run(2, "silent"))
    assert "PeerLost, 15 updates: rank 0 has not answered within 2 s" in found
