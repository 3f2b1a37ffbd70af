"""How the outputs of a head change if each depends on several z: softmax, and several quantiles of a target.

The Jacobians dy_(L)/dz_(L) have n_L² numbers a sample. All products with them are made without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class CoupledSlopes(Protocol):
    """dy_(L)/dz_(L) of each sample of a batch."""

    @property
    def output(self) -> NDArray[Any]:
        """y_(L), of shape (batch, n_L)."""

    def jacobian(self) -> NDArray[Any]:
        """Return dy_(L)/dz_(L), of shape (batch, n_L, n_L)."""

    def along(self, direction: NDArray[Any]) -> NDArray[Any]:
        """Return how y_(L) changes if z_(L) moves along `direction`; both (batch, n_L)."""

    def back(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """Return dLoss/dz_(L) from dLoss/dy_(L), both (batch, n_L)."""

    def change_of_back(self, gradient: NDArray[Any], direction: NDArray[Any]) -> NDArray[Any]:
        """Return how ``back(gradient)`` changes if z_(L) moves along `direction`."""


@dataclass(frozen=True)
class SoftmaxSlopes:
    """dy_i/dz_j = y_i (δ_ij - y_j)."""

    output: NDArray[Any]

    def jacobian(self) -> NDArray[Any]:
        """Return dy_(L)/dz_(L), of shape (batch, n_L, n_L)."""
        y = self.output
        jacobian: NDArray[Any] = y[:, :, np.newaxis] * y[:, np.newaxis, :]
        np.subtract(0, jacobian, out=jacobian)
        units = np.arange(y.shape[1])
        jacobian[:, units, units] += y
        return jacobian

    def along(self, direction: NDArray[Any]) -> NDArray[Any]:
        """Return how y_(L) changes if z_(L) moves along `direction`; both (batch, n_L)."""
        y = self.output
        change: NDArray[Any] = y * (direction - np.sum(y * direction, axis=1, keepdims=True))
        return change

    def back(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """Return dLoss/dz_(L) from dLoss/dy_(L), both (batch, n_L): the Jacobians are symmetric."""
        return self.along(gradient)

    def change_of_back(self, gradient: NDArray[Any], direction: NDArray[Any]) -> NDArray[Any]:
        """Return how ``back(gradient)`` changes if z_(L) moves along `direction`."""
        y, change = self.output, self.along(direction)
        mean = np.sum(y * gradient, axis=1, keepdims=True)
        change_of_mean = np.sum(change * gradient, axis=1, keepdims=True)
        moved: NDArray[Any] = change * (gradient - mean) - y * change_of_mean
        return moved


@dataclass(frozen=True)
class QuantileSlopes:
    """The outputs of each target are q_0 = z_0, q_k = q_(k-1) + softplus(z_k): dq_k/dz_j = s_j for j ≤ k."""

    output: NDArray[Any]
    n_levels: int

    def _by_target(self, columns: NDArray[Any]) -> NDArray[Any]:
        return columns.reshape(len(columns), -1, self.n_levels)

    def _slopes(self) -> NDArray[Any]:
        """s: 1 for the lowest quantile of a target, softplus'(z) for the others; (batch, targets, levels)."""
        quantiles = self._by_target(self.output)
        slopes = np.ones_like(quantiles)
        with np.errstate(invalid="ignore"):  # infinite quantiles have no distance
            slopes[:, :, 1:] = -np.expm1(-np.diff(quantiles, axis=2))
        return slopes

    def _sums_from(self, columns: NDArray[Any]) -> NDArray[Any]:
        """Return for each level of a target the sum over it and the levels above."""
        sums: NDArray[Any] = np.cumsum(self._by_target(columns)[:, :, ::-1], axis=2)[:, :, ::-1]
        return sums

    def jacobian(self) -> NDArray[Any]:
        """Return dy_(L)/dz_(L), of shape (batch, n_L, n_L)."""
        batch, n_L = self.output.shape
        target, level = np.divmod(np.arange(n_L), self.n_levels)
        below = (target[:, np.newaxis] == target) & (level[:, np.newaxis] >= level)
        jacobian: NDArray[Any] = self._slopes().reshape(batch, 1, n_L) * below
        return jacobian

    def along(self, direction: NDArray[Any]) -> NDArray[Any]:
        """Return how y_(L) changes if z_(L) moves along `direction`; both (batch, n_L)."""
        change: NDArray[Any] = np.cumsum(self._slopes() * self._by_target(direction), axis=2)
        return change.reshape(direction.shape)

    def back(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """Return dLoss/dz_(L) from dLoss/dy_(L), both (batch, n_L)."""
        through: NDArray[Any] = self._slopes() * self._sums_from(gradient)
        return through.reshape(gradient.shape)

    def change_of_back(self, gradient: NDArray[Any], direction: NDArray[Any]) -> NDArray[Any]:
        """Return how ``back(gradient)`` changes if z_(L) moves along `direction`: s' = s (1 - s)."""
        slopes = self._slopes()
        moved: NDArray[Any] = slopes * (1 - slopes) * self._sums_from(gradient) * self._by_target(direction)
        return moved.reshape(gradient.shape)
