"""Analytic gradients against central differences: of networks, of fitted estimators, of any function."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densegrad import _arrays, _validation
from densegrad._validation import RandomSource
from densegrad.custom_losses import custom_rows
from densegrad.network import Network
from densegrad.samples import Samples

#: Errors below these are rounding, by the precision of the analytic gradient.
TOLERANCE = {"float64": 1e-6, "float32": 1e-3}

#: Maps arrays of parameters to a loss and its derivative by each of the arrays.
LossAndGradients: TypeAlias = Callable[[list[NDArray[np.float64]]], tuple[float, Sequence[ArrayLike]]]


@dataclass(frozen=True)
class LayerCheck:
    """The comparison of one layer's weight gradient."""

    layer: int
    max_relative_error: float
    #: (row, column) of that error in W_(l); the bias is the last row.
    index: tuple[int, ...]
    analytic: float
    numeric: float
    #: Number of weights that were compared, and of all weights of the layer.
    n_checked: int
    n_weights: int


@dataclass(frozen=True, repr=False)
class GradientReport:
    """The result of `check_gradients`.

    Attributes
    ----------
    layers : tuple of LayerCheck
        One for each W_(l).
    loss_layer : LayerCheck or None
        For a custom loss: the comparison of its derivative by y_(L). The layer is L + 1, and index is the
        row and the output.
    tolerance : float
        Larger errors are called wrong: 1e-6 in float64 and 1e-3 in float32.
    """

    layers: tuple[LayerCheck, ...]
    loss_layer: LayerCheck | None = None
    tolerance: float = TOLERANCE["float64"]

    @property
    def worst(self) -> LayerCheck:
        """The layer with the largest error."""
        return max(self.layers, key=_error)

    @property
    def max_relative_error(self) -> float:
        """The largest error of all weights."""
        return self.worst.max_relative_error

    @property
    def wrong(self) -> tuple[int, ...]:
        """The numbers of the layers whose error is above the tolerance or NaN; L + 1 is the loss layer."""
        return tuple(check.layer for check in self._checks() if not _error(check) <= self.tolerance)

    def _checks(self) -> tuple[LayerCheck, ...]:
        return self.layers if self.loss_layer is None else (*self.layers, self.loss_layer)

    def _verdict(self) -> str:
        wrong = self.wrong
        if not wrong:
            return f"no gradient is wrong: every error is at most {self.tolerance:g}"
        if self.loss_layer is not None and self.loss_layer.layer in wrong:
            return f"the derivative of the loss function is wrong, in layer {self.loss_layer.layer}"
        verdict = f"the gradient of layer{'s' * (len(wrong) > 1)} {', '.join(map(str, wrong))} is wrong"
        if len(wrong) == 1:
            return verdict
        return (
            f"{verdict}; in a network the error begins in layer {wrong[-1]}, and the layers below inherit it"
        )

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                str(c.layer),
                f"{c.max_relative_error:.3g}",
                str(c.index),
                f"{c.analytic:.5g}",
                f"{c.numeric:.5g}",
                f"{c.n_checked:,} of {c.n_weights:,}",
            )
            for c in self._checks()
        ]

    def __repr__(self) -> str:
        """Return a table with one line a layer, and the verdict."""
        widths = (3, 18, 12, 12, 12, 20)
        lines = [_HEADINGS, *self._rows()]
        text = [
            " ".join(f"{entry:>{width}}" for entry, width in zip(line, widths, strict=True)) for line in lines
        ]
        return "\n".join([*text, self._verdict()])

    def _repr_html_(self) -> str:
        wrong = self.wrong
        head = "".join(f'<th scope="col">{heading}</th>' for heading in _HEADINGS)
        body = ""
        for check, row in zip(self._checks(), self._rows(), strict=True):
            style = ' style="font-weight:bold"' if check.layer in wrong else ""
            body += f"<tr{style}>{''.join(f'<td>{entry}</td>' for entry in row)}</tr>"
        return (
            f"<table><caption>{self._verdict()}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>"
        )


_HEADINGS = ("l", "max relative error", "at W_(l)", "analytic", "differences", "weights compared")


def _error(check: LayerCheck) -> float:
    return math.inf if math.isnan(check.max_relative_error) else check.max_relative_error


