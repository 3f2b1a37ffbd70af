"""Measurements inside a network while it trains, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import Network
from densegrad.display._models import (
    count_rows,
    is_network,
    network_of,
    rows_of,
    some_of,
    target_of,
)
from densegrad.display._numbers import norm

#: A slope a'(z) as small as this passes no gradient on.
DEAD_SLOPE = 1e-6
#: Below this share of its greatest slope an activation with two flat ends counts as saturated.
SATURATED_SHARE = 0.05
#: The greatest slopes of the activations with two flat ends.
GREATEST_SLOPE = {"tanh": 1.0, "logistic": 0.25}
#: The most numbers in the Jacobians of a softmax head that a record may take.
_MOST_JACOBIAN = 4_000_000

QUANTITIES = ("outputs", "loss_gradients", "weight_gradients", "update_ratio", "dead", "saturated")


def dead_units(slopes: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which units pass no gradient on, whatever the row, from a'(z) of shape (batch, n_l)."""
    dead: NDArray[np.bool_] = np.all(np.abs(slopes) <= DEAD_SLOPE, axis=0)
    return dead


def saturated_share(slopes: NDArray[Any], activation: str) -> float:
    """Return the share of outputs on a flat end of tanh or logistic; NaN for other activations."""
    if activation not in GREATEST_SLOPE:
        return math.nan
    return float(np.mean(np.abs(slopes) < SATURATED_SHARE * GREATEST_SLOPE[activation]))


