"""A program of several ranks: `mpiexec -n 3 python program.py [task] [checkpoint]`; each prints a result."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from typing import Any

import numpy as np

from densegrad import Adam, Dense, Network, Trainer
from densegrad.distributed import Interrupted, PeerLost, connect, rows_of

N, SHARDS = 403, 16


def say(line: str) -> None:
    """Print a line in one piece: others print at the same time."""
    os.write(1, f"{line}\n".encode())


def main(task: str = "fit", path: str | None = None) -> None:
    comm = connect(timeout=2.0 if task == "silent" else 60.0)
    rank = 0 if comm is None else comm.rank
    rng = np.random.default_rng(0)
    X, target = rng.normal(size=(N, 30)).astype("float32"), rng.integers(3, size=N)
    weight = rng.uniform(0.1, 2, N)
    mine = rows_of(N, SHARDS, comm)
    layers = [Dense(70, "tanh", dropout=0.2), Dense(33, "relu"), Dense(3, "softmax")]
    network = Network(30, layers, loss="log_loss", dtype="float32", random_state=rank)
    trainer = Trainer(
        network, Adam(1e-2), batch_size=96, shards=SHARDS, comm=comm, random_state=rank, clip_norm=0.5
    )

    def callback(epoch: int, logs: dict[str, float]) -> None:
        if epoch < 2:
            return
        if task == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if task == "raises":
            raise LookupError("a callback of my own")
        if task == "silent":
            time.sleep(8)

    arguments: dict[str, Any] = {"epochs": 5, "sample_weight": weight[mine], "checkpoint": path}
    if comm is None:
        network.parameters = Network(30, layers, loss="log_loss", dtype="float32", random_state=0).parameters
    try:
        history = trainer.fit(
            X[mine], target[mine], validation=(X[mine], target[mine]), callbacks=[callback], **arguments
        )
    except (LookupError, Interrupted, PeerLost) as error:
        say(f"rank {rank}: {type(error).__name__}, {trainer.steps} updates: {error}")
        if isinstance(error, PeerLost):
            os._exit(0)  # MPI cannot end without the others
        return
    found = hashlib.sha256(network.parameters.tobytes())
    found.update(np.array(history.loss + history.validation_loss).tobytes())
    say(f"rank {rank}: {found.hexdigest()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
