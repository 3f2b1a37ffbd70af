"""The same bits on any number of threads, on every instruction set, and alone or in a batch."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from assertions import same_bits
from builders import make_network, make_rows, make_target
from cases import SHAPE_NAMES, SHAPES
from choices import DTYPES, HIDDEN, ISAS, PAIRINGS, Pairing
from densegrad import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Dense,
    LayerRates,
    Lion,
    NAdam,
    Network,
    RMSprop,
    Trainer,
    _core,
)
from densegrad.samples import Samples
from densegrad.training.lbfgs import Lbfgs

THREADS = [1, 2, 3]
OPTIMIZERS = [
    SGD(0.05, 0.9, True),
    Adam(0.01),
    AdamW(0.01),
    NAdam(0.01),
    RMSprop(0.01, momentum=0.5),
    Adagrad(0.05),
    Lion(0.001),
]


def everywhere(work: Any) -> None:
    """Run work(n_threads) on every instruction set and number of threads; compare the bytes it returns."""
    before = _core.instruction_set()
    results = {}
    try:
        for name in ISAS:
            _core.set_instruction_set(name)
            for n_threads in THREADS:
                results[name, n_threads] = work(n_threads)
    finally:
        _core.set_instruction_set(before)
    assert len(set(results.values())) == 1, sorted(results, key=lambda key: results[key])


def passes(network: Network, X: Any, target: Any, weight: Any, n_threads: int) -> bytes:
    p = network.backpropagate(X, target, weight, n_threads=n_threads)
    arrays = [*list(p.outputs)[:-1], *list(p.loss_gradients)[:-1], *p.deltas, *p.weight_gradients]
    loss, gradient = network.loss_and_gradient(X, target, weight, n_threads=n_threads)
    arrays += [gradient, network.predict(X, n_threads), network.forward(X, n_threads)]
    arrays += [network.backward(arrays[network.depth] * 0.5, n_threads)]
    losses = [p.loss, loss, network.evaluate(X, target, weight, n_threads=n_threads)]
    return hashlib.sha256(b"".join([np.ascontiguousarray(a).tobytes() for a in [*arrays, losses]])).digest()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SHAPES, ids=SHAPE_NAMES)
def test_passes(case: tuple[int, ...], dtype: str, rng: np.random.Generator) -> None:
    pairing = Pairing("log_loss", "softmax" if case[-1] > 1 else "logistic")
    X, weight = make_rows(case, rng), rng.uniform(0.1, 2, case[0])
    target = make_target(make_network(case, pairing), case[0], rng)
    everywhere(lambda n: passes(make_network(case, pairing, "relu", dtype), X, target, weight, n))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_activations(hidden: str, dtype: str, rng: np.random.Generator) -> None:
    case = (41, 9, 17, 5)
    X, target = 4 * make_rows(case, rng), rng.normal(size=(41, 5))
    everywhere(lambda n: passes(make_network(case, None, hidden, dtype), X, target, None, n))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pairing", PAIRINGS, ids=str)
def test_losses(pairing: Pairing, dtype: str, rng: np.random.Generator) -> None:
    case = (41, 9, 7, 3)
    X, weight = make_rows(case, rng), rng.uniform(0, 2, 41)
    target = make_target(make_network(case, pairing), 41, rng)
    everywhere(lambda n: passes(make_network(case, pairing, "tanh", dtype), X, target, weight, n))


def train(network: Network, X: Any, target: Any, n_threads: int, **arguments: Any) -> bytes:
    trainer = Trainer(network, batch_size=50, random_state=1, n_threads=n_threads, **arguments)
    history = trainer.fit(X, target, epochs=3)
    return network.parameters.tobytes() + np.array(history.loss).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_training(optimizer: Any, dtype: str, rng: np.random.Generator) -> None:
    case, pairing = (333, 13, 35, 18, 10), Pairing("log_loss", "softmax")
    X, target = make_rows(case, rng), rng.integers(10, size=333)
    everywhere(lambda n: train(make_network(case, pairing, "relu", dtype), X, target, n, optimizer=optimizer))


@pytest.mark.parametrize("dtype", DTYPES)
def test_training_with_everything_on(dtype: str, rng: np.random.Generator) -> None:
    case = (333, 13, 35, 18, 3)
    X, target = make_rows(case, rng), rng.normal(size=(333, 3))
    options: dict[str, Any] = {"l2": 0.1, "l1": 0.01, "weight_decay": 0.01, "max_norm": 2.0, "clip_norm": 0.5}
    everywhere(lambda n: train(make_network(case, None, "gelu", dtype, dropout=0.3), X, target, n, **options))


@pytest.mark.parametrize("dtype", DTYPES)
def test_training_with_rates_by_layer_and_schedules(dtype: str, rng: np.random.Generator) -> None:
    X, target = make_rows((333, 13), rng), rng.integers(3, size=333)
    layers = [
        Dense(35, "selu", dropout=0.3, rates=LayerRates.ntk(13, bias=0.1)),
        Dense(18, "mish", dropout=0.2, rates=LayerRates(0.3, 3.0, decay=2.0, epsilon=10.0)),
        Dense(3, "softmax"),
    ]
    options: dict[str, Any] = {
        "weight_decay": 0.1,
        "schedule": "coslog",
        **dict.fromkeys(
            ("weight_decay_schedule", "dropout_schedule", "label_smoothing_schedule"), "flat_cos"
        ),
    }

    def work(n_threads: int) -> bytes:
        network = Network(13, layers, loss="log_loss", label_smoothing=0.1, dtype=dtype, random_state=0)
        return train(network, X, target, n_threads, **options)

    everywhere(work)


@pytest.mark.parametrize("dtype", DTYPES)
def test_batches_longer_than_a_slice_and_a_piece(dtype: str, rng: np.random.Generator) -> None:
    case = (2500, 5, 18, 3)
    X, target = make_rows(case, rng), rng.normal(size=(2500, 3))

    def work(n_threads: int) -> bytes:
        network = make_network(case, None, "relu", dtype, dropout=0.2)
        trainer = Trainer(network, SGD(0.01), batch_size=1300, random_state=1, n_threads=n_threads)
        trainer.fit(X, target, epochs=2)
        return network.parameters.tobytes()

    everywhere(work)


# The last has enough weights, and rows, for a team to share its vectors and pieces.
@pytest.mark.parametrize("case", [(60, 2, 100, 100, 1), (333, 13, 35, 18, 10), (1500, 300, 130, 10)], ids=str)
def test_lbfgs(case: tuple[int, ...], rng: np.random.Generator) -> None:
    pairing = Pairing("log_loss", "softmax" if case[-1] > 1 else "logistic")
    X, weight = make_rows(case, rng), rng.uniform(0.1, 2, case[0])
    target = make_target(make_network(case, pairing), case[0], rng)

    def work(n_threads: int) -> bytes:
        lbfgs = Lbfgs(make_network(case, pairing, "relu"))
        lbfgs.minimise(
            Samples(lbfgs.network.spec, X, target, weight),
            l2=0.1,
            max_iter=12,
            max_fun=100,
            gradient_tolerance=0.0,
            reduction_tolerance=0.0,
            n_threads=n_threads,
        )
        assert lbfgs.iterations == 12
        return lbfgs.network.parameters.tobytes() + np.array(lbfgs.loss).tobytes()

    everywhere(work)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_alone_equals_the_row_in_a_batch(dtype: str, rng: np.random.Generator) -> None:
    for case in SHAPES:
        for hidden in ("relu", "gelu"):
            pairing = Pairing("log_loss", "softmax" if case[-1] > 1 else "logistic")
            network = make_network(case, pairing, hidden, dtype)
            X = make_rows(case, rng, dtype)
            together = network.predict(X)
            rows = range(0, case[0], max(1, case[0] // 30))
            for r in rows:
                assert same_bits(network.predict(X[r : r + 1]), together[r : r + 1])
            shuffled = rng.permutation(case[0])
            assert same_bits(network.predict(X[shuffled]), together[shuffled])
            first = case[0] // 2
            assert same_bits(network.predict(X[first:]), together[first:])


def test_a_row_alone_equals_the_row_in_a_batch_for_every_head(rng: np.random.Generator) -> None:
    for pairing in PAIRINGS:
        network = make_network((1, 6, 9, 5), pairing, dtype="float32")
        X = make_rows((33, 6), rng, "float32")
        together = network.predict(X)
        assert all(same_bits(network.predict(X[r : r + 1]), together[r : r + 1]) for r in range(33))


SCRIPT = """
import hashlib, densegrad as d, numpy as np
d._core.set_exact_threads(True)
X = np.random.RandomState(0).normal(size=(300, 20)); t = (X[:, 0] > 0) + (X[:, 1] > 0) * 1
for dtype in ("float32", "float64"):
    layers = [d.Dense(33, "gelu", dropout=0.1), d.Dense(3, "softmax")]
    net = d.Network(20, layers, loss="log_loss", dtype=dtype, random_state=0)
    trainer = d.Trainer(net, batch_size=32, random_state=0, n_threads=d._core.available_threads())
    trainer.fit(X, t, epochs=3)
    print(hashlib.sha256(net.parameters.tobytes()).hexdigest())
