"""A network as a function of PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from densegrad.interop.passes import Passes
from densegrad.network import Network


def torch_function(network: Network) -> Callable[[Any, Any], Any]:
    """Return the network as a function of PyTorch with a gradient: a `torch.autograd.Function`.

    Parameters
    ----------
    network : Network
        It is copied: weights that it gets later do not matter.

    Returns
    -------
    callable
        (parameters, X) → y_(L). parameters: a tensor of shape (n_parameters,), such as
        ``torch.from_numpy(net.parameters)``. X: a tensor of shape (n_rows, n_0). y_(L) has the network's
        dtype. Gradients by both are those of the core. There are none of second order: create_graph=True is
        an error.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    TypeError
        If `network` is not a Network.
    """
    passes = Passes(network)
    try:
        torch = import_module("torch")
    except ImportError as error:
        raise ImportError("densegrad.interop.torch_function needs PyTorch: pip install torch") from error

    def numbers(name: str, tensor: Any) -> Any:
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{name} must be a tensor of PyTorch; got {type(tensor).__name__}")
        if tensor.device.type != "cpu":
            raise ValueError(f"{name} must be on the CPU; got {tensor.device}. Move it by .cpu()")
        return tensor.detach().numpy()

    # PyTorch is optional: where it is not installed, its class has no type to derive from.
    class DenseNetwork(torch.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, parameters: Any, X: Any) -> Any:
            outputs, ctx.name = passes.forward(numbers("parameters", parameters), numbers("X", X))
            ctx.save_for_backward(parameters, X)
            return torch.from_numpy(outputs)

        @staticmethod
        def backward(ctx: Any, vectors: Any) -> Any:
            if torch.is_grad_enabled():  # by create_graph: this gradient would be taken for a constant
                raise RuntimeError(
                    "a network of densegrad has no gradients of second order in PyTorch: leave out"
                    " create_graph=True"
                )
            parameters, X = ctx.saved_tensors
            by_parameters, by_input = passes.backward(
                ctx.name, parameters.detach().numpy(), X.detach().numpy(), vectors.numpy()
            )
            return (
                torch.from_numpy(by_parameters).to(parameters.dtype),
                torch.from_numpy(by_input).to(X.dtype),
            )

    def function(parameters: Any, X: Any) -> Any:
        """Return y_(L) of the rows of X."""
        return DenseNetwork.apply(parameters, X)

    return function
