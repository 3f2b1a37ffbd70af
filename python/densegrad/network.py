"""A dense network: its weights, its passes, its files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densegrad import _core, _validation, storage
from densegrad._loss import CustomLoss, checked_loss, custom_mean
from densegrad._samples import Samples, samples_of, some_rows
from densegrad._tables import ACTIVATION_NUMBER, LOSS_NUMBER, LOSSES
from densegrad.backpropagation import (
    Backpropagation,
    LocalGradients,
    PerLayer,
    WeightsPerLayer,
    quantile_jacobian,
    softmax_jacobian,
)
from densegrad.initializers import initial_parameters
from densegrad.layers import Dense, checked_layers

_FIXED = frozenset(
    {
        "n_inputs",
        "layers",
        "loss",
        "custom_loss",
        "target_kind",
        "label_smoothing",
        "loss_parameter",
        "quantile_levels",
    }
)


class Network(_core.Network):
    """A dense network, layers l = 1 … L on the input l = 0, and a loss layer L + 1.

    y_(l) = a_(l)([y_(l-1), 1] W_(l)); W_(l) has shape (n_(l-1) + 1, n_l), the bias is its last row.

    Parameters
    ----------
    n_inputs : int
        n_0, the number of columns of X.
    layers : sequence of Dense
        The last one is the head.
    loss : str or callable, default "squared_error"
        One of `losses()`, whose sum over the outputs is the loss of a sample, or a callable (y_true, y_pred)
        → (loss of each row, its derivative by y_pred), called once a batch with copies of both.
    dtype : {"float32", "float64"}, default "float32"
        The precision of weights, passes and results.
    random_state : int, RandomState, Generator or None
        Source of the initial weights.
    delta : float, default 1.0
        Of the loss "huber": where it turns from a parabola into a line, above 0.
    quantile : float or sequence of float, default 0.5
        Of the loss "quantile": the level, in (0, 1). Several increasing levels have one output each for every
        target, target by target, and never cross.
    power : float, default 1.5
        Of the loss "tweedie": the variance is the mean to this power, in (1, 2).
    gamma : float, default 2.0
        Of the loss "focal": how much less the samples count that are right already, above 0.
    label_smoothing : float, default 0.0
        Of the loss "log_loss": this share of a target is spread evenly over the classes, in [0, 1).

    Attributes
    ----------
    n_inputs, depth, n_targets, n_parameters : int
        n_0, L, the number of values in a row of the target, and the number of weights with the biases.
    layers : tuple of Dense
    loss : str
        "custom" for a callable.
    target_kind : {"values", "probabilities", "classes"}
        What the loss takes for a target: numbers; class numbers or probabilities; class numbers or 0/1.
    dtype : numpy.dtype

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as described, or the loss does not go with the head.
    MemoryError
        Where the weights do not fit into memory.

    Notes
    -----
    The same arguments give the same weights, and these the same bits in all results, on any number of threads
    and any CPU. `predict` may run in several threads at once; what changes the network, or what it has
    cached, takes one caller at a time and raises RuntimeError when there is a second one. What reads the
    weights while another thread trains may meet them in the midst of an update.

    Examples
    --------
    >>> from densegrad import Dense, Network
    >>> net = Network(2, [Dense(3, "tanh"), Dense(1, "identity")], random_state=0)
    >>> net.predict([[0.5, -1.0]]).shape
    (1, 1)
    """

    #: Without their initializers, whose work is done.
    layers: tuple[Dense, ...]
    #: "custom" for a callable, which is `custom_loss`.
    loss: str
    custom_loss: CustomLoss | None

    def __init__(
        self,
        n_inputs: int,
        layers: Iterable[Dense],
        *,
        loss: str | CustomLoss = "squared_error",
        dtype: Any = "float32",
        random_state: Any = None,
        delta: float | None = None,
        quantile: float | Sequence[float] | None = None,
        power: float | None = None,
        gamma: float | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        given = {"delta": delta, "quantile": quantile, "power": power, "gamma": gamma}
        given = {name: value for name, value in given.items() if value is not None}
        random = _validation.random_source(random_state)
        checked = checked_layers(layers)
        self._configure(n_inputs, checked, loss, given, label_smoothing, dtype)
        self._set_parameters(initial_parameters(self.n_inputs, checked, self.dtype, random))

    def __setattr__(self, name: str, value: Any) -> None:
        # The core has its own copy of these: setting one here would change what is shown and saved, no more.
        if name in _FIXED and name in self.__dict__:
            raise AttributeError(f"{name} of a network cannot be changed; make another Network")
        super().__setattr__(name, value)

    def _configure(
        self,
        n_inputs: int,
        layers: Sequence[Dense],
        loss: str | CustomLoss,
        loss_parameters: dict[str, Any],
        label_smoothing: float,
        dtype: Any,
    ) -> None:
        if "n_inputs" in self.__dict__:
            raise RuntimeError("this network has been initialised already")
        self.n_inputs = _validation.integer("n_inputs", n_inputs, 1)
        self.layers = tuple(replace(layer, initializer=None) for layer in layers)
        chosen = checked_loss(loss, loss_parameters, label_smoothing)
        self.loss, self.custom_loss = chosen.name, chosen.custom
        self.loss_parameter, self.quantile_levels = chosen.parameter, chosen.quantile_levels
        self.label_smoothing = chosen.label_smoothing
        self.target_kind: str = LOSSES[self.loss]["target"]
        numbers = _validation.float_dtype(dtype)
        try:
            super().__init__(
                self.n_inputs,
                [(layer.units, ACTIVATION_NUMBER[layer.activation], layer.dropout) for layer in self.layers],
                LOSS_NUMBER[self.loss],
                self.loss_parameter,
                self.quantile_levels,
                self.label_smoothing,
                numbers,
            )
        except MemoryError:
            widths = [self.n_inputs, *(layer.units for layer in self.layers)]
            count = sum((n_in + 1) * n_out for n_in, n_out in pairwise(widths))
            raise MemoryError(
                f"the {count:,} weights between layers of {widths} units need"
                f" {count * numbers.itemsize / 1e9:,.0f} GB"
            ) from None

    # --- weights ---

    @property
    def weights(self) -> WeightsPerLayer:
        """W_(l), l = 1 … L, of shape (n_(l-1) + 1, n_l), the bias in the last row.

        ``net.weights[l]`` is a read-only copy; ``net.weights[l] = W`` sets it.
        """
        return WeightsPerLayer(self.depth, lambda l: _read_only(self._weights(l)), self._set_checked_weights)

    def _set_checked_weights(self, l: int, W: ArrayLike) -> None:
        shape = self.width(l - 1) + 1, self.width(l)
        array = _validation.real_array("W", W)
        if array.shape != shape:
            raise ValueError(f"W_({l}) must have shape {shape}; got {array.shape}")
        self._set_weights(l, _validation.finite("W", array, self.dtype))

    @property
    def weight_gradients(self) -> PerLayer[NDArray[Any]]:
        """dLoss/dW_(l), l = 1 … L, that the last backward pass left: read-only copies."""
        return PerLayer(1, self.depth, lambda l: _read_only(self._weight_gradient(l)))

    @property
    def parameters(self) -> NDArray[Any]:
        """All weights in one vector of n_parameters numbers: W_(1), …, W_(L), each in C order.

        A copy; assign to set.
        """
        return self._parameters()

    @parameters.setter
    def parameters(self, parameters: ArrayLike) -> None:
        array = _validation.real_array("parameters", parameters)
        if array.shape != (self.n_parameters,):
            raise ValueError(f"parameters must have shape ({self.n_parameters},); got {array.shape}")
        self._set_parameters(_validation.finite("parameters", array, self.dtype))

    # --- passes ---

    def samples(self, X: Any, target: Any, sample_weight: ArrayLike | None = None) -> Samples:
        """Check X, target and weights once, for calls again and again on the same data.

        What comes back is taken in place of `X`, without `target` and `sample_weight`, by `evaluate`,
        `loss_and_gradient`, `backpropagate`, `Trainer.epoch` and `Trainer.fit`. The arrays are read in place.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_0)
        target : array-like
            Values, (n_rows, n_targets) or, for one target, (n_rows,). For classification class numbers
            (n_rows,), or one row of probabilities a sample, or 0/1 for each label, (n_rows, n_L).
        sample_weight : array-like of shape (n_rows,) or None
            None stands for ones; not negative, not all zero.

        Raises
        ------
        ValueError, TypeError
            Where an argument is not as described.
        """
        return Samples(self, X, target, sample_weight)

    def evaluate(
        self,
        X: Any,
        target: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> float:
        """Return the loss of `predict(X)`: the mean over the rows, weighted by sample_weight.

        Parameters are those of `samples`, or Samples alone. No rows at all have no loss: ValueError.
        """
        samples = some_rows(samples_of(self, X, target, sample_weight))
        if self.custom_loss is None:
            return self._evaluate(samples.rows, samples.targets, n_threads)
        loss, _ = self._custom(samples, self.predict(samples.rows, n_threads))
        return loss

    def loss_and_gradient(
        self,
        X: Any,
        target: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> tuple[float, NDArray[Any]]:
        """Return the loss and its derivative by `parameters`, for optimizers from elsewhere.

        Memory is bounded: the rows go through both passes piece by piece; with a loss of your own all rows
        are kept at once. Leaves `weight_gradients`.

        Parameters are those of `samples`, or Samples alone.

        Returns
        -------
        loss : float
        gradient : ndarray of shape (n_parameters,)
        """
        samples = some_rows(samples_of(self, X, target, sample_weight))
        return self._loss_and_gradient(samples.rows, samples.targets, n_threads, self._batch_loss(samples))

    def backpropagate(
        self,
        X: Any,
        target: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> Backpropagation:
        """Run both passes and keep everything: outputs, gradients of the loss, local gradients.

        Parameters are those of `samples`, or Samples alone. Dropout is not applied.

        Returns
        -------
        Backpropagation
        """
        samples = some_rows(samples_of(self, X, target, sample_weight))
        loss, ys, gradients, deltas, weight_gradients, local, weights = self._backpropagate(
            samples.rows, samples.targets, n_threads, self._batch_loss(samples)
        )
        outputs: list[Any] = [*ys, loss]
        loss_gradients: list[Any] = [*gradients, 1.0]
        for arrays in (ys, gradients, deltas, weight_gradients):
            for array in arrays:
                _read_only(array)
        L = self.depth
        local_gradients = [
            LocalGradients(
                _read_only(self._local_gradient(l, local[l - 1], outputs[l])), outputs[l - 1], weights[l - 1]
            )
            for l in range(1, L + 1)
        ]
        return Backpropagation(
            loss,
            PerLayer(0, L + 1, outputs.__getitem__),
            PerLayer(0, L + 1, loss_gradients.__getitem__),
            PerLayer(1, L, lambda l: deltas[l - 1]),
            PerLayer(1, L, lambda l: weight_gradients[l - 1]),
            PerLayer(1, L, lambda l: local_gradients[l - 1]),
        )

    def _local_gradient(self, l: int, diagonal: NDArray[Any] | None, output: NDArray[Any]) -> NDArray[Any]:
        if diagonal is not None:
            return diagonal
        if self._jacobian(l) == "softmax":
            return softmax_jacobian(output)
        return quantile_jacobian(output, len(self.quantile_levels))

    def _batch_loss(self, samples: Samples) -> Callable[[NDArray[Any]], tuple[float, NDArray[Any]]] | None:
        return None if self.custom_loss is None else partial(self._custom, samples)

    def _custom(self, samples: Samples, y_pred: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        assert self.custom_loss is not None
        assert samples.custom_target is not None
        # A copy, as in training: the function may write to what it gets.
        return custom_mean(self.custom_loss, samples.custom_target.copy(), y_pred, samples.sample_weight)

    # --- files and pickles ---

    def _describe(self) -> dict[str, Any]:
        """Everything but the weights, as JSON has it."""
        parameter = LOSSES[self.loss]["parameter"]
        value = list(self.quantile_levels) or self.loss_parameter
        return {
            "n_inputs": self.n_inputs,
            "layers": [[layer.units, layer.activation, layer.dropout] for layer in self.layers],
            "loss": self.loss,
            "loss_parameters": {} if parameter is None else {parameter: value},
            "label_smoothing": self.label_smoothing,
            "dtype": self.dtype.name,
        }

    @classmethod
    def _from_description(
        cls, description: dict[str, Any], parameters: NDArray[Any], custom_loss: CustomLoss | None
    ) -> Network:
        network = cls.__new__(cls)
        network._configure(
            description["n_inputs"],
            [
                Dense(units, activation, dropout=dropout)
                for units, activation, dropout in description["layers"]
            ],
            description["loss"] if custom_loss is None else custom_loss,
            description["loss_parameters"],
            description["label_smoothing"],
            description["dtype"],
        )
        if parameters.shape != (network.n_parameters,):
            raise ValueError(f"expected {network.n_parameters} weights; got {parameters.shape}")
        network._set_parameters(_validation.to_float(_validation.real_array("weights", parameters)))
        return network

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._from_description, (self._describe(), self._parameters(), self.custom_loss)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a safetensors file: its weights, and in the metadata its architecture.

        The tensors are named ``weights.1`` … ``weights.L``. The file is complete or not there at all. A loss
        that is a callable is not written: give it to `load`.

        Parameters
        ----------
        path : str or path-like
        """
        storage.save(path, self._describe(), {l: self._weights(l) for l in range(1, self.depth + 1)})

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, loss: CustomLoss | None = None) -> Network:
        """Read a network that `save` wrote.

        Parameters
        ----------
        path : str or path-like
        loss : callable or None
            The loss of a network that was made with a callable.

        Raises
        ------
        ValueError
            Where the file is damaged or was written by something else.
        FileNotFoundError
        """
        description, weights = storage.load(path)
        if (description.get("loss") == "custom") != (loss is not None):
            needs = (
                "a callable, as the network was made with one" if loss is None else "None: the file names it"
            )
            raise ValueError(f"loss must be {needs}")
        try:
            parameters = np.concatenate([W.reshape(-1) for W in weights])
            network = cls._from_description(description, parameters, loss)
            for l, W in enumerate(weights, 1):
                shape = network.width(l - 1) + 1, network.width(l)
                if W.shape != shape:
                    raise ValueError(f"weights.{l} must have shape {shape}; got {W.shape}")
            return network
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)!r} is not a network: {error}") from error

    def __repr__(self) -> str:
        parameter = LOSSES[self.loss]["parameter"]
        value = self.quantile_levels or self.loss_parameter
        loss = self.loss if parameter is None else f"{self.loss} ({parameter} {value})"
        lines = [
            f"{type(self).__name__} of {self.n_inputs} inputs, loss {loss}, {self.dtype.name}",
            f"{'l':>3} {'units':>7}  {'activation':<12} {'dropout':>7} {'parameters':>12}",
        ]
        n_in = self.n_inputs
        for l, layer in enumerate(self.layers, 1):
            count = (n_in + 1) * layer.units
            lines.append(f"{l:>3} {layer.units:>7}  {layer.activation:<12} {layer.dropout:>7g} {count:>12,}")
            n_in = layer.units
        lines.append(f"{self.n_parameters:>45,}")
        return "\n".join(lines)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
