"""Distributions that initial weights are drawn from.

Each function takes the numbers of inputs and outputs of a layer and a source of random numbers, and returns
weights of shape (n_in, n_out); the bias row starts at zero. Any function of this form may be given to
`Dense(..., initializer=...)`; one that returns (n_in + 1, n_out) sets the bias row as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from densegrad import _arrays
from densegrad._tables import ACTIVATIONS
from densegrad._validation import RandomSource
from densegrad.layers import Dense, Initializer
from densegrad.spec import NetworkSpec

__all__ = ["glorot_uniform", "glorot_uniform_logistic", "he_uniform"]


def _uniform(bound: float, n_in: int, n_out: int, random: RandomSource) -> NDArray[np.float64]:
    return random.uniform(-bound, bound, (n_in, n_out))


def glorot_uniform(n_in: int, n_out: int, random: RandomSource) -> NDArray[np.float64]:
    """Draw from the uniform distribution on ± sqrt(6 / (n_in + n_out)).

    The variance that keeps signals and loss gradients at one scale through layers of slope 1 at the origin
    (Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010).
    """
    return _uniform(math.sqrt(6 / (n_in + n_out)), n_in, n_out, random)


def glorot_uniform_logistic(n_in: int, n_out: int, random: RandomSource) -> NDArray[np.float64]:
    """Draw from the uniform distribution on ± sqrt(2 / (n_in + n_out)): scikit-learn's for logistic units."""
    return _uniform(math.sqrt(2 / (n_in + n_out)), n_in, n_out, random)


def he_uniform(n_in: int, n_out: int, random: RandomSource) -> NDArray[np.float64]:
    """Draw from the uniform distribution on ± sqrt(6 / n_in).

    Makes up for the half of the signal that rectified units cut off (He et al., "Delving deep into
    rectifiers", 2015).
    """
    return _uniform(math.sqrt(6 / n_in), n_in, n_out, random)


#: By the names in the core's table of activations.
BY_NAME: Final[dict[str, Initializer]] = {
    "glorot": glorot_uniform,
    "glorot_logistic": glorot_uniform_logistic,
    "he": he_uniform,
}


def initial_parameters(spec: NetworkSpec, layers: Sequence[Dense], random: RandomSource) -> NDArray[Any]:
    """Draw the weights of all layers, in one vector as `Network.parameters` has them."""
    parameters = np.zeros(spec.n_parameters, spec.dtype)
    for l, (layer, W) in enumerate(zip(layers, spec.split(parameters), strict=True), 1):
        initializer = layer.initializer
        if initializer is None:
            initializer = BY_NAME[ACTIVATIONS[layer.activation]["initializer"]]
        n_in, n_out = spec.width(l - 1), spec.width(l)
        drawn = _arrays.real_array("initializer", initializer(n_in, n_out, random))
        if drawn.shape not in ((n_in, n_out), W.shape):
            raise ValueError(
                f"initializer must return weights of shape {(n_in, n_out)} or, with the bias row, "
                f"{W.shape}; got {drawn.shape}"
            )
        W[: len(drawn)] = _arrays.finite_array("initializer", drawn, spec.dtype)
    return parameters
