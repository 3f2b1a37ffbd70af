"""The team of threads: every chunk of every phase is run once, by as many members as can be had."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

import densegrad
from builds import build


def members(program: Path, *arguments: str, before: Callable[[], None] | None = None) -> int:
    """Run test_team and return the size of its largest team."""
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=300, preexec_fn=before
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.split()[0])


def test_each_chunk_runs_once(build_directory: Path) -> None:
    program = build(build_directory, "test_team") / "test_team"
    assert members(program, "4") == 4


# The stack of a thread is of the size that the process may have for its first one.
STACK = 1 << 30


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are those of Linux")
@pytest.mark.parametrize("stacks", [0, 2])
def test_a_team_is_smaller_where_the_system_gives_no_thread(build_directory: Path, stacks: int) -> None:
    program = build(build_directory, "test_team") / "test_team"

    def limit_memory() -> None:
        space = stacks * STACK + STACK // 2
        resource.setrlimit(resource.RLIMIT_STACK, (STACK, resource.getrlimit(resource.RLIMIT_STACK)[1]))
        resource.setrlimit(resource.RLIMIT_AS, (space, space))

    assert members(program, "4", "1", before=limit_memory) == 1 + stacks


NO_THREAD = """
import os, resource, numpy as np, densegrad
network = densegrad.Network(100, [densegrad.Dense(400), densegrad.Dense(1, "identity")], random_state=0)
X, y = np.ones((2000, 100), np.float32), np.ones(2000)
densegrad.Trainer(network, n_threads=1).fit(X, y, epochs=1)  # imports what NumPy imports on first use
alone = network.predict(X, 1)
if os.getuid() == 0:  # whom the limit does not bind; the user in its place may not be able to read modules
    os.setgid(54321)
    os.setuid(54321)
densegrad._core.set_exact_threads(True)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
assert (network.predict(X, 2) == alone).all()
densegrad.Trainer(network, n_threads=2).fit(X, y, epochs=2)
print(len(os.listdir("/proc/self/task")))
"""


def output(script: str, **environment: str) -> str:
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is of Linux")
def test_a_process_that_may_start_no_thread_works_alone() -> None:
    assert output(NO_THREAD, OPENBLAS_NUM_THREADS="1") == "1\n"


AVAILABLE = "import densegrad; print(densegrad._core.available_threads())"
several_cpus = pytest.mark.skipif(
    densegrad._core.available_threads() < 2, reason="with one CPU there is nothing to count"
)


@several_cpus
@pytest.mark.parametrize("setting", ["OMP_PROC_BIND=true", "OMP_PLACES=cores"])
def test_threads_bound_to_cpus_are_all_available(setting: str) -> None:
    assert int(output(AVAILABLE, **dict([setting.split("=")]))) == densegrad._core.available_threads()


@several_cpus
@pytest.mark.parametrize("setting", ["OMP_NUM_THREADS=1", "OMP_NUM_THREADS=1,2", "OMP_THREAD_LIMIT=1"])
def test_settings_of_openmp_limit_the_threads(setting: str) -> None:
    assert output(AVAILABLE, **dict([setting.split("=")])) == "1\n"


@several_cpus
@pytest.mark.skipif(not densegrad._core.has_openmp(), reason="threadpoolctl speaks to OpenMP")
def test_threadpoolctl_limits_the_threads() -> None:
    with threadpool_limits(1):
        assert densegrad._core.available_threads() == 1
    assert densegrad._core.available_threads() > 1
