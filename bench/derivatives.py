"""What derivatives cost, in steps of Adam on the same batch: the table of docs/learn/gradients.md.

    python bench/derivatives.py [threads]

Each call alternates with the step, so that both meet the same neighbours on a busy machine. A number is the
ratio of the two shortest times.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from densegrad import Adam, Dense, Network, Trainer

NETWORKS = {  # widths, hidden activation, rows of the batch
    "64-256-256-10": ((64, 256, 256, 10), "gelu", 256),
    "20-64-64-2": ((20, 64, 64, 2), "tanh", 32),
}
REPEATS = 100


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def gelu_by_tanh(z: Any) -> Any:
    """The usual approximation of gelu, in NumPy."""
    return 0.5 * z * (1 + np.tanh(0.7978845608 * (z + 0.044715 * z**3)))


def gelu_by_tanh_slope(z: Any) -> Any:
    t = np.tanh(0.7978845608 * (z + 0.044715 * z**3))
    return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * 0.7978845608 * (1 + 0.134145 * z**2)


def tanh_slope(z: Any) -> Any:
    return 1 - np.tanh(z) ** 2


CUSTOM: dict[str, Any] = {"gelu": (gelu_by_tanh, gelu_by_tanh_slope), "tanh": (np.tanh, tanh_slope)}


def make(widths: tuple[int, ...], hidden: Any) -> Network:
    layers = [*(Dense(n, hidden) for n in widths[1:-1]), Dense(widths[-1], "softmax")]
    return Network(widths[0], layers, loss="log_loss", random_state=0)


def ratios(widths: tuple[int, ...], hidden: str, n_rows: int, n_threads: int) -> dict[str, float]:
    """Return what each call costs, in steps."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, widths[0])).astype(np.float32)
    target = rng.integers(widths[-1], size=n_rows)
    net = make(widths, hidden)
    trainers = [
        Trainer(network, Adam(1e-4), n_threads=n_threads)
        for network in (make(widths, hidden), make(widths, CUSTOM[hidden]))
    ]
    v = rng.normal(size=(n_rows, widths[-1])).astype(np.float32)
    direction = rng.normal(size=net.n_parameters).astype(np.float32)
    threads: dict[str, Any] = {"n_threads": n_threads}

    def all_gradients() -> None:
        gradients = net.per_sample_gradients(X, target, **threads)
        for l in range(1, net.depth + 1):
            gradients[l]

    calls: dict[str, Callable[[], Any]] = {
        "`backpropagate`": lambda: net.backpropagate(X, target, **threads),
        "… with `sample_losses`": lambda: net.backpropagate(X, target, **threads).sample_losses,
        "… with `preactivations`": lambda: list(net.backpropagate(X, target, **threads).preactivations),
        "`vjp`": lambda: net.vjp(X, v, **threads),
        "`jacobian`, a backward pass for each output": lambda: net.jacobian(X, **threads),
        "`per_sample_gradients(…).norms`": lambda: net.per_sample_gradients(X, target, **threads).norms,
        "all per-sample gradients": all_gradients,
        "`hessian_vector_product`": lambda: net.hessian_vector_product(X, target, direction, **threads),
        "a step with the hidden activation in NumPy": lambda: trainers[1].step(X, target),
    }
    found = {}
    for name, call in calls.items():
        call()
        pairs = [(seconds(call), seconds(lambda: trainers[0].step(X, target))) for _ in range(REPEATS)]
        costs, steps = zip(*pairs, strict=True)
        found[name] = min(costs) / min(steps)
    return found


def main() -> None:
    n_threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    columns = [ratios(*network, n_threads) for network in NETWORKS.values()]
    print(f"| call | {' | '.join(NETWORKS)} |\n|---|{'---|' * len(NETWORKS)}")
    for name in columns[0]:
        print(f"| {name} | {' | '.join(f'{column[name]:.2g}' for column in columns)} |")


if __name__ == "__main__":
    main()
