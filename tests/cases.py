"""What the tests run over: one list of shapes, both precisions, every instruction set, loss and head."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import densegrad
from densegrad import SGD, Adagrad, Adam, AdamW, Dense, Lion, NAdam, Network, RMSprop, _core

TABLES = _core.tables()
ISAS = _core.supported_instruction_sets()
DTYPES = ["float32", "float64"]
NAN, INF = float("nan"), float("inf")

OPTIMIZERS = [
    SGD(0.05),
    SGD(0.05, 0.9),
    SGD(0.05, 0.9, True),
    Adam(0.01),
    Adam(0.01, 0.5, 0.9, 1e-3),
    AdamW(0.01, weight_decay=0.1),
    NAdam(0.01),
    RMSprop(0.01),
    RMSprop(0.01, momentum=0.5),
    Adagrad(0.05),
    Lion(0.001, weight_decay=0.1),
]

# (rows, n_0, n_1, ..., n_L). Lines hold 16 float32 or 8 float64; tiles of the products have 6 or 8 rows with
# AVX2 and up to 24 with AVX-512; the batch is summed in slices of 256 rows and goes through the passes in
# pieces of 1024.
CASES = [
    (1, 1, 1),
    (1, 20, 64, 2),
    (2, 3, 1),
    (3, 1, 7, 1),
    (5, 7, 8, 9, 3),
    (6, 8, 15, 2),
    (7, 9, 16, 10),
    (8, 15, 17, 1),
    (9, 16, 31, 5),
    (13, 17, 32, 33, 4),
    (23, 31, 9, 1, 6),
    (24, 33, 23, 2),
    (25, 5, 24, 25, 3),
    (33, 64, 63, 17),
    (40, 129, 3),
    (47, 3, 5, 5, 5, 5, 5, 5, 2),
    (255, 6, 10, 3),
    (256, 2, 16, 1),
    (257, 10, 7, 16),
    (301, 100, 10, 2),
    (1025, 4, 9, 2),
]


def ids(case: tuple[int, ...]) -> str:
    return "x".join(map(str, case))


@dataclass(frozen=True)
class Pairing:
    """A loss with one of its heads."""

    loss: str
    head: str
    arguments: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return "-".join([self.loss, self.head, *[f"{name}={value}" for name, value in self.arguments]])


# By hand, not from the table: what it says is tested.
HEADS = {
    **dict.fromkeys(("log_loss", "focal"), ("logistic", "softmax")),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), ("softplus", "exp")),
    **dict.fromkeys(("quantile", "gaussian_nll", "hinge", "squared_hinge"), ("identity",)),
}
ANY_HEAD = tuple(name for name in TABLES["activations"] if name != "softmax")
PAIRINGS = [Pairing(loss, head) for loss in densegrad.losses() for head in HEADS.get(loss, ANY_HEAD)] + [
    Pairing("log_loss", "softmax", (("label_smoothing", 0.1),)),
    Pairing("log_loss", "logistic", (("label_smoothing", 0.1),)),
    Pairing("huber", "identity", (("delta", 0.3),)),
    Pairing("quantile", "identity", (("quantile", 0.9),)),
    Pairing("quantile", "identity", (("quantile", (0.1, 0.5, 0.9)),)),
    Pairing("tweedie", "exp", (("power", 1.2),)),
    Pairing("focal", "softmax", (("gamma", 0.5),)),
]
HIDDEN = [name for name, row in TABLES["activations"].items() if not row["head_only"]]


def n_outputs(pairing: Pairing, n_targets: int) -> int:
    """The number of outputs of a network with `n_targets` values in a row of the target."""
    levels = dict(pairing.arguments).get("quantile")
    if isinstance(levels, tuple):
        return n_targets * len(levels)
    return {"gaussian_nll": 2}.get(pairing.loss, 1) * n_targets


def make_network(
    case: tuple[int, ...],
    pairing: Pairing | None = None,
    hidden: str = "tanh",
    dtype: str = "float64",
    seed: int = 0,
    dropout: float = 0.0,
) -> Network:
    """A network of the widths case[1:], whose biases are not zero."""
    pairing = pairing or Pairing("squared_error", "identity")
    *widths, n_targets = case[2:]
    layers = [Dense(n, hidden, dropout=dropout) for n in widths]
    layers.append(Dense(n_outputs(pairing, n_targets), pairing.head))
    arguments: dict[str, Any] = dict(pairing.arguments)
    network = Network(case[1], layers, loss=pairing.loss, dtype=dtype, random_state=seed, **arguments)
    random = np.random.default_rng(seed)
    for l in range(1, network.depth + 1):
        W = network.weights[l].copy()
        W[-1] = random.normal(scale=0.3, size=W.shape[1])
        network.weights[l] = W
    return network


def make_rows(case: tuple[int, ...], rng: np.random.Generator, dtype: str = "float64") -> NDArray[Any]:
    return rng.normal(size=case[:2]).astype(dtype)


def make_target(network: Network, n_rows: int, rng: np.random.Generator) -> NDArray[Any]:
    """Targets that the network's loss allows, and that are no special case for it."""
    kind, n_targets = network.target_kind, network.n_targets
    if kind == "values":
        values = rng.normal(size=(n_rows, n_targets))
        return np.exp(values) if network.loss in ("poisson", "gamma", "tweedie") else values
    head = network.layers[-1].activation
    if head == "softmax" or (n_targets > 1 and head != "logistic"):
        return rng.integers(n_targets, size=n_rows)
    return rng.integers(2, size=(n_rows, n_targets))


def assert_close(actual: Any, expected: Any, dtype: str, slack: float = 1.0) -> None:
    """Compare with the float64 twin: the error may be some units in the last place of the largest number."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    if expected.size == 0:
        return
    tolerance = slack * {"float32": 1e-5, "float64": 1e-13}[dtype]
    scale = max(float(np.max(np.abs(expected))), 1e-3)
    error = float(np.max(np.abs(actual - expected))) / scale
    assert error <= tolerance, f"error {error:.3g} of the largest number, {tolerance:.3g} allowed"


def refused(match: str, action: Callable[[], Any]) -> None:
    """The action is an error of its arguments, with a message that matches."""
    with pytest.raises((ValueError, TypeError), match=match):
        action()


def same_bits(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set in turn, for the networks that the test makes."""
    before = _core.instruction_set()
    _core.set_instruction_set(request.param)
    yield request.param
    _core.set_instruction_set(before)


def regression(rng: np.random.Generator) -> tuple[Any, Any]:
    X = rng.normal(size=(300, 4))
    return X, np.sin(X[:, :2]) + 0.1 * rng.normal(size=(300, 2))


def half_square(y_true: Any, y_pred: Any) -> Any:
    r = y_pred - y_true
    return 0.5 * (r**2).sum(axis=1), r
