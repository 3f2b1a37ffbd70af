"""The results of a forward and a backward pass."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from densegrad.coupled_heads import CoupledSlopes
from densegrad.layers import Dense
from densegrad.per_layer import PerLayer, numbers_text, shown_layers
from densegrad.products import Affine, Head
from densegrad.spec import NetworkSpec

#: The most bytes of a result, unless the caller allows more.
LARGEST_RESULT = 2**30


@dataclass(frozen=True, repr=False, eq=False)
class LocalGradients:
    """The local gradients of layer l: how y_(l) changes with the layer's input and weights, per sample.

    The Jacobians are built from a'(z), y_(l-1) and W_(l) when they are asked for.

    Attributes
    ----------
    wrt_preactivation : ndarray
        dy_(l)/dz_(l): a'(z), of shape (batch, n_l). If the head is softmax or has several quantiles, each
        output depends on several z; then it is the Jacobians, (batch, n_l, n_l).
    wrt_input : ndarray of shape (batch, n_l, n_(l-1))
        dy_(l)/dy_(l-1).
    wrt_weights : ndarray of shape (batch, n_l, n_(l-1) + 1, n_l)
        dy_(l)/dW_(l); the bias is row n_(l-1).

    Jacobians of more than 1 GiB are a MemoryError that tells their size.
    """

    #: a'(z), or the head's slopes if each output depends on several z.
    slopes: NDArray[Any] | CoupledSlopes
    _input: NDArray[Any]
    _weights: NDArray[Any]

    @property
    def _shape(self) -> tuple[int, ...]:
        """The shape of dy_(l)/dz_(l)."""
        if isinstance(self.slopes, np.ndarray):
            return self.slopes.shape
        batch, n_l = self.slopes.output.shape
        return batch, n_l, n_l

    @cached_property
    def wrt_preactivation(self) -> NDArray[Any]:
        """dy_(l)/dz_(l): a'(z), (batch, n_l), or Jacobians, (batch, n_l, n_l)."""
        if isinstance(self.slopes, np.ndarray):
            return self.slopes
        _check_size("dy_(l)/dz_(l)", self._shape, self._weights.dtype)
        return read_only(self.slopes.jacobian())

    @cached_property
    def _jacobian(self) -> NDArray[Any]:
        """dy_(l)/dz_(l) as matrices: (batch, n_l, n_l)."""
        local = self.wrt_preactivation
        return (
            local if local.ndim == 3 else local[:, :, np.newaxis] * np.eye(local.shape[1], dtype=local.dtype)
        )

    @cached_property
    def wrt_input(self) -> NDArray[Any]:
        """dy_(l)/dy_(l-1), of shape (batch, n_l, n_(l-1))."""
        W = self._weights[:-1]
        _check_size("dy_(l)/dy_(l-1)", (*self._shape[:2], len(W)), W.dtype)
        local = self.wrt_preactivation
        jacobian: NDArray[Any] = local[:, :, np.newaxis] * W.T if local.ndim == 2 else local @ W.T
        return jacobian

    @cached_property
    def wrt_weights(self) -> NDArray[Any]:
        """dy_(l)/dW_(l), of shape (batch, n_l, n_(l-1) + 1, n_l); the bias is row n_(l-1)."""
        _check_size("dy_(l)/dW_(l)", (*self._shape[:2], *self._weights.shape), self._weights.dtype)
        ones = np.ones((len(self._input), 1), self._input.dtype)
        extended = np.concatenate([self._input, ones], axis=1)
        jacobian: NDArray[Any] = self._jacobian[:, :, np.newaxis, :] * extended[:, np.newaxis, :, np.newaxis]
        return jacobian

    def __repr__(self) -> str:
        batch, n_l = self._shape[:2]
        return (
            f"LocalGradients(wrt_input: {(batch, n_l, self._input.shape[1])}, "
            f"wrt_weights: {(batch, n_l, *self._weights.shape)}, "
            f"wrt_preactivation: {self._shape})"
        )


@dataclass(frozen=True, repr=False, eq=False)
class LossLayerGradient:
    """The local gradient of the loss layer L + 1: how the loss changes with the layer's input y_(L).

    Attributes
    ----------
    wrt_input : ndarray of shape (batch, n_L)
        dy_(L+1)/dy_(L) = dLoss/dy_(L). Since L'_(L+1) is 1, it is L'_(L).
    """

    wrt_input: NDArray[Any]

    def __repr__(self) -> str:
        return f"LossLayerGradient(wrt_input: {self.wrt_input.shape})"


@dataclass(frozen=True)
class PassTargets:
    """The targets that the loss layer of a pass compared y_(L) with: one of the three."""

    classes: NDArray[np.int64] | None = None
    values: NDArray[Any] | None = None
    #: With a custom loss, the losses that it returned.
    row_losses: NDArray[np.float64] | None = None


