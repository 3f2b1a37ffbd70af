"""Analytic gradients against central differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densegrad import _validation
from densegrad.network import Network
from densegrad.samples import Samples


@dataclass(frozen=True)
class LayerCheck:
    """The comparison of one layer's weight gradient."""

    layer: int
    max_relative_error: float
    #: (row, column) of W_(l) where it occurs; the bias is the last row.
    index: tuple[int, int]
    analytic: float
    numeric: float


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradients` found."""

    layers: tuple[LayerCheck, ...]

    @property
    def worst(self) -> LayerCheck:
        """The layer with the largest error."""
        return max(self.layers, key=lambda check: check.max_relative_error)

    @property
    def max_relative_error(self) -> float:
        """The largest error of all weights."""
        return self.worst.max_relative_error

    def __str__(self) -> str:
        lines = [f"{'l':>3} {'max relative error':>18} {'at W_(l)':>12} {'analytic':>12} {'differences':>12}"]
        lines += [
            f"{c.layer:>3} {c.max_relative_error:>18.3g} {c.index!s:>12} "
            f"{c.analytic:>12.5g} {c.numeric:>12.5g}"
            for c in self.layers
        ]
        return "\n".join(lines)


def check_gradients(
    network: Network,
    X: Any,
    target: Any,
    sample_weight: ArrayLike | None = None,
    *,
    step: float = 1e-5,
    max_parameters: int | None = 2000,
    random_state: Any = 0,
) -> GradientReport:
    """Compare the gradient that back propagation gives with central differences of the loss.

    The differences are taken in float64, on a copy of the network, even if the network is float32. Only the
    network's `weight_gradients` change.

    Parameters
    ----------
    network : Network
    X, target, sample_weight
        As for `Network.samples`; a few rows are enough. Not Samples.
    step : float, default 1e-5
        (loss(w + h) - loss(w - h)) / 2h is taken with h = step · max(1, |w|).
    max_parameters : int or None
        If a layer has more weights than this, a random choice of so many is checked. None checks all.
    random_state : int, RandomState, Generator or None
        Source of that choice.

    Returns
    -------
    GradientReport
        The error of a weight is |analytic - numeric| divided by the larger of the two. The divisor is at
        least 1e-3 times the largest gradient of the layer, and 1e-8, so that rounding does not count as an
        error in tiny gradients. The error stays below 1e-6 in float64, and below about 1e-3 in float32. If
        a unit sits at the kink of its activation, or a sample at that of the loss, the two differ and both
        are right.

    Examples
    --------
    >>> import numpy as np
    >>> from densegrad import Dense, Network, check_gradients
    >>> net = Network(2, [Dense(3, "tanh"), Dense(1, "identity")], dtype="float64", random_state=0)
    >>> check_gradients(net, np.ones((4, 2)), np.zeros(4)).max_relative_error < 1e-6
    True
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network; got {network!r}")
    if isinstance(X, Samples):
        raise TypeError("X must be an array, not Samples: it is read by a second network as well")
    step = _validation.real("step", step, 0, closed="neither")
    if max_parameters is not None:
        max_parameters = _validation.integer("max_parameters", max_parameters, 1)
    random = _validation.random_source(random_state)
    network.loss_and_gradient(X, target, sample_weight)
    twin = network.astype("float64")
    samples = twin.samples(X, target, sample_weight)
    checks = []
    for l in range(1, network.depth + 1):
        analytic = network.weight_gradients[l].astype(np.float64)
        chosen = np.arange(analytic.size)
        if max_parameters is not None and analytic.size > max_parameters:
            chosen = random.permutation(analytic.size)[:max_parameters]
        checks.append(_compare(l, analytic, chosen, _differences(twin, l, samples, chosen, step)))
    return GradientReport(tuple(checks))


def _differences(
    network: Network, l: int, samples: Samples, chosen: NDArray[Any], step: float
) -> NDArray[np.float64]:
    W = network.weights[l].copy()
    flat = W.reshape(-1)
    numeric = np.empty(len(chosen))
    for k, i in enumerate(chosen):
        w = flat[i]
        h = step * max(1.0, abs(w))
        losses = []
        for moved in (w + h, w - h):
            flat[i] = moved
            network.weights[l] = W
            losses.append(network.evaluate(samples, n_threads=1))
        flat[i] = w
        numeric[k] = (losses[0] - losses[1]) / ((w + h) - (w - h))
    network.weights[l] = W
    return numeric


def _compare(
    l: int, analytic: NDArray[Any], chosen: NDArray[Any], numeric: NDArray[np.float64]
) -> LayerCheck:
    values = analytic.reshape(-1)[chosen]
    least = max(1e-8, 1e-3 * float(np.max(np.abs(values))))
    errors = np.abs(values - numeric) / np.maximum(np.maximum(np.abs(values), np.abs(numeric)), least)
    k = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
    row, column = divmod(int(chosen[k]), analytic.shape[1])
    return LayerCheck(l, float(errors[k]), (row, column), float(values[k]), float(numeric[k]))
