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

#: A second step of the differences is so many times smaller.
_FINER = 64

#: Maps places of numbers, and new values, to losses: of each, with this number alone changed.
_LossesAt: TypeAlias = Callable[[NDArray[np.int64], NDArray[np.float64]], NDArray[np.float64]]

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
    #: Number of weights at a kink of the loss: it has no derivative there, so they are not compared.
    n_kinks: int = 0


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
            verdict = f"no gradient is wrong: every error is at most {self.tolerance:g}"
            kinks = sum(check.n_kinks for check in self._checks())
            return f"{verdict}; at a kink, and not compared: {kinks:,}" if kinks else verdict
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
        Where it is larger, a step 64 times smaller is tried, too. If a unit sits at the kink of its
        activation, or a sample at the kink of the loss, there is no derivative. Such weights are counted in
        `n_kinks`, and not compared.

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
    tolerance = TOLERANCE[network.dtype.name]
    checks = []
    for l in range(1, network.depth + 1):
        analytic = np.asarray(network.weight_gradients[l], np.float64)
        places = _choice(analytic.size, max_parameters, random)
        moves = _Moves(twin.weights[l].reshape(-1), _losses_of_weights(twin, l, samples), step)
        checks.append(_compare(l, analytic, places, moves, tolerance))
    loss_layer = None if twin.custom_loss is None else _check_custom_loss(twin, samples, step, tolerance)
    return GradientReport(tuple(checks), loss_layer, tolerance)


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

        def losses_at(
            places: NDArray[np.int64], values: NDArray[np.float64], flat: NDArray[np.float64] = flat
        ) -> NDArray[np.float64]:
            losses = np.empty(len(places))
            for k, place in enumerate(places):
                own, flat[place] = flat[place], values[k]
                losses[k] = evaluated()[0]
                flat[place] = own
            return losses

        places = _choice(flat.size, max_parameters, random)
        moves = _Moves(flat.copy(), losses_at, step)
        checks.append(_compare(l, analytic, places, moves, TOLERANCE["float64"]))
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


@dataclass(frozen=True)
class _Moves:
    """Numbers that are moved one by one, and the losses that this gives."""

    numbers: NDArray[np.float64]
    losses_at: _LossesAt
    step: float

    def slopes(self, places: NDArray[np.int64], finer: int = 1) -> NDArray[np.float64]:
        """Return central differences, with a step that is `finer` times smaller."""
        up, _, down = self._values(places, finer)
        with np.errstate(divide="ignore", invalid="ignore"):  # of a step that is lost in rounding
            return (self.losses_at(places, up) - self.losses_at(places, down)) / (up - down)

    def have_kinks(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell where the slopes of the two sides differ by the same with a smaller step.

        Of a smooth loss they come closer as the step gets smaller. At a jump, and by rounding, they part.
        """
        coarse, fine = self._gaps(places, 1), self._gaps(places, _FINER)
        return (fine > 0.5 * coarse) & (fine < 2.0 * coarse)

    def _gaps(self, places: NDArray[np.int64], finer: int) -> NDArray[np.float64]:
        up, own, down = self._values(places, finer)
        above, here, below = (self.losses_at(places, values) for values in (up, own, down))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.abs((above - here) / (up - own) - (here - below) / (own - down))

    def _values(self, places: NDArray[np.int64], finer: int) -> tuple[NDArray[np.float64], ...]:
        own = self.numbers[places]
        h = self.step / finer * np.maximum(1.0, np.abs(own))
        return own + h, own, own - h


def _losses_of_weights(network: Network, l: int, samples: Samples) -> _LossesAt:
    W = network.weights[l].copy()

    def losses_at(places: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        losses = np.empty(len(places))
        for k, place in enumerate(places):
            row, column = divmod(int(place), W.shape[1])
            own, W[row, column] = W[row, column], values[k]
            network.weights[l, row] = W[row]
            losses[k] = network.evaluate(samples, n_threads=1)
            W[row, column] = own
            network.weights[l, row] = W[row]
        return losses

    return losses_at


def _check_custom_loss(network: Network, samples: Samples, step: float, tolerance: float) -> LayerCheck:
    """Compare the derivative of a custom loss with differences of its losses, output by output."""
    loss, targets = network.custom_loss, samples.custom_target
    assert loss is not None
    assert targets is not None
    y = network.predict(samples.rows)
    _, derivative = custom_rows(loss, targets.copy(), y.copy())

    def losses_at(places: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Move an output of all rows at once, since the loss of a row depends on its own outputs alone."""
        losses = np.empty(len(places))
        rows, outputs = np.divmod(places, y.shape[1])
        for i in np.unique(outputs):
            moved, some = y.copy(), outputs == i
            moved[rows[some], i] = values[some]
            losses[some] = custom_rows(loss, targets.copy(), moved)[0][rows[some]]
        return losses

    moves = _Moves(y.reshape(-1).copy(), losses_at, step)
    return _compare(network.depth + 1, derivative, np.arange(y.size), moves, tolerance)


def _compare(
    l: int, analytic: NDArray[Any], places: NDArray[np.int64], moves: _Moves, tolerance: float
) -> LayerCheck:
    values = analytic.reshape(-1)[places]
    least = max(1e-8, 1e-3 * float(np.max(np.abs(values))))

    def errors_of(values: NDArray[Any], slopes: NDArray[np.float64]) -> NDArray[np.float64]:
        errors = np.abs(values - slopes) / np.maximum(np.maximum(np.abs(values), np.abs(slopes)), least)
        return np.where(np.isnan(errors), np.inf, errors)

    slopes = moves.slopes(places)
    errors = errors_of(values, slopes)
    # A kink may lie within the step, beside the weight.
    far = np.flatnonzero(errors > tolerance)
    finer = moves.slopes(places[far], _FINER)
    better = errors_of(values[far], finer) <= tolerance
    slopes[far[better]] = finer[better]
    errors = errors_of(values, slopes)
    far = np.flatnonzero(errors > tolerance)
    kinks = far[moves.have_kinks(places[far])]
    errors[kinks] = 0.0
    k = int(np.argmax(errors))
    error = math.nan if np.isnan(slopes[k]) or np.isnan(values[k]) else float(errors[k])
    index = tuple(int(i) for i in np.unravel_index(int(places[k]), analytic.shape))
    return LayerCheck(
        l,
        error,
        index,
        float(values[k]),
        float(slopes[k]),
        len(places) - len(kinks),
        analytic.size,
        len(kinks),
    )
