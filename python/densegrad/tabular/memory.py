"""Memory: the need of a fit, and the limit of the process."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from densegrad.tabular.columns import Columns, Parsed
from densegrad.tabular.crossings import MOST_PAIRS
from densegrad.tabular.inputs import Inputs

#: Copies of the weights of a member in training: weights, two moments, a transposed copy, the best so far.
_COPIES = 5
_MAX_LEVELS = 64
_FEW_ROWS = 2000


def fit_memory(
    columns: Columns,
    parsed: Parsed,
    encodings: Sequence[str],
    hidden: tuple[int, ...],
    n_outputs: int,
    n_threads: int,
) -> int:
    """Return about how many bytes a fit takes beside the table."""
    some = parsed.take(slice(0, _FEW_ROWS))  # enough to count inputs
    width = max(
        Inputs.learned(some, columns.categories, encoding, _MAX_LEVELS).width for encoding in encodings
    )
    n_rows = len(parsed.codes)
    n_means: int = MOST_PAIRS + parsed.codes.shape[1] + parsed.numbers.shape[1]
    width += n_means
    widths = (width, *hidden, n_outputs)
    n_parameters = sum((a + 1) * b for a, b in pairwise(widths))
    tables = parsed.numbers.nbytes + parsed.codes.nbytes + n_rows * n_outputs * 12
    # A matrix of inputs, and a fifth of it to judge by, for each member in training.
    at_work = n_threads * (int(1.2 * 4 * n_rows * width) + 4 * _COPIES * n_parameters)
    return tables + at_work + 4 * 5 * n_parameters


def available_memory() -> float:
    """Return the bytes that the process may use; infinity if the system does not tell."""
    limits = [float("inf")]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        limits += [int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        pass
    limits += _of_control_group()
    try:
        import resource
    except ImportError:  # not on Windows
        return min(limits)
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(float(soft))
    return min(limits)


def _of_control_group() -> list[float]:
    """Return the bytes that are left of the limit of a container."""
    folder = Path("/sys/fs/cgroup")
    try:
        most = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return []
    return [] if most == "max" else [float(int(most) - used)]
