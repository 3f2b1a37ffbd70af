"""Holds that memory stays flat over 2,000 fits and 100,000 predictions.

    python tests/flat_memory.py [fits [predictions]]

It reads the memory of the process when a fifth of the calls are done and at the end, after a collection of
garbage. It fails if more than 1 MiB came in between.
"""

from __future__ import annotations

import gc
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from densegrad import Dense, MLPClassifier, MLPRegressor, Network, Trainer

LIMIT = 1 << 20  # bytes: what the system's allocator may keep in pieces
PAGE = 4096

X = np.random.RandomState(0).random_sample((60, 5))
LABELS = (X[:, 0] > X[:, 1]).astype(int)


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def growth(call: Callable[[int], object], count: int) -> int:
    """Return by how many bytes the process grows over the last four fifths of the calls."""
    before = 0
    for number in range(count):
        if number == count // 5:
            before = resident()
        call(number)
    return resident() - before


def network() -> Network:
    layers = [Dense(6, "gelu", dropout=0.1), Dense(2, "softmax")]
    return Network(5, layers, loss="log_loss", random_state=0)


def fit(number: int) -> None:
    """Fit in one of several ways; widths change, so that no buffer fits the next call by chance."""
    kind, width = number % 5, 2 + number % 37
    if kind == 0:
        MLPClassifier((width,), max_iter=3, early_stopping=True, random_state=0).fit(X, LABELS)
    elif kind == 1:
        MLPRegressor(hidden_layer_sizes=(width,), solver="lbfgs", max_iter=3, random_state=0).fit(X, X[:, 0])
    elif kind == 2:
        trainer = Trainer(network(), "adam", batch_size=7, schedule="cosine", random_state=0, n_threads=2)
        trainer.fit(X, LABELS, epochs=2, validation=(X, LABELS))
    elif kind == 3:
        network().backpropagate(X, LABELS)
    else:
        thread = threading.Thread(target=Trainer(network(), random_state=0).fit, args=(X, LABELS))
        thread.start()
        thread.join()


def main(fits: str = "2000", predictions: str = "100000") -> None:
    warnings.simplefilter("ignore")  # fits so short do not converge
    shared, estimator = network(), MLPClassifier((9,), max_iter=3, random_state=0).fit(X, LABELS)
    grown = {
        f"{fits} fits": growth(fit, int(fits)),
        f"{predictions} predictions of a network": growth(
            lambda number: shared.predict(X[: 1 + number % 60]), int(predictions)
        ),
        f"{int(predictions) // 10} predictions of an estimator": growth(
            lambda number: estimator.predict_proba(X[: 1 + number % 60]), int(predictions) // 10
        ),
    }
    for what, size in grown.items():
        print(f"{what}: {size / 1024:+.0f} KiB")
    sys.exit(max(grown.values()) > LIMIT)


if __name__ == "__main__":
    main(*sys.argv[1:])
