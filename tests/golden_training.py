"""Trains by every way of the Python interface and prints the hash of the weights of each.

    python tests/golden_training.py

The output is the same on every CPU and number of threads; tests/golden/training.txt has it. `make golden`
writes it anew. The data are made without the C library, which is not the same everywhere.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import Dense, MLPClassifier, MLPRegressor, Network, Trainer, initializers, schedules
from densegrad._optimizers import STOCHASTIC
from densegrad._tables import ACTIVATIONS

HIDDEN = [name for name, row in ACTIVATIONS.items() if not row["head_only"] and name != "custom"]
SOLVERS = ["lbfgs", *STOCHASTIC]


def rows(dtype: str = "float64") -> NDArray[Any]:
    return (4 * np.random.RandomState(0).random_sample((90, 5)) - 2).astype(dtype)


def classes() -> NDArray[np.int64]:
    X = rows()
    return (X[:, 0] * X[:, 1] > 0) + 1 * (X[:, 2] > X[:, 3])


def values() -> NDArray[np.float64]:
    X = rows()
    return X[:, 0] * X[:, 1] + 0.5 * X[:, 2]


def digest(*arrays: Any) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[
        :16
    ]


def trained(
    optimizer: str = "adam", dtype: str = "float64", n_threads: int | None = None, **options: Any
) -> str:
    initializer, dropout = options.pop("initializer", None), options.pop("dropout", 0.1)
    layers = [Dense(19, "tanh", dropout=dropout, initializer=initializer), Dense(1, "identity")]
    network = Network(5, layers, dtype=dtype, random_state=0)
    options = {"batch_size": 16, **options}
    trainer = Trainer(network, optimizer, random_state=0, n_threads=n_threads, **options)
    history = trainer.fit(rows(dtype), values(), epochs=4, validation=(rows(dtype)[:20], values()[:20]))
    return digest(network.parameters, history.loss, history.validation_loss)


def fitted(estimator: Any, dtype: str = "float64") -> NDArray[Any]:
    y = classes() if isinstance(estimator, MLPClassifier) else values()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # most do not converge
        estimator.fit(rows(dtype), y)
    weights: NDArray[Any] = estimator.network_.parameters
    assert np.isfinite(weights).all()
    return weights


def lines(n_threads: int | None = None) -> Iterator[str]:
    """Yield a name and a hash for each training."""
    for optimizer in STOCHASTIC:
        for dtype in ("float32", "float64"):
            yield f"Trainer {optimizer} {dtype} {trained(optimizer, dtype, n_threads)}"
    for dtype in ("float32", "float64"):
        options: dict[str, Any] = {"batch_size": "auto", "dropout": 0.0}
        yield f"Trainer lbfgs {dtype} {trained('lbfgs', dtype, n_threads, **options)}"
    for name in schedules.BY_NAME:
        yield f"Trainer schedule={name} {trained('sgd', schedule=name, n_threads=n_threads)}"
    for power_t in (0.0, 0.3, 1.0):
        schedule = schedules.InvScaling(power_t)
        yield f"Trainer InvScaling({power_t}) {trained('sgd', schedule=schedule, n_threads=n_threads)}"
    for name, initializer in initializers.BY_NAME.items():
        yield f"Trainer initializer={name} {trained(initializer=initializer, n_threads=n_threads)}"
    for name in ("l1", "l2", "weight_decay", "max_norm", "clip_norm"):
        yield f"Trainer {name}=0.1 {trained(n_threads=n_threads, **{name: 0.1})}"

    common = {"hidden_layer_sizes": (19,), "max_iter": 4, "random_state": 0, "n_threads": n_threads}
    for kind in (MLPClassifier, MLPRegressor):
        for solver in SOLVERS:
            rates = (0.0,) if solver == "lbfgs" else (0.0, 0.2)
            for activation in HIDDEN:
                weights = [
                    fitted(kind(solver=solver, activation=activation, dropout=rate, **common), dtype)
                    for rate in rates
                    for dtype in ("float32", "float64")
                ]
                yield f"{kind.__name__} {solver} {activation} {digest(*weights)}"
        for rule in ("constant", "invscaling", "adaptive"):
            for power_t in (0.5, 0.2):
                estimator = kind(solver="sgd", learning_rate=rule, power_t=power_t, **common)
                yield f"{kind.__name__} learning_rate={rule} power_t={power_t} {digest(fitted(estimator))}"
        stopped = fitted(kind(early_stopping=True, **common))
        yield f"{kind.__name__} early_stopping {digest(stopped)}"


if __name__ == "__main__":
    for line in lines():
        print(line)
