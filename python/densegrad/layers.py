"""Layers of a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, astuple, dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias, cast

from numpy.typing import NDArray

from densegrad import _validation
from densegrad._activations import (
    CustomActivation,
    activation_name,
    checked_activation,
    value_and_derivative,
)
from densegrad._losses import Loss
from densegrad._tables import ACTIVATION_NUMBER, ACTIVATIONS, LAYER_KIND_NUMBER
from densegrad._validation import RandomSource
from densegrad.typing import ActivationName, HiddenActivationName

#: Draws the weights of a layer, (n_in, n_out), or one row more, the biases.
Initializer: TypeAlias = Callable[[int, int, RandomSource], NDArray[Any]]


@dataclass(frozen=True)
class LayerRates:
    """Factors of a `Trainer`'s learning rate, weight decay and epsilon for one layer.

    Parameters
    ----------
    weights : float, default 1.0
        Of the learning rate of the weights.
    bias : float or None
        Of the learning rate of the biases. None: as `weights`.
    decay : float, default 1.0
        Of the weight decay. Each update makes w ← w - lr · weights · weight_decay · decay · w.
    epsilon : float, default 1.0
        Of the epsilon of the optimizer, without the biases.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.

    Examples
    --------
    A pretrained layer that learns more slowly than the new head:

    >>> from densegrad import Dense, LayerRates, Network
    >>> net = Network(
    ...     4,
    ...     [Dense(8, "tanh", rates=LayerRates(0.1)), Dense(1, "identity")],
    ...     random_state=0,
    ... )
    >>> net.layers[0].rates.bias
    0.1
    """

    weights: float = 1.0
    bias: float | None = None
    decay: float = 1.0
    epsilon: float = 1.0

    def __post_init__(self) -> None:
        if self.bias is None:
            object.__setattr__(self, "bias", self.weights)
        for name in ("weights", "bias", "decay"):
            object.__setattr__(self, name, _validation.real(name, getattr(self, name), 0))
        object.__setattr__(self, "epsilon", _validation.real("epsilon", self.epsilon, 0, closed="neither"))

    @classmethod
    def ntk(cls, n_in: int, *, bias: float = 1.0) -> LayerRates:
        """Return the factors of the NTK parametrisation of a layer, for `Adam` and `AdamW`.

        The parametrisation is z = x U / sqrt(n_in) + b with entries of U near 1. A layer of this package has
        W = U / sqrt(n_in). With these factors W is trained as U would be, but for rounding: the same outputs
        after every update. Draw the initial W from the distribution of U and divide it by sqrt(n_in).

        U's gradient is W's divided by sqrt(n_in), so W's step is U's divided by sqrt(n_in), with an epsilon
        sqrt(n_in) times as large. The decay of W and of U is the same share. `l1`, `l2`, `max_norm` and
        `clip_norm` see W, and other optimizers scale in other ways.

        Parameters
        ----------
        n_in : int
            The number of inputs of the layer.
        bias : float, default 1.0
            Factor of the learning rate of the biases.
        """
        root = math.sqrt(_validation.integer("n_in", n_in, 1))
        return cls(1 / root, bias, decay=root, epsilon=root)


def _call_of(layer: Any) -> str:
    """Return the call that makes a layer again, without the arguments that have their defaults."""
    given = [(field, getattr(layer, field.name)) for field in fields(layer)]
    arguments = [
        f"{value!r}" if not field.kw_only else f"{field.name}={value!r}"
        for field, value in given
        if value != field.default
    ]
    return f"{type(layer).__name__}({', '.join(arguments)})"


@dataclass(frozen=True)
class Dense:
    """A dense layer: every unit takes all outputs of the layer below.

    y_(l) = a_(l)([y_(l-1), 1] W_(l)), with the bias in the last row of W_(l).

    Parameters
    ----------
    units : int
        n_(l), the number of outputs.
    activation : str or tuple of callable, default "default"
        a_(l), one of `activations()`; "exp" and "softmax" only at the last layer. "default" is "relu" in a
        hidden layer. At the last layer it is what the loss asks for: "softmax" for log_loss and focal, or
        "logistic" with one unit; "exp" for poisson, gamma and tweedie; "identity" for all other losses. The
        layers of a network have that name in its place.

        Or a custom activation: two functions of z, the value and the derivative, such as
        ``(np.sin, np.cos)``. Each gets a copy of z_(l), (rows, n_(l)), and returns an array of that shape,
        number by number. They are called once a layer and batch, on the thread that calls densegrad. A long
        batch may come in pieces. A third function, the second derivative, is for
        `Network.hessian_vector_product` alone.
    dropout : float, default 0.0
        The share of units that each training step sets to zero, in [0, 1). The others are divided by
        1 - dropout. Hidden layers only.
    initializer : callable or None
        Called with (n_in, n_out, random source). It returns the initial weights, of shape (n_in, n_out) for
        zero biases, or one row more with the biases. None chooses by the activation; see
        `densegrad.initializers`.
    trainable : bool, default True
        Whether a `Trainer` updates the weights. False freezes the layer and its weights stay as they are. No
        penalty, weight decay, `max_norm` or clipping counts them. Their gradients can still be read.
    rates : LayerRates
        Factors of a `Trainer`'s learning rate, weight decay and epsilon for this layer. By default all are 1.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.

    Examples
    --------
    >>> from densegrad import Dense, Network
    >>> net = Network(
    ...     2, [Dense(3, "tanh", dropout=0.1), Dense(1, "identity")], random_state=0
    ... )
    >>> net.weights[1].shape
    (3, 3)
    >>> import numpy as np
    >>> Dense(8, (np.sin, np.cos)).activation_name
    'sin (custom)'
    """

    kind: ClassVar[str] = "dense"
    __repr__ = _call_of

    units: int
    activation: ActivationName | Literal["default"] | CustomActivation = "default"
    _: KW_ONLY
    dropout: float = 0.0
    initializer: Initializer | None = None
    trainable: bool = True
    rates: LayerRates = LayerRates()

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", _validation.integer("units", self.units, 1))
        if self.activation != "default":
            object.__setattr__(self, "activation", checked_activation(self.activation))
        _check_training(self)
        if self.initializer is not None and not callable(self.initializer):
            raise TypeError(
                "initializer must be None or a callable, such as densegrad.initializers.he_uniform; got"
                f" {self.initializer!r}"
            )

    @property
    def activation_name(self) -> str:
        """The activation as text: "tanh"; for a custom activation "sin (custom)", by its first function."""
        return activation_name(self.activation)

    @property
    def activation_kind(self) -> str:
        """The activation's name in the core's table: "custom" for two functions."""
        return self.activation if isinstance(self.activation, str) else "custom"


@dataclass(frozen=True)
class Scale:
    """An elementwise layer with one factor a unit: y_(l) = v y_(l-1).

    W_(l) is v, of shape (1, n_(l-1)), and begins with ones. In front of the first dense layer it learns how
    much each input counts.

    Parameters
    ----------
    dropout, trainable, rates
        As for `Dense`. The weight decay counts v; `l1`, `l2` and `max_norm` do not.
    units : int, default 0
        The number of units of the layer below; a network fills it in.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.

    Examples
    --------
    >>> from densegrad import Dense, LayerRates, Network, Scale
    >>> net = Network(
    ...     3,
    ...     [Scale(rates=LayerRates(6.0)), Dense(2, "softmax")],
    ...     loss="log_loss",
    ...     random_state=0,
    ... )
    >>> net.weights[1]
    array([[1., 1., 1.]], dtype=float32)
    """

    kind: ClassVar[str] = "scale"
    __repr__ = _call_of
    activation: ClassVar[Literal["identity"]] = "identity"

    _: KW_ONLY
    dropout: float = 0.0
    trainable: bool = True
    rates: LayerRates = LayerRates()
    units: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", _validation.integer("units", self.units, 0))
        _check_training(self)

    @property
    def activation_name(self) -> str:
        """The layer as text where others show their activation: "scale"."""
        return self.kind

    @property
    def activation_kind(self) -> str:
        """The activation's name in the core's table."""
        return self.activation


_BLENDED = [name for name, row in ACTIVATIONS.items() if not (row["head_only"] or name == "custom")]


@dataclass(frozen=True)
class Blend:
    """An elementwise layer that blends an activation with the identity: y_(l) = x + v (a(x) - x).

    x is y_(l-1). W_(l) is v, of shape (1, n_(l-1)), and begins with ones: y_(l) = a(x). Where v is 0, the
    unit is linear.
    Below it stands as a rule a dense layer with the activation "identity".

    Parameters
    ----------
    activation : str, default "relu"
        a, one of `activations()` but "exp" and "softmax".
    dropout, trainable, rates
        As for `Dense`. The weight decay counts v; `l1`, `l2` and `max_norm` do not.
    units : int, default 0
        The number of units of the layer below; a network fills it in.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.

    Examples
    --------
    >>> from densegrad import Blend, Dense, Network
    >>> layers = [Dense(8, "identity"), Blend("mish", dropout=0.1), Dense(1, "identity")]
    >>> Network(3, layers, random_state=0).weights[2].shape
    (1, 8)
    """

    kind: ClassVar[str] = "blend"
    __repr__ = _call_of

    activation: HiddenActivationName | Literal["exp"] = "relu"
    _: KW_ONLY
    dropout: float = 0.0
    trainable: bool = True
    rates: LayerRates = LayerRates()
    units: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", _validation.integer("units", self.units, 0))
        _validation.choice("activation", self.activation, _BLENDED)
        _check_training(self)

    @property
    def activation_name(self) -> str:
        """The layer as text where others show their activation, such as "blend mish"."""
        return f"{self.kind} {self.activation}"

    @property
    def activation_kind(self) -> str:
        """The activation's name in the core's table."""
        return self.activation


Layer: TypeAlias = Dense | Scale | Blend


def _check_training(layer: Layer) -> None:
    object.__setattr__(layer, "dropout", _validation.real("dropout", layer.dropout, 0, 1, closed="left"))
    object.__setattr__(layer, "trainable", _validation.boolean("trainable", layer.trainable))
    if not isinstance(layer.rates, LayerRates):
        raise TypeError(f"rates must be a LayerRates, such as LayerRates(0.1); got {layer.rates!r}")


def core_layer(layer: Layer) -> tuple[Any, ...]:
    """Return the layer as the core takes it."""
    custom = None if isinstance(layer.activation, str) else partial(value_and_derivative, layer.activation)
    number, kind = ACTIVATION_NUMBER[layer.activation_kind], LAYER_KIND_NUMBER[layer.kind]
    return layer.units, number, layer.dropout, layer.trainable, astuple(layer.rates), custom, kind


def checked_layers(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """Return the layers of a network, the head last."""
    if not isinstance(layers, Iterable):
        raise TypeError(f"layers must be a sequence of Dense, Scale or Blend; got {layers!r}")
    checked = tuple(layers)
    for l, layer in enumerate(checked, 1):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers must be a sequence of Dense, Scale or Blend; layer {l} is {layer!r}")
    if not checked:
        raise ValueError("layers must hold at least one layer, the head")
    if not isinstance(checked[-1], Dense):
        raise ValueError(f"layers must end with a Dense layer, the head; got {checked[-1]!r}")
    return checked


def of_a_network(n_inputs: int, layers: Iterable[Layer], loss: Loss) -> tuple[Layer, ...]:
    """Return layers without initializers, with their default activations, and elementwise ones with units."""
    resolved: list[Layer] = []
    n_in = n_inputs
    checked = checked_layers(layers)
    for l, layer in enumerate(checked, 1):
        if isinstance(layer, Dense):
            default = loss.head_activation(layer.units) if l == len(checked) else "relu"
            activation = default if layer.activation == "default" else layer.activation
            resolved.append(replace(layer, activation=activation, initializer=None))
        elif layer.units in (0, n_in):
            resolved.append(replace(layer, units=n_in))
        else:
            raise ValueError(
                f"units of layer {l}, a {type(layer).__name__}, must be 0 or {n_in}, as below it;"
                f" got {layer.units}"
            )
        n_in = resolved[-1].units
    if resolved[-1].activation == "softmax" and n_in == 1:
        raise ValueError(
            "a softmax head must have at least two units: the output of a single one is always 1. For two"
            " classes take Dense(1, 'logistic') or Dense(2, 'softmax')"
        )
    return tuple(resolved)


def head_of(layers: tuple[Layer, ...]) -> Dense:
    """Return the head of checked layers."""
    return cast(Dense, layers[-1])
