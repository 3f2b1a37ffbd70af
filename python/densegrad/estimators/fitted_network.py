"""The network of an estimator: how it predicts, and how it is shown and assigned to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from densegrad._arrays import check_finite_rows
from densegrad._losses import Loss
from densegrad.estimators.best_weights import BestWeights
from densegrad.estimators.parameters import Recipe
from densegrad.estimators.rows import columns_named
from densegrad.estimators.training import Training
from densegrad.estimators.weights import WeightLists
from densegrad.layers import Dense
from densegrad.network import Network
from densegrad.spec import NetworkSpec
from densegrad.typing import ActivationName

_SMALL = 4096  # numbers that are checked one by one faster than summed up


class FittedNetwork(BaseEstimator):
    """The part of an estimator that holds its network, predicts with it and shows its weights."""

    _training: Training | None = None
    n_features_in_: int
    out_activation_: ActivationName
    n_threads: int | None

    def __sklearn_is_fitted__(self) -> bool:
        return self._training is not None or len(self._lists) == 2

    @property
    def network_(self) -> Network:
        """The fitted network: to look at a backward pass, to save it, or to train it with a Trainer.

        `predict` and further training use this network, including any weights that you assign to it. If
        `activation`, `dropout` or the loss changes, a new network with the same weights replaces it.
        """
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'network_' before fit")
        return self._current_network()

    def _current_network(self) -> Network:
        """Return the network, after it took over arrays assigned to `coefs_` and `intercepts_`."""
        weights = vars(self).get("_weights")
        if weights is not None and weights.assigned():
            if self._training is None:
                self._training = Training(self._network_of(weights))
            weights.give(self._training.network)
            self._training.kept = BestWeights()
        assert self._training is not None
        return self._training.network

    def _network_of(self, weights: WeightLists) -> Network:
        """Return a network for weights that were assigned before any fit."""
        matrices = weights.joined()
        dtype = np.float32 if matrices[0].dtype == np.float32 else np.float64
        recipe = Recipe.of(vars(self))
        head = Dense(matrices[-1].shape[1], self.out_activation_)
        spec = NetworkSpec(matrices[0].shape[0] - 1, (*recipe.hidden, head), recipe.loss, np.dtype(dtype))
        return Network.from_spec(spec, iter(matrices))

    @property
    def coefs_(self) -> list[NDArray[Any]]:
        """Weights of each layer, (n_in, n_out). Read-only arrays; assign to change them."""
        return self._shown("coefs_")

    @coefs_.setter
    def coefs_(self, value: list[NDArray[Any]]) -> None:
        self._assign("coefs_", value)

    @coefs_.deleter
    def coefs_(self) -> None:
        self._forget("coefs_")

    @property
    def intercepts_(self) -> list[NDArray[Any]]:
        """Biases of each layer, (n_out,). Read-only arrays; assign to change them."""
        return self._shown("intercepts_")

    @intercepts_.setter
    def intercepts_(self, value: list[NDArray[Any]]) -> None:
        self._assign("intercepts_", value)

    @intercepts_.deleter
    def intercepts_(self) -> None:
        self._forget("intercepts_")

    @property
    def _lists(self) -> dict[str, list[NDArray[Any]]]:
        weights = vars(self).get("_weights")
        return {} if weights is None else weights.lists

    def _weight_lists(self) -> WeightLists:
        weights: WeightLists = self.__dict__.setdefault("_weights", WeightLists())
        if self._training is not None:
            weights.show(self._training.network)
        return weights

    def _shown(self, name: str) -> list[NDArray[Any]]:
        if self._training is None and name not in self._lists:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._weight_lists().lists[name]

    def _assign(self, name: str, value: list[NDArray[Any]]) -> None:
        self._weight_lists().lists[name] = value

    def _forget(self, name: str) -> None:
        self._shown(name)
        for key in ("_weights", "_training"):
            self.__dict__.pop(key, None)

    def _forward(self, X: Any) -> NDArray[Any]:
        """Return y_(L) for X, (n_samples, n_outputs_)."""
        if self._training is None:
            check_is_fitted(self)
        if not self._readable(X):
            with columns_named(X, type(self).__name__):
                X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        network = self._current_network()
        outputs: NDArray[Any] = network.predict(X, self.n_threads)
        if network.dtype == np.float32 and not np.isfinite(outputs).all():
            check_finite_rows("X", X, network.dtype)
        return outputs

    def _readable(self, X: Any) -> bool:
        """Tell whether X plainly passes scikit-learn's checks, which take longer than a small prediction."""
        numbers = X.data if type(X) in (csr_array, csr_matrix) else X
        if (
            type(numbers) is not np.ndarray
            or X.ndim != 2
            or X.dtype.char not in "fd"
            or X.shape[1] != self.n_features_in_
            or X.shape[0] == 0
            or "feature_names_in_" in self.__dict__
        ):
            return False
        if numbers.size <= _SMALL:
            return bool(np.isfinite(numbers).all())
        with np.errstate(over="ignore", invalid="ignore"):
            return math.isfinite(numbers.sum())

    def _fitted_loss(self) -> Loss | None:
        """Return the loss that was fitted, which decides the meaning of predictions; None before a fit."""
        return None if self._training is None else self._training.network.spec.loss
