"""The description of a network: everything but its weights."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from itertools import accumulate, repeat
from typing import Any, Generic, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from densegrad import _arrays, _validation, _versions
from densegrad._activations import CustomActivation
from densegrad._losses import CustomLoss, Loss
from densegrad._tables import LOSSES
from densegrad.layers import Blend, Dense, Layer, LayerRates, Scale, checked_layers, head_of, of_a_network

T = TypeVar("T")


@dataclass(frozen=True)
class NetworkSpec:
    """The description of a network: its inputs, layers, loss and precision, but no weights.

    Two networks can exchange weights if their `widths` are equal. They do the same with equal weights if
    their descriptions are equal.

    Parameters
    ----------
    n_inputs : int
        n_0, the number of columns of X.
    layers : sequence of Dense, Scale or Blend
        l = 1 … L, the head last, a Dense. Their initializers are dropped: they belong to the making of a
        network. `Scale` and `Blend` get their number of units, and default activations their names.
    loss : Loss
    dtype : {"float32", "float64"}

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    """

    n_inputs: int
    layers: tuple[Layer, ...]
    loss: Loss
    dtype: np.dtype[Any]

    def __post_init__(self) -> None:
        checked_layers(self.layers)
        object.__setattr__(self, "n_inputs", _validation.integer("n_inputs", self.n_inputs, 1))
        object.__setattr__(self, "layers", of_a_network(self.n_inputs, self.layers, self.loss))
        object.__setattr__(self, "dtype", _validation.float_dtype(self.dtype))

    def __getstate__(self) -> dict[str, Any]:
        custom = [layer.activation if layer.activation_kind == "custom" else None for layer in self.layers]
        functions = {"custom_activations": custom} if any(custom) else {}
        return _versions.stamped({**self._description(), "custom_loss": self.loss.custom, **functions})

    def __setstate__(self, state: Any) -> None:
        description = _versions.read("NetworkSpec", state)
        spec = self.from_json(
            description, description.get("custom_loss"), description.get("custom_activations")
        )
        for name, value in vars(spec).items():
            object.__setattr__(self, name, value)

    @property
    def depth(self) -> int:
        """L, the number of layers."""
        return len(self.layers)

    @property
    def head(self) -> Dense:
        """The last layer."""
        return head_of(self.layers)

    @property
    def widths(self) -> tuple[int, ...]:
        """n_0, …, n_L."""
        return self.n_inputs, *(layer.units for layer in self.layers)

    def width(self, l: int) -> int:
        """Return n_(l), the number of units of layer l = 0 … L."""
        if not 0 <= operator.index(l) <= self.depth:
            raise IndexError(f"layers are numbered 0 ... {self.depth}; got {l}")
        return self.n_inputs if l == 0 else self.layers[l - 1].units

    def weight_shape(self, l: int) -> tuple[int, int]:
        """Return the shape of W_(l), l = 1 … L. The bias is the last row; elementwise layers have one row."""
        n_in, n_out = self.width(l - 1), self.width(l)
        return (n_in + 1 if isinstance(self.layers[l - 1], Dense) else 1), n_out

    @property
    def weight_shapes(self) -> tuple[tuple[int, int], ...]:
        """The shapes of W_(1), …, W_(L)."""
        return tuple(self.weight_shape(l) for l in range(1, self.depth + 1))

    @property
    def n_parameters(self) -> int:
        """The number of weights, biases included."""
        return sum(n_rows * n_columns for n_rows, n_columns in self.weight_shapes)

    def split(self, parameters: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Return W_(1), …, W_(L) as views of a vector of all parameters, in `Network.parameters`' order."""
        shapes = self.weight_shapes
        ends = accumulate(n_rows * n_columns for n_rows, n_columns in shapes)
        return (
            parameters[end - n_rows * n_columns : end].reshape(n_rows, n_columns)
            for end, (n_rows, n_columns) in zip(ends, shapes, strict=True)
        )

    @property
    def n_targets(self) -> int:
        """The number of values in a row of the target."""
        return self.head.units // self.loss.outputs_per_target

    @property
    def target_kind(self) -> str:
        """The kind of target that the loss takes: "values", "probabilities" or "classes"."""
        return LOSSES[self.loss.name]["target"]

    def astype(self, dtype: Any) -> NetworkSpec:
        """Return the description in another precision."""
        return replace(self, dtype=dtype)

    def to_json(self) -> dict[str, Any]:
        """Return the description as JSON has it; a loss that is a callable is only named "custom".

        Raises
        ------
        ValueError
            If a layer has a custom activation.
        """
        for l, layer in enumerate(self.layers, 1):
            if layer.activation_kind == "custom":
                raise ValueError(
                    f"layer {l} has a custom activation, {layer.activation_name}, whose functions cannot be"
                    " written to a file. Pickle the network: a pickle holds their names. Or save its"
                    " `parameters` and make the network again with the functions"
                )
        return self._description()

    def _description(self) -> dict[str, Any]:
        return {
            "n_inputs": self.n_inputs,
            "layers": [
                [layer.units, layer.activation_kind, layer.dropout, *_marks(layer)] for layer in self.layers
            ],
            "loss": self.loss.name,
            "loss_parameters": self.loss.parameters,
            "label_smoothing": self.loss.label_smoothing,
            "dtype": self.dtype.name,
        }

    @classmethod
    def from_json(
        cls,
        description: Any,
        custom_loss: CustomLoss | None = None,
        custom_activations: list[CustomActivation | None] | None = None,
    ) -> NetworkSpec:
        """Return the description that `to_json` gave, with the callable if the loss is one.

        A pickle also has the functions of custom activations, by layer.

        Raises
        ------
        ValueError
            If anything is missing or not as `to_json` writes it.
        """
        try:
            loss = Loss.checked(
                description["loss"] if custom_loss is None else custom_loss,
                label_smoothing=description["label_smoothing"],
                **description["loss_parameters"],
            )
            layers = tuple(
                _layer(units, custom or activation, dropout, marks)
                for (units, activation, dropout, *marks), custom in zip(
                    description["layers"],
                    custom_activations or repeat(None, len(description["layers"])),
                    strict=True,
                )
            )
            return cls(description["n_inputs"], layers, loss, description["dtype"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the description of a network: {error!r}") from error


class HasSpec(Protocol):
    """What has a description."""

    @property
    def spec(self) -> NetworkSpec:
        """The description."""


class Described(Generic[T]):
    """An attribute of a network that its description decides: it can be read but not set.

    The core has its own copy of the description. Setting a part here would change only the display.
    """

    def __init__(self, get: Callable[[NetworkSpec], T]) -> None:
        self.get = get

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, network: None, owner: type) -> Described[T]: ...
    @overload
    def __get__(self, network: HasSpec, owner: type) -> T: ...
    def __get__(self, network: HasSpec | None, owner: type) -> T | Described[T]:
        return self if network is None else self.get(network.spec)

    def __set__(self, network: HasSpec, value: object) -> None:
        raise AttributeError(f"{self.name} of a network cannot be changed; make another Network")


def checked_rows(spec: NetworkSpec, weights: Iterator[Any]) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Yield l, the number of the first row, and rows of W_(l), of a description with checked shapes."""
    for l, (n_rows, n_out) in enumerate(spec.weight_shapes, 1):
        W: Any = next(weights, None)
        row = 0
        for part in W if isinstance(W, Iterator) else (W,):
            array = _arrays.to_float(_arrays.real_array(f"W_({l})", part))
            is_whole = array.shape == (n_rows, n_out)
            if not is_whole and not (isinstance(W, Iterator) and array.shape[1:] == (n_out,)):
                raise ValueError(f"W_({l}) must have shape {(n_rows, n_out)}; got {array.shape}")
            yield l, row, array
            row += len(array)
        if row != n_rows:
            raise ValueError(f"W_({l}) must have {n_rows} rows; got {row}")
        if l == spec.depth and next(weights, None) is not None:
            raise ValueError(f"parameters must have {l} arrays, W_(1) ... W_({l}); got more")


def table_of(spec: NetworkSpec) -> str:
    """Return the description as text: a line of its own for each layer."""
    loss = spec.loss.name
    for parameter, value in spec.loss.parameters.items():
        loss += f" ({parameter} {tuple(value) if isinstance(value, list) else value})"
    wide = max(12, *(len(layer.activation_name) for layer in spec.layers))
    lines = [
        f"{spec.n_inputs} inputs, loss {loss}, {spec.dtype.name}",
        f"{'l':>3} {'units':>7}  {'activation':<{wide}} {'dropout':>7} {'parameters':>12}",
    ]
    for l, (layer, (n_rows, n_columns)) in enumerate(zip(spec.layers, spec.weight_shapes, strict=True), 1):
        lines.append(
            f"{l:>3} {layer.units:>7}  {layer.activation_name:<{wide}} {layer.dropout:>7g} "
            f"{n_rows * n_columns:>12,}{'' if layer.trainable else '  frozen'}"
        )
    lines.append(f"{spec.n_parameters:>{wide + 34},}")
    return "\n".join(lines)


def _marks(layer: Layer) -> list[Any]:
    """Return what a layer has beside the usual; other layers have no marks, so that older files are read."""
    kind = [] if isinstance(layer, Dense) else [layer.kind]
    rates = [] if layer.rates == LayerRates() else [["rates", *astuple(layer.rates)]]
    return [*kind, *([] if layer.trainable else ["frozen"]), *rates]


def _layer(units: Any, activation: Any, dropout: Any, marks: list[Any]) -> Layer:
    kind = marks[0] if marks and marks[0] in ("scale", "blend") else "dense"
    arguments = {"dropout": dropout, **_from_marks(marks[kind != "dense" :])}
    if kind == "dense":
        return Dense(units, activation, **arguments)
    if kind == "blend":
        return Blend(activation, units=units, **arguments)
    if activation != Scale.activation:
        raise ValueError(f"a scale layer has no activation; got {activation!r}")
    return Scale(units=units, **arguments)


def _from_marks(marks: list[Any]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for mark in marks:
        if mark == "frozen" and not arguments:
            arguments["trainable"] = False
        elif isinstance(mark, list) and mark[:1] == ["rates"] and "rates" not in arguments:
            arguments["rates"] = LayerRates(*mark[1:])
        else:
            raise ValueError(f"a layer has the unknown marks {marks}")
    return arguments
