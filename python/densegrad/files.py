"""Files of trainers and estimators: plain data as JSON in the header, arrays as tensors beside it.

JSON has fewer types than Python. An object with one name that begins with "$" stands for a value of another
type; docs/files.md lists them. Nothing that a file names is called. It names types of the lists below, and
their values are checked as if a user had given them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import reprlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from densegrad import _optimizers, _validation, _versions, schedules, storage
from densegrad._losses import CustomLoss
from densegrad.network import Network
from densegrad.spec import NetworkSpec

_OPTIMIZERS: Final[dict[str, type[Any]]] = {kind.__name__: kind for kind in _optimizers.BY_NAME.values()}
_SCHEDULES: Final[dict[str, type[Any]]] = {kind.__name__: kind for kind in schedules.BY_NAME.values()}
_BIT_GENERATORS: Final = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
# In an array, each string is as wide as the longest. Beyond 2**24 letters, 64 MiB, that may be no more than
# 16 times what the strings have.
_FEW_LETTERS: Final = 1 << 24
_SPREAD: Final = 16
_UNEVEN: Final = "a very long one among many short ones"
_TEXT_KINDS: Final = "UO"  # arrays of these are written as JSON: strings, and objects that are plain data


class Unwritable(TypeError):
    """A value of a type that files do not hold, such as a function."""


def write(path: str | os.PathLike[str], kind: str, state: dict[str, Any]) -> None:
    """Write a state of plain data, arrays, networks, optimizers, schedules and generators.

    Raises
    ------
    Unwritable
        If the state holds anything else; the error names its place. Nothing is written.
    OSError
    """
    writer = Writer()
    description = {name: writer.plain(value, name) for name, value in state.items()}
    storage.write(path, kind, description, writer.tensors, (make() for make in writer.arrays))


def is_writable(value: Any) -> bool:
    """Tell whether a file can hold a value: it is no code, and has none in it."""
    try:
        Writer().plain(value, "")
    except Unwritable:
        return False
    return True


def read(path: str | os.PathLike[str], kind: str, custom_loss: CustomLoss | None = None) -> dict[str, Any]:
    """Return the state that `write` wrote.

    Parameters
    ----------
    path : str or path-like
    kind : {"trainer", "estimator"}
    custom_loss : callable or None
        The loss of the network in the file, if it is one.

    Raises
    ------
    ValueError
        If the file is damaged, was written by something else or has a newer format; it names the file.
    FileNotFoundError
    """
    with storage.reading(path, kind) as reader, damage(path, kind):
        decoder = _Decoder(reader, os.fsdecode(path), custom_loss)
        state = {name: decoder.value(value) for name, value in reader.description.items()}
        reader.finish()
        return state


@contextlib.contextmanager
def damage(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Turn the error of a damaged state into a ValueError that names the file (`with`)."""
    path = os.fsdecode(path)
    try:
        yield
    except storage.DAMAGE as error:
        if repr(path) in str(error):
            raise
        what = f"{error!r}" if isinstance(error, KeyError) else f"{error}"
        raise ValueError(f"{path!r} is not a densegrad {kind}: {what}") from error


