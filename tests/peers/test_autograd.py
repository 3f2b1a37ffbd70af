"""Gradients of 100 random networks against PyTorch's autograd in float64.

The relative error of an array is max |a - b| / max |b| over its elements, b being PyTorch's. It must not
exceed 1e-9 for the loss, each y_(l), each L'_(l) and each dLoss/dW_(l).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from choices import HIDDEN, PAIRINGS, TABLES
from densegrad import Dense, Network, activations, losses
from peers.conftest import Compare
from peers.torch_network import TorchNetwork, cauchy, gradient

N_NETWORKS = 100
WIDEST = 40


@dataclass(frozen=True)
class Form:
    """A loss with one of its heads and one of the forms that its targets may have."""

    loss: str
    head: str
    target: str

    def __str__(self) -> str:
        return f"{self.loss}-{self.head}-{self.target}"


def target_forms(loss: str, head: str) -> list[str]:
    kind = "values" if loss == "custom" else TABLES["losses"][loss]["target"]
    if kind == "values":
        return ["values", "values of several levels"] if loss == "quantile" else ["values"]
    matrix = "probabilities" if kind == "probabilities" else "0/1"
    multi_label = ["0/1"] if head == "logistic" and kind == "probabilities" else []
    return ["classes", matrix, *multi_label]


def all_forms() -> list[Form]:
    pairs = [("custom", "softmax"), ("custom", "gelu"), *((p.loss, p.head) for p in PAIRINGS)]
    # Losses joined with their heads first: they are the ones that come twice in 100 networks.
    pairs.sort(key=lambda pair: "gelu" in TABLES["losses"][pair[0]]["heads"] and pair[0] != "custom")
    return [Form(*pair, target) for pair in dict.fromkeys(pairs) for target in target_forms(*pair)]


FORMS = all_forms()


@dataclass
class Drawn:
    form: Form
    network: Network
    X: NDArray[Any]
    target: NDArray[Any]
    sample_weight: NDArray[Any] | None


@functools.cache
def draw(seed: int) -> Drawn:
    """A random network and data. The forms take turns; everything else is the seed's."""
    # RandomState: its stream never changes.
    random = np.random.RandomState(seed)
    form = FORMS[seed % len(FORMS)]
    depth = random.randint(1, 5)
    n_inputs, *hidden_units = random.randint(1, WIDEST + 1, size=depth)
    layers = [Dense(int(n), str(random.choice(HIDDEN))) for n in hidden_units]
    arguments = draw_arguments(form, random)
    n_levels = np.size(arguments.get("quantile", 0))
    n_targets, n_outputs = draw_head(form, n_levels, random)
    layers.append(Dense(n_outputs, form.head))
    network = Network(int(n_inputs), layers, dtype="float64", random_state=random, **arguments)
    for l in range(1, depth + 1):
        W = network.weights[l].copy()
        W[-1] = random.normal(scale=0.3, size=W.shape[1])
        network.weights[l] = W
    # The engine sums a batch in slices of 256 rows, in pieces of 1024.
    n_rows = int(2 ** random.uniform(0, 10.5))
    X = random.normal(size=(n_rows, n_inputs))
    target = draw_target(form, n_rows, n_targets, random)
    sample_weight = None
    if random.rand() < 0.5:
        sample_weight = random.uniform(0, 2, n_rows) * (random.rand(n_rows) < 0.8)
        sample_weight[0] = 1
    return Drawn(form, network, X, target, sample_weight)


def draw_arguments(form: Form, random: np.random.RandomState) -> dict[str, Any]:
    """The loss and its own parameters."""
    if form.loss == "custom":
        return {"loss": cauchy}
    level = random.uniform(0.05, 0.95)
    several = tuple(np.sort(random.uniform(0.05, 0.95, random.randint(2, 6))).tolist())
    parameters = {
        "huber": {"delta": random.uniform(0.2, 2)},
        "quantile": {"quantile": several if form.target == "values of several levels" else level},
        "tweedie": {"power": random.uniform(1.05, 1.95)},
        "focal": {"gamma": random.uniform(0.5, 3)},
        "log_loss": {"label_smoothing": random.choice([0, 0.2]) * random.rand()},
    }
    return {"loss": form.loss, **parameters.get(form.loss, {})}


