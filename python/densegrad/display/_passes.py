"""A network's description with the numbers of one pass, as pictures and pages read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import Backpropagation, Network
from densegrad.display._numbers import short


@dataclass(frozen=True, eq=False)
class Passes:
    """Widths, names and weights of a network, and one pass through it, or None.

    Attributes
    ----------
    widths : tuple of int
        n_0 … n_L.
    activations : tuple of str
        Of the layers 1 … L.
    loss_name : str
    kinds : tuple of str
        Of the layers 1 … L: "dense", "scale" or "blend".
    weights : sequence of ndarray
        W_(1) … W_(L).
    p : Backpropagation or None
    target : ndarray or None
    """

    widths: tuple[int, ...]
    activations: tuple[str, ...]
    loss_name: str
    kinds: tuple[str, ...]
    weights: Sequence[NDArray[Any]]
    p: Backpropagation | None = None
    target: NDArray[Any] | None = None

    @classmethod
    def of(cls, network: Network, p: Backpropagation | None = None, target: Any = None) -> Passes:
        """Read a network through its public names; `p` must be a pass of this network."""
        widths = (network.n_inputs, *(layer.units for layer in network.layers))
        passes = cls(
            widths,
            tuple(layer.activation_name for layer in network.layers),
            network.loss,
            tuple(layer.kind for layer in network.layers),
            [network.weights[l] for l in range(1, network.depth + 1)],
            p,
            None if target is None else np.asarray(target),
        )
        if p is not None:
            passes.check(p)
        return passes

    @classmethod
    def of_pass(cls, p: Backpropagation) -> Passes:
        """Read a pass alone: it knows the weights and names that it was made with."""
        L = len(p.weights)
        widths = tuple(p.outputs[l].shape[1] for l in range(L + 1))
        activations = tuple(layer.activation_name for layer in p.spec.layers)
        weights = [p.weights[l] for l in range(1, L + 1)]
        kinds = tuple(layer.kind for layer in p.spec.layers)
        return cls(widths, activations, p.spec.loss.name, kinds, weights, p, p.target)

    def check(self, p: Backpropagation) -> None:
        """Raise ValueError if a pass is not one of this network, or the target not one of its rows."""
        widths = tuple(p.outputs[l].shape[1] for l in range(len(p.weight_gradients) + 1))
        if widths != self.widths:
            raise ValueError(f"p must be a pass of this network, with layers of {self.widths}; got {widths}")
        if self.target is not None and (self.target.ndim == 0 or len(self.target) != len(p.outputs[0])):
            raise ValueError(
                f"target must have {len(p.outputs[0])} rows, as the pass has; got shape {self.target.shape}"
            )

    @property
    def depth(self) -> int:
        """L."""
        return len(self.weights)

    @property
    def batch(self) -> int:
        """The number of samples of the pass."""
        return 0 if self.p is None else len(self.p.outputs[0])

    def weight(self, l: int) -> NDArray[Any]:
        """Return W_(l)."""
        return self.weights[l - 1]

    def is_elementwise(self, l: int) -> bool:
        """Tell whether each unit of layer l depends on its own input and weight alone."""
        return self.kinds[l - 1] != "dense"

    def preactivation(self, l: int, sample: int) -> NDArray[Any]:
        """Return z_(l) of a sample: [y_(l-1), 1] · W_(l), of shape (n_l,)."""
        assert self.p is not None
        W = self.weight(l)
        if self.is_elementwise(l):
            return np.asarray(self.p.outputs[l][sample])
        z: NDArray[Any] = np.einsum("i,ij->j", self.p.outputs[l - 1][sample], W[:-1]) + W[-1]
        return z

    def jacobian(self, l: int, sample: int) -> NDArray[Any]:
        """Return dy_(l)/dy_(l-1) of a sample, (n_l, n_(l-1)); those of a batch may not fit into memory."""
        assert self.p is not None
        if self.is_elementwise(l):
            return np.diag(self.p.local_gradients[l].by_input[sample])
        slopes = self.p.local_gradients[l].wrt_preactivation[sample]
        W = self.weight(l)[:-1]
        jacobian: NDArray[Any] = (
            slopes[:, np.newaxis] * W.T if slopes.ndim == 1 else np.einsum("ik,jk->ij", slopes, W)
        )
        return jacobian

    def sample_weight_gradient(self, l: int, sample: int) -> NDArray[Any]:
        """Return the share of one sample in dLoss/dW_(l): [y_(l-1), 1]ᵀ · dLoss/dz_(l)."""
        assert self.p is not None
        if self.is_elementwise(l):
            own: NDArray[Any] = self.p.local_gradients[l].by_weight[sample] * self.p.deltas[l][sample]
            return own[np.newaxis]
        share: NDArray[Any] = np.multiply.outer(
            np.append(self.p.outputs[l - 1][sample], 1.0), self.p.deltas[l][sample]
        )
        return share

    def target_text(self, sample: int, most: int = 6) -> str:
        """Return the target of a sample as text."""
        if self.target is None:
            return ""
        values = np.ravel(self.target[sample])
        shown = ", ".join(short(v, 4) if values.dtype.kind == "f" else str(v) for v in values[:most].tolist())
        return shown + (f", … ({len(values)} values)" if len(values) > most else "")
