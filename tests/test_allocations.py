"""A step allocates nothing once the buffers are there. Each allocation may fail, which changes nothing."""

import subprocess
from pathlib import Path

import pytest

from builds import build, output_of


@pytest.mark.parametrize("n_threads", ["1", "2"])
def test_steps_do_not_allocate(n_threads: str, build_directory: Path) -> None:
    program = build(build_directory, "test_allocations") / "test_allocations"
    done = subprocess.run([program, n_threads], capture_output=True, text=True, check=True, timeout=60)
    first, short, long = (line.split() for line in done.stdout.splitlines())
    assert (first[0], short[0], long[0]) == ("100", "10", "100")
    assert short[2] == long[2]
    assert int(long[2]) <= int(first[2])


def test_each_allocation_may_fail(build_directory: Path) -> None:
    lines = output_of(build(build_directory, "test_out_of_memory") / "test_out_of_memory").splitlines()
    failed = [int(line.split()[-1]) for line in lines if not line.endswith(":")]
    assert len(failed) == 15
    assert min(failed) > 0
