"""Files of networks, in the safetensors format."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FORMAT = "densegrad network 1"


def save(path: str | os.PathLike[str], description: dict[str, Any], weights: dict[int, NDArray[Any]]) -> None:
    """Write weights by their layer's number; a file that is there already is replaced in one step."""
    import safetensors.numpy

    tensors = {f"weights.{l}": W for l, W in weights.items()}
    content = safetensors.numpy.save(tensors, {"format": _FORMAT, "network": json.dumps(description)})
    path = os.fsdecode(path)
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"no such folder: {folder!r}")
    unfinished = f"{path}.{os.getpid()}-{threading.get_ident()}.part"
    try:
        with open(unfinished, "xb") as file:
            file.write(content)
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise


def load(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Return the description and the weights of the layers in order."""
    import safetensors

    path = os.fsdecode(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no such file: {path!r}")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise ValueError(
                    f"{path!r} is not a densegrad network: its format is {metadata.get('format')!r}"
                )
            description = json.loads(metadata["network"])
            weights = [
                np.asarray(file.get_tensor(f"weights.{l + 1}")) for l in range(len(description["layers"]))
            ]
    except (safetensors.SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path!r} is damaged or not a safetensors file: {error}") from error
    return description, weights
