"""Distributions that initial weights are drawn from.

Each function takes the numbers of inputs and outputs of a layer and a source of random numbers, and returns
weights of shape (n_in, n_out); the bias row starts at zero. Any function of this form may be given to
`Dense(..., initializer=...)`; one that returns (n_in + 1, n_out) sets the bias row as well.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from densegrad._validation import RandomSource
from densegrad.layers import Initializer

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
