"""A dense network: its weights, its passes, its files."""

from __future__ import annotations

import copy
import copyreg
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densegrad import _arrays, _core, _validation, _versions, storage
from densegrad._losses import CustomLoss, Loss
from densegrad._tables import LOSS_NUMBER
from densegrad.backpropagation import LARGEST_RESULT, Backpropagation, read_only
from densegrad.both_passes import backpropagation_of
from densegrad.custom_losses import batch_loss, sums_of_parts
from densegrad.derivatives import (
    LossHessian,
    PerSampleGradients,
    check_second_derivatives,
    check_size,
    hessian_vector_product,
    some_rows,
)
from densegrad.initializers import initial_rows
from densegrad.layers import Dense, Layer, checked_layers, core_layer
from densegrad.per_layer import PerLayer, WeightsPerLayer
from densegrad.samples import Samples, nonempty, samples_of
from densegrad.spec import Described, NetworkSpec, checked_rows, table_of
from densegrad.typing import LossName

N = TypeVar("N", bound="Network")


class Network(_core.Network):
    """A dense network, layers l = 1 … L on the input l = 0, and a loss layer L + 1.

    y_(l) = a_(l)([y_(l-1), 1] W_(l)); W_(l) has shape (n_(l-1) + 1, n_l), the bias is its last row.

    Parameters
    ----------
    n_inputs : int
        n_0, the number of columns of X.
    layers : sequence of Dense, Scale or Blend
        The last one is the head.
    loss : str or callable, default "squared_error"
        One of `losses()`, summed over the outputs of a sample. Or a custom loss: a callable (y_true, y_pred)
        → (loss of each row, its derivative by y_pred), called once a batch with copies of both.
    dtype : {"float32", "float64"}, default "float32"
        The precision of weights, passes and results.
    random_state : int, RandomState, Generator or None
        Source of the initial weights.
    delta : float, default 1.0
        Parameter of the loss "huber", above 0: beyond this residual the parabola becomes a line.
    quantile : float or sequence of float, default 0.5
        Parameter of the loss "quantile": the level, in (0, 1). Several levels must increase; each has one
        output for every target, ordered target by target. Their outputs never cross.
    power : float, default 1.5
        Parameter of the loss "tweedie", in (1, 2): the variance is proportional to the mean to this power.
    gamma : float, default 2.0
        Parameter of the loss "focal", above 0: the larger it is, the less well-classified samples count.
    label_smoothing : float, default 0.0
        Parameter of the loss "log_loss", in [0, 1): the share of a target that is spread evenly over the
        classes.

    Attributes
    ----------
    n_inputs, depth, n_targets, n_parameters : int
        n_0, L, the number of values in a row of the target, and the number of weights with the biases.
    layers : tuple of Dense, Scale and Blend
    loss : str
        "custom" for a callable.
    target_kind : {"values", "probabilities", "classes"}
        The target that the loss accepts: numbers; class numbers or probabilities; class numbers or 0/1.
    dtype : numpy.dtype
    spec : NetworkSpec
        All of these together: the description of the network.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, or the loss does not go with the head.
    MemoryError
        If the weights do not fit into memory.

    Notes
    -----
    Results are bit-identical on any CPU and any number of threads. `predict` is thread-safe. Methods that
    change the network or its cache allow one caller at a time, and raise RuntimeError for a second.
    Weights that are read while another thread trains may be partly updated.

    Examples
    --------
    >>> from densegrad import Dense, Network
    >>> net = Network(2, [Dense(3, "tanh"), Dense(1, "identity")], random_state=0)
    >>> net.predict([[0.5, -1.0]]).shape
    (1, 1)
    """

    n_inputs = Described(lambda spec: spec.n_inputs)
    #: Without their initializers: their work is done.
    layers = Described(lambda spec: spec.layers)
    #: "custom" for a callable, which is `custom_loss`.
    loss = Described(lambda spec: spec.loss.name)
    custom_loss = Described(lambda spec: spec.loss.custom)
    loss_parameter = Described(lambda spec: spec.loss.parameter)
    quantile_levels = Described(lambda spec: spec.loss.quantile_levels)
    label_smoothing = Described(lambda spec: spec.loss.label_smoothing)
    target_kind = Described(lambda spec: spec.target_kind)

    @property
    def spec(self) -> NetworkSpec:
        """The description: everything but the weights."""
        return self._spec

    def __init__(
        self,
        n_inputs: int,
        layers: Iterable[Layer],
        *,
        loss: LossName | CustomLoss = "squared_error",
        dtype: Any = "float32",
        random_state: Any = None,
        delta: float | None = None,
        quantile: float | Sequence[float] | None = None,
        power: float | None = None,
        gamma: float | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        random = _validation.random_source(random_state)
        given = checked_layers(layers)
        checked_loss = Loss.checked(
            loss, delta=delta, quantile=quantile, power=power, gamma=gamma, label_smoothing=label_smoothing
        )
        spec = NetworkSpec(n_inputs, given, checked_loss, dtype)
        self._make(spec)
        initializers = (layer.initializer if isinstance(layer, Dense) else None for layer in given)
        for l, initializer in enumerate(initializers, 1):
            row = 0
            layer, shape = spec.layers[l - 1], spec.weight_shape(l)
            for rows in initial_rows(layer, initializer, shape, spec.dtype, random):
                self._set_weights(l, rows, row)
                row += len(rows)

    def __getstate__(self) -> dict[str, Any]:
        with _core.Reading(self):  # another thread may train
            weights = [self._weights(l) for l in range(1, self.depth + 1)]
        members = self._members()
        more = {"members": members} if members else {}
        return _versions.stamped({"spec": self.spec, "weights": weights, **more})

    def _members(self) -> dict[str, Any]:
        """Return the attributes that a user or a subclass has added."""
        return {name: value for name, value in vars(self).items() if name != "_spec"}

    def __setstate__(self, state: Any) -> None:
        parts = _versions.read("Network", state)
        self._make(parts["spec"])
        for l, row, rows in checked_rows(self.spec, iter(parts["weights"])):
            self._set_weights(l, rows, row)
        vars(self).update(parts.get("members", {}))

    def __reduce__(self) -> tuple[Any, ...]:
        # `__newobj__` stands for the call of __new__; pickles have an instruction for it. The
        # stubs of copyreg leave it out.
        return copyreg.__newobj__, (type(self),), self.__getstate__()  # type: ignore[attr-defined]

    def _make(self, spec: NetworkSpec) -> None:
        """Make the core's network, whose weights are zero."""
        try:
            super().__init__(
                spec.n_inputs,
                [core_layer(layer) for layer in spec.layers],
                LOSS_NUMBER[spec.loss.name],
                spec.loss.parameter,
                spec.loss.quantile_levels,
                spec.loss.label_smoothing,
                spec.dtype,
            )
        except MemoryError:
            raise MemoryError(
                f"the {spec.n_parameters:,} weights between layers of {list(spec.widths)} units need"
                f" {spec.n_parameters * spec.dtype.itemsize / 1e9:,.0f} GB"
            ) from None
        self._spec = spec

    @classmethod
    def from_spec(cls, spec: NetworkSpec, parameters: ArrayLike | Iterator[Any]) -> Self:
        """Return a network of a description, with given weights.

        Parameters
        ----------
        spec : NetworkSpec
            The `spec` of another network, or one made from it.
        parameters : array-like of shape (n_parameters,), or iterator of float arrays
            As in `parameters`, or W_(1), …, W_(L), of which one at a time is in memory. In place of a W there
            may be an iterator of some of its rows at a time. NaN and infinity are taken, so that any network
            can be copied.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.
        """
        if not isinstance(spec, NetworkSpec):
            raise TypeError(f"spec must be a NetworkSpec; got {spec!r}")
        if isinstance(parameters, Iterator):
            return _made(cls, spec, parameters)
        array = _arrays.real_array("parameters", parameters)
        if array.shape != (spec.n_parameters,):
            raise ValueError(f"parameters must have shape ({spec.n_parameters},); got {array.shape}")
        return _made(cls, spec, spec.split(np.ascontiguousarray(_arrays.to_float(array))))

    def astype(self, dtype: Any) -> Self:
        """Return a copy in another precision, with the same weights as far as it can hold them.

        Parameters
        ----------
        dtype : {"float32", "float64"}

        Raises
        ------
        ValueError, TypeError
            If `dtype` is not as described, or a weight is too large for it.
        """
        spec = self.spec.astype(dtype)
        with _core.Reading(self):
            weights = (self._converted(l, spec.dtype) for l in range(1, self.depth + 1))
            return _made(type(self), spec, weights, self._members())

    def _converted(self, l: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        try:
            with np.errstate(over="raise"):
                return self._weights(l).astype(dtype, copy=False)
        except FloatingPointError:
            raise ValueError(f"W_({l}) has weights that are too large for {dtype}") from None

    def width(self, l: int) -> int:
        """Return n_(l), the number of units of layer l = 0 … L."""
        return self.spec.width(l)

    @property
    def weights(self) -> WeightsPerLayer:
        """W_(l), l = 1 … L, of shape (n_(l-1) + 1, n_l), the bias in the last row.

        ``net.weights[l]`` is a read-only copy; ``net.weights[l] = W`` and ``net.weights[l] -= step`` set it,
        ``net.weights[l, row, column] = w`` sets an entry. ``net.weights = matrices`` sets all layers, one
        matrix each.

        A name for the copy does not lead to the network: ``W = net.weights[l]; W -= step`` only gives W a
        new array. ``net.weights[l] = W`` puts it into the network.
        """
        return WeightsPerLayer(
            self.depth,
            lambda l: read_only(self._weights(l)),
            self._set_checked_weights,
            self._set_checked_row,
        )

    @weights.setter
    def weights(self, matrices: Iterable[ArrayLike]) -> None:
        if not isinstance(matrices, Iterable):
            raise TypeError(f"weights must be {self.depth} matrices, one a layer; got {matrices!r}")
        given = list(matrices)
        if len(given) != self.depth:
            raise ValueError(f"weights must be {self.depth} matrices, one a layer; got {len(given)}")
        checked = [self._checked_weights(l, W).ravel() for l, W in enumerate(given, 1)]
        self._set_parameters(np.concatenate(checked))

    def _set_checked_weights(self, l: int, W: ArrayLike) -> None:
        self._set_weights(l, self._checked_weights(l, W))

    def _checked_weights(self, l: int, W: ArrayLike) -> NDArray[Any]:
        shape = self.spec.weight_shape(l)
        array = _arrays.real_array(f"W_({l})", W)
        if array.shape != shape:
            bias = ", the last row is the bias" if isinstance(self.layers[l - 1], Dense) else ""
            raise ValueError(f"W_({l}) must have shape {shape}{bias}; got {array.shape}")
        return _arrays.finite_array(f"W_({l})", array, self.dtype)

    def _set_checked_row(self, l: int, row: int, numbers: ArrayLike) -> None:
        n_rows, n_columns = self.spec.weight_shape(l)
        if not -n_rows <= row < n_rows:
            raise IndexError(f"W_({l}) has rows 0 ... {n_rows - 1}; got {row}")
        array = _arrays.real_array(f"W_({l})", numbers)
        if array.shape not in ((), (1,), (n_columns,)):
            raise ValueError(f"a row of W_({l}) must have shape ({n_columns},); got {array.shape}")
        finite = _arrays.finite_array(f"W_({l})", np.broadcast_to(array, (1, n_columns)), self.dtype)
        self._set_weights(l, finite, row % n_rows)

    @property
    def weight_gradients(self) -> PerLayer[NDArray[Any]]:
        """dLoss/dW_(l), l = 1 … L, that the last backward pass left: read-only copies."""
        return PerLayer(1, self.depth, lambda l: read_only(self._weight_gradient(l)))

    @property
    def parameters(self) -> NDArray[Any]:
        """All weights in one vector of n_parameters numbers: W_(1), …, W_(L), each in C order.

        A copy, and yours to change: ``net.parameters[0] = 5`` changes the copy alone, not the network.
        ``net.parameters = w`` and ``net.parameters -= step`` set all of them.
        """
        return self._parameters()

    @parameters.setter
    def parameters(self, parameters: ArrayLike) -> None:
        array = _arrays.real_array("parameters", parameters)
        if array.shape != (self.n_parameters,):
            raise ValueError(f"parameters must have shape ({self.n_parameters},); got {array.shape}")
        self._set_parameters(_arrays.finite_array("parameters", array, self.dtype))

    def predict(self, X: Any, n_threads: int | None = None) -> NDArray[Any]:
        """Return y_(L); caches nothing.

        Several threads may call it at once, as long as none of them trains the network. The result of a row
        does not depend on the other rows of `X`, not even in the last bit.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_0)
            float32 and float64 arrays of any order and CSR matrices are read in place.
        n_threads : int or None
            Largest number of threads; small work uses fewer. None: as many as the process may use. Results
            are bit-identical for any number.

        Returns
        -------
        ndarray of shape (n_rows, n_L), of the network's dtype

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.
        """
        return self._predict(X, n_threads)

    def forward(self, X: Any, n_threads: int | None = None) -> NDArray[Any]:
        """Return y_(L), and cache outputs and local gradients for `backward`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_0)
        n_threads : int or None
            As in `predict`.

        Returns
        -------
        ndarray of shape (n_rows, n_L), of the network's dtype

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.
        """
        return self._forward(X, n_threads)

    def backward(self, loss_gradient: ArrayLike, n_threads: int | None = None) -> NDArray[Any]:
        """Return L'_(0) from the loss gradient at the head, after `forward`; sets `weight_gradients`.

        Parameters
        ----------
        loss_gradient : array-like of shape (n_rows, n_L)
            L'_(L) = dLoss/dy_(L), one row for each row given to `forward`.
        n_threads : int or None
            As in `predict`.

        Returns
        -------
        ndarray of shape (n_rows, n_0)
            L'_(0) = dLoss/dx.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.
        RuntimeError
            If there was no forward pass before, or the weights have changed since.
        """
        return self._backward(loss_gradient, n_threads)

    def samples(self, X: Any, target: Any, sample_weight: ArrayLike | None = None) -> Samples:
        """Check X, target and weights once, for repeated calls on the same data.

        Pass the result in place of `X`, without `target` and `sample_weight`, to `evaluate`,
        `loss_and_gradient`, `backpropagate`, `Trainer.epoch` or `Trainer.fit`. It also serves other networks
        with an equal `spec`. The arrays are read in place: do not change them.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_0), or list of such
            A list holds blocks of rows, one after the other, each read in place, such as memory maps. Then
            `target` and `sample_weight` are lists, too.
        target : array-like
            For regression: values, (n_rows, n_targets) or, for one target, (n_rows,). For classification:
            class numbers, (n_rows,), or probabilities or 0/1 for each label, (n_rows, n_L).
        sample_weight : array-like of shape (n_rows,) or None
            Not negative, not all zero. None means ones.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.
        """
        return Samples(self.spec, X, target, sample_weight)

    def evaluate(
        self,
        X: Any,
        target: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> float:
        """Return the loss of `predict(X)`: the mean over the rows, weighted by sample_weight.

        Parameters are those of `samples`, or Samples alone. X must have at least one row.
        """
        samples = nonempty(samples_of(self.spec, X, target, sample_weight))
        loss_of = batch_loss(samples)
        if loss_of is None:
            return self._evaluate(samples.rows, samples.targets, n_threads)
        loss, _ = loss_of(self.predict(samples.rows, n_threads))
        return loss

    def evaluate_sums(
        self,
        X: Any,
        target: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        ends: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sums of which `evaluate` is the quotient, to add up what lies in several places.

        Parameters are those of `samples`, or Samples alone, and:

        Parameters
        ----------
        ends : array-like of int, shape (parts,), or None
            Where parts of the rows end, in ascending order, the last one with the rows. None: one part.

        Returns
        -------
        losses : ndarray of float64, shape (parts,)
            Sum of sample weight · loss over the rows of each part.
        weights : ndarray of float64, shape (parts,)
            Sum of the sample weights of each part.
        """
        samples = samples_of(self.spec, X, target, sample_weight)
        parts = np.asarray([samples.n_rows] if ends is None else ends)
        if (
            parts.ndim != 1
            or parts.dtype.kind not in "iu"
            or len(parts) == 0
            or parts[-1] != samples.n_rows
            or np.any(np.diff(parts, prepend=0) < 0)
        ):
            raise ValueError(
                f"ends must be row numbers that ascend to {samples.n_rows}, the number of rows; got {ends!r}"
            )
        parts = _arrays.readable_array(parts, np.int64)
        if self.custom_loss is None:
            return self._evaluate_sums(samples.rows, samples.targets, parts, n_threads)
        return sums_of_parts(samples, self.predict(samples.rows, n_threads), parts)

    def loss_and_gradient(
        self,
        X: Any,
        target: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> tuple[float, NDArray[Any]]:
        """Return the loss and its derivative by `parameters`, for other optimizers.

        Memory is bounded: the rows go through both passes piece by piece. With a custom loss, all rows are
        kept at once. Leaves `weight_gradients`.

        Parameters are those of `samples`, or Samples alone.

        Returns
        -------
        loss : float
        gradient : ndarray of shape (n_parameters,)
        """
        samples = nonempty(samples_of(self.spec, X, target, sample_weight))
        return self._loss_and_gradient(samples.rows, samples.targets, n_threads, batch_loss(samples))

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
        samples = nonempty(samples_of(self.spec, X, target, sample_weight))
        given = None if isinstance(X, Samples) else samples.given_target
        return self._both_passes(samples, given, n_threads)

    def _both_passes(self, samples: Samples, target: Any, n_threads: int | None) -> Backpropagation:
        row_losses: list[NDArray[np.float64]] = []
        results = self._backpropagate(
            samples.rows, samples.targets, n_threads, batch_loss(samples, row_losses)
        )
        return backpropagation_of(samples, target, *results, *row_losses)

    def vjp(self, X: Any, v: ArrayLike, n_threads: int | None = None) -> NDArray[Any]:
        """Return v · dy_(L)/dx, the vector-Jacobian product of each sample: `forward`, then `backward`.

        Leaves in `weight_gradients` the derivatives of the sum of v · y_(L) by the weights.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_0)
        v : array-like of shape (n_rows, n_L)
        n_threads : int or None
            As in `predict`.

        Returns
        -------
        ndarray of shape (n_rows, n_0)

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.

        Examples
        --------
        >>> from densegrad import Dense, Network
        >>> net = Network(2, [Dense(3, "tanh"), Dense(1, "identity")], random_state=0)
        >>> net.vjp([[0.5, -1.0]], [[1.0]]).shape
        (1, 2)
        """
        rows = _core.Rows(X, self.n_inputs, "X")
        vectors, shape = _arrays.real_array("v", v), (rows.n_rows, self.width(self.depth))
        if vectors.shape != shape:
            raise ValueError(f"v must have shape {shape}; got {vectors.shape}")
        self.forward(rows, n_threads)
        return self.backward(vectors, n_threads)

    def jacobian(
        self,
        X: Any,
        *,
        rows: Any = None,
        max_bytes: int | None = LARGEST_RESULT,
        n_threads: int | None = None,
    ) -> NDArray[Any]:
        """Return dy_(L)/dx of each sample: one forward pass, and one backward pass for each output.

        The network is left as it is.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_0)
        rows : slice, array-like of int or None
            The rows of X that are wanted; None: all.
        max_bytes : int or None
            A result that is larger is not built. None allows any size.
        n_threads : int or None
            As in `predict`.

        Returns
        -------
        ndarray of shape (n_rows, n_L, n_0), of the network's dtype

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.
        MemoryError
            If the result is larger than `max_bytes`.

        Examples
        --------
        >>> from densegrad import Dense, Network
        >>> net = Network(2, [Dense(3, "tanh"), Dense(1, "identity")], random_state=0)
        >>> net.jacobian([[0.5, -1.0], [0.0, 0.0]]).shape
        (2, 1, 2)
        """
        chosen = _core.Rows(some_rows(X, rows), self.n_inputs, "X")
        shape = (chosen.n_rows, self.width(self.depth), self.n_inputs)
        check_size("the Jacobians", shape, self.dtype, max_bytes, "`rows`")
        jacobian = np.empty(shape, self.dtype)
        if chosen.n_rows == 0:
            return jacobian
        network = copy.copy(self)  # this network keeps its cache
        network.forward(chosen, n_threads)
        for i in range(shape[1]):
            unit = np.zeros(shape[:2], self.dtype)
            unit[:, i] = 1
            jacobian[:, i] = network.backward(unit, n_threads)
        return jacobian

    def per_sample_gradients(
        self,
        X: Any,
        target: Any = None,
        *,
        max_bytes: int | None = LARGEST_RESULT,
        n_threads: int | None = None,
    ) -> PerSampleGradients:
        """Return the weight gradient of each sample's own loss, and its norms.

        ``gradients[l]`` is built when it is asked for. The norms do not need it. The mean over the samples is
        `weight_gradients`, if sample weights are equal.

        Parameters
        ----------
        X, target
            As for `samples`, or Samples alone, whose sample weights are left out.
        max_bytes : int or None
            A result that is larger is not built. None allows any size.
        n_threads : int or None
            As in `predict`.

        Returns
        -------
        PerSampleGradients

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.

        Examples
        --------
        >>> from densegrad import Dense, Network
        >>> net = Network(2, [Dense(3, "tanh"), Dense(1, "identity")], random_state=0)
        >>> gradients = net.per_sample_gradients([[0.5, -1.0], [0.0, 1.0]], [1.0, 0.0])
        >>> gradients[1].shape, gradients.norms.shape
        ((2, 3, 3), (2,))
        """
        samples = nonempty(samples_of(self.spec, X, target, None)).unweighted()
        return PerSampleGradients(self._both_passes(samples, None, n_threads), max_bytes)

    def hessian_vector_product(
        self,
        X: Any,
        target: Any,
        v: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        loss_hessian: LossHessian | None = None,
        n_threads: int | None = None,
    ) -> NDArray[Any]:
        """Return the Hessian of the loss by `parameters`, times v; exact, by Pearlmutter's R-operator.

        It costs three to five times as much as `backpropagate`, and keeps the same quantities. At a kink,
        such as relu's at 0, the second derivative is taken as 0. Leaves `weight_gradients`.

        Parameters
        ----------
        X, target
            As for `samples`, or Samples and None.
        v : array-like of shape (n_parameters,)
            In the order of `parameters`.
        sample_weight : array-like of shape (n_rows,) or None
            As for `samples`.
        loss_hessian : callable or None
            For a custom loss only: (y_true, y_pred, r) → the change of the loss's derivative by y_pred, if
            y_pred moves along r. All have shape (n_rows, n_L), except y_true.
        n_threads : int or None
            As in `predict`.

        Returns
        -------
        ndarray of shape (n_parameters,), of the network's dtype

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.

        Examples
        --------
        >>> import numpy as np
        >>> from densegrad import Dense, Network
        >>> net = Network(2, [Dense(3, "tanh"), Dense(1, "identity")], random_state=0)
        >>> v = np.ones(net.n_parameters)
        >>> net.hessian_vector_product([[0.5, -1.0]], [1.0], v).shape
        (13,)
        """
        vector = _arrays.real_array("v", v)
        if vector.shape != (self.n_parameters,):
            raise ValueError(f"v must have shape ({self.n_parameters},); got {vector.shape}")
        vector = _arrays.finite_array("v", vector, self.dtype)
        check_second_derivatives(self.spec, loss_hessian)
        samples = nonempty(samples_of(self.spec, X, target, sample_weight))
        p = self._both_passes(samples, None, n_threads)
        return hessian_vector_product(p, samples, list(self.spec.split(vector)), loss_hessian, n_threads)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a safetensors file: its weights, and in the metadata its architecture.

        The tensors are named ``weights.1`` … ``weights.L``. An error leaves the old file in
        place. A custom loss is not written: pass it to `load`.

        Parameters
        ----------
        path : str or path-like
            An existing file is replaced and keeps its permissions. If it is a symbolic link, the file that
            it points to is replaced.

        Raises
        ------
        OSError
            If the folder does not exist, if `path` is a directory, device, FIFO or socket, or if writing
            fails.
        """
        with _core.Reading(self):  # another thread may train
            storage.save(path, self.spec, (self._weights(l) for l in range(1, self.depth + 1)))

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, loss: CustomLoss | None = None) -> Self:
        """Read a network that `save` wrote.

        Parameters
        ----------
        path : str or path-like
        loss : callable or None
            The custom loss, if the network was made with one.

        Raises
        ------
        ValueError
            If the file is damaged or was written by something else, or does not go with `loss`.
        FileNotFoundError
        """
        with storage.opened(path, loss) as (spec, weights):
            try:
                return _made(cls, spec, weights)
            except ValueError as error:
                raise ValueError(f"{os.fspath(path)!r} is not a network: {error}") from error

    def _repr_html_(self) -> str:
        picture: str = import_module("densegrad.display").network_html(self)
        return picture

    def __repr__(self) -> str:
        return f"{type(self).__name__} of {table_of(self.spec)}"


def _made(
    kind: type[N],
    spec: NetworkSpec,
    weights: Iterable[NDArray[Any]],
    members: Mapping[str, Any] = MappingProxyType({}),
) -> N:
    """Return a network of a description, W_(1), …, W_(L) and further attributes."""
    network = kind.__new__(kind)
    network.__setstate__(_versions.stamped({"spec": spec, "weights": weights, "members": members}))
    return network
