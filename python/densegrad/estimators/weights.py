"""The lists `coefs_` and `intercepts_` as scikit-learn shows them: views of a network's weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import _arrays
from densegrad.network import Network


class WeightLists:
    """The lists `coefs_` and `intercepts_` as shown, and the arrays assigned to them.

    The weights live in a network. The lists are made when they are asked for, of read-only arrays, and made
    anew if the network has changed since. An array in them that is not the one shown was assigned.

    Attributes
    ----------
    lists : dict
        By the names "coefs_" and "intercepts_": the list shown or assigned, or nothing.
    """

    def __init__(self, lists: dict[str, list[NDArray[Any]]] | None = None) -> None:
        self.lists = {} if lists is None else lists
        self._shown: dict[str, list[NDArray[Any]]] = {}

    def show(self, network: Network) -> None:
        """Bring the lists up to the network; assigned arrays stay in them."""
        weights = list(network.weights)
        now = {"coefs_": [W[:-1] for W in weights], "intercepts_": [W[-1] for W in weights]}
        if self._shown and all(
            _same_numbers(before, after)
            for name in now
            for before, after in zip(self._shown[name], now[name], strict=True)
        ):
            return
        for name, arrays in now.items():
            self.lists[name] = _updated(self.lists.get(name), self._shown.get(name, []), arrays)
        self._shown = {name: list(arrays) for name, arrays in now.items()}

    def assigned(self) -> bool:
        """Tell whether both lists are there and hold an array that was not shown."""
        if len(self.lists) < 2:
            return False
        return any(
            len(arrays) != len(shown) or any(a is not b for a, b in zip(arrays, shown, strict=True))
            for arrays, shown in ((arrays, self._shown.get(name, [])) for name, arrays in self.lists.items())
        )

    def joined(self) -> list[NDArray[Any]]:
        """Return W_(l) = [coef; intercept] of each layer."""
        coefs, intercepts = self.lists["coefs_"], self.lists["intercepts_"]
        if len(coefs) != len(intercepts):
            raise ValueError(
                f"coefs_ has {len(coefs)} arrays, intercepts_ {len(intercepts)}: there must be as many"
            )
        joined: list[NDArray[Any]] = []
        for i, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
            W, b = np.asarray(coef), np.asarray(intercept)
            if W.ndim != 2 or b.shape != (W.shape[1],):
                raise ValueError(
                    f"coefs_[{i}] must have shape (n_in, n_out) and intercepts_[{i}] (n_out,);"
                    f" got {W.shape} and {b.shape}"
                )
            if joined and joined[-1].shape[1] != W.shape[0]:
                raise ValueError(f"coefs_[{i}] must have {joined[-1].shape[1]} rows; got shape {W.shape}")
            joined.append(np.vstack([W, b]))
        return joined

    def give(self, network: Network) -> None:
        """Give the network the assigned arrays, all or nothing."""
        self.show(network)  # beside the assigned arrays stand the network's own
        _check_shapes(self.lists, network)
        network.parameters = np.concatenate([W.reshape(-1) for W in self.joined()])
        # The caller's own lists, so that they stay the ones that are looked at; read-only copies in them.
        given, self.lists, self._shown = self.lists, {}, {}
        self.show(network)
        for name, mine in given.items():
            if isinstance(mine, list):
                mine[:] = self.lists[name]
                self.lists[name] = mine


def _check_shapes(lists: dict[str, list[NDArray[Any]]], network: Network) -> None:
    for name, part in (("coefs_", slice(0, 2)), ("intercepts_", slice(1, 2))):
        arrays: Sequence[Any] = lists[name]
        if len(arrays) != network.depth:
            raise ValueError(f"{name} must have {network.depth} arrays; got {len(arrays)}")
        for i, value in enumerate(arrays):
            array = _arrays.real_array(f"{name}[{i}]", value)
            shape = network.spec.widths[i : i + 2][part]
            if array.shape != shape:
                raise ValueError(f"{name}[{i}] must have shape {shape}; got {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name}[{i}] must be finite; got NaN or infinity")


def _same_numbers(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return np.array_equal(a, b, equal_nan=True)


def _updated(
    shown: list[NDArray[Any]] | None, before: list[NDArray[Any]], now: list[NDArray[Any]]
) -> list[NDArray[Any]]:
    """Return `shown` with the arrays of `now` in place of those of `before`; the others were assigned."""
    if shown is None:
        return now
    if len(shown) != len(before):
        return shown
    return [new if array is old else array for array, old, new in zip(shown, before, now, strict=True)]
