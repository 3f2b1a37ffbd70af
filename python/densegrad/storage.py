"""Files in the safetensors format: the length of the header, the header in JSON, the tensors."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import reprlib
import secrets
import stat
import struct
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from densegrad import _validation, _versions
from densegrad._losses import CustomLoss
from densegrad.spec import NetworkSpec

_FORMAT = re.compile(r"densegrad (network|trainer|estimator) (\d{1,9})")
#: The newest format of each kind of file; it is the one that is written.
_FORMATS: Final = {"network": 1, "trainer": 1, "estimator": 1}
_MAX_HEADER = 100_000_000  # bytes, as in the format's own library
_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"{kind}{8 * size}": np.dtype(f"<{kind.lower()}{size}") for kind in "IU" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
}
_NAMES: Final = {dtype: name for name, dtype in _DTYPES.items()}
_WEIGHTS: Final = ("F16", "F32", "F64")

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Tensor(NamedTuple):
    """An array that a file is to hold."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


def is_storable(dtype: np.dtype[Any]) -> bool:
    """Tell whether files can hold arrays of this type."""
    return dtype.newbyteorder("<") in _NAMES


def write(
    path: str | os.PathLike[str],
    kind: str,
    description: dict[str, Any],
    tensors: Iterable[Tensor],
    arrays: Iterable[NDArray[Any]],
) -> None:
    """Write a file of a `kind`; one that is there already is replaced in one step.

    Parameters
    ----------
    path : str or path-like
    kind : {"network", "trainer", "estimator"}
    description : dict
        Goes into the header as JSON, under the name of the kind.
    tensors : iterable of Tensor
    arrays : iterable of ndarray
        The numbers of the tensors, asked for one at a time.
    """
    header: dict[str, Any] = {
        "__metadata__": {
            "format": f"densegrad {kind} {_FORMATS[kind]}",
            "densegrad": _versions.installed(),
            kind: json.dumps(description, allow_nan=False),
        }
    }
    dtypes, end = [], 0
    for name, dtype, shape in tensors:
        dtypes.append(dtype.newbyteorder("<"))
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": _NAMES[dtypes[-1]], "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the tensors are aligned
    if len(text) > _MAX_HEADER:
        raise ValueError(f"a file's header has at most {_MAX_HEADER} bytes; this would need {len(text)}")
    with _replacement(os.fsdecode(path)) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        remaining = iter(arrays)
        for dtype in dtypes:
            file.write(np.ascontiguousarray(next(remaining), dtype).data)  # no name holds it


def save(path: str | os.PathLike[str], spec: NetworkSpec, weights: Iterable[NDArray[Any]]) -> None:
    """Write a network: W_(1), …, W_(L), one at a time."""
    tensors = [Tensor(f"weights.{l}", spec.dtype, shape) for l, shape in enumerate(spec.weight_shapes, 1)]
    write(path, "network", spec.to_json(), tensors, weights)


def _check_plain(path: str, mode: int, allowed: str) -> None:
    """Raise OSError if `path`, whose stat has this mode, is a directory, a device or the like."""
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no plain file")
        error = IsADirectoryError if stat.S_ISDIR(mode) else OSError
        raise error(f"path must name {allowed}; {path!r} is {kind}")


def check_writable(path: str) -> tuple[str, os.stat_result | None]:
    """Raise OSError if no file can be written to `path`.

    Returns
    -------
    path : str
        Without links: a link stays, and its target is replaced.
    before : os.stat_result or None
        Of the plain file that is there; None if there is none.
    """
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"no such folder: {folder!r}")
    try:
        before = os.stat(path)
    except FileNotFoundError:
        before = None
    if before is not None:
        _check_plain(path, before.st_mode, "a plain file or none")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"no file can be written to the folder {folder!r}")
    return path, before


@contextlib.contextmanager
def _replacement(path: str) -> Iterator[BinaryIO]:
    """Give a new file to write to, which takes the place of `path` if no error is raised meanwhile.

    Until then it has no name, if the file system can do that. So a process that is killed leaves nothing.
    """
    path, before = check_writable(path)
    folder = os.path.dirname(path)
    descriptor, name = _new_file(folder, 0o666 if before is None else 0o600)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            if before is not None and os.name == "posix":
                with contextlib.suppress(OSError):  # only root may give a file away
                    os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
            os.fsync(descriptor)
            if name is None:
                name = _named(descriptor, folder)
        os.replace(name, path)
    except BaseException:
        if name is not None:
            with contextlib.suppress(OSError):
                os.unlink(name)
        raise
    _flush_folder(folder)


