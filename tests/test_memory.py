"""Sizes beyond any memory are refused before they overflow."""

import subprocess
import sys

import numpy as np
import pytest

import densegrad

# Weights take lines of 16 numbers, 64 bytes: ceil(n_out / 16) * (n_in + 1) lines a layer. These layers need
# 2**64 - 64 bytes together, each of them less than the core's limit for one.
WRAPPED_AROUND = """
import densegrad as d
wide = 2**22 - 16
lines = wide // 16 * (wide + 1)
n_wide, rest = divmod(2**58 - 1, lines)
narrow = (rest - 1) // (wide + 17)
rest -= narrow * (wide + 1) + 16 * narrow + 1
same = d.Dense(wide, "identity")
layers = [same] * n_wide + [d.Dense(n, "identity") for n in (16 * narrow, 1, 16 * (rest // 2))]
try:
    d.Network(wide, layers)
except (MemoryError, ValueError):
    print("refused")
"""


def test_sizes_whose_sum_overflows() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRAPPED_AROUND], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


@pytest.mark.parametrize("n_rows", [2**44, 2**58])
def test_buffers_for_more_rows_than_memory_has(n_rows: int) -> None:
    network = densegrad.Network(1, [densegrad.Dense(16), densegrad.Dense(1)], random_state=0)
    X = np.broadcast_to(np.ones((1, 1), np.float32), (n_rows, 1))
    with pytest.raises((MemoryError, ValueError)):
        network.forward(X)
    network.forward(X[:3])
