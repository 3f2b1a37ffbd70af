"""Rows in several blocks, read in place: the bits of one matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

from assertions import same_bits
from densegrad import Adam, Dense, Network, Trainer
from densegrad._core import Rows

CUTS = {
    "one": [],
    "two": [137],
    "uneven, some empty": [0, 1, 1, 100, 100, 255, 256, 300],
    "single rows": list(range(1, 300)),
}


def network(n_columns: int = 21, dtype: str = "float32", **options: Any) -> Network:
    layers = [Dense(24), Dense(3, "softmax")]
    return Network(n_columns, layers, **{"loss": "log_loss", **options}, dtype=dtype, random_state=0)


def trained(net: Network, *data: Any) -> bytes:
    trainer = Trainer(net, Adam(0.01), batch_size=64, random_state=0)
    trainer.fit(data[0], data[1], sample_weight=data[2], epochs=2, validation=(data[0], data[1]))
    return net.parameters.tobytes()


def matrix(rng: np.random.Generator, n_columns: int) -> NDArray[np.float64]:
    return rng.normal(size=(300, n_columns)).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("n_columns", [1, 15, 16, 21, 40])
def test_training_and_losses(cuts: str, n_columns: int, isa: str, rng: np.random.Generator) -> None:
    X, target = matrix(rng, n_columns), rng.integers(0, 3, 300)
    weight = rng.uniform(0.5, 2, 300)
    blocks = [np.split(array, CUTS[cuts]) for array in (X, target, weight)]
    net = network(n_columns)
    assert net.evaluate(*blocks) == net.evaluate(X, target, weight)
    assert net.loss_and_gradient(*blocks)[0] == net.loss_and_gradient(X, target, weight)[0]
    p, whole = net.backpropagate(*blocks), net.backpropagate(X, target, weight)
    assert same_bits(p.target, whole.target)
    assert same_bits(p.weight_gradients[1], whole.weight_gradients[1])
    assert trained(network(n_columns), *blocks) == trained(network(n_columns), X, target, weight)


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array])
def test_validation_of_shards(kind: Any, cuts: str, rng: np.random.Generator) -> None:
    X, target = matrix(rng, 21), rng.integers(0, 3, 300)
    X[rng.random(X.shape) < 0.9] = 0
    weight = rng.uniform(0.5, 2, 300)
    losses = []
    blocks = [np.split(array, CUTS[cuts]) for array in (X, target, weight)]
    for rows in ((kind(X), target, weight), ([kind(block) for block in blocks[0]], *blocks[1:])):
        trainer = Trainer(network(), Adam(0.01), batch_size=64, shards=8, random_state=0)
        history = trainer.fit(X, target, epochs=2, validation=rows)
        losses.append(history.validation_loss)
    assert losses[0] == losses[1]
    assert losses[0][1] == pytest.approx(trainer.network.evaluate(X, target, weight), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blocks_of_all_kinds(dtype: str, isa: str, rng: np.random.Generator) -> None:
    X, target = matrix(rng, 21), rng.integers(0, 3, 300)
    X[50:90] = np.where(X[50:90] > 0, X[50:90], 0)
    blocks = [
        X[:50].astype(np.float32),
        scipy.sparse.csr_array(X[50:90]),
        np.asfortranarray(X[90:150]),
        np.repeat(X[150:200], 2, axis=0)[::2],
        X[200:][::-1].astype(np.float32)[::-1],
    ]
    targets = np.split(target, [50, 90, 150, 200])
    whole, parts = network(dtype=dtype), network(dtype=dtype)
    assert trained(parts, blocks, targets, None) == trained(whole, X, target, None)


def test_custom_losses(rng: np.random.Generator) -> None:
    def squares(y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        return ((y_pred - y_true) ** 2).sum(axis=1), 2 * (y_pred - y_true)

    X, target = matrix(rng, 5), rng.normal(size=(300, 2))
    nets = [Network(5, [Dense(2, "identity")], loss=squares, random_state=0) for _ in range(2)]
    blocks = [np.split(array, [100, 250]) for array in (X, target)]
    assert trained(nets[0], *blocks, None) == trained(nets[1], X, target, None)


def test_memory_maps_are_read_in_place(tmp_path: Path, rng: np.random.Generator) -> None:
    X, target = matrix(rng, 21), rng.integers(0, 3, 300)
    for k, block in enumerate(np.split(X, 3)):
        np.save(tmp_path / f"{k}.npy", block)
    maps = [np.load(tmp_path / f"{k}.npy", mmap_mode="r") for k in range(3)]
    samples = network().samples(maps, np.split(target, 3))
    assert samples.n_rows == 300
    assert samples.X is maps
    assert trained(network(), maps, np.split(target, 3), None) == trained(network(), X, target, None)


def test_a_matrix_as_a_list_of_rows_is_still_one(rng: np.random.Generator) -> None:
    X, target = matrix(rng, 21)[:4], [0, 1, 2, 0]
    assert network().evaluate(X.tolist(), target) == network().evaluate(X, target)
    assert network().evaluate(list(X), target) == network().evaluate(X, target)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": 4}, r"X\[1\] must have 21 columns; got shape \(20, 4\)"),
        ({"nan": 1}, r"X\[1\] must be finite"),
        ({"target": 19}, r"target\[1\] must have 20 rows, as X\[1\] has; got \(19,\)"),
        ({"one_target": 1}, "target must be a list of 2 arrays, one for each block of X; got ndarray"),
        ({"three_targets": 1}, "target must be a list of 2 arrays, one for each block of X; got 3"),
        ({"weight": 1}, r"sample_weight\[0\] must have 30 rows, as X\[0\] has; got \(29,\)"),
        ({"columns": 1}, r"target\[1\] must have as many columns as target\[0\]; got \(20, 3\)"),
    ],
)
def test_refused_blocks(change: dict[str, int], message: str, rng: np.random.Generator) -> None:
    X = [rng.normal(size=(30, 21)), rng.normal(size=(20, change.get("X", 21)))]
    if "nan" in change:
        X[1][3, 3] = np.nan
    target: Any = [np.zeros(30, int), np.zeros(change.get("target", 20), int)]
    if "one_target" in change:
        target = np.zeros(50, int)
    if "three_targets" in change:
        target = [*target, np.zeros(0, int)]
    if "columns" in change:
        target[1] = np.eye(3)[target[1]]
    weight = [np.ones(29), np.ones(20)] if "weight" in change else None
    net = network()
    before = net.parameters.tobytes()
    with pytest.raises(ValueError, match=message):
        Trainer(net).fit(X, target, sample_weight=weight, epochs=1)
    assert net.parameters.tobytes() == before


def test_the_binding_refuses_other_blocks(rng: np.random.Generator) -> None:
    wide, narrow = Rows(rng.normal(size=(3, 4))), Rows(rng.normal(size=(3, 2)))
    assert Rows((wide, wide)).n_rows == 6
    for parts in [(wide, narrow), (Rows((wide,)), wide)]:
        with pytest.raises(ValueError, match="blocks must be matrices with as many columns"):
            Rows(parts)
    with pytest.raises(TypeError):
        Rows((wide, rng.normal(size=(3, 4))))
    net = Network(1, [Dense(4, "identity")], random_state=0)
    with pytest.raises((TypeError, ValueError)):
        net._set_weights(1, Rows((Rows(np.ones((1, 4))), Rows(np.ones((1, 4))))))
