"""The same networks in PyTorch: only the forward pass is written here, every gradient is autograd's.

Losses are taken of y_(L), so that L'_(L) is a gradient of the graph. If torch.nn.functional has a loss in
densegrad's form, it is used; the others are written from their definitions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from densegrad import Network

ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": F.relu,
    "leaky_relu": lambda z: F.leaky_relu(z, 0.01),
    "tanh": torch.tanh,
    "logistic": torch.sigmoid,
    # By default z > 20 is its own softplus, which is 2e-9 off.
    "softplus": lambda z: F.softplus(z, threshold=100.0),
    "elu": F.elu,
    "selu": F.selu,
    "silu": F.silu,
    "gelu": F.gelu,
    "mish": F.mish,
    "exp": torch.exp,
    "softmax": lambda z: F.softmax(z, dim=1),
}


def never_crossing(z: Tensor, n_levels: int) -> Tensor:
    """q_0 = z_0, q_k = q_(k-1) + softplus(z_k) for the levels of each target."""
    steps = z.reshape(len(z), -1, n_levels)
    steps = torch.cat([steps[:, :, :1], ACTIVATIONS["softplus"](steps[:, :, 1:])], dim=2)
    return torch.cumsum(steps, dim=2).reshape(z.shape)


def cauchy(y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """A loss of the caller's own, log(1 + r²), with its derivative by y_pred."""
    r = y_pred - y_true
    return np.log1p(r * r).sum(axis=1), 2 * r / (1 + r * r)


class Losses:
    """The loss of each output of each row, by densegrad's names, from y_(L) and targets of its columns."""

    def __init__(self, network: Network) -> None:
        self.of = getattr(self, network.loss)
        self.parameter = network.loss_parameter
        self.levels = network.quantile_levels or (network.loss_parameter,)
        self.softmax = network.layers[-1].activation == "softmax"

    def squared_error(self, y: Tensor, t: Tensor) -> Tensor:
        return 0.5 * F.mse_loss(y, t, reduction="none")

    def absolute_error(self, y: Tensor, t: Tensor) -> Tensor:
        return F.l1_loss(y, t, reduction="none")

    def huber(self, y: Tensor, t: Tensor) -> Tensor:
        return F.huber_loss(y, t, reduction="none", delta=self.parameter)

    def log_cosh(self, y: Tensor, t: Tensor) -> Tensor:
        return torch.log(torch.cosh(y - t))

    def custom(self, y: Tensor, t: Tensor) -> Tensor:
        return torch.log1p((y - t) ** 2)

    def log_loss(self, y: Tensor, t: Tensor) -> Tensor:
        return -t * torch.log(y) if self.softmax else F.binary_cross_entropy(y, t, reduction="none")

    def focal(self, y: Tensor, t: Tensor) -> Tensor:
        right = -t * (1 - y) ** self.parameter * torch.log(y)
        return right if self.softmax else right - (1 - t) * y**self.parameter * torch.log(1 - y)

    def hinge(self, y: Tensor, t: Tensor) -> Tensor:
        return F.relu(1 - (2 * t - 1) * y)

    def squared_hinge(self, y: Tensor, t: Tensor) -> Tensor:
        return F.relu(1 - (2 * t - 1) * y) ** 2

    def poisson(self, y: Tensor, t: Tensor) -> Tensor:
        loss = F.poisson_nll_loss(y, t, log_input=False, eps=0.0, reduction="none")
        return loss + torch.xlogy(t, t) - t

    def gamma(self, y: Tensor, t: Tensor) -> Tensor:
        return t / y - torch.log(t / y) - 1

    def tweedie(self, y: Tensor, t: Tensor) -> Tensor:
        p = self.parameter
        saturated = t ** (2 - p) / ((1 - p) * (2 - p))
        return saturated - t * y ** (1 - p) / (1 - p) + y ** (2 - p) / (2 - p)

    def quantile(self, y: Tensor, t: Tensor) -> Tensor:
        levels = torch.tensor(self.levels).tile(t.shape[1])
        r = t.repeat_interleave(len(self.levels), dim=1) - y
        return torch.maximum(levels * r, (levels - 1) * r)

    def gaussian_nll(self, y: Tensor, t: Tensor) -> Tensor:
        mean, log_variance = y.tensor_split(2, dim=1)
        return F.gaussian_nll_loss(mean, t, log_variance.exp(), full=True, eps=0.0, reduction="none")


def columns(network: Network, target: NDArray[Any]) -> Tensor:
    """Targets as the losses take them: a column for each target, class numbers as ones and zeros."""
    n_outputs, softmax = network.layers[-1].units, network.layers[-1].activation == "softmax"
    if target.ndim == 1 and network.target_kind != "values" and n_outputs > 1:
        t = F.one_hot(torch.from_numpy(target), n_outputs).double()
    else:
        t = torch.from_numpy(np.asarray(target, np.float64).reshape(len(target), -1))
    smoothing = network.label_smoothing
    return (1 - smoothing) * t + smoothing / (n_outputs if softmax else 2)


def mean(losses: Tensor, sample_weight: NDArray[Any] | None) -> Tensor:
    """The mean over the rows, weighted, of the sum over the outputs."""
    rows = losses.sum(dim=1)
    if sample_weight is None:
        return rows.mean()
    weight = torch.from_numpy(sample_weight)
    return (weight * rows).sum() / weight.sum()


@dataclass
class Graph:
    """What one forward pass in PyTorch leaves; `loss.backward()` fills in the gradients."""

    loss: Tensor
    outputs: list[Tensor]
    head_preactivation: Tensor


class TorchNetwork:
    """The twin of a densegrad.Network of float64; `weights[l - 1]` and `biases[l - 1]` make up W_(l)."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.weights = [torch.from_numpy(W[:-1].copy()).requires_grad_() for W in network.weights]
        self.biases = [torch.from_numpy(W[-1].copy()).requires_grad_() for W in network.weights]
        self.losses = Losses(network)

    def forward(self, X: NDArray[Any], target: NDArray[Any], sample_weight: NDArray[Any] | None) -> Graph:
        outputs = [torch.from_numpy(X).clone().requires_grad_()]
        z = outputs[0]
        for layer, W, b in zip(self.network.layers, self.weights, self.biases, strict=True):
            z = outputs[-1] @ W + b
            outputs.append(ACTIVATIONS[layer.activation](z))
        if len(self.losses.levels) > 1:
            outputs[-1] = never_crossing(z, len(self.losses.levels))
        for y in outputs:
            y.retain_grad()
        losses = self.losses.of(outputs[-1], columns(self.network, target))
        return Graph(mean(losses, sample_weight), outputs, z)

    def weight_gradients(self) -> list[NDArray[Any]]:
        """dLoss/dW_(1 … L), the bias in the last row."""
        pairs = zip(self.weights, self.biases, strict=True)
        return [np.vstack([gradient(W), gradient(b)]) for W, b in pairs]

    def layers(self) -> list[NDArray[Any]]:
        """W_(1 … L), the bias in the last row."""
        pairs = zip(self.weights, self.biases, strict=True)
        return [np.vstack([W.detach().numpy(), b.detach().numpy()]) for W, b in pairs]


def gradient(tensor: Tensor) -> NDArray[Any]:
    assert tensor.grad is not None
    return tensor.grad.numpy()


def relative_error(actual: Any, expected: Any) -> float:
    """max |actual - expected| / max |expected| over an array; 0 if that is 0/0."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    difference, scale = np.max(np.abs(actual - expected)), np.max(np.abs(expected))
    if difference == 0:
        return 0.0
    return float(difference / scale) if scale > 0 else math.inf
