"""Training steps of each optimizer that PyTorch has in the same form, in float64.

The tests compare the movement of each W_(l) from its start. The relative error is max |a - b| / max |b| over
its elements, b being PyTorch's. It must not exceed 1e-9. Lion is not in PyTorch, and
its L-BFGS has another line search: tests/test_lbfgs.py compares ours with SciPy's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from densegrad import SGD, Adagrad, Adam, AdamW, Dense, NAdam, Network, RMSprop, Trainer, optimizers
from peers.conftest import Compare
from peers.torch_network import TorchNetwork

N_STEPS = 25


@dataclass(frozen=True)
class Pair:
    """An optimizer of densegrad and what it is in PyTorch."""

    ours: Any
    theirs: Callable[..., torch.optim.Optimizer]
    options: dict[str, Any]


# Large epsilons, so that it shows where they are added.
ADAM = {"betas": (0.8, 0.98), "eps": 1e-3}
PAIRS = [
    Pair(SGD(0.3), torch.optim.SGD, {}),
    Pair(SGD(0.3, 0.8), torch.optim.SGD, {"momentum": 0.8}),
    Pair(SGD(0.3, 0.8, True), torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    Pair(Adam(0.01, 0.8, 0.98, 1e-3), torch.optim.Adam, ADAM),
    Pair(AdamW(0.01, 0.8, 0.98, 1e-3, 0.0), torch.optim.AdamW, {**ADAM, "weight_decay": 0.0}),
    Pair(AdamW(0.01, 0.8, 0.98, 1e-3, 0.5), torch.optim.AdamW, {**ADAM, "weight_decay": 0.5}),
    Pair(NAdam(0.01, 0.8, 0.98, 1e-3), torch.optim.NAdam, ADAM),
    Pair(RMSprop(0.01, 0.9, 1e-3), torch.optim.RMSprop, {"alpha": 0.9, "eps": 1e-3}),
    Pair(RMSprop(0.01, 0.9, 1e-3, 0.7), torch.optim.RMSprop, {"alpha": 0.9, "eps": 1e-3, "momentum": 0.7}),
    Pair(Adagrad(0.05, 1e-3), torch.optim.Adagrad, {"eps": 1e-3}),
]


@pytest.mark.parametrize(
    ("pair", "l2"),
    # PyTorch's AdamW has no penalty in its gradient beside the decay.
    [
        pytest.param(pair, l2, id=f"{pair.ours}{'-l2' if l2 else ''}")
        for pair in PAIRS
        for l2 in (0.0, 3.0)
        if not (l2 and isinstance(pair.ours, AdamW))
    ],
)
def test_steps_equal_pytorchs(pair: Pair, l2: float, compare: Compare) -> None:
    """`l2` is the weight_decay of PyTorch times the batch's sample weight, the biases left out."""
    random = np.random.RandomState(0)
    layers = [Dense(17, "tanh"), Dense(9, "gelu"), Dense(4, "softmax")]
    network = Network(11, layers, loss="log_loss", dtype="float64", random_state=random)
    start = [W.copy() for W in network.weights]
    trainer = Trainer(network, pair.ours, l2=l2)
    twin = TorchNetwork(network)
    n_rows, total = 30, 24.0
    decay = {"weight_decay": l2 / total} if l2 else {}
    theirs = pair.theirs(
        [{"params": twin.weights, **decay}, {"params": twin.biases, "weight_decay": 0.0}],
        lr=pair.ours.lr,
        **pair.options,
    )
    for step in range(1, N_STEPS + 1):
        X, target = random.normal(size=(n_rows, 11)), random.randint(4, size=n_rows)
        weight = random.rand(n_rows)
        weight *= total / weight.sum()
        theirs.zero_grad()
        if isinstance(pair.ours, Adam):
            # Ours is added to sqrt(v), theirs to the corrected sqrt(v / (1 - beta_2^t)).
            for group in theirs.param_groups:
                group["eps"] = pair.ours.epsilon / math.sqrt(1 - pair.ours.beta_2**step)
        loss = twin.forward(X, target, weight).loss
        loss.backward()
        penalty = l2 / 2 / total * sum(float((W.detach() ** 2).sum()) for W in twin.weights)
        theirs.step()
        compare(f"loss of step_({step})", trainer.step(X, target, weight), loss.item() + penalty)
        for l, (W, first) in enumerate(zip(twin.layers(), start, strict=True), 1):
            compare(f"move of W_({l})", network.weights[l] - first, W - first)


def test_every_optimizer_of_pytorch_is_compared() -> None:
    assert {type(pair.ours).__name__ for pair in PAIRS} == set(optimizers()) - {"Lion", "LBFGS"}