class Diagnostics:
    """A callback that records, layer by layer, the sizes of both passes after an epoch or every few steps.

    It goes into ``callbacks`` of `Trainer.fit` or of an estimator. Both passes run on a fixed sample of the
    rows, without dropout and penalties. The training's numbers are the same bits with it and without it.

    In a loop of `Trainer.step` call `record` after a step.

    Parameters
    ----------
    model : Network or estimator
        The object that is trained; with an estimator the one whose fit is called, not a clone of it.
    X, target : array-like
        Rows and targets, those of the training or others; for an estimator as its fit takes them.
    sample_weight : array-like or None
    every : int, default 1
        Record the epochs 0, every, 2 · every, …
    every_steps : int or None, default None
        Record the steps every_steps, 2 · every_steps, … in place of epochs. A step is an update of the
        weights. Steps are counted from 1, over all epochs, as in `Trainer.steps`.
    max_rows : int or None, default 128
        The sample: at most so many rows, spread evenly over X. None takes all.

    Attributes
    ----------
    epochs : list of int
        The numbers of the epochs recorded, or of the steps.
    unit : {"epoch", "step"}
        What `epochs` counts.
    outputs, loss_gradients, weight_gradients : dict of int to list of float
        One number a record for each layer l = 1 … L: the norms of y_(l), L'_(l) and dLoss/dW_(l). A norm is
        the square root of the sum of squares over the sample and the units.
    update_ratio : dict of int to list of float
        The norm of the change of W_(l) since the last record, divided by the norm of W_(l) at that record.
        NaN in the first record.
    dead : dict of int to list of float
        The share of units with a'(z) = 0 (to within 1e-6) in all rows of the sample: they cannot learn from
        these. NaN for a head of softmax or several quantiles.
    saturated : dict of int to list of float
        The share of outputs of tanh or logistic with a'(z) below 5 % of its greatest value. NaN for other
        activations.

    Examples
    --------
    >>> import numpy as np
    >>> from densegrad import Adam, Dense, Network, Trainer
    >>> from densegrad.display import Diagnostics
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> t = X.sum(axis=1)
    >>> net = Network(3, [Dense(8, "tanh"), Dense(1, "identity")], random_state=0)
    >>> diagnostics = Diagnostics(net, X, t)
    >>> history = Trainer(net, Adam(0.01), random_state=0).fit(
    ...     X, t, epochs=5, callbacks=[diagnostics]
    ... )
    >>> diagnostics.epochs, len(diagnostics.weight_gradients[1])
    ([0, 1, 2, 3, 4], 5)
    >>> sorted(diagnostics.to_dict())[:3]
    ['dead', 'epoch', 'layer']
    """

    def __init__(
        self,
        model: Any,
        X: Any,
        target: Any,
        sample_weight: Any = None,
        *,
        every: int = 1,
        every_steps: int | None = None,
        max_rows: int | None = 128,
    ) -> None:
        is_network(model)
        _check_whole("every", every)
        _check_whole("every_steps", every_steps, none=True)
        if every_steps is not None and every != 1:
            raise ValueError(f"every and every_steps cannot both be given; got {every} and {every_steps}")
        _check_whole("max_rows", max_rows, none=True)
        self.model, self.every, self.every_steps = model, every, every_steps
        n_rows = count_rows(X)
        if n_rows == 0 or len(target) != n_rows:
            raise ValueError(
                f"X and target must have equally many rows, at least one; got {n_rows} and {len(target)}"
            )
        rows = some_of(n_rows, max_rows)
        self._X = rows_of(X, rows)
        self._target = np.asarray(target)[rows]
        self._weight = None if sample_weight is None else np.asarray(sample_weight)[rows]
        self._last: dict[int, NDArray[Any]] = {}
        self._steps = 0
        self.unit = "epoch" if every_steps is None else "step"
        self.epochs: list[int] = []
        self.outputs: dict[int, list[float]] = {}
        self.loss_gradients: dict[int, list[float]] = {}
        self.weight_gradients: dict[int, list[float]] = {}
        self.update_ratio: dict[int, list[float]] = {}
        self.dead: dict[int, list[float]] = {}
        self.saturated: dict[int, list[float]] = {}

    def __call__(self, epoch: int, logs: dict[str, float]) -> None:
        """Record the epoch if it is its turn; with `every_steps` do nothing."""
        if self.every_steps is not None:
            return
        if self.unit == "step":
            raise ValueError(
                "these Diagnostics record steps: give a fit's callbacks other ones for its epochs"
            )
        if epoch % self.every == 0:
            self.record(epoch)

    def after_step(self, step: int) -> None:
        """Record the step of this number; a fit calls this every `every_steps` steps."""
        self.record(step)

    def over(self, batches: Iterable[Any], *, every: int = 1) -> Iterable[Any]:
        """Return batches for `partial_fit` or a loop of your own, and record every few of them.

        Each batch makes one step. The steps are counted from 1, over all batches. The record of a step is
        made when the next batch is asked for. In a fit take `every_steps`.

        Parameters
        ----------
        batches : iterable of tuples (X, target) or (X, target, sample_weight)
            As `Trainer.fit` takes them. `partial_fit` of an estimator takes them, too: there, each batch
            counts as a step.
        every : int, default 1
            Record the steps every, 2 · every, …

        Returns
        -------
        iterable
            The same batches.

        Raises
        ------
        ValueError
            If `every` is not as described, epochs have been recorded before, or `every_steps` was given.

        Examples
        --------
        >>> import numpy as np
        >>> from densegrad import Dense, Network, Trainer
        >>> from densegrad.display import Diagnostics
        >>> X = np.random.default_rng(0).normal(size=(200, 3))
        >>> t = X.sum(axis=1)
        >>> net = Network(3, [Dense(8, "tanh"), Dense(1, "identity")], random_state=0)
        >>> diagnostics = Diagnostics(net, X, t)
        >>> batches = [(X[i : i + 20], t[i : i + 20]) for i in range(0, 200, 20)]
        >>> history = Trainer(net).fit(diagnostics.over(batches, every=5), epochs=2)
        >>> diagnostics.epochs
        [5, 10, 15, 20]
        """
        _check_whole("every", every)
        if self.every_steps is not None:
            raise ValueError("these Diagnostics record the steps of a fit, by every_steps: use other ones")
        if self.unit == "epoch" and self.epochs:
            raise ValueError("these Diagnostics have recorded epochs: use other ones for the steps")
        self.unit = "step"
        watched = _Batches(batches, lambda: self._after_step(every))
        if iter(batches) is batches:  # it can be gone over only once, as a fit shall see
            return iter(watched)
        return _SizedBatches(batches, watched.after_step) if isinstance(batches, Sized) else watched

    def _after_step(self, every: int) -> None:
        self._steps += 1
        if self._steps % every == 0:
            self.record(self._steps)

    def record(self, epoch: int) -> None:
        """Record the network as it is, under your own number: of an epoch, or of a step."""
        network = network_of(self.model)
        self._check_same(network)
        X, target, weight = self._sample(network)
        # A sample is too little work for several threads, which would wait for each other.
        p = network.backpropagate(X, target, weight, n_threads=1)
        self.epochs.append(epoch)
        for l, layer in enumerate(network.layers, 1):
            W = p.weights[l]
            last = self._last.get(l)
            self._last[l] = W
            slopes = p.local_gradients[l].wrt_preactivation
            whole = slopes.ndim == 2
            for quantity, value in (
                (self.outputs, norm(p.outputs[l])),
                (self.loss_gradients, norm(p.loss_gradients[l])),
                (self.weight_gradients, norm(p.weight_gradients[l])),
                (self.update_ratio, math.nan if last is None else _ratio(W, last)),
                (self.dead, float(np.mean(dead_units(slopes))) if whole else math.nan),
                (self.saturated, saturated_share(slopes, layer.activation_name) if whole else math.nan),
            ):
                quantity.setdefault(l, []).append(value)

    def _sample(self, network: Network) -> tuple[Any, NDArray[Any], NDArray[Any] | None]:
        """Return the rows; fewer of them if the Jacobians of a wide softmax would fill the memory."""
        X, target, weight = self._X, target_of(self.model, self._target), self._weight
        head = network.layers[-1]
        if head.activation_name == "softmax":
            most = max(1, _MOST_JACOBIAN // head.units**2)
            if most < len(target):
                rows = some_of(len(target), most)
                X, target = rows_of(X, rows), target[rows]
                weight = None if weight is None else weight[rows]
        return X, target, weight

    def _check_same(self, network: Network) -> None:
        """Raise ValueError if the records are of another network; a fit that begins anew makes one."""
        last = tuple(W.shape for W in self._last.values())
        if last and last != network.spec.weight_shapes:
            raise ValueError("the network has other layers than the one recorded before: use new Diagnostics")

    def to_dict(self) -> dict[str, list[float]]:
        """Return one row an epoch or step and layer, as a data frame takes them.

        Returns
        -------
        dict of str to list
            The columns "epoch" or "step", "layer", "outputs", "loss_gradients", "weight_gradients",
            "update_ratio", "dead" and "saturated".
        """
        table: dict[str, list[float]] = {name: [] for name in (self.unit, "layer", *QUANTITIES)}
        for k, epoch in enumerate(self.epochs):
            for l in self.outputs:
                table[self.unit].append(epoch)
                table["layer"].append(l)
                for name in QUANTITIES:
                    table[name].append(getattr(self, name)[l][k])
        return table

    def __repr__(self) -> str:
        layers = len(self.outputs)
        return f"Diagnostics({len(self.epochs)} records of {layers} layers, {len(self._target)} rows each)"


class _Batches:
    """Batches of a fit; `after_step` is called when the step of a batch has been made."""

    def __init__(self, batches: Iterable[Any], after_step: Callable[[], None]) -> None:
        self.batches, self.after_step = batches, after_step

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches:
            yield batch
            if count_rows(batch[0]) > 0:  # others make no step
                self.after_step()


class _SizedBatches(_Batches):
    """The same, if the number of batches is known."""

    def __len__(self) -> int:
        assert isinstance(self.batches, Sized)
        return len(self.batches)


def _check_whole(name: str, value: Any, *, none: bool = False) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not (none and value is None) and not (whole and value >= 1):
        raise ValueError(f"{name} must be a whole number from 1 up{' or None' * none}; got {value!r}")


def _ratio(W: NDArray[Any], last: NDArray[Any]) -> float:
    size = norm(last)
    change = norm(W - last)
    return change / size if size > 0 else (0.0 if change == 0 else math.inf)
