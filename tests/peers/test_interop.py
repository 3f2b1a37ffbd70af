"""A network as a function of PyTorch and of JAX, against the same network in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from assertions import refused
from densegrad import Dense, Network
from densegrad.interop import jax_function, torch_function
from peers.conftest import Compare
from peers.test_derivatives import joined, parameters_of
from peers.torch_network import TorchNetwork

TOLERANCE = 1e-10


def make(head: str = "softmax", dtype: str = "float64") -> Network:
    layers = [Dense(7, "gelu"), Dense(5, "tanh"), Dense(3, head)]
    loss = "log_loss" if head == "softmax" else "squared_error"
    return Network(4, layers, dtype=dtype, loss=loss, random_state=0)


def loss_of(y: Any) -> Any:
    """Some function of the outputs, for tensors and for arrays of JAX."""
    return (y**3).sum() + (y[:, 0] * y[:, 1]).sum()


@pytest.fixture
def expected() -> tuple[Network, Any, Any, Any, Any]:
    network = make()
    X = np.random.RandomState(1).normal(size=(6, 4))
    twin = TorchNetwork(network)
    graph = twin.forward(X, np.zeros(6, int), None)
    x, y = graph.outputs[0], graph.outputs[-1]
    by_x, *by_weights = torch.autograd.grad(loss_of(y), [x, *parameters_of(twin)])
    return network, X, y.detach(), by_x, joined(by_weights)


def test_gradients_in_pytorch(expected: Any, compare: Compare) -> None:
    network, X, y, by_x, by_weights = expected
    function = torch_function(network)
    parameters = torch.from_numpy(network.parameters).requires_grad_()
    x = torch.from_numpy(X).requires_grad_()
    outputs = function(parameters, x)
    compare("y of a torch function", outputs.detach(), y, TOLERANCE)
    other = function(parameters * 2, x + 1)  # another forward pass before the backward pass
    loss_of(outputs).backward()
    compare("by x, torch function", x.grad, by_x, TOLERANCE)
    compare("by the weights, torch function", parameters.grad, by_weights, TOLERANCE)
    assert other.shape == outputs.shape
    assert torch.autograd.gradcheck(function, (parameters, x))


def test_pytorch_trains_the_network() -> None:
    network = make("identity")
    before = network.parameters
    X = torch.from_numpy(np.random.RandomState(1).normal(size=(40, 4)))
    function = torch_function(network)
    parameters = torch.from_numpy(network.parameters).requires_grad_()
    optimizer = torch.optim.Adam([parameters], 0.02)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = ((function(parameters, X) - X[:, :3]) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
    assert np.array_equal(network.parameters, before)
    network.parameters = parameters.detach().numpy()
    assert np.mean((network.predict(X.numpy()) - X.numpy()[:, :3]) ** 2) <= losses[-1]


def test_types_of_both_sides() -> None:
    function = torch_function(make(dtype="float32"))
    parameters = torch.from_numpy(make().parameters).requires_grad_()
    x = torch.zeros((2, 4), dtype=torch.float64, requires_grad=True)
    outputs = function(parameters, x)
    assert outputs.dtype == torch.float32
    outputs.sum().backward()
    assert x.grad is not None
    assert parameters.grad is not None
    assert x.grad.dtype == parameters.grad.dtype == torch.float64
    refused("X must be a tensor of PyTorch; got ndarray", lambda: function(parameters, np.zeros((2, 4))))
    refused("parameters must have shape", lambda: function(parameters[:3], x))
    refused("network must be a Network", lambda: torch_function("net"))
    with pytest.raises(RuntimeError, match="no gradients of second order"):
        torch.autograd.grad(function(parameters, x).sum(), x, create_graph=True)


@pytest.fixture
def jax_in_float64() -> Any:
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("jitted", [False, True], ids=["plain", "jit"])
def test_gradients_in_jax(jitted: bool, jax_in_float64: Any, expected: Any, compare: Compare) -> None:
    jax = jax_in_float64
    network, X, y, by_x, by_weights = expected
    function = jax_function(network)
    gradient = jax.grad(lambda parameters, x: loss_of(function(parameters, x)), argnums=(0, 1))
    forward = jax.jit(function) if jitted else function
    gradient = jax.jit(gradient) if jitted else gradient
    compare("y of a JAX function", np.asarray(forward(network.parameters, X)), y, TOLERANCE)
    weights, x = gradient(network.parameters, X)
    compare("by x, JAX function", np.asarray(x), by_x, TOLERANCE)
    compare("by the weights, JAX function", np.asarray(weights), by_weights, TOLERANCE)


def test_vmap_and_second_order_in_jax(jax_in_float64: Any, expected: Any) -> None:
    network, X, y, *_ = expected
    function = jax_function(network)
    both = jax_in_float64.vmap(function, in_axes=(None, 0))(network.parameters, np.stack([X, 2 * X]))
    assert np.allclose(both[0], y, rtol=1e-12)
    assert np.allclose(both[1], network.predict(2 * X), rtol=1e-12)
    with pytest.raises(ValueError, match="callbacks do not support JVP"):
        jax_in_float64.hessian(lambda x: function(network.parameters, x).sum())(X)


def test_jax_in_float32() -> None:
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    refused("jax_enable_x64", lambda: jax_function(make()))
    network = make(dtype="float32")
    function = jax_function(network)
    X = np.ones((2, 4), np.float32)
    gradient = jax.grad(lambda parameters: function(parameters, X)[:, 0].sum())(network.parameters)
    network.vjp(X, [[1, 0, 0], [1, 0, 0]])
    assert np.allclose(gradient, np.concatenate([g.ravel() for g in network.weight_gradients]), atol=1e-6)
    refused("X must have shape", lambda: function(network.parameters, X[0]))
