"""Shards: batches and sums against the twin, and one result for any number of ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from choices import DTYPES
from densegrad import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Dense,
    Lion,
    NAdam,
    Network,
    RMSprop,
    Trainer,
)
from densegrad.distributed import rows_of, sharded_order
from densegrad.training.shards import shard_cuts
from reference import Reference
from reference_training import Penalties, ReferenceTrainer
from thread_ranks import Fit, on_ranks


def order_by_hand(n: int, shards: int, each: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of an epoch, each shard by shard, written for reading."""
    parts = []
    for k in range(shards):
        rows = np.arange(k * n // shards, (k + 1) * n // shards)
        np.random.RandomState([seed % 2**32, seed // 2**32, epoch, k]).shuffle(rows)
        parts.append(rows.tolist())
    n_steps = -(-max(map(len, parts)) // each)
    return [[row for part in parts for row in part[t * each : (t + 1) * each]] for t in range(n_steps)]


@pytest.mark.parametrize(
    ("n", "shards", "batch"), [(40, 4, 20), (41, 4, 12), (7, 7, 7), (100, 3, 300), (50, 8, 16)]
)
def test_sharded_order(n: int, shards: int, batch: int) -> None:
    for seed in (0, 5 + (1 << 40)):
        batches = order_by_hand(n, shards, batch // shards, seed, 3)
        assert sharded_order(n, shards, batch, seed, 3).tolist() == [row for rows in batches for row in rows]


def reference_of(network: Network) -> Reference:
    return Reference.of(network)


@pytest.mark.parametrize(
    "options", [{}, {"clip_norm": 0.05}, {"l2": 0.1, "l1": 0.05, "max_norm": 1.5}], ids=str
)
@pytest.mark.parametrize(("n", "shards", "batch"), [(64, 8, 16), (83, 5, 20), (2500, 2, 2400)])
def test_training_equals_the_twin(
    n: int, shards: int, batch: int, options: dict[str, float], rng: np.random.Generator
) -> None:
    X, target, weight = rng.normal(size=(n, 6)), rng.integers(3, size=n), rng.uniform(0.2, 2, n)
    layers = [Dense(17, "tanh", dropout=0.2), Dense(9, "gelu"), Dense(3, "softmax")]
    network = Network(6, layers, loss="log_loss", dtype="float64", random_state=0)
    trainer = Trainer(network, Adam(0.01), batch_size=batch, shards=shards, random_state=0, **options)
    seed = trainer.state_dict()["seed"]
    twin = ReferenceTrainer(reference_of(network), Adam(0.01), Penalties(**options), seed)
    history = trainer.fit(X, target, sample_weight=weight, epochs=2, validation=(X, target, weight))
    for epoch in range(2):
        batches = order_by_hand(n, shards, batch // shards, seed, epoch)
        losses = [twin.step(X[rows], target[rows], weight[rows]) * len(rows) for rows in batches]
        assert history.loss[epoch] == pytest.approx(sum(losses) / n, rel=1e-9)
    for l, W in enumerate(twin.network.weights, 1):
        np.testing.assert_allclose(network.weights[l], W, rtol=1e-7, atol=1e-9)
    assert history.validation_loss[1] == pytest.approx(network.evaluate(X, target, weight), rel=1e-12)


def tree(numbers: list[np.float32]) -> np.float32:
    if len(numbers) == 1:
        return numbers[0]
    half = 1 << (len(numbers) - 1).bit_length() - 1
    return tree(numbers[:half]) + tree(numbers[half:])


@pytest.mark.parametrize("shards", [2, 3, 5, 8, 13, 64])
def test_the_sum_is_the_tree_to_the_bit(shards: int, rng: np.random.Generator) -> None:
    # One row a leaf, and y = 0 at first: the gradient of the bias is the tree over -target / shards.
    target = (rng.normal(size=shards) * 10.0 ** rng.integers(-3, 4, shards)).astype(np.float32)
    network = Network(1, [Dense(1, "identity")], loss="squared_error", dtype="float32")
    network.weights[1] = np.zeros((2, 1))
    trainer = Trainer(network, SGD(1.0, momentum=0.0, nesterov=False), batch_size=shards, shards=shards)
    trainer.step(np.zeros((shards, 1)), target)
    leaves = [-t * np.float32(1 / shards) for t in target]
    assert network.weights[1][1, 0] == -tree(leaves)


def test_the_tree_is_not_a_sum_from_left_to_right(rng: np.random.Generator) -> None:
    # Else the test above would not tell them apart.
    numbers = (rng.normal(size=64) * 10.0 ** rng.integers(-3, 4, 64)).astype(np.float32)
    total = np.float32(0)
    for number in numbers:
        total += number
    assert total != tree(list(numbers))


OPTIMIZERS = [
    SGD(0.05, momentum=0.9, nesterov=True),
    Adam(0.01),
    AdamW(0.01, weight_decay=0.1),
    NAdam(0.01),
    RMSprop(0.01, momentum=0.5),
    Adagrad(0.05),
    Lion(0.001),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: type(optimizer).__name__)
def test_one_result_for_every_optimizer(optimizer: Any, dtype: str) -> None:
    Fit(optimizer=optimizer, dtype=dtype, weighted=True, dropout=0.2).check((1, 3, 8))


@pytest.mark.parametrize(
    "options",
    [
        {"l2": 0.1},
        {"l1": 0.01},
        {"weight_decay": 0.1},
        {"clip_norm": 0.1},
        {"max_norm": 0.5},
        {"clip_norm": 0.1, "l1": 0.01, "l2": 0.1, "max_norm": 1.0},
        {"shuffle": False},
        {"schedule": "cosine"},
        {"n_threads": 2},
    ],
    ids=str,
)
def test_one_result_for_every_option(options: dict[str, Any]) -> None:
    Fit(options=options).check((2, 5)) if "n_threads" not in options else Fit(dropout=0.1).check((2,))


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 8, 64])
def test_one_result_for_any_number_of_ranks(shards: int) -> None:
    Fit(shards=shards, batch=3 * shards).check((1, 2, 3, 5, 7, 8, shards) if shards > 1 else (1,))


@pytest.mark.parametrize(
    ("n", "shards", "batch"),
    [
        (203, 8, 2000),  # one batch
        (9, 8, 8),  # shards of one and of two rows
        (3000, 2, 2600),  # leaves of several passes
        (2600, 3, 1800),  # of several slices
        (4097, 64, 1024),  # many leaves in a pass
    ],
)
def test_one_result_for_any_batches(n: int, shards: int, batch: int) -> None:
    Fit(n=n, shards=shards, batch=batch, dropout=0.1, weighted=True).check((2, 3, 5))


def test_one_result_with_a_custom_loss() -> None:
    Fit(custom=True, weighted=True).check()


def test_one_result_with_a_custom_activation() -> None:
    Fit(activation=(np.sin, np.cos), dropout=0.2).check((2, 5))


@pytest.mark.parametrize(("n", "shards", "batch"), [(203, 8, 48), (3000, 2, 2600), (4097, 64, 1024)])
def test_one_result_with_sparse_rows(n: int, shards: int, batch: int) -> None:
    fit = Fit(n=n, shards=shards, batch=batch, weighted=True, sparse=True)
    assert fit.run() == Fit(n=n, shards=shards, batch=batch, weighted=True).run()
    fit.check((2, 5))


def test_one_result_with_sparse_rows_and_plain_descent() -> None:
    Fit(sparse=True, optimizer=SGD(0.05, momentum=0.0, nesterov=False)).check((2, 5))


def test_one_result_with_wide_layers() -> None:
    # Tiles of the gradient for each rank, in place of the whole.
    Fit(widths=(100, 90), options={"clip_norm": 0.1}).check((2, 3, 5))


def test_one_result_on_different_processors() -> None:
    Fit(weighted=True, dropout=0.1, widths=(40, 9)).check_on_processors()


def test_one_result_for_any_cuts() -> None:
    fit = Fit(widths=(100, 90))
    assert on_ranks(3, fit.run, cuts=(0, 1, 6, 8)) == [fit.run()] * 3


def test_steps_and_epochs_by_hand(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(50, 3)), rng.normal(size=50)

    def program(comm: Any = None) -> bytes:
        network = Network(3, [Dense(5), Dense(1, "identity")], random_state=0)
        trainer = Trainer(network, batch_size=20, shards=4, comm=comm, random_state=0)
        mine = rows_of(50, 4, comm)
        losses = [trainer.step(X[mine], target[mine]), trainer.epoch(X[mine], target[mine])]
        losses.append(trainer.epoch(X[mine], target[mine], learning_rate=0.1))
        assert (trainer.steps, trainer.epochs) == (1 + 2 * 3, 2)
        return network.parameters.tobytes() + np.array(losses).tobytes()

    assert on_ranks(3, program) == [program()] * 3


def test_an_epoch_in_the_order_of_the_shards(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(50, 3)), rng.normal(size=50)
    networks = [Network(3, [Dense(5), Dense(1, "identity")], random_state=0) for _ in range(2)]
    first, second = (Trainer(net, batch_size=20, shards=4, random_state=0) for net in networks)
    first.epoch(X, target)
    second.epoch(X, target, order=sharded_order(50, 4, 20, second.state_dict()["seed"], 0))
    assert np.array_equal(networks[0].parameters, networks[1].parameters)
    with pytest.raises(ValueError, match="order must be None with several ranks, and else name 50 rows"):
        second.epoch(X, target, order=[1, 2, 3])


def test_cuts_are_even_and_round() -> None:
    assert np.diff(shard_cuts(64, 6)).tolist() == [12, 8, 12, 12, 8, 12]
    for shards in range(1, 70):
        for size in range(1, shards + 1):
            counts = np.diff(shard_cuts(shards, size))
            assert counts.sum() == shards
            assert counts.min() > 0
            assert counts.max() <= max(-(-shards // size), 9 * shards / 8 / size)


def test_more_shards_learn_the_same(rng: np.random.Generator) -> None:
    # Only the rounding differs if a batch is the whole table.
    X, target = rng.normal(size=(120, 4)), rng.normal(size=120)
    found = []
    for shards in (1, 4, 8):
        network = Network(4, [Dense(12, "tanh"), Dense(1, "identity")], dtype="float64", random_state=0)
        Trainer(network, batch_size=120, shards=shards, random_state=0).fit(X, target, epochs=20)
        found.append(network.parameters)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-9)
