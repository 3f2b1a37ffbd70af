"""What columns that are not scaled cost, in epochs and predictions of the same columns, scaled.

Large sums drive activations into their tails. Products of tails are denormal numbers, which many CPUs
multiply a hundred times more slowly. The core makes them zero where they arise. A number is the worst ratio
over the scales, of the shortest CPU times. At most 2 is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from densegrad import SGD, Dense, Network, Trainer

ACTIVATIONS = ("relu", "leaky_relu", "tanh", "logistic", "softplus", "elu", "selu", "silu", "gelu", "mish")
DTYPES = ("float32", "float64")
SCALES = (30, 120, 1000)
ROWS = 3000
REPEATS = 9
ASKED = 2.0


def seconds(call: Callable[[], Any]) -> float:
    """The shortest CPU time of a call."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def costs(activation: Any, dtype: str, scale: float) -> tuple[float, float]:
    """Seconds of an epoch that moves no weight, and of a prediction."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-0.5, 0.5, (ROWS, 64))
    target = (X[:, 0] > 0).astype(dtype)
    layers = [Dense(64, activation), Dense(64, activation), Dense(1, "logistic")]
    net = Network(64, layers, loss="log_loss", dtype=dtype, random_state=0)
    trainer = Trainer(net, SGD(1e-12), batch_size=200, shuffle=False, n_threads=1)
    samples = net.samples((scale * X).astype(dtype), target)
    return seconds(lambda: trainer.epoch(samples)), seconds(lambda: net.predict(samples.X, n_threads=1))


def worst_ratios(activation: str, dtype: str) -> np.ndarray:
    """The ratios of epochs and of predictions."""
    scaled = np.array(costs(activation, dtype, 1))
    return np.max([np.array(costs(activation, dtype, scale)) / scaled for scale in SCALES], axis=0)


def main() -> None:
    columns = [f"{dtype}, {what}" for dtype in DTYPES for what in ("epoch", "prediction")]
    print(f"| activation | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    above = []
    for activation in ACTIVATIONS:
        ratios = np.concatenate([worst_ratios(activation, dtype) for dtype in DTYPES])
        print(f"| {activation} | {' | '.join(f'{ratio:.1f}' for ratio in ratios)} |", flush=True)
        if ratios.max() > ASKED:
            above.append(activation)
    print(f"\nAbove {ASKED:g}: {', '.join(above) or 'none'}.")


if __name__ == "__main__":
    main()
