"""Updates and epochs against the float64 twin, step by step."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from assertions import assert_close, same_bits
from builders import make_network, make_rows, make_target, regression
from cases import SHAPE_NAMES, SHAPES
from choices import DTYPES, OPTIMIZERS, Pairing
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
    _core,
)
from reference import Reference
from reference_training import Penalties, ReferenceTrainer

REGULARISED = [
    {},
    {"l2": 0.5},
    {"l1": 0.2},
    {"weight_decay": 0.1},
    {"max_norm": 0.7},
    {"clip_norm": 0.05},
    {"l2": 0.3, "l1": 0.1, "weight_decay": 0.05, "max_norm": 1.0, "clip_norm": 0.2},
]


def follow(
    network: Network,
    optimizer: Any,
    X: Any,
    target: Any,
    weight: Any,
    batch_size: int,
    rng: np.random.Generator,
    slack: float = 10,
    epochs: int = 3,
    **penalties: float,
) -> None:
    """Train the network and its twin, and compare after each epoch."""
    twin = ReferenceTrainer(Reference.of(network), optimizer, Penalties(**penalties))
    trainer = Trainer(network, optimizer, batch_size=batch_size, random_state=0, **penalties)
    twin.seed = trainer.state_dict()["seed"]
    dtype = network.dtype.name
    for _ in range(epochs):
        order = rng.permutation(len(X))
        loss = trainer.epoch(X, target, sample_weight=weight, order=order)
        assert_close(loss, twin.epoch(X, target, order, batch_size, weight), dtype, slack)
        for W, expected in zip(network.weights, twin.network.weights, strict=True):
            assert_close(W, expected, dtype, slack)
    assert trainer.steps == twin.steps
    assert trainer.epochs == epochs


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SHAPES, ids=SHAPE_NAMES)
@pytest.mark.usefixtures("isa")
def test_every_shape_trains_as_the_twin(case: tuple[int, ...], dtype: str, rng: np.random.Generator) -> None:
    network = make_network(case, Pairing("log_loss", "softmax" if case[-1] > 1 else "logistic"), dtype=dtype)
    X = make_rows(case, rng, dtype)
    target = make_target(network, case[0], rng)
    batch_size = {1: 1, 256: 100}.get(case[0], max(1, case[0] // 3))
    follow(network, SGD(0.1, 0.9), X, target, rng.uniform(0.5, 2, case[0]), batch_size, rng, epochs=2)


@pytest.mark.parametrize(
    ("optimizer", "dtype"),
    # Not Lion in float32: it takes the sign of sums that rounding may decide.
    [(o, dtype) for o in OPTIMIZERS for dtype in DTYPES if dtype == "float64" or not isinstance(o, Lion)],
    ids=str,
)
def test_every_optimizer_trains_as_the_twin(optimizer: Any, dtype: str, rng: np.random.Generator) -> None:
    case = (40, 5, 17, 9, 3)
    network = make_network(case, Pairing("log_loss", "softmax"), dtype=dtype)
    X, target = make_rows(case, rng, dtype), rng.integers(3, size=40)
    # An entry of the gradient next to nothing is divided by its own size in the adaptive ones.
    slack = {"float32": 300, "float64": 3e4}[dtype]
    follow(network, optimizer, X, target, None, 16, rng, slack)


@pytest.mark.parametrize("optimizer", [SGD(0.05, 0.9), Adam(0.01)], ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("penalties", REGULARISED, ids=str)
def test_every_penalty_trains_as_the_twin(
    penalties: dict[str, float], optimizer: Any, rng: np.random.Generator
) -> None:
    case = (40, 5, 17, 9, 3)
    network = make_network(case)
    X, target = make_rows(case, rng), rng.normal(size=(40, 3))
    follow(network, optimizer, X, target, rng.uniform(0.5, 2, 40), 16, rng, 3e4, **penalties)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", ["relu", "tanh", "gelu", "identity"])
@pytest.mark.usefixtures("isa")
def test_dropout_trains_as_the_twin(hidden: str, dtype: str, rng: np.random.Generator) -> None:
    case = (33, 5, 17, 20, 3)
    network = make_network(case, None, hidden, dtype, dropout=0.3)
    X, target = make_rows(case, rng, dtype), rng.normal(size=(33, 3))
    follow(network, SGD(0.05, 0.9), X, target, None, 15, rng, 30)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share(rate: float) -> None:
    """One linear hidden layer of ones: its output shows the mask, and the loss of a step shows its output."""
    network = Network(1, [Dense(2000, "identity", dropout=rate), Dense(1, "identity")], dtype="float64")
    network.parameters = np.r_[np.zeros(2000), np.ones(2000), np.ones(2000), 0.0]
    trainer = Trainer(network, SGD(1e-300), random_state=0)
    sums = np.array([math.sqrt(2 * trainer.step(np.zeros((1, 1)), np.zeros((1, 1)))) for _ in range(50)])
    deviation = math.sqrt(2000 * rate / (1 - rate))
    assert abs(sums.mean() - 2000) < 4 * deviation / math.sqrt(50)
    assert 0.6 * deviation < sums.std() < 1.5 * deviation
    assert network.predict(np.zeros((1, 1)))[0, 0] == 2000


@pytest.mark.parametrize("batch_size", [255, 256, 257, 1023, 1024, 1025, 2200])
def test_long_batches_train_as_the_twin(batch_size: int, rng: np.random.Generator) -> None:
    case = (2200, 4, 9, 2)
    network = make_network(case, dropout=0.2)
    X, target = make_rows(case, rng), rng.normal(size=(2200, 2))
    follow(network, SGD(0.1, 0.9), X, target, rng.uniform(0, 2, 2200), batch_size, rng, 20, epochs=2, l2=0.1)


def test_a_row_of_weight_zero_is_as_if_it_were_not_there(rng: np.random.Generator) -> None:
    case = (30, 4, 8, 2)
    X, target = make_rows(case, rng), rng.normal(size=(30, 2))
    weight = np.where(np.arange(30) < 20, 1.0, 0.0)
    a, b = make_network(case), make_network(case)
    # The last 10 rows go into the same batch.
    loss_a = Trainer(a, Adam(0.01), batch_size=30, shuffle=False).fit(X, target, sample_weight=weight).loss
    loss_b = Trainer(b, Adam(0.01), batch_size=20, shuffle=False).fit(X[:20], target[:20]).loss
    assert_close(a.parameters, b.parameters, "float64", 1e4)
    assert_close(loss_a, loss_b, "float64", 1e4)
    assert a.evaluate(X, target, weight) == pytest.approx(a.evaluate(X[:20], target[:20]), rel=1e-14)


def test_a_batch_without_weight_changes_nothing_to_nan(rng: np.random.Generator) -> None:
    case = (30, 4, 8, 2)
    X, target = make_rows(case, rng), rng.normal(size=(30, 2))
    network = make_network(case)
    weight = np.where(np.arange(30) < 10, 1.0, 0.0)
    history = Trainer(network, batch_size=10, shuffle=False, l2=0.1).fit(X, target, sample_weight=weight)
    assert np.all(np.isfinite(history.loss))
    assert np.all(np.isfinite(network.parameters))


def test_a_batch_without_weight_leaves_the_loss_of_the_others(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(40, 3)), rng.normal(size=(40, 1))
    weight = np.r_[np.ones(20), np.zeros(20)]
    network = Network(3, [Dense(1)], dtype="float64", random_state=0)
    loss = network.evaluate(X, target, weight)
    epoch_loss = Trainer(network, SGD(1e-30), batch_size=20, shuffle=False).epoch(
        X, target, sample_weight=weight
    )
    assert epoch_loss == pytest.approx(loss, rel=1e-12)


def test_a_gradient_whose_squares_overflow_is_clipped() -> None:
    network = Network(1, [Dense(1)], loss="absolute_error", dtype="float64", random_state=0)
    network.parameters = [1.0, 0.0]
    Trainer(network, SGD(1.0), clip_norm=1.0).step([[1e160]], [0.0])
    assert_close(network.parameters, np.array([0.0, -1e-160]), "float64")


@pytest.mark.parametrize("optimizer", [SGD, Adam, AdamW, NAdam, RMSprop, Adagrad, Lion])
def test_a_gradient_that_is_no_number_is_seen(optimizer: Any) -> None:
    network = Network(2, [Dense(1)], random_state=0)
    trainer = Trainer(network, optimizer(0.01), shuffle=False)
    trainer.step([[np.nan, 1.0]], [1.0])
    assert np.isnan(network.parameters).any()
    with pytest.raises(ValueError, match="no longer finite"):
        trainer.fit([[1.0, 1.0]], [1.0], epochs=1)


def test_step_equals_an_epoch_of_one_batch(rng: np.random.Generator) -> None:
    case = (12, 4, 8, 2)
    X, target = make_rows(case, rng), rng.normal(size=(12, 2))
    a, b = make_network(case), make_network(case)
    stepping, going = Trainer(a, Adam(0.01)), Trainer(b, Adam(0.01), batch_size=12, shuffle=False)
    for _ in range(3):
        assert stepping.step(X, target) == going.epoch(X, target)
    assert same_bits(a.parameters, b.parameters)


def test_samples_are_checked_once_and_give_the_same(rng: np.random.Generator) -> None:
    case = (12, 4, 8, 2)
    X, target, weight = make_rows(case, rng), rng.normal(size=(12, 2)), rng.uniform(size=12)
    a, b = make_network(case), make_network(case)
    samples = a.samples(X, target, weight)
    assert a.evaluate(samples) == b.evaluate(X, target, weight)
    first, second = Trainer(a, random_state=0), Trainer(b, random_state=0)
    assert first.epoch(samples) == second.epoch(X, target, sample_weight=weight)
    first.fit(samples, epochs=2)
    second.fit(X, target, sample_weight=weight, epochs=2)
    assert same_bits(a.parameters, b.parameters)
    assert b.evaluate(samples) == a.evaluate(samples)
    with pytest.raises(ValueError, match="another network"):
        make_network((12, 4, 7, 2)).evaluate(samples)
    with pytest.raises(ValueError, match="must be None"):
        a.evaluate(samples, target)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["csr", "fortran", "float32", "strided", "readonly"])
def test_rows_are_read_however_they_lie(kind: str, dtype: str, rng: np.random.Generator) -> None:
    import scipy.sparse

    case = (50, 9, 7, 3)
    X = make_rows(case, rng, "float32").astype(np.float64) * (rng.uniform(size=case[:2]) < 0.5)
    wide = np.zeros((100, 18))
    wide[::2, ::2] = X
    frozen = X.copy()
    frozen.flags.writeable = False
    other = {
        "csr": scipy.sparse.csr_array(X),
        "fortran": np.asfortranarray(X),
        "float32": X.astype(np.float32),
        "strided": wide[::2, ::2],
        "readonly": frozen,
    }[kind]
    target = rng.normal(size=(50, 3))
    a, b = make_network(case, dtype=dtype), make_network(case, dtype=dtype)
    first, second = (Trainer(network, batch_size=16, random_state=0) for network in (a, b))
    assert first.fit(X, target).loss == second.fit(other, target).loss
    assert same_bits(a.parameters, b.parameters)


@pytest.mark.parametrize("l2", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("weight_decay", [0.0, 1.0])
@pytest.mark.parametrize(
    "optimizer",
    [
        *[SGD(0.05), SGD(0.05, 0.9, nesterov=True), Adam(0.01), NAdam(0.01), Adagrad(0.05), Lion(0.001)],
        *[AdamW(0.01, weight_decay=0.0), RMSprop(0.01), RMSprop(0.01, momentum=0.5)],
    ],
    ids=repr,
)
def test_weights_without_gradient_do_not_decay_into_denormals(
    optimizer: Any, weight_decay: float, l2: float, rng: np.random.Generator
) -> None:
    # Operations on them are slow. Five columns of X are zero: penalties alone act on their weights.
    X = rng.normal(size=(32, 8)).astype(np.float32)
    X[:, 3:] = 0
    network = Network(8, [Dense(16), Dense(1, "identity")], random_state=0)
    trainer = Trainer(network, optimizer, batch_size=8, weight_decay=weight_decay, l2=l2, random_state=0)
    trainer.fit(X, 0.5 * X[:, :1], epochs=4000)
    for array in (network.parameters, *itertools.chain(*trainer.state_dict()["state"])):
        assert not np.any((array != 0) & (np.abs(array) < np.finfo(np.float32).tiny))


def test_shuffling_depends_on_the_seed_alone(rng: np.random.Generator) -> None:
    X, target = regression(rng)

    def fitted(**options: Any) -> bytes:
        network = make_network((1, 4, 9, 2))
        Trainer(network, **options).fit(X, target, epochs=2)
        return network.parameters.tobytes()

    assert fitted(random_state=1) == fitted(random_state=1) == fitted(random_state=np.random.RandomState(1))
    assert len({fitted(random_state=1), fitted(random_state=2), fitted(shuffle=False)}) == 3


READ_IN_PLACE = """
import resource, numpy as np, densegrad as d
X = np.ones((300_000, 100))
target = np.zeros(300_000)
net = d.Network(100, [d.Dense(8), d.Dense(1, "identity")], random_state=0)
trainer = d.Trainer(net, random_state=0)
trainer.fit(X[:1000], target[:1000], epochs=1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
trainer.fit(X, target, epochs=2, validation=(X, target))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
def test_rows_are_never_copied() -> None:
    done = subprocess.run([sys.executable, "-c", READ_IN_PLACE], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 32, "MB more than before, beside X of 240 MB"


@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 5, 8, 9, 255, 257, 1000, 4097])
def test_shuffling_draws_what_numpy_draws(n_rows: int) -> None:
    ours, numpys = np.random.RandomState(n_rows), np.random.RandomState(n_rows)
    for _ in range(3):
        order, expected = np.arange(n_rows), np.arange(n_rows)
        _core.shuffle(order, ours)
        numpys.shuffle(expected)
        np.testing.assert_array_equal(order, expected)
    assert ours.randint(2**30) == numpys.randint(2**30)


@pytest.mark.parametrize("size", [1e3, 1e160, 1e300])
def test_max_norm_scales_weights_whose_squares_overflow(size: float) -> None:
    network = Network(2, [Dense(1, "identity")], dtype="float64")
    network.parameters = np.array([3.0, 4.0, 1.0]) * size
    Trainer(network, SGD(1e-300), max_norm=10.0).step(np.zeros((4, 2)), np.full(4, size))
    np.testing.assert_allclose(network.parameters[:2], [6.0, 8.0], rtol=1e-14)
