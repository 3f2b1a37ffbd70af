"""What a training takes on a worker, and that it leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import psutil
import pytest
from dask import delayed
from distributed import Client
from numpy.typing import NDArray

from densegrad import Adam, Dense, Network, Trainer
from densegrad.dask import streams, train


def make_trainer(columns: int) -> Trainer:
    layers = [Dense(8), Dense(3, "softmax")]
    net = Network(columns, layers, loss="log_loss", dtype="float32", random_state=0)
    return Trainer(net, Adam(0.01), batch_size=8 * 256, shards=8, random_state=0)


def memory(name: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(found.split()[1]) * 1024


@pytest.mark.skipif(
    not os.path.exists("/proc/self/status"), reason="reads the memory of a process from /proc"
)
def test_partitions_are_read_in_place(local_cluster: Any) -> None:
    """The most that a worker takes is little more than its rows."""
    rows, columns, parts = 20_000, 100, 12  # 96 MB
    blocks = [delayed(np.full)((rows, columns), k, np.float32) for k in range(parts)]
    targets = [delayed(np.zeros)(rows, np.int64) for _ in range(parts)]
    X = da.concatenate([da.from_delayed(block, (rows, columns), np.float32) for block in blocks])
    y = da.concatenate([da.from_delayed(block, (rows,), np.int64) for block in targets])
    with local_cluster(1) as (_, client):
        train(client, make_trainer(columns), X[:rows], y[:rows], epochs=1)  # loads the code
        (before,) = client.run(memory, "VmRSS").values()
        train(client, make_trainer(columns), X, y, epochs=2)
        (most,) = client.run(memory, "VmHWM").values()
    assert most - before <= 1.15 * (X.nbytes + y.nbytes)


def left(dask_worker: Any) -> tuple[int, int, int]:
    """Threads, descriptors, and what is kept of trainings."""
    process = psutil.Process()
    mail = vars(streams.Mail.of(dask_worker))
    return process.num_threads(), process.num_fds(), sum(len(kept) for kept in mail.values())


def test_many_trainings_leave_nothing(client: Client, X: NDArray[Any]) -> None:
    rows, labels = da.from_array(X, chunks=(250, 5)), da.from_array((X[:, 0] > 0).astype(int), chunks=250)
    counts = []
    for _ in range(12):
        train(client, make_trainer(5), rows, labels, epochs=1)
        counts.append(client.run(left))
    for address, (_, _, kept) in counts[-1].items():
        assert kept == 0
        for what in (0, 1):  # threads, descriptors; a connection of Dask's may just come or go
            first, last = ([one[address][what] for one in part] for part in (counts[:4], counts[-4:]))
            assert min(last) <= max(first)