def check_gradients(
    network: Any,
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
    network's `weight_gradients` change. With a custom loss, its derivative is compared as well.

    Parameters
    ----------
    network : Network, or fitted MLPClassifier or MLPRegressor
    X, target, sample_weight
        As for `Network.samples`; a few rows are enough. Not Samples. For an estimator, `target` is its y:
        a classifier's labels.
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
        least 1e-3 times the largest gradient of the layer, and at least 1e-8. So rounding does not count as
        an error in tiny gradients. The error stays below 1e-6 in float64, and below about 1e-3 in float32.
        If a unit sits at the kink of its activation, the two differ and both are right. The same holds for a
        sample at the kink of the loss.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, or an estimator is not fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from densegrad import Dense, Network, check_gradients
    >>> net = Network(
    ...     2, [Dense(3, "tanh"), Dense(1, "identity")], dtype="float64", random_state=0
    ... )
    >>> check_gradients(net, np.ones((4, 2)), np.zeros(4)).wrong
    ()
    """
    network, target = network_and_target(network, target)
    if isinstance(X, Samples):
        raise TypeError("X must be an array, not Samples: it is read by a second network as well")
    step, max_parameters, random = _checked(step, max_parameters, random_state)
    network.loss_and_gradient(X, target, sample_weight)
    twin = network.astype("float64")
    samples = twin.samples(X, target, sample_weight)
    checks = []
    for l in range(1, network.depth + 1):
        analytic = np.asarray(network.weight_gradients[l], np.float64)
        chosen = _choice(analytic.size, max_parameters, random)
        checks.append(_compare(l, analytic, chosen, _differences(twin, l, samples, chosen, step)))
    loss_layer = None if twin.custom_loss is None else _check_custom_loss(twin, samples, step)
    return GradientReport(tuple(checks), loss_layer, TOLERANCE[network.dtype.name])


def check_function(
    function: LossAndGradients,
    parameters: Iterable[ArrayLike],
    *,
    step: float = 1e-5,
    max_parameters: int | None = 2000,
    random_state: Any = 0,
) -> GradientReport:
    """Compare the gradients that a function gives with central differences of the loss that it gives.

    It checks gradients by hand, and those of other libraries.

    Parameters
    ----------
    function : callable
        Maps a list of float64 arrays to a loss and its derivatives, one array for each of them.
    parameters : iterable of array-like
        The arrays at which the gradient is taken.
    step, max_parameters, random_state
        As for `check_gradients`; `max_parameters` counts for each array.

    Returns
    -------
    GradientReport
        Layer l is the l-th array, from 1.

    Raises
    ------
    ValueError, TypeError
        If an argument or the function's result is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> from densegrad import check_function
    >>> def half_square(arrays):
    ...     (w,) = arrays
    ...     return 0.5 * np.sum(w**2), [2 * w]  # should be w
    >>> check_function(half_square, [[1.0, 2.0]]).wrong
    (1,)
    """
    step, max_parameters, random = _checked(step, max_parameters, random_state)
    arrays = [
        np.array(_arrays.real_array(f"parameters[{i}]", array), np.float64)
        for i, array in enumerate(parameters)
    ]
    if not arrays or any(array.size == 0 for array in arrays):
        raise ValueError("parameters must hold at least one array, and none without numbers")

    def evaluated() -> tuple[float, list[NDArray[Any]]]:
        returned: Any = function([array.copy() for array in arrays])
        if not isinstance(returned, (tuple, list)) or len(returned) != 2:
            raise TypeError(
                "function must return a tuple of a loss and a list of gradients;"
                f" got {_validation.outline(returned)}"
            )
        gradients = [np.asarray(gradient, np.float64) for gradient in returned[1]]
        shapes, allowed = [g.shape for g in gradients], [a.shape for a in arrays]
        if shapes != allowed:
            raise ValueError(f"function must return gradients of shapes {allowed}; got {shapes}")
        return float(returned[0]), gradients

    _, gradients = evaluated()
    checks = []
    for l, (array, analytic) in enumerate(zip(arrays, gradients, strict=True), 1):
        flat = array.reshape(-1)  # a view: `array` is ours and in C order
        chosen = _choice(flat.size, max_parameters, random)
        numeric = np.empty(len(chosen))
        for k, i in enumerate(chosen):
            w = flat[i]
            h = step * max(1.0, abs(w))
            losses = []
            for moved in (w + h, w - h):
                flat[i] = moved
                losses.append(evaluated()[0])
            flat[i] = w
            numeric[k] = (losses[0] - losses[1]) / ((w + h) - (w - h))
        checks.append(_compare(l, analytic, chosen, numeric))
    return GradientReport(tuple(checks))


def _checked(step: Any, max_parameters: Any, random_state: Any) -> tuple[float, int | None, RandomSource]:
    step = _validation.real("step", step, 0, closed="neither")
    if max_parameters is not None:
        max_parameters = _validation.integer("max_parameters", max_parameters, 1)
    return step, max_parameters, _validation.random_source(random_state)


def network_and_target(model: Any, y: Any, name: str = "target") -> tuple[Network, Any]:
    """Return the network of a model, and y, an argument of this name, as its target."""
    if isinstance(model, Network):
        return model, y
    network = getattr(model, "network_", None)
    if not isinstance(network, Network):
        if hasattr(model, "fit") and hasattr(type(model), "network_"):
            raise ValueError(f"{type(model).__name__} has no network yet: fit it first")
        raise TypeError(f"network must be a Network or a fitted estimator of densegrad; got {model!r}")
    classes, labels = getattr(model, "classes_", None), np.asarray(y)
    if not isinstance(classes, np.ndarray) or labels.ndim != 1:
        return network, y
    numbers = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    unknown = classes[numbers] != labels
    if np.any(unknown):
        raise ValueError(f"{name} must hold the classes {list(classes)}; got {labels[unknown][0]!r}")
    if network.custom_loss is None:
        return network, numbers
    # A custom loss of a classifier gets 0 and 1 for each output.
    outputs = network.width(network.depth)
    one = numbers[:, np.newaxis]
    return network, one if outputs == 1 else (one == np.arange(outputs)).astype(np.int64)


def _choice(size: int, most: int | None, random: RandomSource) -> NDArray[Any]:
    """Return the places of the weights to compare."""
    if most is None or size <= most:
        return np.arange(size)
    return random.permutation(size)[:most]


def _differences(
    network: Network, l: int, samples: Samples, chosen: NDArray[Any], step: float
) -> NDArray[np.float64]:
    W = network.weights[l].copy()
    numeric = np.empty(len(chosen))
    for k, i in enumerate(chosen):
        row, column = divmod(int(i), W.shape[1])
        w = W[row, column]
        h = step * max(1.0, abs(w))
        losses = []
        for moved in (w + h, w - h):
            W[row, column] = moved
            network.weights[l, row] = W[row]
            losses.append(network.evaluate(samples, n_threads=1))
        W[row, column] = w
        network.weights[l, row] = W[row]
        numeric[k] = (losses[0] - losses[1]) / ((w + h) - (w - h))
    return numeric


def _check_custom_loss(network: Network, samples: Samples, step: float) -> LayerCheck:
    """Compare the derivative of a custom loss with differences of its losses, output by output.

    The outputs of all rows move at once, since the loss of a row depends on its own outputs alone.
    """
    loss, targets = network.custom_loss, samples.custom_target
    assert loss is not None
    assert targets is not None
    y = network.predict(samples.rows)
    _, derivative = custom_rows(loss, targets.copy(), y.copy())
    numeric = np.empty_like(y)
    for i in range(y.shape[1]):
        h = step * np.maximum(1.0, np.abs(y[:, i]))
        losses = []
        for direction in (1, -1):
            moved = y.copy()
            moved[:, i] += direction * h
            losses.append(custom_rows(loss, targets.copy(), moved)[0].copy())
        numeric[:, i] = (losses[0] - losses[1]) / ((y[:, i] + h) - (y[:, i] - h))
    return _compare(network.depth + 1, derivative, np.arange(y.size), numeric.reshape(-1))


def _compare(
    l: int, analytic: NDArray[Any], chosen: NDArray[Any], numeric: NDArray[np.float64]
) -> LayerCheck:
    values = analytic.reshape(-1)[chosen]
    least = max(1e-8, 1e-3 * float(np.max(np.abs(values))))
    errors = np.abs(values - numeric) / np.maximum(np.maximum(np.abs(values), np.abs(numeric)), least)
    k = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
    index = tuple(int(i) for i in np.unravel_index(int(chosen[k]), analytic.shape))
    return LayerCheck(
        l, float(errors[k]), index, float(values[k]), float(numeric[k]), len(chosen), analytic.size
    )
