"""What ranks gain and what shards cost: `make bench-ranks`, on a machine that does nothing else.

Each rank has one core. One rank and two take turns, and the least time of each counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from densegrad import Adam, Dense, Network, Trainer
from densegrad.distributed import connect, rows_of
from machine import cpu_name

#: Columns, units of the layers, rows, and rows of a batch.
CASES = {
    "mnist": (784, (128, 10), 16_384, 8192),
    "wide": (512, (1024, 1024, 1024, 10), 8192, 4096),
}
SHARDS, TURNS = 64, 5
EPOCHS = {"mnist": 30, "wide": 3}


def make_trainer(case: str, shards: int, comm: object = None) -> Trainer:
    columns, units, _, batch = CASES[case]
    layers = [*(Dense(n) for n in units[:-1]), Dense(units[-1], "softmax")]
    net = Network(columns, layers, loss="log_loss", dtype="float32", random_state=0)
    return Trainer(net, Adam(), batch_size=batch, shards=shards, random_state=0, n_threads=1, comm=comm)


def rows(case: str) -> tuple[np.ndarray, np.ndarray]:
    columns, units, n_rows, _ = CASES[case]
    random = np.random.default_rng(0)
    X = random.standard_normal((n_rows, columns), dtype=np.float32)
    return X, random.integers(units[-1], size=n_rows)


def seconds(trainer: Trainer, X: np.ndarray, target: np.ndarray) -> float:
    began = time.perf_counter()
    trainer.epoch(X, target)
    return time.perf_counter() - began


def rank(case: str) -> None:
    """A rank of a program that mpiexec has started; rank 0 prints the least seconds of an epoch."""
    comm = connect()
    number = 0 if comm is None else comm.rank
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[number % len(cores)]})
    X, target = rows(case)
    mine = rows_of(len(X), SHARDS, comm)
    trainer = make_trainer(case, SHARDS, comm)
    X, target = X[mine], target[mine]
    least = min(seconds(trainer, X, target) for _ in range(EPOCHS[case]))
    if number == 0:
        print(least)


def ranks(case: str, size: int) -> float:
    mpiexec = str(Path(sys.executable).with_name("mpiexec"))
    command = [mpiexec, "-n", str(size), sys.executable, __file__, case]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    if len(sys.argv) == 2:
        rank(sys.argv[1])
        return
    print(f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
    print(f"\n{'case':8} {'s, 1 rank':>10} {'s, 2 ranks':>10} {'gain':>6}   one core each, {SHARDS} shards")
    for case in CASES:
        turns = [(ranks(case, 1), ranks(case, 2)) for _ in range(TURNS)]
        one, two = (min(column) for column in zip(*turns, strict=True))
        print(f"{case:8} {one:10.3f} {two:10.3f} {one / two:6.2f}")
    print(f"\n{'case':8} {'s, shards=1':>12} {'s, shards=64':>12} {'cost':>7}   one thread")
    for case in CASES:
        X, target = rows(case)
        whole, parts = make_trainer(case, 1), make_trainer(case, SHARDS)
        pairs = [(seconds(whole, X, target), seconds(parts, X, target)) for _ in range(3 * TURNS)]
        one, many = (min(column) for column in zip(*pairs, strict=True))
        print(f"{case:8} {one:12.3f} {many:12.3f} {100 * (many / one - 1):6.1f} %")


if __name__ == "__main__":
    main()
