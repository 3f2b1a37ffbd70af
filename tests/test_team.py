"""The team of threads: every chunk of every phase is run once."""

import subprocess
from pathlib import Path

import pytest

import densegrad
from builds import build


@pytest.mark.skipif(not densegrad._core.has_openmp(), reason="needs OpenMP")
def test_each_chunk_runs_once(build_directory: Path) -> None:
    program = build(build_directory, "test_team") / "test_team"
    done = subprocess.run([program, "4"], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
