"""The passes of a network as functions of parameters and X."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad.network import Network


class Passes:
    """Forward and backward passes with the parameters given each time.

    A backward pass names the forward pass that it belongs to. If another one came between, the forward pass
    is run again.

    Parameters
    ----------
    network : Network
        It is copied.
    """

    def __init__(self, network: Network) -> None:
        if not isinstance(network, Network):
            raise TypeError(f"network must be a Network; got {network!r}")
        self._network = network.astype(network.dtype)
        self._lock = Lock()
        self._last: object = None
        self.dtype = network.dtype
        self.n_outputs = network.width(network.depth)
        self.n_parameters = network.n_parameters

    def forward(self, parameters: NDArray[Any], X: NDArray[Any]) -> tuple[NDArray[Any], object]:
        """Return y_(L) and a name for this forward pass."""
        with self._lock:
            return self._forward(parameters, X)

    def _forward(self, parameters: NDArray[Any], X: NDArray[Any]) -> tuple[NDArray[Any], object]:
        self._last = None  # if an error follows
        self._network.parameters = parameters
        outputs = self._network.forward(X)
        self._last = object()
        return outputs, self._last

    def backward(
        self, name: object, parameters: NDArray[Any], X: NDArray[Any], vectors: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the derivatives of the sum of vectors · y_(L), by the parameters and by X."""
        with self._lock:
            if name is None or name is not self._last:
                self._forward(parameters, X)
            by_input = self._network.backward(vectors)
            by_weights = [gradient.reshape(-1) for gradient in self._network.weight_gradients]
            return np.concatenate(by_weights), by_input
