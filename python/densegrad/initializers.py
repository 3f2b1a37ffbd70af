"""Distributions that initial weights are drawn from.

Each function takes the numbers of inputs and outputs of a layer and a source of random numbers. It returns
weights of shape (n_in, n_out), and the biases start at zero. Pass any such function to
`Dense(..., initializer=...)`; one that returns one more row sets the biases as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from densegrad import _arrays, _core
from densegrad._tables import ACTIVATIONS
from densegrad._validation import RandomSource
from densegrad.layers import Dense, Initializer, Layer

__all__ = ["glorot_uniform", "glorot_uniform_logistic", "he_uniform"]


# Numbers that are drawn at a time, 2 MB of them.
_CHUNK = 1 << 18
# From so many on, the core draws in less time than NumPy.
_MANY = 1 << 15


@dataclass(frozen=True)
class Uniform:
    """An initializer that draws uniformly from ± bound(n_in, n_out), also some rows at a time.

    The draws are the same either way: a large layer need not be in memory a second time.
    """

    bound: Callable[[int, int], float]
    #: Whether the bias row is drawn as well.
    bias: bool = False

    def __call__(self, n_in: int, n_out: int, random: RandomSource) -> NDArray[np.float64]:
        return symmetric_uniform(self.bound(n_in, n_out), (n_in + self.bias, n_out), random)

    def chunks(self, n_in: int, n_out: int, random: RandomSource) -> Iterator[NDArray[np.float64]]:
        """Yield the rows that a call returns, some at a time."""
        bound = self.bound(n_in, n_out)
        left, step = n_in + self.bias, max(1, _CHUNK // n_out)
        while left:
            n_rows = min(left, step)
            yield symmetric_uniform(bound, (n_rows, n_out), random)
            left -= n_rows


def symmetric_uniform(bound: float, shape: tuple[int, ...], random: RandomSource) -> NDArray[np.float64]:
    """Draw from the uniform distribution on ± bound: the same bits whatever compiler NumPy was built with.

    Some compilers fuse the multiplication and the addition inside `random.uniform(-bound, bound, shape)`, of
    which these are the numbers.
    """
    generator = random._bit_generator if type(random) is np.random.RandomState else None
    if math.prod(shape) >= _MANY and type(generator) is np.random.MT19937:
        many = np.empty(shape)
        draw_uniform(generator, bound, many)
        return many
    draws: NDArray[np.float64] = random.random(shape)
    draws *= 2 * bound
    draws -= bound
    return draws


def draw_uniform(generator: np.random.MT19937, bound: float, out: NDArray[np.float64]) -> None:
    """Draw from ± bound into `out`; it takes 50 µs to read and to set the generator's state."""
    with generator.lock:
        state: Any = generator.state
        words = state["state"]
        words["pos"] = _core.draw_uniform(words["key"], words["pos"], bound, out)
        generator.state = state


_GLOROT = Uniform(lambda n_in, n_out: math.sqrt(6 / (n_in + n_out)))
_GLOROT_LOGISTIC = Uniform(lambda n_in, n_out: math.sqrt(2 / (n_in + n_out)))
_HE = Uniform(lambda n_in, n_out: math.sqrt(6 / n_in))


def glorot_uniform(n_in: int, n_out: int, random: RandomSource) -> NDArray[np.float64]:
    """Draw from the uniform distribution on ± sqrt(6 / (n_in + n_out)).

    This variance keeps signals and loss gradients at one scale through layers of slope 1 at the origin. See
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    return _GLOROT(n_in, n_out, random)


def glorot_uniform_logistic(n_in: int, n_out: int, random: RandomSource) -> NDArray[np.float64]:
    """Draw from the uniform distribution on ± sqrt(2 / (n_in + n_out)): scikit-learn's for logistic units."""
    return _GLOROT_LOGISTIC(n_in, n_out, random)


def he_uniform(n_in: int, n_out: int, random: RandomSource) -> NDArray[np.float64]:
    """Draw from the uniform distribution on ± sqrt(6 / n_in).

    It makes up for the half of the signal that rectified units cut off. See He et al., "Delving deep into
    rectifiers", 2015.
    """
    return _HE(n_in, n_out, random)


#: By the names in the core's table of activations.
BY_NAME: Final[dict[str, Initializer]] = {
    "glorot": glorot_uniform,
    "glorot_logistic": glorot_uniform_logistic,
    "he": he_uniform,
}
_UNIFORM: Final[dict[Initializer, Uniform]] = {
    glorot_uniform: _GLOROT,
    glorot_uniform_logistic: _GLOROT_LOGISTIC,
    he_uniform: _HE,
}


def initial_rows(
    layer: Layer,
    initializer: Initializer | None,
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    random: RandomSource,
) -> Iterator[NDArray[Any]]:
    """Yield the rows of a layer's initial W, some at a time; the bias row, the last one, may be left out.

    `shape` is that of W with the bias row. Without an initializer the activation says which. Elementwise
    layers begin with ones.
    """
    if not isinstance(layer, Dense):
        yield np.ones(shape, dtype)
        return
    n_rows, n_out = shape
    n_in = n_rows - 1
    draw: Initializer = (
        BY_NAME[ACTIVATIONS[layer.activation_kind]["initializer"]] if initializer is None else initializer
    )
    if isinstance(draw, FunctionType):  # others need not be hashable
        draw = _UNIFORM.get(draw, draw)
    if isinstance(draw, Uniform):
        yield from draw.chunks(n_in, n_out, random)
        return
    drawn = _arrays.real_array("initializer", draw(n_in, n_out, random))
    if drawn.shape not in ((n_in, n_out), shape):
        raise ValueError(
            f"initializer must return weights of shape {(n_in, n_out)} or, with the bias row, {shape}; "
            f"got {drawn.shape}"
        )
    yield _arrays.finite_array("initializer", drawn, dtype)