def _check_size(what: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise MemoryError if Jacobians of this shape are larger than a result may be."""
    needed = math.prod(shape) * dtype.itemsize
    if needed > LARGEST_RESULT:
        raise MemoryError(
            f"{what} has shape {shape} and needs {needed:,} bytes, more than {LARGEST_RESULT:,}: give"
            " backpropagate fewer rows. The gradients of the pass need no such array"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Backpropagation:
    """Every quantity of one forward and backward pass, by the layer's number l; L + 1 is the loss layer.

    Nothing in here changes when the network does.

    Attributes
    ----------
    loss : float
        y_(L+1): the mean over the batch of the loss of a sample, weighted by sample_weight.
    outputs : PerLayer of ndarray
        y_(l) of shape (batch, n_l), l = 0 … L; y_(L+1) is the loss.
    loss_gradients : PerLayer of ndarray
        L'_(l) = dLoss/dy_(l) of shape (batch, n_l), l = 0 … L; L'_(L+1) is 1.
    deltas : PerLayer of ndarray
        dLoss/dz_(l) of shape (batch, n_l), l = 1 … L.
    weight_gradients : PerLayer of ndarray
        dLoss/dW_(l) of shape (n_(l-1) + 1, n_l), the bias in the last row, l = 1 … L.
    local_gradients : PerLayer of LocalGradients
        dy_(l)/dz_(l), dy_(l)/dy_(l-1) and dy_(l)/dW_(l), l = 1 … L; and dy_(L+1)/dy_(L), the
        LossLayerGradient. Those of `Scale` and `Blend` also have the diagonals, as `by_input` and
        `by_weight`.
    preactivations : PerLayer of ndarray
        z_(l) = [y_(l-1), 1] W_(l), of shape (batch, n_l), l = 1 … L. Computed on first use. Of `Scale` and
        `Blend` it is y_(l).
    sample_losses : ndarray of shape (batch,)
        The loss of each sample, in float64, without its weight. Computed on first use.
    weights : PerLayer of ndarray
        W_(l) of the pass, l = 1 … L.
    spec : NetworkSpec
        The description of the network.
    target : ndarray or None
        The target that was given; None if X was Samples.

    Examples
    --------
    >>> from densegrad import Dense, Network
    >>> net = Network(2, [Dense(3, "tanh"), Dense(1, "identity")], random_state=0)
    >>> p = net.backpropagate([[0.5, -1.0]], [[1.0]])
    >>> p.weight_gradients[1].shape, p.loss_gradients[3]
    ((3, 3), 1.0)
    >>> p.to_html()[:15]
    '<!DOCTYPE html>'
    """

    loss: float
    outputs: PerLayer[Any]
    loss_gradients: PerLayer[Any]
    deltas: PerLayer[NDArray[Any]]
    weight_gradients: PerLayer[NDArray[Any]]
    local_gradients: PerLayer[Any]
    weights: PerLayer[NDArray[Any]]
    spec: NetworkSpec
    target: NDArray[Any] | None = None
    _targets: PassTargets = field(default_factory=PassTargets)

    @cached_property
    def preactivations(self) -> PerLayer[NDArray[Any]]:
        """z_(l) = [y_(l-1), 1] W_(l), of shape (batch, n_l), l = 1 … L: the bits of the pass."""

        @cache
        def preactivation(l: int) -> NDArray[Any]:
            if not isinstance(self.spec.layers[l - 1], Dense):
                z: NDArray[Any] = self.outputs[l]
                return z
            return read_only(Affine(self.weights[l])(self.outputs[l - 1]))

        return PerLayer(1, self.spec.depth, preactivation)

    @cached_property
    def sample_losses(self) -> NDArray[np.float64]:
        """The loss of each sample, (batch,), in float64, as `Network.evaluate` gives for it alone."""
        targets = self._targets
        if targets.row_losses is not None:
            return targets.row_losses
        L = self.spec.depth
        head = Head(self.spec, self.weights[L])
        return read_only(head.row_losses(self.outputs[L - 1], targets.classes, targets.values))

    def __repr__(self) -> str:
        """Return the loss and, layer by layer, some of the numbers of both passes."""
        n_samples = len(self.outputs[0])
        lines = [
            f"{type(self).__name__} of {n_samples} sample{'s' * (n_samples != 1)}, loss {self.loss:.6g}",
            "forward pass",
        ]

        def show(name: str, values: PerLayer[Any], l: int) -> None:
            lines.append(f"  {name}_({l}) {numbers_text(values[l], 4)}")

        show("y", self.outputs, 0)
        shown = shown_layers(range(1, self.spec.depth + 1))
        for l in shown:
            show("W", self.weights, l)
            show("y", self.outputs, l)
        lines.append("backward pass")
        for l in reversed(shown):
            show("L'", self.loss_gradients, l)
            show("dLoss/dW", self.weight_gradients, l)
        show("L'", self.loss_gradients, 0)
        return "\n".join(lines)

    @overload
    def to_html(self, path: None = None, **options: Any) -> str: ...
    @overload
    def to_html(self, path: str | os.PathLike[str], **options: Any) -> None: ...
    def to_html(self, path: str | os.PathLike[str] | None = None, **options: Any) -> str | None:
        """Write a page that walks through both passes step by step to `path`, or return it.

        The page is one file and needs nothing else: it fetches nothing from the Internet.

        Parameters
        ----------
        path : str, path-like or None
            None returns the page.
        **options
            ``samples``, ``class_names``, ``feature_names``, ``title`` and ``max_numbers``, as for
            `densegrad.display.walk_html`.

        Returns
        -------
        str or None
            None if it is written to a file: a notebook would show all of it.
        """
        page: str = import_module("densegrad.display").backpropagation_html(self, **options)
        if path is None:
            return page
        with open(path, "w", encoding="utf-8") as file:
            file.write(page)
        return None

    def _repr_html_(self) -> str:
        frame: str = import_module("densegrad.display").framed(self.to_html())
        return frame


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array itself; nobody can write to it from now on."""
    array.flags.writeable = False
    return array
