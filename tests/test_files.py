"""Copies, pickles and files of a network."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

from assertions import same_bits
from builders import half_square, make_network, make_rows
from choices import DTYPES, Pairing
from densegrad import Dense, Network

# --- copies, pickles, files ---


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
    import safetensors.numpy

    path = tmp_path / "net"
    network = make_network((1, 4, 5, 2))
    network.save(path)
    content = path.read_bytes()
    for damaged in (b"", b"junk", content[:7], content[:-5], content[:100], b"\xff" * 8 + content[8:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"net.*safetensors"):
            Network.load(path)
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(3)}))
    with pytest.raises(ValueError, match="not a densegrad network"):
        Network.load(path)
    path.write_bytes(content.replace(b'\\"gelu', b'\\"gelo').replace(b'\\"tanh', b'\\"tanj'))
    with pytest.raises(ValueError, match="tanj"):
        Network.load(path)
    with pytest.raises(FileNotFoundError):
        Network.load(tmp_path / "nothing")


def test_files_with_weights_of_other_types_and_shapes(tmp_path: Path) -> None:
    import safetensors
    import safetensors.numpy

    path = tmp_path / "net"
    network = make_network((1, 4, 5, 2))
    network.save(path)
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    for dtype in (np.float16, np.float32, np.float64):
        safetensors.numpy.save_file({name: W.astype(dtype) for name, W in weights.items()}, path, metadata)
        loaded = Network.load(path)
        for l in range(1, network.depth + 1):
            np.testing.assert_array_equal(loaded.weights[l], network.weights[l].astype(dtype))
    turned = {name: np.ascontiguousarray(W.T) for name, W in weights.items()}
    safetensors.numpy.save_file(turned, path, metadata)
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
