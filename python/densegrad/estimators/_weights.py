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
    looked at again before each use of the network: an array that is not the one shown was assigned.
    """

    _network: Network
    _trainer: Trainer
    _architecture: dict[str, Any]
    _best_parameters: NDArray[Any]
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
        if key not in self.__dict__:
            if "_network" not in self.__dict__:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            self._show_weights()
        shown: list[NDArray[Any]] = self.__dict__[key]
        return shown

    def _show_weights(self) -> None:
        weights = [self._network.weights[l] for l in range(1, self._network.depth + 1)]
        self.__dict__.setdefault("_coefs", [W[:-1] for W in weights])
        self.__dict__.setdefault("_intercepts", [W[-1] for W in weights])
        self._known = [*self._coefs, *self._intercepts]

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
        weights = _model.joined_weights(self._coefs, self._intercepts)
        if "_network" not in self.__dict__:
            dtype = np.float32 if weights[0].dtype == np.float32 else np.float64
            units = [weights[0].shape[0] - 1, *(W.shape[1] for W in weights)]
            self._network = self._new_network(units, self.out_activation_, dtype)
        networks = [self._network]
        if "_trainer" in self.__dict__ and self._trainer.network is not self._network:
            networks.append(self._trainer.network)
        _model.check_shapes(weights, self._network)
        for network in networks:
            network.parameters = np.concatenate([W.reshape(-1) for W in weights])
        self.__dict__.pop("_best_parameters", None)
        # The caller's own lists, so that they stay the ones that are looked at; read-only copies in them.
        coefs, intercepts = self._coefs, self._intercepts
        for key in ("_coefs", "_intercepts"):
            del self.__dict__[key]
        self._show_weights()
        for key, given in (("_coefs", coefs), ("_intercepts", intercepts)):
            if isinstance(given, list):
                given[:] = self.__dict__[key]
                self.__dict__[key] = given

    def _show_best(self) -> None:
        """Predict with the best weights; the trainer keeps the last ones, from which training may go on."""
        trained = self._trainer.network
        if np.array_equal(trained.parameters, self._best_parameters):
            self._network = trained
        else:
            self._network = self._copied_network(trained, self._best_parameters)
        self._hide_weights()

    def _copied_network(self, network: Network | None = None, parameters: Any = None) -> Network:
        """Return a network like `network`, of its weights or of `parameters`."""
        network = self._network if network is None else network
        copy = _model.network(**self._architecture, dtype=network.dtype)
        copy.parameters = network.parameters if parameters is None else parameters
        return copy

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
