"""
One hash on any cluster
=======================

Trains on three worker processes of this machine, kills one of them on the way, and prints the hash of the
weights beside that of a training in one process. `make demo-cluster` runs it.

``python cluster.py tcp://scheduler:8786`` trains on the cluster of that scheduler, and kills nobody.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import sys
import threading
import time

import dask.array as da
import numpy as np
from dask import delayed
from dask.distributed import Client, LocalCluster

from densegrad import Adam, Dense, Network, Trainer
from densegrad.dask import train

N_ROWS, N_COLUMNS, N_CLASSES, EPOCHS = 60_000, 50, 5, 6


def rows(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Return made-up rows start … stop - 1, the same wherever they are made."""
    random = np.random.default_rng([0, start])
    X = random.standard_normal((stop - start, N_COLUMNS), dtype=np.float32)
    return X, (X[:, : N_CLASSES - 1] > 0).sum(axis=1)


def collections() -> tuple[da.Array, da.Array]:
    """Return all rows as collections, which the workers make where they need them, again if one is lost."""
    size = N_ROWS // 12
    starts = range(0, N_ROWS, size)
    X = [
        da.from_delayed(delayed(rows)(k, k + size)[0], (size, N_COLUMNS), np.float32)
        for k in starts
    ]
    y = [
        da.from_delayed(delayed(rows)(k, k + size)[1], (size,), np.int64)
        for k in starts
    ]
    return da.concatenate(X), da.concatenate(y)


def make_trainer() -> Trainer:
    """Return a new trainer. Its result depends on the shards, never on the workers."""
    layers = [Dense(64), Dense(64), Dense(N_CLASSES, "softmax")]
    net = Network(N_COLUMNS, layers, loss="log_loss", dtype="float32", random_state=0)
    return Trainer(net, Adam(1e-3), batch_size=1024, shards=8, random_state=0)


def hash_of(trainer: Trainer) -> str:
    """Return the first digits of the SHA-256 of the weights."""
    return hashlib.sha256(trainer.network.parameters.tobytes()).hexdigest()[:16]


def kill_later(client: Client, seconds: float) -> threading.Timer:
    """Kill one worker process of this machine in so many seconds."""
    address, pid = min(client.run(os.getpid).items())

    def kill() -> None:
        print(f"now {address} is killed")
        os.kill(pid, signal.SIGKILL)

    timer = threading.Timer(seconds, kill)
    timer.start()
    return timer


def main() -> None:
    """Train here, then on a cluster."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    here = make_trainer()
    here.fit(
        *(array.compute(scheduler="sync") for array in collections()), epochs=EPOCHS
    )
    print(f"one process:     {hash_of(here)}")

    own = len(sys.argv) == 1
    cluster = (
        LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=":0")
        if own
        else None
    )
    with Client(cluster if own else sys.argv[1]) as client:
        timer = kill_later(client, 3.0) if own else None
        began = time.monotonic()
        there = make_trainer()
        train(client, there, *collections(), epochs=EPOCHS)
        seconds = time.monotonic() - began
        if timer is not None:
            timer.cancel()
    if cluster is not None:
        cluster.close()
    print(f"on the cluster:  {hash_of(there)}, after {seconds:.0f} s")
    if hash_of(here) != hash_of(there):
        sys.exit("the hashes differ")


if __name__ == "__main__":
    main()
