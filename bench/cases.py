"""The one list of cases that `make bench` and `make bench-peers` measure, with data and initial weights.

Every case is a classification: relu hidden layers, softmax head, log-loss, Adam(1e-3), shuffled mini-batches.
"""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEARNING_RATE = 1e-3
BETA_1 = 0.9
BETA_2 = 0.999
EPSILON = 1e-8

Matrix = NDArray[np.floating]
Classes = NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """What every library is given: the same data, the same initial weights."""

    sizes: tuple[int, ...]
    batch: int
    X: Matrix  # (rows, sizes[0]), C order
    y: Classes  # (rows,), class numbers
    weights: list[Matrix]  # one (n_in + 1, n_out) a layer, the bias is the last row


@dataclass(frozen=True)
class Case:
    """A network, its data and how long to train it.

    Parameters
    ----------
    name : str
        Short name, used by ``--cases``.
    rows, sizes, batch : int, tuple of int, int
        Rows of X, widths of the layers from the input to the head, rows of a mini-batch.
    epochs : int
        Epochs of one repeat; also the length of the learning check, so it must be long enough to learn.
    group : str
        ``"design"`` and ``"shape"`` are always in the tables, ``"denormal"`` and ``"width"`` have their own.
    """

    name: str
    rows: int
    sizes: tuple[int, ...]
    batch: int
    epochs: int
    group: str = "shape"

    @property
    def title(self) -> str:
        return f"{self.name} ({self.rows}; {format_sizes(self.sizes)}; {self.batch})"

    @property
    def flops_per_epoch(self) -> int:
        """Floating-point operations of the three products of back propagation over all rows.

        The first layer needs no input gradient. Activations, head and optimizer are not counted.
        """
        products = sum(n_in * n_out for n_in, n_out in itertools.pairwise(self.sizes))
        return self.rows * (6 * products - 2 * self.sizes[0] * self.sizes[1])

    def problem(self, dtype: str) -> Problem:
        """Data and initial weights of this case; the same bits in every process."""
        # The twins differ in their features alone.
        seed = zlib.crc32(self.name.replace("dead", "alive").encode())
        rng = np.random.default_rng(seed)
        X, y = clusters(rng, self.rows, self.sizes[0], self.sizes[-1])
        weights = glorot_uniform(rng, self.sizes)
        if self.name == "dead":
            silence_columns(X)
            silence_units(weights)
        kind = np.dtype(dtype)
        return Problem(self.sizes, self.batch, X.astype(kind), y, [W.astype(kind) for W in weights])


def format_sizes(sizes: tuple[int, ...]) -> str:
    """Widths joined by dashes; a run of three or more equal ones is written as ``8x24``."""
    parts: list[str] = []
    start = 0
    while start < len(sizes):
        end = start
        while end < len(sizes) and sizes[end] == sizes[start]:
            end += 1
        run = end - start
        parts += [f"{run}x{sizes[start]}"] if run > 2 else [str(sizes[start])] * run
        start = end
    return "-".join(parts)


def clusters(rng: np.random.Generator, rows: int, n_in: int, classes: int) -> tuple[Matrix, Classes]:
    """Two Gaussian clusters a class and a fifth of the labels drawn at random.

    A hidden layer helps, and the loss falls quickly to a plateau above zero: losses after the same number of
    epochs can be compared between libraries that shuffle differently.
    """
    centres = rng.standard_normal((2 * classes, n_in)) * (10.0 / np.sqrt(2 * n_in))
    cluster = rng.integers(0, 2 * classes, rows)
    X = rng.standard_normal((rows, n_in))
    X += centres[cluster]
    y = cluster % classes
    wrong = rng.random(rows) < 0.2
    y[wrong] = rng.integers(0, classes, int(wrong.sum()))
    return X, y.astype(np.int64)


def glorot_uniform(rng: np.random.Generator, sizes: tuple[int, ...]) -> list[Matrix]:
    """Initial weights, (n_in + 1, n_out) a layer, biases zero."""
    weights: list[Matrix] = []
    for n_in, n_out in itertools.pairwise(sizes):
        bound = np.sqrt(6.0 / (n_in + n_out))
        W = rng.uniform(-bound, bound, (n_in + 1, n_out))
        W[-1] = 0.0
        weights.append(W)
    return weights


