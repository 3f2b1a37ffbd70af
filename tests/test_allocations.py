"""A step allocates nothing once the buffers are there."""

import subprocess
from pathlib import Path

import pytest

from builds import build


@pytest.mark.parametrize("n_threads", ["1", "2"])
def test_steps_do_not_allocate(n_threads: str, build_directory: Path) -> None:
    program = build(build_directory, "test_allocations") / "test_allocations"
    done = subprocess.run([program, n_threads], capture_output=True, text=True, check=True, timeout=60)
    first, short, long = (line.split() for line in done.stdout.splitlines())
    assert (first[0], short[0], long[0]) == ("100", "10", "100")
    assert short[2] == long[2]
    assert int(long[2]) <= int(first[2])
