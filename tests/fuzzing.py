"""Feeds damaged files and odd arguments to densegrad.

Success, ValueError and TypeError are right, and IndexError for a layer that is not there.
All else is a finding.

    python tests/fuzzing.py files|calls [number of inputs [first seed]]

Each input has a seed of its own. A finding prints its seed, and a damaged file is kept in build/findings. The
process may take 4 GiB of memory, so that an allocation by a damaged size is a finding, too.
"""

from __future__ import annotations

import json
import random
import resource
import struct
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

import densegrad
from densegrad import Dense, MLPClassifier, MLPRegressor, Network, Trainer, schedules

ROOT = Path(__file__).resolve().parent.parent
MEMORY = 4 << 30

Odd = Callable[[random.Random], Any]

NUMBERS = [0, 1, -1, 2, 3, 2**31, 2**32, 2**53, 2**62, 2**63, 2**64, 10**30, 0.0, -0.0, 0.5, 1e-300, 1e300]
ODD_NUMBERS = [
    float("nan"),
    float("inf"),
    float("-inf"),
    None,
    True,
    False,
    "",
    "1",
    "adam",
    "\udcff",
    [],
    {},
    (),
]


def odd_json(r: random.Random) -> Any:
    """A value that JSON can hold."""
    value = r.choice([*NUMBERS, None, True, False, "", "F32", "F64", "I64", "relu", "\u0000", "x" * 300])
    return r.choice([value, value, [value], [value, value], {"": value}, {"type": value}, [[]], {}])


# Damaged files.


def seeds_of_files(folder: Path) -> list[tuple[Any, bytes]]:
    """A class that loads, and the bytes of a sound file, for each kind of file."""
    rows = np.random.RandomState(0).random_sample((20, 3))
    labels = (rows[:, 0] > 0.5).astype(int)
    net = Network(3, [Dense(4, "gelu", dropout=0.1), Dense(2, "softmax")], loss="log_loss", random_state=0)
    trainer = Trainer(net, "nadam", schedule=schedules.WarmUp(3, schedules.Plateau()), random_state=0)
    trainer.fit(rows, labels, epochs=2, validation=(rows, labels))
    estimators: list[Any] = [
        MLPClassifier((4,), max_iter=3, random_state=0, early_stopping=True).fit(rows, labels.astype(str)),
        MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=3, random_state=0).fit(
            rows, rows[:, 0]
        ),
        MLPRegressor("quantile", (4, 3), quantile=[0.1, 0.9], max_iter=3, random_state=0).fit(
            rows, rows[:, 0]
        ),
    ]
    found = []
    for model in (net, trainer, *estimators):
        path = folder / "sound.safetensors"
        model.save(path)
        found.append((type(model), path.read_bytes()))
    return found


def damaged(content: bytes, r: random.Random) -> bytes:
    """The content with one to three damages, in its bytes or in the JSON of its header."""
    for _ in range(r.randint(1, 3)):
        content = r.choice([flipped, cut, spliced, with_odd_header, with_odd_header, with_odd_metadata])(
            content, r
        )
    return content


