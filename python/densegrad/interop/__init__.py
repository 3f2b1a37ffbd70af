"""Networks as differentiable functions of PyTorch and JAX, which are imported when they are asked for.

The function that these return computes with a copy of the network: passes by the core, on CPUs. It takes the
parameters as an argument, in the order of `Network.parameters`, so that the other library can train them.
"""

from __future__ import annotations

from densegrad.interop.jax_function import jax_function
from densegrad.interop.torch_function import torch_function

__all__ = ["jax_function", "torch_function"]
