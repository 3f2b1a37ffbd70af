"""Back propagation written by hand in NumPy, as well as NumPy allows.

All buffers are allocated once, and every operation writes into one of them. The parameters lie in one vector.
Adam walks over it in pieces that stay in the core's cache. SciPy multiplies by sparse rows.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from libraries.base import Library
from workloads import BETA_1, BETA_2, EPSILON, LEARNING_RATE, Classes, Matrix, Problem

ADAM_PIECE = 16_384


class NumpyNetwork:
    """A multi-layer perceptron: relu, softmax head, log-loss, Adam.

    Parameters
    ----------
    sizes : tuple of int
        Widths from the input to the head.
    batch : int
        The most rows of a batch; smaller batches use the leading rows of the buffers.
    dtype : str
        ``"float32"`` or ``"float64"``.
    """

    def __init__(self, sizes: tuple[int, ...], batch: int, dtype: str) -> None:
        kind = np.dtype(dtype)
        self.sizes = sizes
        shapes = [(n_in + 1, n_out) for n_in, n_out in itertools.pairwise(sizes)]
        total = sum(rows * columns for rows, columns in shapes)
        self.parameters = np.zeros(total, kind)
        self.gradients = np.zeros(total, kind)
        self.moment_1 = np.zeros(total, kind)
        self.moment_2 = np.zeros(total, kind)
        self.piece = np.empty(min(total, ADAM_PIECE), kind)
        self.W = split(self.parameters, shapes)
        self.dW = split(self.gradients, shapes)
        self.updates = 0
        self.outputs = [np.empty((batch, n), kind) for n in sizes]
        self.deltas = [np.empty((batch, n), kind) for n in sizes]
        self.masks = [np.empty((batch, n), bool) for n in sizes]
        self.row_buffer = np.empty((batch, 1), kind)
        self.targets = np.empty(batch, np.int64)
        self.row_numbers = np.arange(batch)

    def set_weights(self, weights: list[Matrix]) -> None:
        """Set the weights and forget the optimizer's state."""
        for mine, theirs in zip(self.W, weights, strict=True):
            mine[...] = theirs
        self.moment_1[...] = 0.0
        self.moment_2[...] = 0.0
        self.updates = 0

    def forward(self, X: Any) -> Matrix:
        """Forward pass, caching every layer's outputs. X has shape (batch, n_0)."""
        rows = X.shape[0]
        y = X
        last = len(self.W)
        self.input = X
        for l, W in enumerate(self.W, start=1):
            z = self.outputs[l][:rows]
            product(y, W[:-1], out=z)
            z += W[-1]
            if l < last:
                np.maximum(z, 0.0, out=z)
            y = z
        self.softmax(y)
        return y

    def softmax(self, z: Matrix) -> None:
        """Softmax of each row, in place."""
        row = self.row_buffer[: len(z)]
        np.max(z, axis=1, keepdims=True, out=row)
        z -= row
        np.exp(z, out=z)
        np.sum(z, axis=1, keepdims=True, out=row)
        z /= row

    def backward(self, loss_gradient: Matrix) -> Matrix:
        """Backward pass from L'_(L), (batch, n_L), to L'_(0); leaves the weight gradients in ``dW``."""
        rows = len(loss_gradient)
        y = self.outputs[-1][:rows]
        delta = self.deltas[-1][:rows]
        row = self.row_buffer[:rows]
        np.multiply(loss_gradient, y, out=delta)
        np.sum(delta, axis=1, keepdims=True, out=row)
        np.subtract(loss_gradient, row, out=delta)
        delta *= y
        return self.backward_from_delta(delta, need_input_gradient=True)

    def backward_from_delta(self, delta: Matrix, need_input_gradient: bool) -> Matrix:
        """Backward pass from the head's delta, dLoss/dz_(L)."""
        rows = len(delta)
        for l in range(len(self.W), 0, -1):
            y = self.outputs[l - 1][:rows] if l > 1 else self.input
            product(y.T, delta, out=self.dW[l - 1][:-1])
            np.sum(delta, axis=0, out=self.dW[l - 1][-1])
            if l == 1 and not need_input_gradient:
                break
            below = self.deltas[l - 1][:rows]
            np.matmul(delta, self.W[l - 1][:-1].T, out=below)
            if l > 1:
                mask = self.masks[l - 1][:rows]
                np.greater(y, 0.0, out=mask)
                below *= mask
            delta = below
        return delta

    def adam(self) -> None:
        """One update of every parameter from its gradient."""
        self.updates += 1
        rate = LEARNING_RATE * (1.0 - BETA_2**self.updates) ** 0.5 / (1.0 - BETA_1**self.updates)
        for start in range(0, len(self.parameters), ADAM_PIECE):
            part = slice(start, start + ADAM_PIECE)
            g, m, v = self.gradients[part], self.moment_1[part], self.moment_2[part]
            step = self.piece[: len(g)]
            np.multiply(g, 1.0 - BETA_1, out=step)
            m *= BETA_1
            m += step
            np.multiply(g, g, out=step)
            step *= 1.0 - BETA_2
            v *= BETA_2
            v += step
            np.sqrt(v, out=step)
            step += EPSILON
            np.divide(m, step, out=step)
            step *= rate
            self.parameters[part] -= step

    def step(self, X: Any, y: Classes) -> float:
        """One update on one batch; returns the batch's mean log-loss before the update."""
        rows = X.shape[0]
        p = self.forward(X)
        numbers = self.row_numbers[:rows]
        loss = -float(np.log(np.maximum(p[numbers, y], 1e-30)).mean())
        p[numbers, y] -= 1.0
        p *= 1.0 / rows
        self.backward_from_delta(p, need_input_gradient=False)
        self.adam()
        return loss

    def epoch(self, X: Any, y: Classes, rng: np.random.Generator) -> float:
        """One epoch of shuffled mini-batches; returns the mean loss."""
        batch = len(self.outputs[0])
        rows = X.shape[0]
        order = rng.permutation(rows)
        total = 0.0
        for start in range(0, rows, batch):
            chosen = order[start : start + batch]
            count = len(chosen)
            X_batch, y_batch = self.outputs[0][:count], self.targets[:count]
            # mode="clip" lets take write straight into `out`; "raise" goes through a temporary.
            if isinstance(X, np.ndarray):
                np.take(X, chosen, axis=0, out=X_batch, mode="clip")
            else:
                X_batch = X[chosen]
            np.take(y, chosen, out=y_batch, mode="clip")
            total += self.step(X_batch, y_batch) * count
        return total / rows


