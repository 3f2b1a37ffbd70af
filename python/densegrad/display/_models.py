"""Networks and fitted estimators, as the pictures take them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import Network
from densegrad.gradient_check import network_and_target


def is_network(model: Any) -> bool:
    """Tell a Network from an estimator; anything else is an error."""
    if isinstance(model, Network):
        return True
    if hasattr(model, "fit") and hasattr(model, "get_params"):
        return False
    raise TypeError(f"the model must be a Network or an estimator of densegrad; got {model!r}")


def only_network(model: Any) -> None:
    """Raise TypeError for anything but a Network, and point to from_estimator for an estimator."""
    if not is_network(model):
        raise TypeError(
            f"network must be a Network; got {model!r}: give a fitted estimator to from_estimator"
        )


def network_of(model: Any) -> Network:
    """Return the network of a model, which is the model itself or that of a fitted estimator."""
    if is_network(model):
        network: Network = model
        return network
    found = getattr(model, "network_", None)
    if not isinstance(found, Network):
        raise ValueError(
            f"{type(model).__name__} has no network yet: fit this very object, not a clone of it"
        )
    return found


def target_of(model: Any, y: Any) -> NDArray[Any]:
    """Return y as the network's target: labels of a classifier as class numbers, everything else as it is."""
    if is_network(model):
        return np.asarray(y)
    network_of(model)
    return np.asarray(network_and_target(model, y, "y")[1])


def estimator_network(estimator: Any, y: Any, options: dict[str, Any]) -> tuple[Network, NDArray[Any] | None]:
    """Return the network of an estimator, and y as its target; options are those of `from_network`."""
    if "target" in options:
        raise TypeError("target is for networks; give the estimator's own y to from_estimator")
    return network_of(estimator), None if y is None else target_of(estimator, y)


def layer_number(network: Network, layer: Any, first: int, last: int, name: str = "layer") -> int:
    """Return `layer` if it is the number of one of the layers first … last."""
    if isinstance(layer, bool) or not isinstance(layer, int | np.integer) or not first <= layer <= last:
        raise ValueError(
            f"{name} must be a layer's number, {first} ... {last} in a network of {network.depth} layers;"
            f" got {layer!r}"
        )
    return int(layer)


def some_of(n_rows: int, max_rows: int | None) -> NDArray[np.int64]:
    """Return the numbers of at most `max_rows` rows, spread evenly from the first to the last."""
    if max_rows is None or n_rows <= max_rows:
        return np.arange(n_rows, dtype=np.int64)
    return np.linspace(0, n_rows - 1, max_rows).astype(np.int64)


def rows_of(X: Any, rows: NDArray[np.int64]) -> Any:
    """Return some rows of an array, a data frame or a sparse matrix."""
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    if hasattr(X, "tocsr"):
        return X.tocsr()[rows]
    return np.asarray(X)[rows]


def count_rows(X: Any) -> int:
    """Return the number of rows of an array, a data frame or a sparse matrix."""
    return int(X.shape[0]) if hasattr(X, "shape") and len(X.shape) else len(np.asarray(X))
