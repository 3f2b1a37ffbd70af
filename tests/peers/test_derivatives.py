"""Jacobians, vector products and per-sample gradients of 100 random networks against PyTorch's autograd.

Everything is in float64; errors are relative to the largest number of an array, and must not exceed 1e-10.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from densegrad import Dense, Network
from peers.conftest import Compare
from peers.test_autograd import N_NETWORKS, draw
from peers.torch_network import TorchNetwork

TOLERANCE = 1e-10
MOST_ROWS = 12  # autograd takes a backward pass for each sample and output
SEEDS = range(N_NETWORKS)


def cauchy_hessian(y_true: NDArray[Any], y_pred: NDArray[Any], r: NDArray[Any]) -> NDArray[Any]:
    """How 2 e / (1 + e²), the derivative of the custom loss, changes along r."""
    e2 = (y_pred - y_true) ** 2
    return 2 * (1 - e2) / (1 + e2) ** 2 * r


def parameters_of(twin: TorchNetwork) -> list[torch.Tensor]:
    return [part for pair in zip(twin.weights, twin.biases, strict=True) for part in pair]


def joined(parts: Any) -> NDArray[Any]:
    """Weights and biases, taking turns, in the order of `Network.parameters`."""
    return np.concatenate([part.detach().numpy().reshape(-1) for part in parts])


def split_like(twin: TorchNetwork, vector: NDArray[Any]) -> list[torch.Tensor]:
    parts, end = [], 0
    for parameter in parameters_of(twin):
        begin, end = end, end + parameter.numel()
        parts.append(torch.from_numpy(vector[begin:end].reshape(parameter.shape)))
    return parts


def hessian_vector_product(twin: TorchNetwork, loss: torch.Tensor, v: NDArray[Any]) -> NDArray[Any]:
    parameters = parameters_of(twin)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    along = sum((g * part).sum() for g, part in zip(gradients, split_like(twin, v), strict=True))
    if not along.requires_grad:  # a loss that is a line: nothing depends on the weights any more
        return np.zeros_like(v)
    products = torch.autograd.grad(along, parameters, allow_unused=True)
    return joined(
        torch.zeros_like(p) if product is None else product
        for p, product in zip(parameters, products, strict=True)
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_hessian_vector_product(seed: int, compare: Compare) -> None:
    drawn = draw(seed)
    network, data = drawn.network, (drawn.X, drawn.target, drawn.sample_weight)
    v = np.random.RandomState(seed).normal(size=network.n_parameters)
    twin = TorchNetwork(network)
    if network.loss == "log_loss" and drawn.form.head == "logistic":
        # The second derivative of PyTorch's binary_cross_entropy adds 1e-12 to a denominator.
        twin.losses.of = lambda y, t: -t * torch.log(y) - (1 - t) * torch.log(1 - y)
    expected = hessian_vector_product(twin, twin.forward(*data).loss, v)
    custom = {"loss_hessian": cauchy_hessian} if network.loss == "custom" else {}
    product = network.hessian_vector_product(drawn.X, drawn.target, v, drawn.sample_weight, **custom)
    compare("Hessian times vector", product, expected, TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_jacobian_and_vjp(seed: int, compare: Compare) -> None:
    drawn = draw(seed)
    network, X = drawn.network, drawn.X[:MOST_ROWS]
    twin = TorchNetwork(network)
    graph = twin.forward(X, drawn.target[:MOST_ROWS], None)
    x, y = graph.outputs[0], graph.outputs[-1]
    columns = [torch.autograd.grad(y[:, i].sum(), x, retain_graph=True)[0] for i in range(y.shape[1])]
    expected = torch.stack(columns, dim=1).numpy()
    compare("Jacobian", network.jacobian(X), expected, TOLERANCE)
    v = np.random.RandomState(seed).normal(size=y.shape)
    of_input, *of_weights = torch.autograd.grad(y, [x, *parameters_of(twin)], torch.from_numpy(v))
    compare("vjp by x", network.vjp(X, v), of_input, TOLERANCE)
    gradients = np.concatenate([g.reshape(-1) for g in network.weight_gradients])
    compare("vjp by the weights", gradients, joined(of_weights), TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_per_sample_gradients_and_losses(seed: int, compare: Compare) -> None:
    drawn = draw(seed)
    network, X, target = drawn.network, drawn.X[:MOST_ROWS], drawn.target[:MOST_ROWS]
    gradients = network.per_sample_gradients(X, target)
    p = network.backpropagate(X, target)
    twin = TorchNetwork(network)
    rows = []
    for i in range(len(X)):
        loss = twin.forward(X[i : i + 1], target[i : i + 1], None).loss
        rows.append(joined(torch.autograd.grad(loss, parameters_of(twin))))
        compare("loss of a sample", p.sample_losses[i], loss.item(), TOLERANCE)
    expected = np.stack(rows)
    ours = [gradients[l].reshape(len(X), -1) for l in range(1, network.depth + 1)]
    compare("per-sample gradients", np.concatenate(ours, axis=1), expected, TOLERANCE)
    compare("per-sample norms", gradients.norms, np.linalg.norm(expected, axis=1), TOLERANCE)
    for l, array in enumerate(ours, 1):
        by_layer = (array**2).sum(axis=1)
        compare("per-sample norms by layer", gradients.squared_norms[l], by_layer, TOLERANCE)
    compare("z", p.preactivations[network.depth], twin.forward(X, target, None).head_preactivation.detach())


@pytest.mark.parametrize("head", ["softmax", "logistic"])
def test_saturated_outputs_have_a_finite_hessian(head: str, compare: Compare) -> None:
    """y_(L) has rounded to 0 and 1; autograd must start from z_(L)."""
    random = np.random.RandomState(0)
    network = Network(
        5, [Dense(20, "tanh"), Dense(7, head)], loss="log_loss", dtype="float64", random_state=random
    )
    network.weights[2] *= 100
    X = random.normal(size=(50, 5))
    target = random.randint(7, size=50) if head == "softmax" else random.randint(2, size=(50, 7))
    v = random.normal(size=network.n_parameters)
    twin = TorchNetwork(network)
    z, t = twin.forward(X, target, None).head_preactivation, torch.from_numpy(target)
    if head == "softmax":
        loss = torch.nn.functional.cross_entropy(z, t)
    else:
        losses = torch.nn.functional.binary_cross_entropy_with_logits(z, t.double(), reduction="none")
        loss = losses.sum(dim=1).mean()
    expected = hessian_vector_product(twin, loss, v)
    compare("Hessian times vector", network.hessian_vector_product(X, target, v), expected, TOLERANCE)