class Writer:
    """Turns values into JSON's types, and collects the arrays.

    Attributes
    ----------
    tensors : list of Tensor
    arrays : list of callables
        Return the numbers of the tensors, one after another: the weights of a network are copied one layer
        at a time.
    """

    def __init__(self) -> None:
        self.tensors: list[storage.Tensor] = []
        self.arrays: list[Callable[[], NDArray[Any]]] = []
        self._names: set[str] = set()
        self._generators: list[Any] = []

    def plain(self, value: Any, where: str) -> Any:
        """Return `value` as JSON has it; its place, `where`, names its arrays."""
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"$float": repr(value)}
        if type(value) is list:
            return self._several(value, where)
        if type(value) is tuple:
            return {"$tuple": self._several(value, where)}
        if type(value) is dict:
            return self._mapping(value, where)
        if isinstance(value, np.ndarray):
            return self._array(value, where)
        if isinstance(value, np.generic) and value.dtype.kind in "biufU":
            return {"$scalar": self._array(np.asarray(value), where)}
        if isinstance(value, Network):
            return self._network(value, where)
        for tag, kinds in (("$optimizer", _OPTIMIZERS), ("$schedule", _SCHEDULES)):
            if kinds.get(type(value).__name__) is type(value):
                return {tag: {type(value).__name__: self._fields(value, where)}}
        if isinstance(value, (np.random.RandomState, np.random.Generator)):
            return self._generator(value, where)
        raise Unwritable(
            f"a file holds no code and no {type(value).__name__}; {where} is {reprlib.repr(value)}"
        )

    def _several(self, values: Any, where: str) -> list[Any]:
        return [self.plain(value, f"{where}.{i}") for i, value in enumerate(values)]

    def _mapping(self, values: dict[Any, Any], where: str) -> dict[str, Any]:
        if all(isinstance(name, str) and not name.startswith("$") for name in values):
            return {name: self.plain(value, f"{where}.{name}") for name, value in values.items()}
        pairs = [self._several(pair, f"{where}.{i}") for i, pair in enumerate(values.items())]
        return {"$dict": pairs}

    def _fields(self, value: Any, where: str) -> dict[str, Any]:
        names = [field.name for field in dataclasses.fields(value)]
        return {name: self.plain(getattr(value, name), f"{where}.{name}") for name in names}

    def _array(self, array: NDArray[Any], where: str) -> dict[str, Any]:
        if storage.is_storable(array.dtype):
            return self._tensor(where, array.dtype, array.shape, lambda: array)
        if array.dtype.kind not in _TEXT_KINDS:
            raise Unwritable(f"a file holds numbers, bools and strings; {where} has dtype {array.dtype}")
        values = self._several(array.reshape(-1).tolist(), where)
        if _too_uneven(values):
            raise Unwritable(f"a file holds strings of more even lengths; {where} holds {_UNEVEN}")
        return {"$array": {"dtype": array.dtype.str, "shape": list(array.shape), "values": values}}

    def _tensor(
        self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], make: Callable[[], NDArray[Any]]
    ) -> dict[str, Any]:
        while name in self._names:  # a key with a dot in it
            name += "_"
        self._names.add(name)
        self.tensors.append(storage.Tensor(name, dtype, shape))
        self.arrays.append(make)
        return {"$tensor": name}

    def _network(self, network: Network, where: str) -> dict[str, Any]:
        spec = network.spec
        # `l=l` keeps the number of this layer; mypy cannot infer the type of such a lambda.
        weights = [
            self._tensor(f"{where}.weights.{l}", spec.dtype, shape, lambda l=l: network.weights[l])  # type: ignore[misc]
            for l, shape in enumerate(spec.weight_shapes, 1)
        ]
        return {"$network": {"spec": spec.to_json(), "weights": weights}}

    def _generator(self, generator: Any, where: str) -> dict[str, Any]:
        for number, known in enumerate(self._generators):
            if known is generator:
                return {"$same_random": number}
        self._generators.append(generator)
        old = isinstance(generator, np.random.RandomState)
        state: Any = generator.get_state(legacy=False) if old else generator.bit_generator.state
        if state["bit_generator"] not in _BIT_GENERATORS:
            raise Unwritable(f"a file holds no generator {state['bit_generator']}; {where} is one")
        kind = "RandomState" if old else "Generator"
        return {"$random": {"kind": kind, "state": self.plain(state, where)}}


