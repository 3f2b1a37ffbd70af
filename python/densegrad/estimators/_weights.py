"""The weights of an estimator as scikit-learn shows them, and what a pickle keeps of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import Network, Trainer
from densegrad.estimators import _model


class ShownWeights:
    """The lists `coefs_` and `intercepts_` over a network, and the network itself.

    The weights live in the network. The lists are made when they are asked for, of read-only arrays, and
    made anew when the network has changed since. They are looked at before each use of the network: an array
    that is not the one shown was assigned, and goes into the network.
    """

    _network: Network
    _trainer: Trainer
    _architecture: dict[str, Any]
    # Of early stopping: the weights that scored best, and the last ones where the network has the best.
    _best_parameters: NDArray[Any]
    _last_parameters: NDArray[Any]
    _coefs: list[NDArray[Any]]
    _intercepts: list[NDArray[Any]]
    _known: list[NDArray[Any]]
    out_activation_: str

    @property
    def coefs_(self) -> list[NDArray[Any]]:
        """Weights of each layer, (n_in, n_out). Read-only arrays; assign to change them."""
        return self._shown("_coefs", "coefs_")

    @coefs_.setter
    def coefs_(self, value: list[NDArray[Any]]) -> None:
        self._assign("_coefs", value)

    @coefs_.deleter
    def coefs_(self) -> None:
        self._forget_weights("coefs_")

    @property
    def intercepts_(self) -> list[NDArray[Any]]:
        """Biases of each layer, (n_out,). Read-only arrays; assign to change them."""
        return self._shown("_intercepts", "intercepts_")

    @intercepts_.setter
    def intercepts_(self, value: list[NDArray[Any]]) -> None:
        self._assign("_intercepts", value)

    @intercepts_.deleter
    def intercepts_(self) -> None:
        self._forget_weights("intercepts_")

    def _shown(self, key: str, name: str) -> list[NDArray[Any]]:
        if "_network" in self.__dict__:
            self._show_weights()
        elif key not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        shown: list[NDArray[Any]] = self.__dict__[key]
        return shown

    def _show_weights(self) -> None:
        """Make the lists, anew where the network has changed; what was assigned stays in them."""
        weights = [self._network.weights[l] for l in range(1, self._network.depth + 1)]
        now = [*(W[:-1] for W in weights), *(W[-1] for W in weights)]
        before = self.__dict__.get("_known", [])
        if len(before) == len(now) and all(map(_same_numbers, before, now)):
            return
        coefs, intercepts = self.__dict__.get("_coefs"), self.__dict__.get("_intercepts")
        self._coefs = _updated(coefs, before[: len(weights)], now[: len(weights)])
        self._intercepts = _updated(intercepts, before[len(weights) :], now[len(weights) :])
        self._known = now

    def _hide_weights(self) -> None:
        """Forget the lists shown: the weights have changed."""
        for key in ("_coefs", "_intercepts", "_known"):
            self.__dict__.pop(key, None)

    def _set_parameters(self, parameters: NDArray[Any]) -> None:
        self._network.parameters = parameters
        self._hide_weights()

    def _assign(self, key: str, value: list[NDArray[Any]]) -> None:
        if "_network" in self.__dict__:
            self._show_weights()
        self.__dict__[key] = value

    def _forget_weights(self, name: str) -> None:
        self._shown("_" + name[:-1], name)
        for key in ("_coefs", "_intercepts", "_known", "_network", "_trainer"):
            self.__dict__.pop(key, None)

    def _current_network(self) -> Network:
        """Return the network, after taking over what has been assigned to `coefs_` and `intercepts_`."""
        shown = self.__dict__.get("_coefs")
        if shown is not None and "_intercepts" in self.__dict__:
            arrays = [*shown, *self._intercepts]
            known = self.__dict__.get("_known", ())
            if len(arrays) != len(known) or any(a is not b for a, b in zip(arrays, known, strict=True)):
                self._take_assigned()
        network: Network = self._network
        return network

    def _take_assigned(self) -> None:
        if "_network" in self.__dict__:
            self._show_weights()  # beside what was assigned stands what the network has now
            _model.check_shapes(self._coefs, self._intercepts, self._network)
        weights = _model.joined_weights(self._coefs, self._intercepts)
        if "_network" not in self.__dict__:
            dtype = np.float32 if weights[0].dtype == np.float32 else np.float64
            units = [weights[0].shape[0] - 1, *(W.shape[1] for W in weights)]
            self._network = self._new_network(units, self.out_activation_, dtype)
        self._network.parameters = np.concatenate([W.reshape(-1) for W in weights])
        for key in ("_best_parameters", "_last_parameters"):
            self.__dict__.pop(key, None)
        # The caller's own lists, so that they stay the ones that are looked at; read-only copies in them.
        coefs, intercepts = self._coefs, self._intercepts
        self._hide_weights()
        self._show_weights()
        for key, given in (("_coefs", coefs), ("_intercepts", intercepts)):
            if isinstance(given, list):
                given[:] = self.__dict__[key]
                self.__dict__[key] = given

    def _copied_network(self) -> Network:
        """Return a network of the architecture that there is now, with the weights of the one there was."""
        other = _model.network(**self._architecture, dtype=self._network.dtype)
        other.parameters = self._network.parameters
        return other

    def __getstate__(self) -> dict[str, Any]:
        if "_network" in self.__dict__:
            self._current_network()
        state: dict[str, Any] = {**super().__getstate__()}  # type: ignore[dict-item]
        if "_network" in state:
            for key in ("_coefs", "_intercepts", "_known"):
                state.pop(key, None)
        return state

    def _new_network(self, units: list[int], head: str, dtype: Any, random: Any = 0) -> Network:
        self._architecture = _model.architecture(self, units, head)
        return _model.network(**self._architecture, dtype=dtype, random_state=random)


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
