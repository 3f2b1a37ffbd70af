"""Times the exchange before an update against MPI's own sum: `mpiexec -n 2 python bench/exchange.py`.

MPI's sum depends on the number of ranks. The exchange adds in the order of the tree, and tells the ranks that
all go on. With as many processes as cores, the least of the repeats is what a quiet machine would take.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from mpi4py import MPI

from densegrad.distributed import MPICommunicator
from densegrad.training.ranks import Ranks

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)  # bytes


def least(work: Callable[[], object], repeats: int) -> float:
    """The least seconds of a call, on the slowest rank."""
    times = []
    for _ in range(repeats):
        MPI.COMM_WORLD.Barrier()
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return float(MPI.COMM_WORLD.allreduce(min(times), MPI.MAX))


def main() -> None:
    comm = MPICommunicator()
    ranks = Ranks(comm, 64, lambda: 0)
    if comm.rank == 0:
        print(f"{comm.size} ranks, us: {'bytes':>10} {'Allreduce':>10} {'exchange':>10} {'ratio':>6}")
    for size in SIZES:
        repeats = 2000 if size <= 100_000 else 200 if size <= 1_000_000 else 30
        gradients = [np.zeros(size // 4 // 16 * 16, np.float32) for _ in ranks.nodes[ranks.rank]]
        losses = np.zeros(len(gradients))
        sums = np.empty_like(gradients[0])
        views = [gradient.data.cast("B") for gradient in gradients]
        with ranks.epoch(np.dtype(np.float32)):
            exact = least(partial(ranks.add_up, False, None, losses.data.cast("B"), views), repeats)
        other = least(partial(MPI.COMM_WORLD.Allreduce, gradients[0], sums), repeats)
        if comm.rank == 0:
            print(f"{'':14} {size:10} {other * 1e6:10.1f} {exact * 1e6:10.1f} {exact / other:6.2f}")


if __name__ == "__main__":
    main()
