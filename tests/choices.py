"""Choices of the tests: instruction sets, precisions, activations, optimizers, losses with their heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import densegrad
from densegrad import SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop, _core

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


@dataclass(frozen=True)
class Pairing:
    """A loss with one of its heads."""

    loss: str
    head: str
    arguments: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return "-".join([self.loss, self.head, *[f"{name}={value}" for name, value in self.arguments]])


# By hand, not from the table, because the tests check the table.
HEADS = {
    **dict.fromkeys(("log_loss", "focal"), ("logistic", "softmax")),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), ("softplus", "exp")),
    **dict.fromkeys(("quantile", "gaussian_nll", "hinge", "squared_hinge"), ("identity",)),
}
ANY_HEAD = tuple(name for name in densegrad.activations() if name != "softmax")
PAIRINGS = [Pairing(loss, head) for loss in densegrad.losses() for head in HEADS.get(loss, ANY_HEAD)] + [
    Pairing("log_loss", "softmax", (("label_smoothing", 0.1),)),
    Pairing("log_loss", "logistic", (("label_smoothing", 0.1),)),
    Pairing("huber", "identity", (("delta", 0.3),)),
    Pairing("quantile", "identity", (("quantile", 0.9),)),
    Pairing("quantile", "identity", (("quantile", (0.1, 0.5, 0.9)),)),
    Pairing("tweedie", "exp", (("power", 1.2),)),
    Pairing("focal", "softmax", (("gamma", 0.5),)),
]
HIDDEN = [name for name in densegrad.activations() if not TABLES["activations"][name]["head_only"]]


def n_outputs(pairing: Pairing, n_targets: int) -> int:
    """The number of outputs of a network with `n_targets` values in a row of the target."""
    levels = dict(pairing.arguments).get("quantile")
    if isinstance(levels, tuple):
        return n_targets * len(levels)
    return {"gaussian_nll": 2}.get(pairing.loss, 1) * n_targets
