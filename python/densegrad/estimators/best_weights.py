"""The weights that early stopping keeps from one fit to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad._arrays import all_finite
from densegrad.network import Network


@dataclass(frozen=True)
class BestWeights:
    """The weights that scored best, and those that training goes on from; each flat, or None.

    A network that early stopping has left has the best weights. The last ones are then kept beside them.
    """

    best: NDArray[Any] | None = None
    last: NDArray[Any] | None = None

    def resumed(self, network: Network) -> BestWeights:
        """Give the network the last weights again, unless it has others than the best ones by now."""
        if self.best is None or self.last is None:
            return self
        if not np.array_equal(network.parameters, self.best):
            return BestWeights()
        network.parameters = self.last
        return BestWeights(self.best)

    def restored(self, network: Network) -> BestWeights:
        """Give the network the best weights, and keep its last ones if they are finite."""
        if self.best is None:
            return self
        last, network.parameters = network.parameters, self.best
        return BestWeights(self.best, last if all_finite(last) else None)

    def to_state(self) -> dict[str, Any]:
        """Return plain data; `from_state` makes the same of it."""
        return {"best_parameters": self.best, "last_parameters": self.last}

    @classmethod
    def from_state(cls, state: dict[str, Any], network: Network) -> BestWeights:
        """Return what gave `to_state`, checked to be weights of `network`."""
        for name in ("best_parameters", "last_parameters"):
            array = state[name]
            if array is not None and (array.shape, array.dtype) != ((network.n_parameters,), network.dtype):
                raise ValueError(f"{name} must have shape ({network.n_parameters},), {network.dtype}")
        return cls(state["best_parameters"], state["last_parameters"])
