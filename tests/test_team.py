"""The team of threads: every chunk of every phase is run once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import densegrad
from builds import build

pytestmark = pytest.mark.skipif(
    not densegrad._core.has_openmp(), reason="built without OpenMP, a team is the caller alone"
)


def test_each_chunk_runs_once(build_directory: Path) -> None:
    program = build(build_directory, "test_team") / "test_team"
    done = subprocess.run([program, "4"], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "setting", ["OMP_THREAD_LIMIT=1", "OMP_THREAD_LIMIT=2", "OMP_DYNAMIC=true", "OMP_MAX_ACTIVE_LEVELS=0"]
)
def test_a_team_may_have_fewer_members_than_asked_for(build_directory: Path, setting: str) -> None:
    program = build(build_directory, "test_team") / "test_team"
    name, value = setting.split("=")
    command = [program, "3", "2000"]
    environment = {**os.environ, name: value}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(densegrad._core.available_threads() < 2, reason="with one CPU there is nothing to count")
@pytest.mark.parametrize("setting", ["OMP_PROC_BIND=true", "OMP_PLACES=cores"])
def test_threads_bound_to_cpus_are_all_available(setting: str) -> None:
    name, value = setting.split("=")
    command = [sys.executable, "-c", "import densegrad; print(densegrad._core.available_threads())"]
    environment = {**os.environ, name: value}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) == densegrad._core.available_threads()