def product(a: Any, b: Matrix, out: Matrix) -> None:
    """``out = a @ b``, where `a` may be sparse."""
    if isinstance(a, np.ndarray):
        np.matmul(a, b, out=out)
    else:
        out[...] = a @ b


def split(vector: Matrix, shapes: list[tuple[int, int]]) -> list[Matrix]:
    """Views of consecutive parts of a vector, one a shape."""
    parts: list[Matrix] = []
    start = 0
    for rows, columns in shapes:
        parts.append(vector[start : start + rows * columns].reshape(rows, columns))
        start += rows * columns
    return parts


def predict(X: Any, weights: list[tuple[Matrix, Matrix]]) -> Matrix:
    """Forward pass for any number of rows, caching nothing. `weights` holds (matrix, bias) pairs."""
    y = X
    last = len(weights) - 1
    for l, (W, b) in enumerate(weights):
        y = y @ W
        y += b
        if l < last:
            np.maximum(y, 0.0, out=y)
    y -= y.max(axis=1, keepdims=True)
    np.exp(y, out=y)
    y /= y.sum(axis=1, keepdims=True)
    return y


class NumpyLibrary(Library):
    """NumPy by hand as a peer."""

    reads_sparse = True

    def versions(self) -> dict[str, str]:
        blas: Any = np.show_config(mode="dicts")
        found = blas["Build Dependencies"]["blas"]
        return {"numpy": np.__version__, "BLAS of numpy": f"{found['name']} {found['version']}"}

    def load(self, problem: Problem) -> None:
        self.problem = problem
        self.network = NumpyNetwork(problem.sizes, problem.batch, self.dtype)
        # `take` writes into a buffer of X's type, so X may be wider than the network.
        self.network.outputs[0] = np.empty((problem.batch, problem.sizes[0]), problem.X.dtype)
        self.rng = np.random.default_rng(0)

    def reset(self) -> None:
        self.network.set_weights(self.problem.weights)
        self.losses: list[float] = []
        self.prediction_weights = [(W[:-1], W[-1]) for W in self.network.W]

    def train(self, epochs: int) -> None:
        for _ in range(epochs):
            self.losses.append(self.network.epoch(self.problem.X, self.problem.y, self.rng))

    def predict(self, X: Any) -> Matrix:
        return predict(X, self.prediction_weights)