print(d._core.instruction_set())
"""


def test_processes_with_other_settings_agree() -> None:
    lines = set()
    for name in ISAS:
        for n_threads in ("1", "2"):
            environment = {**os.environ, "DENSEGRAD_ISA": name, "OMP_NUM_THREADS": n_threads}
            done = subprocess.run(
                [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
            )
            *hashes, used = done.stdout.split()
            assert used == name
            lines.add(tuple(hashes))
    assert len(lines) == 1


def test_predict_on_any_number_of_threads() -> None:
    network = Network(3, [Dense(4), Dense(1, "identity")], random_state=0)
    X = np.ones((5, 3))
    assert len({network.predict(X, n).tobytes() for n in (None, 1, 2, 3, 64)}) == 1


LIBRARY_SCRIPT = """
import hashlib, densegrad as d, numpy as np
X = np.random.RandomState(0).normal(size=(4000, 2)); t = X[:, :1] * X[:, 1:]
for optimizer in (d.Adam(1e-3, beta_2=0.9999), d.NAdam(1e-3), d.SGD(1e-2), d.RMSprop(1e-3)):
    names = ("cosine", "coslog", "flat_cos", "one_cycle", "invscaling", "step")
    for schedule in (None, *names, d.schedules.InvScaling(0.3)):
        net = d.Network(2, [d.Dense(3, "tanh"), d.Dense(1, "identity")], dtype="float64", random_state=0)
        d.Trainer(net, optimizer, batch_size=5, random_state=0, schedule=schedule).fit(X, t, epochs=12)
        print(hashlib.sha256(net.parameters.tobytes()).hexdigest())
