"""Many trainings on a cluster of processes, each with faults at random moments: `make fault-runs`.

Each must end in time and with the hash of a training in one process. The table says what was done how often.
With --one-cluster all trainings are on one cluster, and lines tell what it holds: nothing may grow.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import logging
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster

from clusters import local_cluster
from densegrad import Adam, Dense, Network, Trainer
from densegrad.dask import train

N_ROWS, SHARDS, WORKERS, EPOCHS = 6000, 8, 3, 4
TIMEOUT = 10.0  # of the trainings
RHYTHMS = (None, 16)  # gradients at each update, or averages
KINDS = ("no fault", "kill", "kill", "kill", "two kills", "freeze", "join", "kill and join")


def make_trainer(average_every: int | None) -> Trainer:
    layers = [Dense(16, dropout=0.1), Dense(3, "softmax")]
    net = Network(5, layers, loss="log_loss", dtype="float32", random_state=0)
    return Trainer(
        net,
        Adam(0.01),
        batch_size=64,
        shards=SHARDS,
        average_every=average_every,
        random_state=0,
        schedule="plateau",
    )


def hash_of(trainer: Trainer) -> str:
    assert trainer.history is not None
    found = hashlib.sha256(trainer.network.parameters.tobytes())
    found.update(np.array(trainer.history.loss + trainer.history.validation_loss).tobytes())
    return found.hexdigest()[:16]


def signals(kind: str) -> list[signal.Signals]:
    if kind == "freeze":
        return [signal.SIGSTOP]
    return [signal.SIGKILL] * {"two kills": 2, "kill": 1, "kill and join": 1}.get(kind, 0)


def pids_of(client: Client) -> list[int]:
    """The worker processes, as soon as all answer. Dask does not always start a killed one again."""
    end = time.monotonic() + 10
    while True:
        pids = [pid for pid in client.run(os.getpid, on_error="return").values() if isinstance(pid, int)]
        if len(pids) >= WORKERS or (pids and time.monotonic() > end):
            return pids
        time.sleep(0.2)


def held() -> str:
    """What this process holds, the scheduler and the client among it."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files = len(os.listdir("/proc/self/fd"))
    return f"{pages * 4 // 1024} MB, {threading.active_count()} threads, {files} open files"


@contextlib.contextmanager
def faults(
    cluster: LocalCluster, client: Client, kind: str, longest: float, rng: np.random.Generator
) -> Iterator[list[str]]:
    """Do harm at random moments; give what was done, with the seconds since the beginning."""
    done: list[str] = []
    pids = pids_of(client)
    victims = rng.choice(pids, min(len(pids), len(signals(kind))), replace=False).tolist()
    timers = []

    def send(pid: int, what: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)
            done.append(f"{what.name} to {pid} after {time.monotonic() - began:.2f} s")

    def grow() -> None:
        done.append(f"a worker joins after {time.monotonic() - began:.2f} s")
        cluster.scale(len(cluster.workers) + 1)

    began = time.monotonic()
    for pid, what in zip(victims, signals(kind), strict=False):
        timers.append(threading.Timer(rng.uniform(0, longest), send, [pid, what]))
    if "join" in kind:
        timers.append(threading.Timer(rng.uniform(0, longest), grow))
    for timer in timers:
        timer.start()
    try:
        yield done
    finally:
        for timer in timers:
            timer.cancel()
            timer.join()
        for pid in victims:
            if kind == "freeze":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)  # its nanny starts another one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int, nargs="?", default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one-cluster", action="store_true")
    arguments = parser.parse_args()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    rng = np.random.default_rng(arguments.seed)
    X = np.random.default_rng(0).standard_normal((N_ROWS, 5)).astype(np.float32)
    target = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)
    wanted = {}
    for rhythm in RHYTHMS:
        here = make_trainer(rhythm)
        here.fit(X, target, epochs=EPOCHS, validation=(X[:1000], target[:1000]))
        wanted[rhythm] = hash_of(here)
    rows, labels = da.from_array(X, chunks=(500, 5)), da.from_array(target, chunks=500)

    def one(client: Client, rhythm: int | None, recover: Any = True) -> float:
        there, began = make_trainer(rhythm), time.monotonic()
        validation = rows[:1000], labels[:1000]
        options: dict[str, Any] = {"timeout": TIMEOUT, "recover": recover}
        train(client, there, rows, labels, epochs=EPOCHS, validation=validation, **options)
        took = time.monotonic() - began
        if hash_of(there) != wanted[rhythm]:
            sys.exit(f"hash {hash_of(there)} in place of {wanted[rhythm]}")
        return took

    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    n_faults = run = 0
    kinds = KINDS
    if arguments.one_cluster:
        kinds = tuple(kind for kind in KINDS if "join" not in kind) * arguments.runs
    while run < arguments.runs:
        with local_cluster(WORKERS, silence_logs=50) as (cluster, client):
            longest = {rhythm: one(client, rhythm) for rhythm in RHYTHMS}  # faults come at any moment of it
            for kind in kinds[: arguments.runs - run]:
                rhythm = RHYTHMS[run % 3 == 2]
                if arguments.one_cluster and len(pids_of(client)) < WORKERS:
                    cluster.scale(len(cluster.workers) + WORKERS - len(client.nthreads()))
                with faults(cluster, client, kind, longest[rhythm], rng) as done:
                    took = one(client, rhythm, "grow" if "join" in kind else True)
                seconds[kind, "averaged" if rhythm else "synchronous"].append(took)
                n_faults += len(done)
                print(f"{run:4} {kind:14} {took:6.1f} s  {'; '.join(done)}", flush=True)
                run += 1
                if arguments.one_cluster and run % 10 == 0:
                    print(f"     scheduler and client: {held()}", flush=True)
    print(f"\n{run} trainings, {n_faults} faults, seed {arguments.seed}: all have the hash of one process")
    print(f"{'fault':14} {'rhythm':12} {'runs':>5} {'median s':>9} {'longest s':>9}")
    for (kind, name), times in sorted(seconds.items()):
        print(f"{kind:14} {name:12} {len(times):5} {np.median(times):9.1f} {max(times):9.1f}")


if __name__ == "__main__":
    main()