def silence_columns(X: Matrix) -> None:
    """Make an eighth of the columns constant, and half of them non-zero in one row only.

    The second kind is what a rare category gives after one-hot encoding: its weights get a gradient in one
    update of an epoch and the optimizer's state decays into denormals in the others.
    """
    rows, n_in = X.shape
    eighth = n_in // 8
    X[:, :eighth] = np.linspace(0.0, 1.0, eighth)
    for column in range(eighth, 5 * eighth):
        X[:, column] = 0.0
        X[(column * 7919) % rows, column] = 1.0


def silence_units(weights: list[Matrix]) -> None:
    """Give half of the hidden units a bias that keeps all but a few rows, or every row, from passing relu."""
    for W in weights[:-1]:
        n_out = W.shape[1]
        W[-1, : n_out // 4] = -4.0
        W[-1, n_out // 4 : n_out // 2] = -100.0


CASES: tuple[Case, ...] = (
    Case("tiny", 1000, (20, 64, 64, 2), 32, 10, "design"),
    Case("sk", 5000, (20, 100, 2), 200, 20, "design"),
    Case("mnist", 20_000, (784, 128, 10), 128, 3, "design"),
    Case("mid", 20_000, (64, 256, 256, 10), 256, 3, "design"),
    Case("wide", 8192, (512, 1024, 1024, 1024, 10), 256, 1, "design"),
    Case("cliff45", 10_000, (10, 45, 45, 10), 128, 15),
    Case("cliff46", 10_000, (10, 46, 46, 10), 128, 15),
    Case("control", 10_000, (4, 120, 84, 2), 128, 10),
    Case("fullbatch", 10_000, (4, 32, 16, 4), 10_000, 60),
    Case("online", 1000, (20, 32, 2), 1, 3),
    Case("narrow", 5000, (16, *(24,) * 8, 4), 100, 15),
    Case("odd", 5003, (37, 53, 29, 7), 61, 15),
    Case("w2500", 2048, (64, 2500, 2500, 10), 256, 2),
    Case("alive", 8000, (128, 128, 64, 5), 4, 1, "denormal"),
    Case("dead", 8000, (128, 128, 64, 5), 4, 1, "denormal"),
    *(
        Case(f"width{n}", 4096, (64, n, n, 10), 256, max(2, 512 // n), "width")
        for n in (16, 32, 64, 128, 256, 512, 1024)
    ),
)

QUICK = ("tiny", "sk", "odd")

# Prediction is measured on the network of the first case, with these numbers of rows a call.
PREDICTION_CASE = CASES[0]
PREDICTION_ROWS = (1, 100, 2000)

# Fitting tall data: the network and the numbers of rows.
TALL_SIZES = (100, 64, 2)
TALL_BATCH = 256
TALL_ROWS = (10_000, 100_000, 1_000_000)


def case_named(name: str) -> Case:
    """The case of that name; ValueError lists the known ones."""
    for case in CASES:
        if case.name == name:
            return case
    raise ValueError(f"unknown case {name!r}; known: {', '.join(case.name for case in CASES)}")


def tall_problem(rows: int, dtype: str) -> Problem:
    """Many rows of float64 features; the weights have the network's dtype."""
    rng = np.random.default_rng(rows)
    X = rng.random((rows, TALL_SIZES[0]))
    X -= 0.5
    y = (X[:, 0] + X[:, 1] * 2.0 > X[:, 2]).astype(np.int64)
    weights = [W.astype(np.dtype(dtype)) for W in glorot_uniform(rng, TALL_SIZES)]
    return Problem(TALL_SIZES, TALL_BATCH, X, y, weights)


def log_loss(probabilities: Matrix, y: Classes) -> float:
    """Mean log-loss of class probabilities of shape (rows, classes)."""
    chosen = probabilities[np.arange(len(y)), y].astype(np.float64)
    return float(-np.mean(np.log(np.maximum(chosen, 1e-300))))


def reference_probabilities(X: Matrix, weights: list[Matrix]) -> Matrix:
    """Forward pass in float64, what every library's prediction is compared with."""
    y: Matrix = X.astype(np.float64)
    for l, W in enumerate(weights, start=1):
        z = y @ W[:-1].astype(np.float64) + W[-1]
        y = z if l == len(weights) else np.maximum(z, 0.0)
    exponentials: Matrix = np.exp(y - y.max(axis=1, keepdims=True))
    exponentials /= exponentials.sum(axis=1, keepdims=True)
    return exponentials
