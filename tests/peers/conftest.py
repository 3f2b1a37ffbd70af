"""PyTorch set for the comparison, and the worst error of the run in its summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from peers.torch_network import relative_error

TOLERANCE = 1e-9

_errors = pytest.StashKey[dict[str, tuple[float, str]]]()

#: Called with what is compared, densegrad's numbers and PyTorch's, and perhaps another tolerance.
Compare = Callable[..., None]


@pytest.fixture(autouse=True, scope="session")
def float64_on_one_thread() -> Iterator[None]:
    """Also what optimizers keep as tensors of the default type, as NAdam's product of momenta."""
    before = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(before[0])
    torch.set_num_threads(before[1])


@pytest.fixture
def compare(request: pytest.FixtureRequest) -> Compare:
    """Assert that an array's largest error is below 1e-9 of its largest number, and note the error.

    `what` ends with "_(" and a number if the errors of all numbers are noted together.
    """
    worst = request.config.stash.setdefault(_errors, {})
    test = request.node.name

    def check(what: str, actual: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
        error = relative_error(actual, expected)
        kind = what.split("_(")[0]
        if not error <= worst.get(kind, (-1.0, ""))[0]:
            worst[kind] = error, f"{what} in {test}"
        assert error <= tolerance, f"{what}: relative error {error:.3g}, {tolerance:g} allowed"

    return check


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    worst = config.stash.get(_errors, {})
    if worst:
        terminalreporter.section(f"largest errors relative to PyTorch {torch.__version__}, float64")
    for kind, (error, where) in sorted(worst.items()):
        terminalreporter.write_line(f"{error:8.1e}  {kind:20} {where}")
