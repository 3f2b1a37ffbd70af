"""The local gradients of elementwise layers: z = v x of `Scale`, z = x + v (a(x) - x) of `Blend`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad.backpropagation import LocalGradients
from densegrad.layers import Blend, Scale
from densegrad.products import Unit
from densegrad.second_derivatives import activation_curvature


@dataclass(frozen=True, repr=False, eq=False)
class ElementwiseGradients(LocalGradients):
    """The local gradients of an elementwise layer l: each unit depends on its own input and weight alone.

    Attributes
    ----------
    by_input, by_weight : ndarray of shape (batch, n_l)
        dz_(l)/dy_(l-1) and dz_(l)/dW_(l): v and x of `Scale`, 1 + v (a'(x) - 1) and a(x) - x of `Blend`.
    wrt_preactivation : ndarray of shape (batch, n_l)
        dy_(l)/dz_(l), ones.
    wrt_input : ndarray of shape (batch, n_l, n_l)
        dy_(l)/dy_(l-1): `by_input` on the diagonal.
    wrt_weights : ndarray of shape (batch, n_l, 1, n_l)
        dy_(l)/dW_(l): `by_weight` on the diagonal.
    """

    _layer: Scale | Blend

    @cached_property
    def _blended(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """a(x) and a'(x)."""
        return Unit(self._layer.activation, self._input.dtype)(self._input)

    @cached_property
    def by_input(self) -> NDArray[Any]:
        """dz_(l)/dy_(l-1) of each unit, (batch, n_l)."""
        moved: NDArray[Any] = self._weights * self.mixed
        return 1 + moved if isinstance(self._layer, Blend) else moved

    @cached_property
    def by_weight(self) -> NDArray[Any]:
        """dz_(l)/dW_(l) of each unit, (batch, n_l)."""
        return self._blended[0] - self._input if isinstance(self._layer, Blend) else self._input

    @cached_property
    def mixed(self) -> NDArray[Any]:
        """d²z_(l)/dy_(l-1)dW_(l) of each unit, (batch, n_l)."""
        return self._blended[1] - 1 if isinstance(self._layer, Blend) else np.ones_like(self._input)

    @cached_property
    def curvature(self) -> NDArray[Any] | None:
        """d²z_(l)/dy_(l-1)² of each unit, (batch, n_l); None if it is zero everywhere."""
        if not isinstance(self._layer, Blend):
            return None
        a, slope = self._blended
        curvature = activation_curvature(self._layer.activation, lambda: self._input, a, slope)
        return None if curvature is None else self._weights * curvature

    @cached_property
    def wrt_input(self) -> NDArray[Any]:
        """dy_(l)/dy_(l-1), of shape (batch, n_l, n_l)."""
        return _diagonal(self.wrt_preactivation * self.by_input)

    @cached_property
    def wrt_weights(self) -> NDArray[Any]:
        """dy_(l)/dW_(l), of shape (batch, n_l, 1, n_l)."""
        return _diagonal(self.wrt_preactivation * self.by_weight)[:, :, np.newaxis, :]


def _diagonal(values: NDArray[Any]) -> NDArray[Any]:
    matrices: NDArray[Any] = values[:, :, np.newaxis] * np.eye(values.shape[1], dtype=values.dtype)
    return matrices
