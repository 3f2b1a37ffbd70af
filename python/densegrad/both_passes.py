"""From the arrays of both passes to a `Backpropagation`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad.backpropagation import (
    Backpropagation,
    LocalGradients,
    LossLayerGradient,
    PassTargets,
    read_only,
)
from densegrad.coupled_heads import CoupledSlopes, QuantileSlopes, SoftmaxSlopes
from densegrad.elementwise import ElementwiseGradients
from densegrad.layers import Dense
from densegrad.per_layer import PerLayer
from densegrad.samples import Samples
from densegrad.spec import NetworkSpec


def backpropagation_of(
    samples: Samples,
    target: Any,
    loss: float,
    ys: list[NDArray[Any]],
    gradients: list[NDArray[Any]],
    deltas: list[NDArray[Any]],
    weight_gradients: list[NDArray[Any]],
    diagonals: list[NDArray[Any] | None],
    weights: list[NDArray[Any]],
    row_losses: NDArray[np.float64] | None = None,
) -> Backpropagation:
    """Return the results of both passes of `samples`.

    Parameters
    ----------
    samples : Samples
    target : Any
        As the user gave it.
    loss, ys, gradients, deltas, weight_gradients, diagonals, weights
        What `_core.Network._backpropagate` returns. All arrays are read-only from now on.
    row_losses : ndarray of shape (batch,) or None
        Those of a custom loss.
    """
    spec = samples.spec
    outputs: list[Any] = [*ys, loss]
    loss_gradients: list[Any] = [*gradients, 1.0]
    for arrays in (ys, gradients, deltas, weight_gradients):
        for array in arrays:
            read_only(array)
    L = spec.depth
    local_gradients: list[Any] = [
        _local_gradients(spec, l, diagonals[l - 1], ys, weights[l - 1]) for l in range(1, L + 1)
    ]
    local_gradients.append(LossLayerGradient(gradients[L]))
    compared = PassTargets(
        None if samples.classes is None else read_only(samples.classes.copy()),
        None if samples.values is None else read_only(samples.values.copy()),
        None if row_losses is None else read_only(row_losses),
    )
    return Backpropagation(
        loss,
        PerLayer(0, L + 1, outputs.__getitem__),
        PerLayer(0, L + 1, loss_gradients.__getitem__),
        PerLayer(1, L, lambda l: deltas[l - 1]),
        PerLayer(1, L, lambda l: weight_gradients[l - 1]),
        PerLayer(1, L + 1, lambda l: local_gradients[l - 1]),
        PerLayer(1, L, lambda l: weights[l - 1]),
        spec,
        None if target is None else read_only(np.array(target)),
        compared,
    )


def _local_gradients(
    spec: NetworkSpec, l: int, diagonal: NDArray[Any] | None, ys: list[NDArray[Any]], W: NDArray[Any]
) -> LocalGradients:
    slopes = _coupled_slopes(spec, ys[l]) if diagonal is None else read_only(diagonal)
    layer = spec.layers[l - 1]
    if isinstance(layer, Dense):
        return LocalGradients(slopes, ys[l - 1], W)
    return ElementwiseGradients(slopes, ys[l - 1], W, layer)


def _coupled_slopes(spec: NetworkSpec, output: NDArray[Any]) -> CoupledSlopes:
    """Return those of a head whose outputs each depend on several z."""
    if spec.head.activation_kind == "softmax":
        return SoftmaxSlopes(output)
    return QuantileSlopes(output, len(spec.loss.quantile_levels))
