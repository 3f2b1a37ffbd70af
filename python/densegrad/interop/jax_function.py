"""A network as a function of JAX."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from densegrad.interop.passes import Passes
from densegrad.network import Network


def jax_function(network: Network) -> Callable[[Any, Any], Any]:
    """Return the network as a function of JAX with a gradient: a `jax.custom_vjp` that calls the core.

    It works under `jit` and `grad`; `vmap` calls it once for each element.

    Parameters
    ----------
    network : Network
        It is copied: weights that it gets later do not matter. float64 needs JAX's option
        `jax_enable_x64`.

    Returns
    -------
    callable
        (parameters, X) → y_(L). parameters: an array of shape (n_parameters,), as `Network.parameters`. X: an
        array of shape (n_rows, n_0). y_(L) has the network's dtype. Gradients by both are those of the core;
        there are none of second order.

    Raises
    ------
    ImportError
        If JAX is not installed.
    TypeError
        If `network` is not a Network.
    ValueError
        If the network is float64 and JAX computes in float32.
    """
    passes = Passes(network)
    try:
        jax = import_module("jax")
    except ImportError as error:
        raise ImportError("densegrad.interop.jax_function needs JAX: pip install jax") from error
    if passes.dtype == np.float64 and not jax.config.jax_enable_x64:
        raise ValueError(
            "a float64 network needs JAX in float64: jax.config.update('jax_enable_x64', True),"
            " or network.astype('float32')"
        )

    def run_forward(parameters: Any, X: Any) -> Any:
        return passes.forward(np.asarray(parameters), np.asarray(X))[0]

    def run_backward(parameters: Any, X: Any, vectors: Any) -> Any:
        by_parameters, by_input = passes.backward(
            None, np.asarray(parameters), np.asarray(X), np.asarray(vectors)
        )
        return by_parameters.astype(parameters.dtype), by_input.astype(X.dtype)

    def outputs(parameters: Any, X: Any) -> Any:
        if X.ndim != 2:
            raise ValueError(f"X must have shape (n_rows, {network.n_inputs}); got {X.shape}")
        shape = jax.ShapeDtypeStruct((X.shape[0], passes.n_outputs), passes.dtype)
        return jax.pure_callback(run_forward, shape, parameters, X, vmap_method="sequential")

    def forward(parameters: Any, X: Any) -> Any:
        return outputs(parameters, X), (parameters, X)

    def backward(kept: Any, vectors: Any) -> Any:
        shapes = tuple(jax.ShapeDtypeStruct(array.shape, array.dtype) for array in kept)
        return jax.pure_callback(run_backward, shapes, *kept, vectors, vmap_method="sequential")

    function = jax.custom_vjp(outputs)
    function.defvjp(forward, backward)
    differentiable: Callable[[Any, Any], Any] = function
    return differentiable
