"""A call that is stopped leaves a network that can be used."""

import subprocess
from pathlib import Path

import pytest

from builds import build


@pytest.mark.parametrize("n_threads", ["1", "2"])
def test_stops_at_each_question(n_threads: str, build_directory: Path) -> None:
    program = build(build_directory, "test_stop") / "test_stop"
    done = subprocess.run([program, n_threads], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    steps, passes = map(int, done.stdout.split())
    assert steps > 0  # a step of this size takes longer than the time between two questions
    assert passes > 0
