"""`make bench`: one thread for both sides, and a table of ratios at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

# Read when NumPy and densegrad are loaded, so before the test module imports them.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parent))


class Measurement(NamedTuple):
    """Key of a median."""

    case: str
    dtype: str
    operation: str
    library: str


# Median seconds.
Medians = dict[Measurement, float]
MEDIANS = pytest.StashKey[Medians]()
OPERATIONS = ("predict", "forward", "backward", "step", "epoch")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MEDIANS] = {}


@pytest.fixture
def keep_median(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Call it with the fields of a `Measurement` and the median."""
    medians = request.config.stash[MEDIANS]

    def keep(case: str, dtype: str, operation: str, library: str, seconds: float) -> None:
        medians[Measurement(case, dtype, operation, library)] = seconds

    return keep


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    medians = config.stash[MEDIANS]
    if not medians:
        return
    terminalreporter.section("NumPy by hand / densegrad, one thread (densegrad's median)")
    terminalreporter.write_line(f"{'':14}" + "".join(f"{operation:>22}" for operation in OPERATIONS))
    from cases import TIMED

    order = [case.name for case in TIMED]
    pairs = {(key.case, key.dtype) for key in medians}
    for case, dtype in sorted(pairs, key=lambda pair: (order.index(pair[0]), pair[1])):
        cells = []
        for operation in OPERATIONS:
            ours = medians.get(Measurement(case, dtype, operation, "densegrad"))
            theirs = medians.get(Measurement(case, dtype, operation, "numpy"))
            if ours is None or theirs is None:
                cells.append("–")
            else:
                shown = f"{ours * 1e6:.1f} µs" if ours < 1e-2 else f"{ours * 1e3:.1f} ms"
                cells.append(f"{theirs / ours:.2f}x ({shown})")
        terminalreporter.write_line(f"{case:6}{dtype:8}" + "".join(f"{cell:>22}" for cell in cells))
