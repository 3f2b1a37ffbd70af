"""The activation of a layer: one of the core's by its name, or a custom activation.

The name has an underscore because `activations` is a function of the package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densegrad import _arrays, _validation
from densegrad._names import suggestion
from densegrad._tables import activations

#: Maps z to an array of its shape, number by number.
OfPreactivation: TypeAlias = Callable[[NDArray[Any]], ArrayLike]

#: a(z), a'(z) and, for Hessian-vector products only, a''(z).
CustomActivation: TypeAlias = (
    tuple[OfPreactivation, OfPreactivation] | tuple[OfPreactivation, OfPreactivation, OfPreactivation]
)

_PARTS = ("value", "derivative", "second derivative")


def checked_activation(activation: Any) -> str | CustomActivation:
    """Return the activation that the argument of `Dense` describes."""
    if isinstance(activation, str):
        try:
            return _validation.choice("activation", activation, activations())
        except ValueError as error:
            if suggestion(activation, activations()) is None:
                error.add_note("for an activation of your own, give two functions of z, (value, derivative)")
            raise
    if isinstance(activation, tuple | list) and len(activation) in (2, 3) and all(map(callable, activation)):
        functions: CustomActivation = tuple(activation)
        return functions
    raise TypeError(
        f"activation must be one of {', '.join(activations())}, or a tuple of two functions of z, the value"
        f" and the derivative, such as (np.sin, np.cos); got {activation!r}"
    )


def activation_name(activation: str | CustomActivation) -> str:
    """Return the name to show: for a custom activation, that of its first function."""
    if isinstance(activation, str):
        return activation
    name = getattr(activation[0], "__name__", "")
    return f"{name} (custom)" if isinstance(name, str) and name.isidentifier() else "custom"


def value_and_derivative(
    activation: CustomActivation, z: NDArray[Any], with_derivative: bool
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Call a custom activation; return a(z) and, if it is wanted, a'(z), each checked and like z."""
    value = of_preactivation(activation, 0, z)
    return value, of_preactivation(activation, 1, z) if with_derivative else None


def of_preactivation(activation: CustomActivation, order: int, z: NDArray[Any]) -> NDArray[Any]:
    """Return a derivative of a custom activation at z, checked and like z; order 0 is the value."""
    what = f"the {_PARTS[order]} of the activation {activation_name(activation)}"
    try:
        returned = activation[order](z.copy())  # the function may write to its argument
    except (TypeError, ValueError) as error:
        error.add_note(f"raised by the function for {what}, which is called with z, of shape {z.shape}")
        raise
    array = _arrays.real_array(what, returned)
    if array.shape != z.shape:
        raise ValueError(
            f"{what} must have the shape of z, {z.shape}; got {array.shape}. For a constant c, return"
            " np.full_like(z, c)"
        )
    with np.errstate(over="ignore"):
        numbers = _arrays.readable_array(array, z.dtype)
    if np.isnan(numbers).any():
        bad = np.isnan(numbers) & np.isfinite(z)  # otherwise z has diverged before
        if bad.any():
            row, unit = np.argwhere(bad)[0]
            raise ValueError(
                f"{what} must not be NaN; got NaN for z = {z[row, unit]!s}, in row {row} of the batch,"
                f" unit {unit}"
            )
    return numbers


def check_second_derivative(activation: str | CustomActivation) -> None:
    """Raise ValueError if a custom activation comes without its second derivative."""
    if not isinstance(activation, str) and len(activation) == 2:
        raise ValueError(
            f"a Hessian-vector product needs the second derivative of the activation"
            f" {activation_name(activation)}; give it as a third function, such as"
            " (np.sin, np.cos, lambda z: -np.sin(z))"
        )