def _unfinished(folder: str) -> str:
    return os.path.join(folder, f".{secrets.token_hex(8)}.part")


def _new_file(folder: str, mode: int) -> tuple[int, str | None]:
    """Open a new file in `folder` for writing, if possible one without a name."""
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # not every file system has such files
            return os.open(folder, os.O_TMPFILE | os.O_WRONLY, mode), None
    while True:
        name = _unfinished(folder)
        with contextlib.suppress(FileExistsError):
            return os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), name


def _named(descriptor: int, folder: str) -> str:
    """Give a file without a name one: it cannot take another file's name before it has its own."""
    while True:
        name = _unfinished(folder)
        with contextlib.suppress(FileExistsError):
            # The link of /proc is followed only with a `src_dir_fd`.
            os.link(f"/proc/self/fd/{descriptor}", name, src_dir_fd=descriptor, follow_symlinks=True)
            return name


def _flush_folder(folder: str) -> None:
    """Bring the file's new name to the disk; some file systems cannot, and the file is there all the same."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Reader:
    """An open file: its description, and its tensors. Each tensor is read once.

    Attributes
    ----------
    description : dict
    """

    def __init__(self, path: str, kind: str, file: BinaryIO) -> None:
        header, self._data = _header(path, file)
        self.description = _description(path, kind, header)
        self._file = file
        self._places = {name: _Place.of(name, tensor) for name, tensor in header.items() if name[:2] != "__"}
        size = os.fstat(file.fileno()).st_size - self._data
        # Side by side without a gap, as the format wants it, so that no piece is read twice.
        pieces = sorted((place.begin, place.end) for place in self._places.values())
        if [0, *(end for _, end in pieces)] != [*(begin for begin, _ in pieces), size]:
            raise ValueError(f"its tensors do not fill the {size} bytes after the header")

    @property
    def n_tensors(self) -> int:
        """The number of tensors that are left."""
        return len(self._places)

    def expect(self, name: str, shape: tuple[int, ...], dtypes: tuple[str, ...]) -> None:
        """Raise ValueError if the file has no such tensor."""
        place = self._place(name)
        if place.dtype not in dtypes:
            raise ValueError(f"{name} must hold {', '.join(dtypes)}; got {reprlib.repr(place.dtype)}")
        if place.shape != shape:
            raise ValueError(f"{name} must have shape {shape}; got {reprlib.repr(list(place.shape))}")

    def take(self, name: str) -> NDArray[Any]:
        """Return a tensor, once."""
        place = self._place(name)
        del self._places[name]
        self._file.seek(self._data + place.begin)
        array = np.empty(place.shape, _DTYPES[place.dtype])
        # The files given are binary ones, which have `readinto`; the type BinaryIO does not list it.
        if array.nbytes and self._file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:  # type: ignore[attr-defined]
            raise ValueError("it has become shorter while it was read")
        if array.dtype == np.bool_ and array.view(np.uint8).max(initial=0) > 1:
            raise ValueError(f"{name} must hold 0 and 1")
        return array

    def finish(self) -> None:
        """Raise ValueError if the file has tensors that nobody took."""
        if self._places:
            raise ValueError(f"it has tensors that are not named: {reprlib.repr(sorted(self._places))}")

    def _place(self, name: str) -> _Place:
        place = self._places.get(name)
        if place is None:
            raise ValueError(f"it has no {name}")
        return place


class _Place(NamedTuple):
    """The place of a tensor, counted from the end of the header."""

    begin: int
    end: int
    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, name: str, tensor: dict[str, Any]) -> _Place:
        """Return the place that the header names, if it has the size of the tensor."""
        dtype, sizes = tensor["dtype"], tensor["shape"]
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            raise ValueError(f"{name} must hold {', '.join(_DTYPES)}; got {reprlib.repr(dtype)}")
        if not isinstance(sizes, list) or len(sizes) > 32:
            raise ValueError(f"{name} must have at most 32 dimensions; got {reprlib.repr(sizes)}")
        shape = tuple(_validation.integer("a size", size, 0) for size in sizes)
        begin, end = (_validation.integer("an offset", offset, 0) for offset in tensor["data_offsets"])
        if end - begin != math.prod(shape) * _DTYPES[dtype].itemsize:
            raise ValueError(f"{name} must have {math.prod(shape)} numbers; got {end - begin} bytes")
        return cls(begin, end, dtype, shape)


#: Errors that a description or a header may raise if it is not as we write it.
DAMAGE: Final = (
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    OverflowError,
    RecursionError,
    struct.error,
)


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], kind: str) -> Iterator[Reader]:
    """Give the reader of a file of a `kind`.

    Raises
    ------
    ValueError
        If the file is damaged, was written by something else or has a newer format; it names the file.
    OSError
        If there is no such file, or it is a directory, a device, a FIFO or a socket.
    """
    path = os.fsdecode(path)
    try:
        _check_plain(path, os.stat(path).st_mode, "a plain file")
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "no such file", path) from None
    with open(path, "rb") as file:
        try:
            reader = Reader(path, kind, file)
        except DAMAGE as error:
            if repr(path) in str(error):  # whole, but nothing that this version can read
                raise
            raise ValueError(f"{path!r} is damaged or not a safetensors file: {error}") from error
        yield reader


@contextlib.contextmanager
def opened(
    path: str | os.PathLike[str], custom_loss: CustomLoss | None
) -> Iterator[tuple[NetworkSpec, Iterator[NDArray[Any]]]]:
    """Give the description of the network in a file, and W_(1), …, W_(L), read one at a time.

    Nothing of the description's size is allocated before the file is known to hold as many weights.
    """
    with reading(path, "network") as reader:
        path = os.fsdecode(path)
        check_custom_loss(reader.description, custom_loss, path)
        try:
            spec = NetworkSpec.from_json(reader.description, custom_loss)
        except ValueError as error:
            raise ValueError(f"{path!r} is not a network: {error}") from error
        names = [f"weights.{l}" for l in range(1, spec.depth + 1)]
        try:
            for name, shape in zip(names, spec.weight_shapes, strict=True):
                reader.expect(name, shape, _WEIGHTS)
            if len(names) < reader.n_tensors:
                raise ValueError(f"it has {reader.n_tensors} tensors; the network has {len(names)} layers")
        except ValueError as error:
            raise ValueError(f"{path!r} is damaged or not a safetensors file: {error}") from error
        yield spec, map(reader.take, names)


def check_custom_loss(description: Any, custom_loss: CustomLoss | None, path: str) -> None:
    """Raise ValueError if a network needs a custom loss and there is none, or the other way round."""
    if (description.get("loss") == "custom") != (custom_loss is not None):
        needs = "None: the file names it"
        if custom_loss is None:
            needs = "a callable, as the network was made with one: load(path, loss=…)"
        raise ValueError(f"loss must be {needs} ({path!r})")


def _header(path: str, file: BinaryIO) -> tuple[dict[str, Any], int]:
    """Return the header, and the offset in the file at which the tensors begin."""
    (length,) = struct.unpack("<Q", file.read(8))
    size = os.fstat(file.fileno()).st_size
    if length > min(size - 8, _MAX_HEADER):
        raise ValueError(f"a header of {length} bytes in a file of {size}")
    header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("the header is not an object")
    return header, 8 + length


def _description(path: str, kind: str, header: dict[str, Any]) -> dict[str, Any]:
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict):
        metadata = {}
    text = metadata.get("format")
    found = _FORMAT.fullmatch(text) if isinstance(text, str) else None
    if found is None or found[1] != kind:
        article = "an" if kind == "estimator" else "a"
        raise ValueError(f"{path!r} is not {article} densegrad {kind}: its format is {reprlib.repr(text)}")
    _versions.check(repr(path), int(found[2]), _FORMATS[kind], metadata.get("densegrad"))
    description = json.loads(metadata[kind])
    if not isinstance(description, dict):
        raise ValueError("the description is not an object")
    return description