sgd = dict(solver="sgd", learning_rate="invscaling", max_iter=30, random_state=0)
for power_t in (0.2, 0.3, 0.7):
    reg = d.MLPRegressor(hidden_layer_sizes=(3,), power_t=power_t, **sgd).fit(X, t[:, 0])
    print(hashlib.sha256(reg.network_.parameters.tobytes()).hexdigest())
"""


def test_the_c_library_has_no_part_in_the_bits() -> None:
    # glibc picks its variant of pow, cos, … by the CPU; here it is made to pick another one.
    outputs = set()
    for tunables in ("", "glibc.cpu.hwcaps=-FMA,-AVX2,-AVX2_Usable,-FMA_Usable,-FMA4"):
        environment = {**os.environ, "GLIBC_TUNABLES": tunables, "NPY_DISABLE_CPU_FEATURES": ""}
        if tunables:
            environment["NPY_DISABLE_CPU_FEATURES"] = "AVX512_SKX AVX2 FMA3 X86_V3 X86_V4"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", LIBRARY_SCRIPT],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1


@pytest.mark.parametrize("pairing", PAIRINGS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity_give_the_same_numbers_everywhere(
    pairing: Pairing, dtype: str, rng: np.random.Generator
) -> None:
    network = make_network((6, 2, 3), pairing, "tanh", dtype)
    large = np.finfo(dtype).max / 4
    X = np.array([[np.nan, 1], [np.inf, 1], [-np.inf, 0], [large, large], [-large, -large], [0.5, 2]], dtype)
    target = make_target(network, len(X), rng)

    def work(n_threads: int) -> bytes:
        p = network.backpropagate(X, target, n_threads=n_threads)
        last = network.depth
        arrays = p.outputs[last], p.loss_gradients[last], p.loss_gradients[0], p.weight_gradients[1]
        # A NaN is a NaN: its sign depends on the order of a product's factors.
        return b"".join(
            np.where(np.isnan(array), array.dtype.type(np.nan), array).tobytes() for array in arrays
        )

    everywhere(work)
