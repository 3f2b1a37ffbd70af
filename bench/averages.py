"""What averages learn, against gradients at each update: `make bench-averages` on Fashion-MNIST.

Ways with about the same number of exchanges between ranks stand together. The learning rate is the best
of three for each. One process stands for all ranks, with the same bits.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np

from densegrad import Adam, Dense, Network, Trainer

#: Where Debian's package dataset-fashion-mnist has its files.
FOLDER = Path("/usr/share/datasets/fashion-mnist")
EPOCHS = 10
SEEDS = 2
RATES = (1e-3, 3e-3, 1e-2)
#: Way, rows of an update, shards, updates from one average to the next.
WAYS: list[tuple[str, int, int, int | None]] = [
    ("one machine", 128, 1, None),
    ("synchronous", 1024, 8, None),
    ("synchronous", 4096, 8, None),
    ("synchronous", 8192, 8, None),
    ("averages", 128, 8, 40),
    ("averages", 1024, 8, 10),
    ("averages", 1024, 8, 59),
]

Rows = tuple[np.ndarray, np.ndarray]  # X, target


def images(kind: str) -> np.ndarray:
    with gzip.open(FOLDER / f"{kind}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16)
    return (pixels.reshape(-1, 784) / np.float32(255)).astype(np.float32)


def labels(kind: str) -> np.ndarray:
    with gzip.open(FOLDER / f"{kind}-labels-idx1-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)


def error(train: Rows, test: Rows, batch_size: int, shards: int, every: int | None, rate: float) -> float:
    """The mean test error in percent."""
    found = []
    for seed in range(SEEDS):
        layers = [Dense(128), Dense(10, "softmax")]
        net = Network(784, layers, loss="log_loss", dtype="float32", random_state=seed)
        trainer = Trainer(
            net,
            Adam(rate),
            batch_size=batch_size,
            shards=shards,
            average_every=every,
            random_state=seed,
        )
        trainer.fit(*train, epochs=EPOCHS)
        found.append(np.mean(net.predict(test[0]).argmax(axis=1) != test[1]))
    return 100 * float(np.mean(found))


def main() -> None:
    if not FOLDER.exists():
        sys.exit(f"{FOLDER} is missing: install Debian's package dataset-fashion-mnist")
    train, test = ((images(kind), labels(kind)) for kind in ("train", "t10k"))
    print(f"{'way':12} {'rows':>5} {'every':>5} {'updates':>8} {'exchanges':>9} {'rate':>6} {'error %':>8}")
    for name, batch_size, shards, every in WAYS:
        percent, rate = min((error(train, test, batch_size, shards, every, rate), rate) for rate in RATES)
        updates = -(-len(train[1]) // batch_size)  # of an epoch
        exchanges = 0 if shards == 1 else EPOCHS * -(-updates // (every or 1))
        line = f"{name:12} {batch_size:5} {every or '':>5} {EPOCHS * updates:8} {exchanges:9} {rate:6}"
        print(f"{line} {percent:8.2f}", flush=True)


if __name__ == "__main__":
    main()