class _Decoder:
    """Turns the output of `Writer` back into values."""

    def __init__(self, reader: storage.Reader, path: str, custom_loss: CustomLoss | None) -> None:
        self._reader = reader
        self._path = path
        self._custom_loss = custom_loss
        self._generators: list[Any] = []

    def value(self, plain: Any) -> Any:
        """Return the value that stands for `plain`."""
        if isinstance(plain, list):
            return [self.value(item) for item in plain]
        if not isinstance(plain, dict):
            return plain
        tag = next(iter(plain), "")
        if not tag.startswith("$"):
            return {name: self.value(item) for name, item in plain.items()}
        if len(plain) != 1 or tag not in self._TAGS:
            raise ValueError(f"{tag} is unknown")
        return self._TAGS[tag](self, plain[tag])

    def _float(self, text: Any) -> float:
        return float(_validation.choice("$float", text, ("inf", "-inf", "nan")))

    def _tuple(self, items: Any) -> tuple[Any, ...]:
        return tuple(self.value(item) for item in _as(list, items))

    def _dict(self, pairs: Any) -> dict[Any, Any]:
        return {self.value(name): self.value(item) for name, item in _as(list, pairs)}

    def _scalar(self, array: Any) -> Any:
        number = self.value(array)
        if not isinstance(number, np.ndarray) or number.shape != ():
            raise ValueError("$scalar must hold an array without dimensions")
        return number[()]

    def _tensor(self, name: Any) -> NDArray[Any]:
        return self._reader.take(_as(str, name))

    def _array(self, parts: Any) -> NDArray[Any]:
        values = [self.value(item) for item in _as(list, parts["values"])]
        if not all(item is None or isinstance(item, (bool, int, float, str)) for item in values):
            raise ValueError("$array must hold numbers and strings")
        shape = tuple(_validation.integer("a size", size, 0) for size in parts["shape"])
        if math.prod(shape) != len(values):
            raise ValueError(f"$array of shape {shape} must hold as many values; got {len(values)}")
        array: NDArray[Any] = np.empty(len(values), object)
        array[:] = values
        if _too_uneven(values):
            raise ValueError(f"$array must hold strings of more even lengths; it holds {_UNEVEN}")
        if parts["dtype"] != "|O":
            # As wide as the longest string, whatever width is named: that would be taken from memory.
            text = np.array([_as(str, item) for item in values], np.str_)
            array = text.astype(parts["dtype"]) if parts["dtype"] == text.dtype.str else text
        return array.reshape(shape)

    def _optimizer(self, parts: Any) -> Any:
        ((name, fields),) = parts.items()
        return _OPTIMIZERS[name](**self.value(fields))

    def _schedule(self, parts: Any) -> Any:
        ((name, fields),) = parts.items()
        return _SCHEDULES[name](**self.value(fields))

    def _network(self, parts: Any) -> Network:
        description, weights = parts["spec"], parts["weights"]
        storage.check_custom_loss(description, self._custom_loss, self._path)
        spec = NetworkSpec.from_json(description, self._custom_loss)
        names = [_as(str, item["$tensor"]) for item in weights]
        for name, shape in zip(names, spec.weight_shapes, strict=True):
            self._reader.expect(name, shape, ("F32", "F64"))
        network = Network.__new__(Network)
        weights = map(self._reader.take, names)  # one at a time is in memory
        network.__setstate__(_versions.stamped({"spec": spec, "weights": weights}))
        return network

    def _random(self, parts: Any) -> Any:
        state = self.value(parts["state"])
        generator = _generator_of(
            _validation.choice("kind", parts["kind"], ("RandomState", "Generator")), state
        )
        self._generators.append(generator)
        return generator

    def _same_random(self, number: Any) -> Any:
        return self._generators[_validation.integer("$same_random", number, 0)]

    _TAGS: Final[dict[str, Callable[[_Decoder, Any], Any]]] = {
        "$float": _float,
        "$tuple": _tuple,
        "$dict": _dict,
        "$scalar": _scalar,
        "$tensor": _tensor,
        "$array": _array,
        "$optimizer": _optimizer,
        "$schedule": _schedule,
        "$network": _network,
        "$random": _random,
        "$same_random": _same_random,
    }


def _too_uneven(values: list[Any]) -> bool:
    """Tell whether strings, once each is as wide as the longest, take far more memory than in a file."""
    lengths = [len(value) for value in values if isinstance(value, str)]
    return len(lengths) * max(lengths, default=0) > max(_FEW_LETTERS, _SPREAD * sum(lengths))


def _as(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"there must be a {kind.__name__}; got {type(value).__name__}")
    return value


def _generator_of(kind: str, state: dict[str, Any]) -> Any:
    """Return a generator in a state from elsewhere.

    NumPy takes positions in a generator's buffer as they come and then reads there, so they are checked here.
    """
    name = _validation.choice("bit_generator", state["bit_generator"], _BIT_GENERATORS)
    if name == "MT19937":
        _validation.integer("pos", state["state"]["pos"], 0, 624)
        _expect_words(state["state"]["key"], np.uint32, 624)
    if name == "Philox":
        _validation.integer("buffer_pos", state["buffer_pos"], 0, 4)
        _expect_words(state["buffer"], np.uint64, 4)
        _expect_words(state["state"]["counter"], np.uint64, 4)
        _expect_words(state["state"]["key"], np.uint64, 2)
    if name == "SFC64":
        _expect_words(state["state"]["state"], np.uint64, 4)
    if kind == "RandomState":
        old = np.random.RandomState(getattr(np.random, name)())
        old.set_state(state)
        return old
    bits = getattr(np.random, name)()
    bits.state = state
    return np.random.Generator(bits)


def _expect_words(array: Any, dtype: type[Any], length: int) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != (length,):
        raise ValueError(f"the state of a generator must have {length} words of {np.dtype(dtype)}")
