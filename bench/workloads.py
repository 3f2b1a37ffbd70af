"""Data and initial weights of the cases, the same for every library; the formulas that check them.

Every case is a classification: relu hidden layers, softmax head, log-loss, Adam(1e-3), shuffled mini-batches.
SciPy and scikit-learn are imported only for the rows that need them.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases import TALL_BATCH, TALL_SIZES, Case

LEARNING_RATE = 1e-3
BETA_1 = 0.9
BETA_2 = 0.999
EPSILON = 1e-8

Matrix = NDArray[np.floating]
Classes = NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """The same data and initial weights for every library."""

    sizes: tuple[int, ...]
    batch: int
    X: Any  # (rows, sizes[0]): an array in C order, or a CSR array
    y: Classes  # (rows,), class numbers
    weights: list[Matrix]  # one (n_in + 1, n_out) a layer, the bias is the last row


def make_problem(case: Case, dtype: str) -> Problem:
    """Data and initial weights of a case; the same bits in every process."""
    # The twins differ in their features alone.
    seed = zlib.crc32(case.name.replace("dead", "alive").encode())
    rng = np.random.default_rng(seed)
    X, y = MAKERS[case.rows_of](rng, case.rows, case.sizes[0], case.sizes[-1])
    weights = glorot_uniform(rng, case.sizes)
    if case.name == "dead":
        silence_columns(X)
        silence_units(weights)
    kind = np.dtype(dtype)
    return Problem(case.sizes, case.batch, X.astype(kind), y, [W.astype(kind) for W in weights])


def clusters(rng: np.random.Generator, rows: int, n_in: int, classes: int) -> tuple[Matrix, Classes]:
    """Two Gaussian clusters a class and a fifth of the labels drawn at random.

    A hidden layer helps, and the loss falls quickly to a plateau above zero. So losses after the same number
    of epochs can be compared, although the libraries shuffle differently.
    """
    centres = rng.standard_normal((2 * classes, n_in)) * (10.0 / np.sqrt(2 * n_in))
    cluster = rng.integers(0, 2 * classes, rows)
    X = rng.standard_normal((rows, n_in))
    X += centres[cluster]
    return X, with_wrong_labels(rng, cluster % classes, classes)


def with_wrong_labels(rng: np.random.Generator, y: Classes, classes: int) -> Classes:
    """The labels, a fifth of them drawn at random."""
    wrong = rng.random(len(y)) < 0.2
    y[wrong] = rng.integers(0, classes, int(wrong.sum()))
    return y.astype(np.int64)


def text(
    rng: np.random.Generator, rows: int, n_in: int, classes: int, n_words: int = 100
) -> tuple[Any, Classes]:
    """Sparse rows of `n_words` draws from `n_in` words, as counts; the commonest words tell the class.

    Word k, counted from the commonest, comes about as often as 1 / k.
    """
    from scipy.sparse import coo_array

    ranks = np.exp(rng.uniform(0, np.log(n_in), (rows, n_words))).astype(int) - 1
    words = rng.permutation(n_in)[ranks]
    numbers = np.repeat(np.arange(rows), n_words)
    X = coo_array((np.ones(words.size), (numbers, words.ravel())), (rows, n_in)).tocsr()
    counts = np.stack([(ranks == k).sum(axis=1) for k in range(classes)], axis=1)
    return X, with_wrong_labels(rng, counts.argmax(axis=1), classes)


def one_hot(
    rng: np.random.Generator, rows: int, n_in: int, classes: int, n_levels: int = 50
) -> tuple[Matrix, Classes]:
    """Rows of categories with `n_levels` levels each, as an array; the first one tells the class."""
    levels = rng.integers(0, n_levels, (rows, n_in // n_levels))
    X = np.zeros((rows, n_in))
    np.put_along_axis(X, levels + n_levels * np.arange(levels.shape[1]), 1.0, axis=1)
    return X, with_wrong_labels(rng, levels[:, 0] % classes, classes)


def digits(rng: np.random.Generator, rows: int, n_in: int, classes: int) -> tuple[Matrix, Classes]:
    """The scanned digits of scikit-learn, 8 x 8 pixels in [0, 1]; about half of the pixels are zero."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return X[:rows] / 16, y[:rows].astype(np.int64)


MAKERS: dict[str, Callable[[np.random.Generator, int, int, int], tuple[Any, Classes]]] = {
    "clusters": clusters,
    "text": text,
    "one_hot": one_hot,
    "digits": digits,
}


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

    The second kind is like a rare category after one-hot encoding. Its weights get a gradient in one update
    of an epoch. In the other updates the optimizer's state decays into denormals.
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
    """Forward pass in float64, to compare every library's prediction with."""
    y: Matrix = X.astype(np.float64)
    for l, W in enumerate(weights, start=1):
        z = y @ W[:-1].astype(np.float64) + W[-1]
        y = z if l == len(weights) else np.maximum(z, 0.0)
    exponentials: Matrix = np.exp(y - y.max(axis=1, keepdims=True))
    exponentials /= exponentials.sum(axis=1, keepdims=True)
    return exponentials
