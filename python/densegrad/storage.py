"""Files of networks in the safetensors format: the length of the header, the header in JSON, the tensors."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import reprlib
import secrets
import stat
import struct
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from densegrad import _validation
from densegrad._losses import CustomLoss
from densegrad.spec import NetworkSpec

_FORMAT = "densegrad network 1"
_MAX_HEADER = 100_000_000  # bytes, as in the format's own library
_DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_NAMES: dict[np.dtype[Any], str] = {np.dtype(np.float32): "F32", np.dtype(np.float64): "F64"}

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def save(path: str | os.PathLike[str], spec: NetworkSpec, weights: Iterable[NDArray[Any]]) -> None:
    """Write W_(1), …, W_(L), one at a time; a file that is there already is replaced in one step."""
    header: dict[str, Any] = {
        "__metadata__": {"format": _FORMAT, "network": json.dumps(spec.to_json())},
    }
    end = 0
    for l, shape in enumerate(spec.weight_shapes, 1):
        begin, end = end, end + math.prod(shape) * spec.dtype.itemsize
        header[f"weights.{l}"] = {
            "dtype": _NAMES[spec.dtype],
            "shape": shape,
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the tensors are aligned
    with _replacement(os.fsdecode(path)) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for W in weights:
            file.write(W.astype(_DTYPES[_NAMES[spec.dtype]], copy=False).data)
            del W  # before the next one is made


@contextlib.contextmanager
def _replacement(path: str) -> Iterator[BinaryIO]:
    """Give a new file to write to, which takes the place of `path` if no error is raised meanwhile.

    Until then it has no name, if the file system can do that: then a process that is killed leaves nothing.
    """
    path = os.path.realpath(path)  # a link stays, and what it points to is replaced
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"no such folder: {folder!r}")
    try:
        before = os.stat(path)
    except FileNotFoundError:
        before = None
    if before is not None and not stat.S_ISREG(before.st_mode):
        kind = _KINDS.get(stat.S_IFMT(before.st_mode), "no plain file")
        error = IsADirectoryError if stat.S_ISDIR(before.st_mode) else OSError
        raise error(f"path must name a plain file or none; {path!r} is {kind}")
    descriptor, name = _new_file(folder, 0o666 if before is None else 0o600)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            if before is not None:
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
            # Only with a `src_dir_fd` is the link of /proc followed.
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


@contextlib.contextmanager
def opened(
    path: str | os.PathLike[str], custom_loss: CustomLoss | None
) -> Iterator[tuple[NetworkSpec, Iterator[NDArray[Any]]]]:
    """Give the description of the network in a file, and W_(1), …, W_(L), read one at a time.

    Nothing of the description's size is allocated before the file is known to hold as many weights.

    Raises
    ------
    ValueError
        If the file is damaged or was written by something else; it names the file.
    FileNotFoundError
    """
    path = os.fsdecode(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(errno.ENOENT, "no such file", path)
    with open(path, "rb") as file:
        header, data = _header(path, file)
        spec = _described(path, header, custom_loss)
        try:
            tensors = _tensors(header, spec, os.fstat(file.fileno()).st_size - data)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path!r} is damaged or not a safetensors file: {error}") from error
        yield spec, _read(file, data, tensors)


def _header(path: str, file: BinaryIO) -> tuple[dict[str, Any], int]:
    """Return the header, and where in the file the tensors begin."""
    try:
        (length,) = struct.unpack("<Q", file.read(8))
        size = os.fstat(file.fileno()).st_size
        if length > min(size - 8, _MAX_HEADER):
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("the header is not an object")
    except (struct.error, ValueError, RecursionError) as error:
        raise ValueError(f"{path!r} is damaged or not a safetensors file: {error}") from error
    return header, 8 + length


def _described(path: str, header: dict[str, Any], custom_loss: CustomLoss | None) -> NetworkSpec:
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict):
        metadata = {}
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{path!r} is not a densegrad network: its format is {reprlib.repr(metadata.get('format'))}"
        )
    try:
        description = json.loads(metadata["network"])
        if not isinstance(description, dict):
            raise ValueError("the description is not an object")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path!r} is damaged or not a safetensors file: {error}") from error
    if (description.get("loss") == "custom") != (custom_loss is not None):
        needs = "None: the file names it"
        if custom_loss is None:
            needs = "a callable, as the network was made with one"
        raise ValueError(f"loss must be {needs} ({path!r})")
    try:
        return NetworkSpec.from_json(description, custom_loss)
    except ValueError as error:
        raise ValueError(f"{path!r} is not a network: {error}") from error


def _tensors(
    header: dict[str, Any], spec: NetworkSpec, size: int
) -> list[tuple[int, np.dtype[Any], tuple[int, int]]]:
    """Return where each layer's weights begin, their type and shape; `size` is that of all of them."""
    tensors, pieces = [], []
    for l, shape in enumerate(spec.weight_shapes, 1):
        name = f"weights.{l}"
        if name not in header:
            raise ValueError(f"it has no {name}")
        tensor = header[name]
        if tensor["dtype"] not in _DTYPES:
            raise ValueError(f"{name} must hold {', '.join(_DTYPES)}; got {reprlib.repr(tensor['dtype'])}")
        if tensor["shape"] != list(shape):
            raise ValueError(f"{name} must have shape {shape}; got {reprlib.repr(tensor['shape'])}")
        dtype = _DTYPES[tensor["dtype"]]
        begin, end = (_validation.integer("an offset", offset, 0) for offset in tensor["data_offsets"])
        if end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{name} must have {math.prod(shape)} numbers; got {end - begin} bytes")
        tensors.append((begin, dtype, shape))
        pieces.append((begin, end))
    # Side by side without a gap, as the format wants it, so that no piece is read twice.
    pieces.sort()
    if [0, *(end for _, end in pieces)] != [*(begin for begin, _ in pieces), size]:
        raise ValueError(f"its tensors do not fill the {size} bytes after the header")
    return tensors


def _read(
    file: BinaryIO, data: int, tensors: list[tuple[int, np.dtype[Any], tuple[int, int]]]
) -> Iterator[NDArray[Any]]:
    for begin, dtype, shape in tensors:
        file.seek(data + begin)
        W = np.empty(shape, dtype)
        if file.readinto(W.data.cast("B")) != W.nbytes:  # type: ignore[attr-defined]
            raise ValueError("it has become shorter while it was read")
        yield W
        del W  # before the next one is made
