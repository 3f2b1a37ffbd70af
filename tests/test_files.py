"""Copies, pickles and files of a network."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import socket
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import densegrad
from assertions import same_bits
from builders import half_square, make_network, make_rows
from choices import DTYPES, Pairing
from densegrad import Dense, Network, NetworkSpec


@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_are_equal_and_apart(dtype: str, rng: np.random.Generator, tmp_path: Path) -> None:
    pairing = Pairing("quantile", "identity", (("quantile", (0.1, 0.9)),))
    network = make_network((1, 4, 5, 2), pairing, "gelu", dtype, dropout=0.25)
    X = make_rows((8, 4), rng, dtype)
    network.save(tmp_path / "net.safetensors")
    for other in [
        copy.deepcopy(network),
        copy.copy(network),
        pickle.loads(pickle.dumps(network)),
        Network.load(tmp_path / "net.safetensors"),
    ]:
        assert type(other) is Network
        assert repr(other) == repr(network)
        assert other.layers == network.layers
        assert same_bits(other.predict(X), network.predict(X))
        other.weights[1] = np.zeros((5, 5))
        assert network.weights[1].any()
    assert [file.name for file in tmp_path.iterdir()] == ["net.safetensors"]


def test_pickles_carry_a_format_and_public_names() -> None:
    network = make_network((1, 4, 5, 2))
    pickled = pickle.dumps(network, 2)
    assert b"cdensegrad\nNetwork\n" in pickled
    assert b"cdensegrad\nNetworkSpec\n" in pickled
    assert b"cdensegrad." not in pickled
    for kind, value in (("Network", network), ("NetworkSpec", network.spec)):
        state = value.__getstate__()
        assert (state["format"], state["densegrad"]) == (1, densegrad.__version__)
        other = type(value).__new__(type(value))
        with pytest.raises(ValueError, match=rf"pickle of a {kind} has format 2, written by densegrad 9\.1"):
            other.__setstate__({**state, "format": 2, "densegrad": "9.1"})


class Named(Network):
    """A network with an attribute of its own."""

    name = ""


def test_attributes_of_a_user_stay_in_copies_and_pickles() -> None:
    network = Named(2, [Dense(1, "identity")], random_state=0)
    network.name = "the second try"
    for other in (
        pickle.loads(pickle.dumps(network)),
        copy.copy(network),
        copy.deepcopy(network),
        network.astype("float64"),
    ):
        assert type(other) is Named
        assert other.name == "the second try"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([np.zeros((0, 4)), np.zeros((5, 1))], r"W_\(1\) must have shape \(4, 4\); got \(0, 4\)"),
        ([np.zeros((4, 4)), np.zeros((5, 1)), 3.0], "must have 2 arrays.*got more"),
        ([np.zeros((4, 4))], r"W_\(2\) must"),
    ],
)
def test_pickles_with_damaged_weights_are_refused(weights: list[Any], message: str) -> None:
    network = make_network((1, 3, 4, 1))
    other = Network.__new__(Network)
    with pytest.raises((ValueError, TypeError), match=message):
        other.__setstate__({**network.__getstate__(), "weights": weights})


def test_custom_loss_must_come_back_with_the_file(tmp_path: Path) -> None:
    network = Network(2, [Dense(1, "identity")], loss=half_square)
    network.save(tmp_path / "net")
    with pytest.raises(ValueError, match="loss must be a callable"):
        Network.load(tmp_path / "net")
    other = Network.load(tmp_path / "net", loss=half_square)
    assert other.evaluate([[1.0, 2.0]], [[1.0]]) == network.evaluate([[1.0, 2.0]], [[1.0]])
    make_network((1, 2, 1)).save(tmp_path / "net")
    with pytest.raises(ValueError, match="loss must be None"):
        Network.load(tmp_path / "net", loss=half_square)
    assert pickle.loads(pickle.dumps(network)).custom_loss is half_square


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net"
    network = make_network((1, 4, 5, 2))
    network.save(path)
    content = path.read_bytes()
    for damaged in (b"", b"junk", content[:7], content[:-5], content[:100], b"\xff" * 8 + content[8:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"net.*safetensors"):
            Network.load(path)
    header = b'{"a": {"dtype": "F64", "shape": [3], "data_offsets": [0, 24]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(24))  # a file of something else
    with pytest.raises(ValueError, match="not a densegrad network"):
        Network.load(path)
    path.write_bytes(content.replace(b'\\"gelu', b'\\"gelo').replace(b'\\"tanh', b'\\"tanj'))
    with pytest.raises(ValueError, match="tanj"):
        Network.load(path)
    with pytest.raises(FileNotFoundError):
        Network.load(tmp_path / "nothing")


def test_files_with_weights_of_other_types_and_shapes(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors", reason="needs safetensors")
    numpy_files = pytest.importorskip("safetensors.numpy", reason="needs safetensors")
    path = tmp_path / "net"
    network = make_network((1, 4, 5, 2))
    network.save(path)
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    for dtype in (np.float16, np.float32, np.float64):
        numpy_files.save_file({name: W.astype(dtype) for name, W in weights.items()}, path, metadata)
        loaded = Network.load(path)
        for l in range(1, network.depth + 1):
            np.testing.assert_array_equal(loaded.weights[l], network.weights[l].astype(dtype))
    turned = {name: np.ascontiguousarray(W.T) for name, W in weights.items()}
    numpy_files.save_file(turned, path, metadata)
    with pytest.raises(ValueError, match=r"weights.2 must have shape"):
        Network.load(path)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    network = make_network((1, 4, 5, 2))
    with pytest.raises(OSError, match="nowhere"):
        network.save(tmp_path / "nowhere" / "net")
    target = tmp_path / "directory"
    target.mkdir()
    with pytest.raises(OSError, match="directory"):
        network.save(target)
    assert list(tmp_path.iterdir()) == [target]
    network.save(tmp_path / "net")
    before = (tmp_path / "net").read_bytes()

    class Failing(Network):
        def _weights(self, l: int) -> Any:
            return 1 / 0 if l == 2 else super()._weights(l)

    with pytest.raises(ZeroDivisionError):
        Failing.from_spec(network.spec, network.parameters).save(tmp_path / "net")
    assert (tmp_path / "net").read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [target, tmp_path / "net"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_safetensors_library_reads_our_files(dtype: str, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors", reason="needs safetensors")
    network = make_network((1, *[3] * 12), dtype=dtype)
    network.save(tmp_path / "net")
    with safetensors.safe_open(tmp_path / "net", framework="numpy") as file:
        assert file.metadata()["format"] == "densegrad network 1"
        assert NetworkSpec.from_json(json.loads(file.metadata()["network"])) == network.spec
        assert set(file.keys()) == {f"weights.{l}" for l in range(1, network.depth + 1)}
        for l in range(1, network.depth + 1):
            assert same_bits(file.get_tensor(f"weights.{l}"), network.weights[l])


def test_what_is_no_plain_file_is_not_replaced(tmp_path: Path) -> None:
    network = make_network((1, 2, 1))
    os.mkfifo(tmp_path / "fifo")
    os.symlink(tmp_path / "fifo", tmp_path / "link")
    os.symlink(tmp_path / "loop", tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as listening, pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)  # the path of a socket must be short
        listening.bind("socket")
        for name, kind in (("fifo", "a FIFO"), ("link", "a FIFO"), ("socket", "a socket")):
            with pytest.raises(OSError, match=f"path must name a plain file or none; .* is {kind}"):
                network.save(tmp_path / name)
        with pytest.raises(OSError, match="symbolic links"):
            network.save(tmp_path / "loop")
        assert stat.S_ISSOCK(os.stat("socket").st_mode)
    assert stat.S_ISFIFO(os.stat(tmp_path / "fifo").st_mode)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_symbolic_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.symlink(Path("folder", "net"), tmp_path / "link")
    for network in (make_network((1, 2, 1)), make_network((1, 3, 1))):  # the first time it dangles
        network.save(tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert Network.load(tmp_path / "folder" / "net").n_inputs == network.n_inputs


@pytest.mark.parametrize("named", [False, True])
def test_permissions_are_kept_or_those_of_any_new_file(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if named:  # as if the file system has no files without names
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    network = make_network((1, 2, 1))
    (tmp_path / "other").write_bytes(b"")
    network.save(tmp_path / "net")
    assert os.stat(tmp_path / "net").st_mode == os.stat(tmp_path / "other").st_mode
    for mode in (0o600, 0o664):
        os.chmod(tmp_path / "net", mode)
        network.save(tmp_path / "net")
        assert stat.S_IMODE(os.stat(tmp_path / "net").st_mode) == mode
    assert len(list(tmp_path.iterdir())) == 2


def test_long_names(tmp_path: Path) -> None:
    make_network((1, 2, 1)).save(tmp_path / ("n" * 250))
    assert Network.load(tmp_path / ("n" * 250)).n_inputs == 2


@pytest.mark.parametrize("named", [False, True])
def test_foreign_files_are_left_alone(named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if named:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    names = iter(["taken", "taken", "free"])
    monkeypatch.setattr("densegrad.storage.secrets.token_hex", lambda n: next(names))
    foreign = tmp_path / ".taken.part"
    foreign.write_text("not yours")
    make_network((1, 2, 1)).save(tmp_path / "net")
    assert foreign.read_text() == "not yours"
    assert sorted(tmp_path.iterdir()) == [foreign, tmp_path / "net"]


def test_the_bytes_are_on_the_disk_before_the_old_file_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    replace, fsync = os.replace, os.fsync

    def noted_fsync(descriptor: int) -> None:
        mode = os.fstat(descriptor).st_mode
        done.append(("fsync", stat.S_ISDIR(mode) or os.fstat(descriptor).st_size))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("replace"), replace(*paths)))
    make_network((1, 2, 1)).save(tmp_path / "net")
    assert done == [("fsync", (tmp_path / "net").stat().st_size), "replace", ("fsync", True)]


KILLED = """
import os, signal, sys
from densegrad import Dense, Network, NetworkSpec
class Killed(Network):
    def _weights(self, l):
        if l == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._weights(l)
