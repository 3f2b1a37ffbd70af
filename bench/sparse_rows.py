"""Compare densegrad with scikit-learn on rows with many zeros: text, one-hot columns, digits.

Both take turns in one process, one fit or prediction each, and the table has medians. The fits make the same
number of updates from the same initial weights. One-hot rows are given as CSR and as arrays.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as SklearnClassifier

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from densegrad import MLPClassifier
from workloads import digits, one_hot, text

PLAIN_SGD: dict[str, Any] = {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False, "alpha": 0.0}


class Rows(NamedTuple):
    """A case: rows, classes, and how they are fitted."""

    name: str
    X: Any
    y: np.ndarray
    parameters: dict[str, Any]


def cases(dtype: str, quick: bool) -> Iterator[Rows]:
    """All of them."""
    share = 10 if quick else 1
    rng = np.random.default_rng(0)
    X, y = text(rng, 4000 // share, 50_000 // share, 5, n_words=100)
    X = X.astype(dtype)
    yield Rows("text, Adam", X, y, {})
    yield Rows("text, plain SGD", X, y, PLAIN_SGD)
    X, y = text(rng, 10_000 // share, 5_000, 5, n_words=50)
    yield Rows("short text, Adam", X.astype(dtype), y, {})
    X, y = one_hot(rng, 20_000 // share, 1000, 3)
    X = X.astype(dtype)
    yield Rows("one-hot, Adam", scipy.sparse.csr_array(X), y, {})
    yield Rows("one-hot as an array, Adam", X, y, {})
    X, y = digits(rng, 1797, 64, 10)
    yield Rows("digits as an array, Adam", X.astype(dtype), y, {})


def medians(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each call; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(series) for name, series in seconds.items()}


def measure(rows: Rows, repeats: int, n_threads: int | None) -> str:
    """A line of the table."""
    X, y = rows.X, rows.y
    arguments = {"hidden_layer_sizes": (100,), "max_iter": 2, "random_state": 0, **rows.parameters}
    ours, theirs = MLPClassifier(n_threads=n_threads, **arguments), SklearnClassifier(**arguments)
    fit = medians({"ours": lambda: ours.fit(X, y), "theirs": lambda: theirs.fit(X, y)}, repeats)
    many, one = X[:2000], X[:1]
    difference = float(np.abs(ours.predict_proba(many) - theirs.predict_proba(many)).max())
    if difference > (1e-3 if X.dtype == np.float32 else 1e-9):
        print(f"{rows.name}: the predictions differ by {difference:.1e}", file=sys.stderr)
    non_zeros = X.count_nonzero() if scipy.sparse.issparse(X) else np.count_nonzero(X)
    cells = [rows.name, f"{X.shape[0]} x {X.shape[1]}", f"{non_zeros / X.shape[0]:.0f}"]
    times = [fit]
    for part in (many, one):
        calls = {
            "ours": lambda part=part: ours.predict_proba(part),
            "theirs": lambda part=part: theirs.predict_proba(part),
        }
        times.append(medians(calls, 5 * repeats))
    for pair in times:
        cells += [f"{pair['ours'] * 1e3:.3g}", f"{pair['theirs'] / pair['ours']:.1f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", default="float64", choices=["float32", "float64"])
    parser.add_argument("--threads", type=int, help="of densegrad; default: it chooses")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    head = ["rows", "shape", "non-zeros a row"]
    head += [f"{what}, {unit}" for what in ("fit", "predict 2000", "predict 1") for unit in ("ms", "x")]
    print(f"| {' | '.join(head)} |")
    print(f"|{'---|' * len(head)}")
    for rows in cases(arguments.dtype, arguments.quick):
        print(measure(rows, arguments.repeats, arguments.threads), flush=True)
    print("\nms: densegrad; x: scikit-learn's time divided by it.")


if __name__ == "__main__":
    main()