def flipped(content: bytes, r: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(r.randint(1, 8)):
        if changed:
            changed[r.randrange(len(changed))] = r.choice([0, 1, 255, 34, 44, 48, 123, r.randrange(256)])
    return bytes(changed)


def cut(content: bytes, r: random.Random) -> bytes:
    return content[: r.randrange(len(content) + 1)]


def spliced(content: bytes, r: random.Random) -> bytes:
    at, length = r.randrange(len(content) + 1), r.randrange(40)
    return content[:at] + r.choice([r.randbytes(length), content[at : at + length]]) + content[at:]


def header_of(content: bytes) -> tuple[Any, bytes]:
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def with_header(header: Any, rest: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


def change_somewhere(value: Any, r: random.Random) -> Any:
    """The value, with one of the values inside replaced, left out or doubled."""
    if isinstance(value, dict) and value and r.random() < 0.9:
        key = r.choice(list(value))
        kind = r.random()
        if kind < 0.1:
            return {name: part for name, part in value.items() if name != key}
        if kind < 0.2:
            return {**value, r.choice(["", "x", "__metadata__", key + "x"]): value[key]}
        return {**value, key: change_somewhere(value[key], r)}
    if isinstance(value, list) and value and r.random() < 0.8:
        at = r.randrange(len(value))
        return [*value[:at], change_somewhere(value[at], r), *value[at + (r.random() < 0.9) :]]
    return odd_json(r)


def with_odd_header(content: bytes, r: random.Random) -> bytes:
    try:
        header, rest = header_of(content)
        return with_header(change_somewhere(header, r), rest)
    except (ValueError, struct.error, RecursionError):  # damaged before
        return content


def with_odd_metadata(content: bytes, r: random.Random) -> bytes:
    """Damage the JSON texts inside the header's metadata."""
    try:
        header, rest = header_of(content)
        metadata = dict(header["__metadata__"])
        key = r.choice(list(metadata))
        metadata[key] = json.dumps(change_somewhere(json.loads(metadata[key]), r))
        return with_header({**header, "__metadata__": metadata}, rest)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error, RecursionError):
        return content


def try_file(seed: int, sound: list[tuple[Any, bytes]], folder: Path) -> None:
    r = random.Random(seed)
    kind, content = r.choice(sound)
    path = folder / "damaged.safetensors"
    path.write_bytes(damaged(content, r))
    try:
        model = kind.load(path)
    except (ValueError, TypeError):
        return
    rows = np.ones((2, 3))
    if isinstance(model, Trainer):
        model = model.network
    if isinstance(model, Network):
        rows = np.ones((2, model.n_inputs)) if model.n_inputs < 1000 else rows
    try:
        model.predict(rows)
    except (ValueError, TypeError, AttributeError):  # AttributeError: scikit-learn's NotFittedError
        return


# Odd arguments.


def odd_array(r: random.Random) -> Any:
    """An array of any type, shape and strides, or a sparse matrix that may be damaged."""
    shape = tuple(r.choice([0, 1, 2, 3, 3, 5]) for _ in range(r.choice([0, 1, 2, 2, 2, 2, 3])))
    if r.random() < 0.6:
        shape = (r.randint(1, 6), 3)
    dtype = r.choice(["f4", "f8", "f8", ">f8", "f2", "i4", "i8", "u1", "?", "c16", "O", "U3", "M8[s]", "g"])
    numbers = [r.choice([0, 1, 2, -1, 0.5]) for _ in range(int(np.prod(shape)))]
    array = np.array(numbers, float).reshape(shape).astype("f8").astype(dtype)
    kind = r.randrange(12)
    if kind == 0:
        return array.T
    if kind == 1:
        return np.broadcast_to(array[:1], array.shape) if array.ndim and array.shape[0] else array
    if kind == 2 and array.ndim:
        return array[::-1]
    if kind == 3 and array.ndim == 2:
        return np.asfortranarray(array)
    if kind == 4:
        return np.ma.masked_array(array)
    if kind == 5 and array.size and array.dtype.kind == "f":
        array.flat[r.randrange(array.size)] = r.choice([np.nan, np.inf, 1e300])
        return array
    if kind == 6 and array.ndim == 2 and array.dtype.kind in "fi" and array.dtype.isnative:
        matrix = sparse.csr_matrix(array.astype(float))
        part = r.choice(["indices", "indptr", "data", ""])
        if part and getattr(matrix, part).size:
            getattr(matrix, part)[r.randrange(getattr(matrix, part).size)] = r.choice([-1, 0, 7, 2**31 - 1])
        return matrix
    if kind == 7:
        return r.choice([array.tolist(), None, "rows", 3, [], [[]], [array, array[:1] if array.ndim else 1]])
    return array


def odd(r: random.Random, *good: Any) -> Any:
    """One of the good values, mostly."""
    return r.choice(good) if r.random() < 0.85 else r.choice([*NUMBERS, *ODD_NUMBERS])


def odd_network(r: random.Random) -> Network:
    def name(good: str, names: tuple[str, ...]) -> Any:
        return r.choice([good, r.choice(names)])

    layers = [
        Dense(
            odd(r, 1, 2, 5, 17), odd(r, name("relu", densegrad.activations())), dropout=odd(r, 0.0, 0.0, 0.5)
        )
        for _ in range(r.randint(0, 3))
        if r.random() < 0.9
    ]
    heads = ("identity", "logistic", "softmax", "exp", "softplus")
    head = Dense(odd(r, 1, 2, 3), odd(r, r.choice(heads)))
    options = {}
    for option in ("delta", "quantile", "power", "gamma", "label_smoothing"):
        if r.random() < 0.1:
            options[option] = odd(r, 0.5, 1.5, [0.1, 0.5], (0.9, 0.1))
    loss = odd(r, "squared_error", r.choice(densegrad.losses()))
    return Network(
        odd(r, 3, 3, 3, 1),
        [*layers, head],
        loss=loss,
        dtype=odd(r, "float32", "float64"),
        random_state=odd(r, 0, 1),
        **options,
    )


def bounded(network: Network) -> bool:
    return network.n_parameters < 100_000


def use(network: Network, r: random.Random) -> None:
    """Call one to four methods with odd arrays."""
    for _ in range(r.randint(1, 4)):
        kind = r.randrange(8)
        if kind == 0:
            network.predict(odd_array(r), odd(r, None, 1, 2))
        elif kind == 1:
            network.forward(odd_array(r))
            network.backward(odd_array(r))
        elif kind == 2:
            network.backpropagate(odd_array(r), odd_array(r), r.choice([None, odd_array(r)]))
        elif kind == 3:
            network.weights[odd(r, 1, 1, 2)] = odd_array(r)
        elif kind == 4:
            network.parameters = r.choice([odd_array(r), network.parameters[:: r.choice([1, -1, 2])]])
        elif kind == 5:
            network.loss_and_gradient(odd_array(r), odd_array(r), r.choice([None, odd_array(r)]))
        else:
            trainer = Trainer(
                network,
                odd(r, "adam", "sgd", "lion"),
                batch_size=odd(r, "auto", 1, 2, 100),
                random_state=odd(r, 0),
                n_threads=odd(r, None, 1, 2),
                l2=odd(r, 0.0, 0.1),
                max_norm=odd(r, None, 1.0),
                clip_norm=odd(r, None, 1.0),
                schedule=odd(r, None, "cosine", "plateau", "one_cycle"),
            )
            trainer.fit(
                odd_array(r),
                odd_array(r),
                epochs=r.choice([1, 2, 0, -1, None, "2", 1.5]),
                sample_weight=r.choice([None, None, odd_array(r)]),
                validation=r.choice([None, None, (odd_array(r), odd_array(r)), 0.2, "x"]),
            )


def try_call(seed: int) -> None:
    r = random.Random(seed)
    try:
        network = odd_network(r)
        if bounded(network):
            use(network, r)
    except (ValueError, TypeError, IndexError):  # IndexError: there is no such layer
        return


def search(what: str, count: int, first: int = 0) -> int:
    """Try `count` inputs from a seed on; print the findings and return how many there are."""
    findings = 0
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        folder = Path(name)
        sound = seeds_of_files(folder) if what == "files" else []
        for seed in range(first, first + count):
            try:
                if what == "files":
                    try_file(seed, sound, folder)
                else:
                    try_call(seed)
            except Exception:
                findings += 1
                print(f"finding: {what}, seed {seed}", flush=True)
                traceback.print_exc()
                if what == "files":
                    kept = ROOT / "build" / "findings"
                    kept.mkdir(parents=True, exist_ok=True)
                    (kept / f"{seed}.safetensors").write_bytes((folder / "damaged.safetensors").read_bytes())
            if (seed + 1 - first) % 100_000 == 0:
                print(f"{seed + 1 - first} inputs, {findings} findings", flush=True)
    return findings


def main(what: str, count: str = "1000", first: str = "0") -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")  # most fits do not converge
    findings = search(what, int(count), int(first))
    print(f"{what}: {count} inputs from seed {first}, {findings} findings")
    sys.exit(findings > 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
