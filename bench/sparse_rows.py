"""Compare densegrad with scikit-learn on rows with many zeros: text, one-hot columns, digits.

Both take turns in one process, one fit or prediction each, and the table has medians. The fits make the same
number of updates from the same initial weights. Text rows have a few of many columns, drawn as words are:
column k about as often as 1 / k. One-hot rows and digits are given as CSR and as dense arrays.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as SklearnClassifier

from densegrad import MLPClassifier

PLAIN_SGD: dict[str, Any] = {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False, "alpha": 0.0}


class Rows(NamedTuple):
    """A case: rows, classes, and how they are fitted."""

    name: str
    X: Any
    y: np.ndarray
    parameters: dict[str, Any]


def text(n_rows: int, n_columns: int, n_words: int, dtype: str) -> tuple[Any, np.ndarray]:
    """Rows of `n_words` draws from `n_columns` words, as counts; the first word gives the class."""
    rng = np.random.default_rng(0)
    words = np.exp(rng.uniform(0, np.log(n_columns), (n_rows, n_words))).astype(int) - 1
    words = rng.permutation(n_columns)[words]
    rows = np.repeat(np.arange(n_rows), n_words)
    X = scipy.sparse.coo_array((np.ones(words.size, dtype), (rows, words.ravel())), (n_rows, n_columns))
    return X.tocsr(), words[:, 0] % 5


def one_hot(n_rows: int, n_columns: int, n_levels: int, dtype: str) -> tuple[Any, np.ndarray]:
    """Rows of `n_columns` categories with `n_levels` levels each."""
    rng = np.random.default_rng(0)
    levels = rng.integers(0, n_levels, (n_rows, n_columns))
    indices = (levels + n_levels * np.arange(n_columns)).ravel()
    indptr = np.arange(n_rows + 1) * n_columns
    X = scipy.sparse.csr_array(
        (np.ones(indices.size, dtype), indices, indptr), (n_rows, n_columns * n_levels)
    )
    return X, (levels[:, 0] + levels[:, 1]) % 3


def cases(dtype: str, quick: bool) -> Iterator[Rows]:
    """All of them."""
    share = 10 if quick else 1
    X, y = text(4000 // share, 50_000 // share, 100, dtype)
    yield Rows("text, Adam", X, y, {})
    yield Rows("text, plain SGD", X, y, PLAIN_SGD)
    X, y = text(10_000 // share, 5_000, 50, dtype)
    yield Rows("short text, Adam", X, y, {})
    X, y = one_hot(20_000 // share, 20, 50, dtype)
    yield Rows("one-hot, Adam", X, y, {})
    yield Rows("one-hot as an array, Adam", X.toarray(), y, {})
    digits, y = load_digits(return_X_y=True)
    yield Rows("digits as an array, Adam", digits.astype(dtype) / 16, y, {})


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
