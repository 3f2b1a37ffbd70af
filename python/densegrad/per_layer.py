"""Values by the number of the layer, and how arrays are printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, SupportsIndex, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

T = TypeVar("T")

_SHOWN = 4  # first and last layers that are printed


def numbers_text(value: Any, indent: int = 0) -> str:
    """Return an array with its shape and some of its numbers, four digits each; others as their repr."""
    if not isinstance(value, np.ndarray):
        return f"{value:.6g}" if isinstance(value, float) else repr(value)
    text = np.array2string(
        value,
        formatter={"float_kind": lambda x: f"{x:10.4g}"},
        threshold=48,
        edgeitems=2,
        max_line_width=100,
        prefix=" " * indent,
    )
    return f"{value.shape}\n{' ' * indent}{text}"


def shown_layers(numbers: range) -> list[int]:
    """Return the layers that are printed: the first and the last ones, if there are many."""
    return list(numbers) if len(numbers) <= 2 * _SHOWN else [*numbers[:_SHOWN], *numbers[-_SHOWN:]]


class PerLayer(Generic[T]):
    """Values by the number l of the layer: the first is not always 0, and -1 is not the last.

    A slice such as ``[1:]`` returns a list of the values of these layers.
    """

    def __init__(self, first: int, last: int, get: Callable[[int], T]) -> None:
        self._numbers = range(first, last + 1)
        self._get = get

    @overload
    def __getitem__(self, l: int) -> T: ...
    @overload
    def __getitem__(self, l: slice) -> list[T]: ...
    def __getitem__(self, l: int | slice) -> T | list[T]:
        if isinstance(l, slice):
            return [self._get(number) for number in self._sliced(l)]
        return self._get(self._checked(l))

    def _checked(self, l: Any) -> int:
        if l not in self._numbers:
            raise IndexError(f"layers are numbered {self._numbers.start} ... {self._numbers[-1]}; got {l!r}")
        return int(l)

    def _sliced(self, chosen: slice) -> list[int]:
        for bound in (chosen.start, chosen.stop):
            if isinstance(bound, int) and bound < 0:
                raise IndexError(
                    f"layers are numbered {self._numbers.start} ... {self._numbers[-1]}, and a slice does not"
                    f" count from the end; got {bound}"
                )
        return [l for l in range(self._numbers.stop)[chosen] if l in self._numbers]

    def __reduce__(self) -> tuple[Any, ...]:
        values = {l: self._get(l) for l in self._numbers}
        return PerLayer, (self._numbers.start, self._numbers[-1], values.__getitem__)

    def __iter__(self) -> Iterator[T]:
        return (self._get(l) for l in self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __repr__(self) -> str:
        """Return one block a layer, with its number, shape and some of the numbers."""
        shown = shown_layers(self._numbers)
        blocks = [f"{l:>3}: {numbers_text(self._get(l), 5)}" for l in shown]
        if len(shown) < len(self):
            blocks.insert(_SHOWN, "...")
        return "\n".join(blocks)


class LayerWeights(np.ndarray[Any, np.dtype[Any]]):
    """W_(l): a read-only copy, which ``net.weights[l] -= …`` replaces and which cannot be written to in part.

    Python turns that line into ``W = net.weights[l]; W = W.__isub__(…); net.weights[l] = W``. So the
    operators in place return a new array here.
    Computations with it give a plain array. `copy` returns an array that can be written to.
    """

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        given = options.get("out")
        if given is not None:
            options["out"] = tuple(_plain(array) for array in given)
        result = getattr(ufunc, method)(*(_plain(array) for array in inputs), **options)
        return given[0] if given is not None and len(given) == 1 else result

    # The base class promises its own type; a copy is a plain array, which no network hears of.
    def copy(self, order: Any = "C") -> NDArray[Any]:  # type: ignore[override]
        """Return a plain array with the same numbers."""
        return np.array(self, order=order, subok=False)

    def _replaced(self, ufunc: np.ufunc, other: Any) -> Any:
        return ufunc(self, other, out=self) if self.flags.writeable else ufunc(self, other)

    # They return a new array where this one is read-only, which the types of the operators do not foresee.
    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._replaced(np.add, other)

    def __isub__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._replaced(np.subtract, other)

    def __imul__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._replaced(np.multiply, other)

    def __itruediv__(self, other: Any) -> Any:  # type: ignore[misc]
        return self._replaced(np.true_divide, other)

    def __setitem__(self, index: Any, value: Any) -> None:
        if self.flags.writeable:
            super().__setitem__(index, value)
            return
        raise ValueError(
            "net.weights[l] is a read-only copy: set an entry by net.weights[l, row, column] = value, the"
            " whole matrix by net.weights[l] = W; for an array of your own take net.weights[l].copy()"
        )

    def __repr__(self) -> str:
        return repr(_plain(self))


class ListedWeights(LayerWeights):
    """W_(l) as iteration and slices give it: no assignment could follow, so operators in place raise."""

    def _replaced(self, ufunc: np.ufunc, other: Any) -> Any:
        if self.flags.writeable:
            return super()._replaced(ufunc, other)
        raise ValueError(
            "W of a loop or a slice is a read-only copy, and the network would not change: write"
            " net.weights[l] -= step; for an array of your own take W.copy()"
        )


def _plain(array: Any) -> Any:
    return array.view(np.ndarray) if isinstance(array, LayerWeights) else array


class WeightsPerLayer(PerLayer[NDArray[Any]]):
    """The weights W_(l) of a network, l = 1 … L.

    ``weights[l]`` is a read-only copy, ``weights[l, row, column]`` an entry. Assign to either to set it:
    ``weights[l] = W``, ``weights[l] -= alpha * G``, ``weights[l, 0, 0] = 3``, ``weights[l, -1] = 0``.
    A name for the copy is no way in: ``W = weights[l]; W -= alpha * G`` gives W a new array.
    """

    def __init__(
        self,
        last: int,
        get: Callable[[int], NDArray[Any]],
        set_: Callable[[int, ArrayLike], None],
        set_row: Callable[[int, int, ArrayLike], None],
    ) -> None:
        super().__init__(1, last, get)
        self._set, self._set_row = set_, set_row

    @overload
    def __getitem__(self, l: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, l: slice) -> list[NDArray[Any]]: ...
    @overload
    def __getitem__(self, l: tuple[Any, ...]) -> Any: ...
    def __getitem__(self, l: Any) -> Any:
        if isinstance(l, slice):
            return [self._get(number).view(ListedWeights) for number in self._sliced(l)]
        if isinstance(l, tuple) and l:
            return self._get(self._checked(l[0]))[l[1:]]
        return self._get(self._checked(l)).view(LayerWeights)  # one, which may be assigned to again

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self._get(l).view(ListedWeights) for l in self._numbers)

    def __setitem__(self, l: int | tuple[Any, ...], W: ArrayLike) -> None:
        if not isinstance(l, tuple) or not l:
            self._set(self._checked(l), W)
            return
        number, *index = self._checked(l[0]), *l[1:]
        if len(index) == 1 and isinstance(index[0], SupportsIndex) and not isinstance(index[0], np.ndarray):
            self._set_row(number, int(index[0]), W)
            return
        changed = np.array(self._get(number), subok=False)
        changed[tuple(index)] = W
        self._set(number, changed)