Killed(300, [Dense(300), Dense(1, "identity")]).save(sys.argv[1])
"""


def test_a_killed_process_leaves_nothing(tmp_path: Path) -> None:
    try:
        os.close(os.open(tmp_path, os.O_TMPFILE | os.O_WRONLY))
    except (AttributeError, OSError):
        pytest.skip("this file system has no files without names")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "net")], check=False)
    assert done.returncode == -9
    assert list(tmp_path.iterdir()) == []


OUT_OF_MEMORY = """
import re, resource, sys
from pathlib import Path
from densegrad import Dense, Network, NetworkSpec
network = Network(4000, [Dense(4000, "identity")], random_state=0)
used = 1024 * int(re.search(r"VmSize:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
resource.setrlimit(resource.RLIMIT_AS, (used + (16 << 20), resource.RLIM_INFINITY))
try:
    network.save(sys.argv[1])
except MemoryError:
    print("MemoryError")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_out_of_memory_is_a_memory_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, str(tmp_path / "net")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "MemoryError\n", done.stderr
    assert list(tmp_path.iterdir()) == []


class File:
    """A file of a network whose parts can be changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        make_network((1, 4, 3, 2), dtype="float32").save(path)
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        self.header = json.loads(content[8 : 8 + length])
        self.network = json.loads(self.header["__metadata__"]["network"])
        self.data = content[8 + length :]

    def write(self, **network: Any) -> None:
        self.write_text(json.dumps(self.network | network))

    def write_text(self, network: Any) -> None:
        self.header["__metadata__"]["network"] = network
        header = json.dumps(self.header).encode()
        self.path.write_bytes(struct.pack("<Q", len(header)) + header + self.data)

    def refused(self, match: str = "") -> None:
        with pytest.raises(ValueError, match=f"{self.path}.*{match}"):
            Network.load(self.path)


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "net")


def test_files_without_a_version_are_read(file: File) -> None:
    expected = Network.load(file.path)
    del file.header["__metadata__"]["densegrad"]  # as before files named it
    file.write()
    network = Network.load(file.path)
    assert network.spec == expected.spec
    assert same_bits(network.parameters, expected.parameters)


def test_files_of_a_newer_format_say_so(file: File) -> None:
    metadata = file.header["__metadata__"]
    assert metadata["densegrad"] == densegrad.__version__
    metadata |= {"format": "densegrad network 12", "densegrad": "3.0"}
    file.write()
    file.refused(
        r"has format 12, written by densegrad 3\.0; .* reads formats up to 1\. Use the newer version"
    )
    del metadata["densegrad"]
    file.write()
    file.refused("written by densegrad of an unknown version")


def test_what_is_no_plain_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, kind in (
        (tmp_path, "a directory"),
        (tmp_path / "fifo", "a FIFO"),
        (Path("/dev/null"), "a device"),
    ):
        with pytest.raises(OSError, match=f"path must name a plain file; .*{path}.* is {kind}"):
            Network.load(path)


@pytest.mark.parametrize("dtype", ["BOOL", "I32", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "BF16", "", 3, []])
def test_weights_of_types_that_are_no_numbers_of_ours(dtype: Any, file: File) -> None:
    end = 0
    for l in (1, 2):
        tensor = file.header[f"weights.{l}"]
        begin, end = end, end + math.prod(tensor["shape"])
        tensor |= {"dtype": dtype, "data_offsets": [begin, end]}
    file.data = b"\x01" * end
    file.write()
    file.refused("weights.1 must hold F16, F32, F64" if dtype in ("BOOL", "U8") else "weights.1 must")


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, "", "3", "null", "[]", '{"n_inputs":', "9" * 5000, None, 3, {"n_inputs": 4}],
    ids=lambda text: str(text)[:20],
)
def test_descriptions_that_are_none(text: Any, file: File) -> None:
    file.write_text(text)
    file.refused()


@pytest.mark.parametrize(
    "change",
    [
        {"n_inputs": 10**30},
        {"n_inputs": 5},
        {"n_inputs": True},
        {"layers": [[3, "tanh", 0.0]]},
        {"layers": [[3, "tanh", 0.0], [2, "identity", 0.0], [1, "identity", 0.0]]},
        {"layers": [[3, "softmax", 0.0], [2, "identity", 0.0]]},
        {"layers": [[3, "tanh", float("nan")], [2, "identity", 0.0]]},
        {"layers": {}},
        {"loss": "log_loss"},
        {"loss": ["huber"]},
        {"loss": "huber", "loss_parameters": ["delta"]},
        {"loss_parameters": {"nonsense": 1.0}},
        {"dtype": "float16"},
    ],
    ids=str,
)
def test_descriptions_of_other_networks(change: dict[str, Any], file: File) -> None:
    file.write(**change)
    file.refused()


@pytest.mark.parametrize("units", [20_000, 2**31 - 1, 2**62, 10**30])
def test_sizes_are_compared_before_memory_is_taken(
    units: int, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Network, "__setstate__", lambda *_: pytest.fail("memory would be taken"))
    layers = [[units, "relu", 0.0], [units, "identity", 0.0]]
    file.write(layers=layers)
    file.refused()
    for l in (1, 2):
        file.header[f"weights.{l}"]["shape"] = [5 if l == 1 else units + 1, units]
    file.write(layers=layers)
    file.refused()


@pytest.mark.parametrize(
    "offsets",
    [
        [[0, 60], [0, 32]],
        [[0, 60], [61, 93]],
        [[-60, 0], [0, 32]],
        [[0, 60], [60, 92, 3]],
        [[0, 60], 3],
        [[0, 60.0], [60, 92]],
        [["0", "60"], [60, 92]],
        [[0, 60], [2**70, 2**70 + 32]],
    ],
    ids=str,
)
def test_tensors_must_lie_side_by_side(offsets: Any, file: File) -> None:
    for l in (1, 2):
        assert file.header[f"weights.{l}"]["data_offsets"] == [[0, 60], [60, 92]][l - 1]
        file.header[f"weights.{l}"]["data_offsets"] = offsets[l - 1]
    file.write()
    file.refused()


def test_tensors_that_are_missing_or_too_many(file: File) -> None:
    file.header["weights.3"] = {"dtype": "F32", "shape": [1], "data_offsets": [92, 96]}
    file.data += b"abcd"
    file.write()
    file.refused("it has 3 tensors")
    file.data += b"efgh"
    file.write()
    file.refused("do not fill")
    file.data = file.data[:60]
    del file.header["weights.3"], file.header["weights.2"]
    file.write()
    file.refused("it has no weights.2")
    file.header["weights.2"] = 3
    file.write()
    file.refused()


@pytest.mark.parametrize("header", [b"[]", b"3", b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b"{}"])
def test_headers_that_are_none(header: bytes, file: File) -> None:
    file.path.write_bytes(struct.pack("<Q", len(header)) + header + file.data)
    file.refused()


def test_order_of_the_tensors_in_the_file_does_not_matter(file: File) -> None:
    expected = Network.load(file.path)
    file.header["weights.1"]["data_offsets"] = [32, 92]
    file.header["weights.2"]["data_offsets"] = [0, 32]
    file.data = file.data[60:] + file.data[:60]
    file.write()
    assert same_bits(Network.load(file.path).parameters, expected.parameters)