def draw_head(form: Form, n_levels: int, random: np.random.RandomState) -> tuple[int, int]:
    """The numbers of targets and of outputs."""
    if form.target == "classes" and form.head == "logistic":
        return 1, 1
    per_target = 2 if form.loss == "gaussian_nll" else n_levels
    # One output of softmax is always 1.
    n_targets = int(random.randint(2 if form.head == "softmax" else 1, WIDEST // per_target + 1))
    return n_targets, n_targets * per_target


def draw_target(form: Form, n_rows: int, n_targets: int, random: np.random.RandomState) -> NDArray[Any]:
    shape = n_rows, n_targets
    if form.target == "classes":
        return random.randint(max(2, n_targets), size=n_rows)
    if form.target == "0/1" and form.head == "softmax":
        return np.eye(n_targets)[random.randint(n_targets, size=n_rows)]
    if form.target == "0/1":
        return random.randint(2, size=shape)
    if form.head == "softmax":
        return random.dirichlet(np.ones(n_targets), size=n_rows)
    if form.target == "probabilities":
        return random.rand(*shape)
    if form.loss == "poisson":
        return random.poisson(1.5, size=shape)
    if form.loss == "tweedie":
        return random.gamma(1.5, size=shape) * (random.rand(*shape) < 0.7)
    return random.gamma(1.5, size=shape) if form.loss == "gamma" else random.normal(size=shape)


@pytest.mark.parametrize(
    "seed", [pytest.param(s, id=f"{s}-{FORMS[s % len(FORMS)]}".replace(" ", "_")) for s in range(N_NETWORKS)]
)
def test_every_quantity_equals_autograds(seed: int, compare: Compare) -> None:
    drawn = draw(seed)
    network, data = drawn.network, (drawn.X, drawn.target, drawn.sample_weight)
    twin = TorchNetwork(network)
    graph = twin.forward(*data)
    graph.loss.backward()
    passes = network.backpropagate(*data)
    compare("loss", passes.loss, graph.loss.item())
    for l, y in enumerate(graph.outputs):
        compare(f"y_({l})", passes.outputs[l], y.detach())
        compare(f"L'_({l})", passes.loss_gradients[l], gradient(y))
    for l, expected in enumerate(twin.weight_gradients(), 1):
        compare(f"dLoss/dW_({l})", passes.weight_gradients[l], expected)
    assert_other_ways_agree(drawn, twin, gradient(graph.outputs[-1]), compare)


def assert_other_ways_agree(
    drawn: Drawn, twin: TorchNetwork, loss_gradient: NDArray[Any], compare: Compare
) -> None:
    """The backward pass from L'_(L), and the passes that keep nothing: the engine takes other ways there."""
    network, data = drawn.network, (drawn.X, drawn.target, drawn.sample_weight)
    network.forward(drawn.X)
    network.backward(loss_gradient)
    for l, expected in enumerate(twin.weight_gradients(), 1):
        compare(f"dLoss/dW by backward_({l})", network.weight_gradients[l], expected)
    _, all_gradients = network.loss_and_gradient(*data)
    end = 0
    for l, expected in enumerate(twin.weight_gradients(), 1):
        begin, end = end, end + expected.size
        compare(f"dLoss/dW alone_({l})", all_gradients[begin:end].reshape(expected.shape), expected)


@pytest.mark.parametrize("scale", [30.0, 300.0])
@pytest.mark.parametrize("head", ["softmax", "logistic"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_saturated_log_loss_equals_that_of_logits(
    head: str, scale: float, label_smoothing: float, compare: Compare
) -> None:
    """If y_(L) has rounded to 0 and 1, autograd too must start from z_(L)."""
    random = np.random.RandomState(0)
    layers = [Dense(20, "tanh"), Dense(7, head)]
    options: dict[str, Any] = {"label_smoothing": label_smoothing, "random_state": random}
    network = Network(5, layers, loss="log_loss", dtype="float64", **options)
    network.weights[2] = scale * network.weights[2]
    X = random.normal(size=(50, 5))
    target = random.randint(7, size=50) if head == "softmax" else random.randint(2, size=(50, 7))
    y = network.predict(X)
    assert np.any(y < 1e-9)
    assert np.any(y > 1 - 1e-9)
    twin = TorchNetwork(network)
    z = twin.forward(X, target, None).head_preactivation
    if head == "softmax":
        loss = F.cross_entropy(z, torch.from_numpy(target), label_smoothing=label_smoothing)
    else:
        t = (1 - label_smoothing) * torch.from_numpy(target) + label_smoothing / 2
        loss = F.binary_cross_entropy_with_logits(z, t, reduction="none").sum(dim=1).mean()
    loss.backward()
    passes = network.backpropagate(X, target)
    compare("loss", passes.loss, loss.item())
    for l, expected in enumerate(twin.weight_gradients(), 1):
        compare(f"dLoss/dW_({l})", passes.weight_gradients[l], expected)


def test_the_networks_cover_everything() -> None:
    """Every activation, loss, head and form of target was drawn, and every other choice on either side."""
    drawn = [draw(seed) for seed in range(N_NETWORKS)]
    layers = [d.network.layers for d in drawn]
    assert {layer.activation for head in layers for layer in head[:-1]} == set(HIDDEN)
    assert {head[-1].activation for head in layers} == set(activations())
    assert {d.network.loss for d in drawn} == {*losses(), "custom"}
    assert {(d.network.loss, d.form.head) for d in drawn} >= {(p.loss, p.head) for p in PAIRINGS}
    assert {d.form for d in drawn} == set(FORMS)
    assert {d.network.depth for d in drawn} == {1, 2, 3, 4}
    widths = {d.network.n_inputs for d in drawn} | {layer.units for head in layers for layer in head}
    assert widths == set(range(1, WIDEST + 1))
    assert {d.sample_weight is None for d in drawn if d.network.target_kind == "values"} == {True, False}
    assert {d.sample_weight is None for d in drawn if d.network.target_kind != "values"} == {True, False}
    assert {(d.form.head, d.network.label_smoothing > 0) for d in drawn if d.network.loss == "log_loss"} == {
        (head, smoothed) for head in ("softmax", "logistic") for smoothed in (True, False)
    }
    rows = [len(d.X) for d in drawn]
    assert min(rows) == 1
    assert max(rows) > 1024
    for loss in ("poisson", "tweedie"):
        assert any(np.any(d.target == 0) for d in drawn if d.network.loss == loss)
