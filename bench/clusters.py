"""What more workers of a Dask cluster gain: a model with measured inputs, and measured points beside it.

`make bench-clusters` measures on this machine and draws docs/images/clusters-scaling.png. The model: each of
w workers computes for the seconds that one takes alone, and then exchanges N bytes of numbers. That takes
L(w) + 2 N (1 - 1 / w) / β, with the latency L and the rate β measured between workers on this machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, get_worker

from densegrad import LBFGS, Adam, Dense, Network, Trainer
from densegrad.dask import streams, train
from densegrad.dask.streams import Mail, WorkerCommunicator
from densegrad.training.ranks import Ranks
from machine import cpu_name

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "clusters-scaling.png"
COLUMNS, UNITS = 784, (128, 10)
ROWS = 65_536  # of a worker
EPOCHS, TURNS = 12, 3
SIZES = (1_000, 1_000_000, 10_000_000)  # bytes of an exchange


@dataclass(frozen=True)
class Way:
    """How workers train together."""

    name: str
    rows: int  # of a worker from one exchange to the next
    numbers: int  # bytes of an exchange for each weight
    every: int | None = None  # updates between two averages
    optimizer: Any = field(default_factory=Adam)

    def trainer(self, workers: int) -> Trainer:
        """The trainer for so many workers, each with one shard."""
        layers = [Dense(UNITS[0]), Dense(UNITS[1], "softmax")]
        net = Network(COLUMNS, layers, loss="log_loss", dtype="float32", random_state=0)
        batch = "auto" if isinstance(self.optimizer, LBFGS) else workers * self.rows // (self.every or 1)
        every = self.every if workers > 1 else None
        options = {"shards": workers, "average_every": every, "n_threads": 1, "random_state": 0}
        return Trainer(net, self.optimizer, batch_size=batch, **options)

    def bytes(self) -> int:
        """Bytes of an exchange."""
        return self.numbers * ((COLUMNS + 1) * UNITS[0] + (UNITS[0] + 1) * UNITS[1])


WAYS = (
    Way("L-BFGS on 65,536 rows", ROWS, 8, optimizer=LBFGS(0.0, 0.0)),
    Way("averages every 512 updates of 128 rows", ROWS, 12, every=512),
    Way("averages every 64 updates of 128 rows", 8192, 12, every=64),
    Way("synchronous, updates of 8,192 rows", 8192, 4),
)


@contextmanager
def workers(count: int) -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=count, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1", silence_logs=50
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def exchange_rank(rank: int, addresses: list[str], sizes: tuple[int, ...]) -> list[float]:
    """The least seconds of an exchange of each size, on a worker."""
    worker = get_worker()
    Mail.of(worker).begin("bench")
    cuts = list(range(len(addresses) + 1))
    comm = WorkerCommunicator(worker, "bench", rank, addresses, cuts, 60.0)
    comm.connect()
    ranks, found = Ranks(comm, cuts[-1], lambda: 0), []
    for size in sizes:
        gradient, loss = np.zeros(size // 64 * 16, np.float32), np.zeros(1)
        with ranks.epoch(np.dtype(np.float32)):
            times = []
            for _ in range(100 if size <= 1_000_000 else 20):
                began = time.perf_counter()
                ranks.add_up(False, None, loss.data.cast("B"), [gradient.data.cast("B")])
                times.append(time.perf_counter() - began)
        found.append(min(times))
    comm.close()
    return found


def exchanges(client: Client, sizes: tuple[int, ...]) -> list[float]:
    addresses = list(client.run(streams.install))
    futures = [
        client.submit(exchange_rank, rank, addresses, sizes, workers=[address], pure=False)
        for rank, address in enumerate(addresses)
    ]
    return [max(times) for times in zip(*client.gather(futures), strict=True)]


def rows_a_second(way: Way, client: Client | None) -> float:
    """The most rows that the workers together train on in a second; without a client, this process alone."""
    count = 1 if client is None else len(client.nthreads())
    random = da.random.default_rng(0)
    X = random.standard_normal((count * ROWS, COLUMNS), dtype=np.float32, chunks=(ROWS, COLUMNS))
    target = (X[:, 0] > 0).astype(np.int64)
    trainer = way.trainer(count)
    if client is None:
        history = trainer.fit(*da.compute(X, target), epochs=EPOCHS)
    else:
        X, target = client.persist([X, target])
        history = train(client, trainer, X, target, epochs=EPOCHS)
    return count * ROWS / min(history.seconds[1:])


def main() -> None:
    found: dict[str, dict[int, float]] = {}
    latency = {}
    with workers(4) as client:
        latency[4] = exchanges(client, SIZES[:1])[0]
    with workers(2) as client:
        latency[2], middle, long = exchanges(client, SIZES)
        for way in WAYS:
            turns = [(rows_a_second(way, None), rows_a_second(way, client)) for _ in range(TURNS)]
            one, two = (max(column) for column in zip(*turns, strict=True))
            found[way.name] = {1: one, 2: two}
    rate = (SIZES[2] - SIZES[1]) / (long - middle)
    growth = (latency[4] - latency[2]) / 2

    def efficiency(way: Way, count: np.ndarray) -> np.ndarray:
        alone = way.rows / found[way.name][1]
        waits = latency[2] + growth * (count - 2) + 2 * way.bytes() * (1 - 1 / count) / rate
        return alone / (alone + np.where(count > 1, waits, 0))

    machine = f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores"
    print(f"{machine}\nexchange: {1e3 * latency[2]:.2f} ms, {1e3 * middle:.2f} ms for 1 MB,", end=" ")
    print(f"{rate / 1e9:.2f} GB/s, {1e3 * growth:.2f} ms for each further worker")
    print(f"{'way':40} {'ms':>6} {'2 workers':>9} {'model: 2':>9} {'16':>5} {'128':>5} {'1000':>5}")
    for way in WAYS:
        one, two = found[way.name][1], found[way.name][2]
        model = " ".join(f"{e:5.2f}" for e in efficiency(way, np.array([16, 128, 1000])))
        at_two = efficiency(way, np.array([2]))[0]
        print(f"{way.name:40} {1e3 * way.rows / one:6.1f} {two / 2 / one:9.2f} {at_two:9.2f} {model}")
    draw(efficiency, found, machine)


def draw(efficiency: Any, found: dict[str, dict[int, float]], machine: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    counts = np.unique(np.geomspace(1, 1000, 60).astype(int))
    figure, axis = plt.subplots(figsize=(6.4, 4))
    for way in WAYS:
        (line,) = axis.plot(counts, efficiency(way, counts), label=way.name)
        points = found[way.name]
        axis.plot(points.keys(), [points[w] / w / points[1] for w in points], "o", color=line.get_color())
    axis.set(xscale="log", ylim=(0, 1.03), xlabel="workers, each with as many rows")
    axis.set_ylabel("rows a second for each worker,\nagainst one worker alone")
    axis.set_title(
        f"{COLUMNS}-{UNITS[0]}-{UNITS[1]} on Dask: model, and points measured on\n{machine}", fontsize=9
    )
    axis.legend(fontsize=8, frameon=False)
    axis.grid(alpha=0.3)
    figure.savefig(PICTURE, dpi=100, bbox_inches="tight", metadata={"Software": None})


if __name__ == "__main__":
    main()
