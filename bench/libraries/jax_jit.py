"""JAX with the whole epoch in one compiled function: a scan over the batches, then the rest of the rows."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from libraries.base import Library
from workloads import BETA_1, BETA_2, EPSILON, LEARNING_RATE, Matrix, Problem

Parameters = list[tuple[jax.Array, jax.Array]]


def forward(parameters: Parameters, X: jax.Array) -> jax.Array:
    """Logits, (rows, classes)."""
    y = X
    for W, b in parameters[:-1]:
        y = jax.nn.relu(y @ W + b)
    W, b = parameters[-1]
    return y @ W + b


def loss_of(parameters: Parameters, X: jax.Array, y: jax.Array) -> jax.Array:
    """Mean log-loss of a batch."""
    log_p = jax.nn.log_softmax(forward(parameters, X))
    return -jnp.take_along_axis(log_p, y[:, None], axis=1).mean()


def adam(g: jax.Array, w: jax.Array, m: jax.Array, v: jax.Array, t: jax.Array) -> tuple[jax.Array, ...]:
    """New parameter and moments of one array; `t` counts updates from 1."""
    m = BETA_1 * m + (1.0 - BETA_1) * g
    v = BETA_2 * v + (1.0 - BETA_2) * g * g
    rate = LEARNING_RATE * jnp.sqrt(1.0 - BETA_2**t) / (1.0 - BETA_1**t)
    return w - rate * m / (jnp.sqrt(v) + EPSILON), m, v


def update(state: Any, X: jax.Array, y: jax.Array) -> tuple[Any, jax.Array]:
    """One training step."""
    parameters, moment_1, moment_2, t = state
    loss, gradient = jax.value_and_grad(loss_of)(parameters, X, y)
    t = t + 1
    arrays, tree = jax.tree.flatten(parameters)
    columns = (jax.tree.leaves(gradient), arrays, jax.tree.leaves(moment_1), jax.tree.leaves(moment_2))
    triples = [adam(g, w, m, v, t.astype(w.dtype)) for g, w, m, v in zip(*columns, strict=True)]
    new = [jax.tree.unflatten(tree, column) for column in zip(*triples, strict=True)]
    return (new[0], new[1], new[2], t), loss


class JaxLibrary(Library):
    """JAX as a peer."""

    def __init__(self, threads: int, dtype: str) -> None:
        super().__init__(threads, dtype)
        jax.config.update("jax_enable_x64", dtype == "float64")
        self.predict_jitted = jax.jit(lambda parameters, X: jax.nn.softmax(forward(parameters, X)))

    def versions(self) -> dict[str, str]:
        return {"jax": jax.__version__, "jaxlib": jaxlib.__version__}

    def load(self, problem: Problem) -> None:
        self.problem = problem
        self.X = jnp.asarray(problem.X)
        self.y = jnp.asarray(problem.y.astype(np.int32))
        rows, batch = len(problem.X), problem.batch
        full = rows // batch * batch

        def epoch(state: Any, order: jax.Array, X: jax.Array, y: jax.Array) -> tuple[Any, jax.Array]:
            def body(carried: Any, chosen: jax.Array) -> tuple[Any, jax.Array]:
                return update(carried, X[chosen], y[chosen])

            state, losses = jax.lax.scan(body, state, order[:full].reshape(-1, batch))
            total = losses.sum() * batch
            if full < rows:
                rest = order[full:]
                state, loss = update(state, X[rest], y[rest])
                total += loss * (rows - full)
            return state, total / rows

        self.epoch = jax.jit(epoch, donate_argnums=0)
        self.rng = np.random.default_rng(0)

    def reset(self) -> None:
        parameters = [(jnp.array(W[:-1]), jnp.array(W[-1])) for W in self.problem.weights]
        moments = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(2)]
        self.state: Any = (parameters, *moments, jnp.zeros((), jnp.int32))
        self.losses: list[jax.Array] = []
        jax.block_until_ready(self.state)

    def train(self, epochs: int) -> None:
        # NumPy's permutation is several times as fast as jax.random's on a CPU.
        for _ in range(epochs):
            order = self.rng.permutation(len(self.X)).astype(np.int32)
            self.state, loss = self.epoch(self.state, order, self.X, self.y)
            self.losses.append(loss)
        jax.block_until_ready(self.state)

    def predict(self, X: Matrix) -> Matrix:
        return np.asarray(self.predict_jitted(self.state[0], X))
