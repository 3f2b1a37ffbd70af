"""The compiled module by itself: it refuses arguments that would crash it; read-outs are of one moment."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from assertions import same_bits
from builders import make_network
from densegrad import Adam, Dense, Network, Trainer, _core
from densegrad._tables import ACTIVATION_NUMBER, LOSS_NUMBER, LOSSES, OPTIMIZERS
from densegrad.initializers import draw_uniform

core: Any = _core  # these tests pass what its types forbid
FLOAT32 = np.dtype(np.float32)
ONES = (1.0, 1.0, 1.0, 1.0)  # rates
HYPERPARAMETERS = dict.fromkeys(
    ("momentum", "nesterov", "beta_1", "beta_2", "l2", "l1", "weight_decay", "max_norm", "clip_norm"), 0
) | {"epsilon": 1e-8}


def core_network(activation: int = 0, loss: int = 0) -> Any:
    return _core.Network(
        3,
        [(4, activation, 0.0, True, ONES, None, 0), (2, 0, 0.0, True, ONES, None, 0)],
        loss,
        0.0,
        (),
        0.0,
        FLOAT32,
    )


def core_trainer(network: Any = None, optimizer: int = 1) -> Any:
    return _core.Trainer(network or core_network(), optimizer, HYPERPARAMETERS, 0)


def epoch(**changes: Any) -> Any:
    arguments: dict[str, Any] = {
        "rows": _core.Rows(np.ones((8, 3))),
        "targets": _core.Targets(None, np.ones((8, 2), np.float32), None),
        "order": np.arange(8),
        "learning_rates": np.full(2, 0.1),
        "batch_size": 4,
    }
    return core_trainer().epoch(**{**arguments, **changes}, n_threads=1, deadline=0.0, custom=None)


def test_an_epoch_of_the_core() -> None:
    loss_sum, n_rows, n_steps, stopped = epoch()
    assert np.isfinite(loss_sum)
    assert (n_rows, n_steps, stopped) == (8, 2, False)


def test_an_epoch_tells_how_far_it_came() -> None:
    reached: list[Any] = []
    result = epoch(loss_before=2.0, rows_before=3, reached=lambda *counts: reached.append(counts))
    assert reached == [result]
    assert result[1] == 11
    # Refused: nothing was done, so there is nothing to tell.
    with pytest.raises(ValueError, match="order names row"):
        epoch(order=-np.arange(8), reached=lambda *counts: reached.append(counts))
    assert len(reached) == 1


def test_an_epoch_that_an_error_ends_tells_how_far_it_came_whatever_others_try() -> None:
    network = core_network(loss=LOSS_NUMBER["custom"])
    trainer = core_trainer(network)
    reached: list[Any] = []

    def run(custom: Any, batch_size: int) -> Any:
        rows = _core.Rows(np.ones((8, 3)))
        return trainer.epoch(
            rows,
            _core.Targets(None, None, None),
            None,
            np.full(8 // batch_size, 0.1),
            batch_size,
            1,
            0.0,
            custom,
            reached=lambda *counts: reached.append(counts),
        )

    batches: list[int] = []

    def custom(rows: Any, y_pred: Any) -> Any:
        batches.append(len(rows))
        if len(batches) == 4:
            with pytest.raises(RuntimeError, match="in use by another call"):
                run(custom, 8)
            raise ZeroDivisionError
        return np.ones(len(rows)), np.zeros_like(y_pred)

    with pytest.raises(ZeroDivisionError):
        run(custom, 2)
    assert reached == [(6.0, 6, 3, True)]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"rows": None}, TypeError),
        ({"targets": None}, TypeError),
        ({"learning_rates": None}, TypeError),
        ({"learning_rates": np.full(1, 0.1)}, ValueError),
        ({"learning_rates": np.full(2, 0.1, np.float32)}, TypeError),
        ({"order": np.arange(8, dtype=np.int32)}, TypeError),
        ({"order": np.arange(16)[::2]}, (ValueError, BufferError)),
        ({"order": np.arange(9)[1:]}, ValueError),
        ({"order": -np.arange(8)}, ValueError),
        ({"order": np.arange(0)}, ValueError),
        ({"batch_size": 0}, ValueError),
        ({"rows": _core.Rows(np.ones((8, 4)))}, ValueError),
        ({"rows": _core.Rows(np.ones((9, 3)))}, ValueError),
        ({"rows": _core.Rows.__new__(_core.Rows)}, ValueError),
        ({"targets": _core.Targets(None, np.ones((7, 2), np.float32), None)}, ValueError),
        ({"targets": _core.Targets(None, np.ones((8, 1), np.float32), None)}, ValueError),
        ({"targets": _core.Targets(None, np.ones((8, 2), np.float64), None)}, TypeError),
        ({"targets": _core.Targets(np.zeros(8, np.int64), None, None)}, ValueError),
        ({"targets": _core.Targets(None, None, np.ones(8))}, ValueError),
        ({"targets": _core.Targets.__new__(_core.Targets)}, ValueError),
    ],
)
def test_an_epoch_refuses(changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        epoch(**changes)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: core.Trainer(None, 1, HYPERPARAMETERS, 0), TypeError),
        (lambda: core_trainer(optimizer=len(OPTIMIZERS)), ValueError),
        (lambda: core_trainer(optimizer=-1), ValueError),
        (lambda: core_trainer().__init__(core_network(), 1, HYPERPARAMETERS, 0), RuntimeError),
        (lambda: core_trainer().set_hyperparameters(None), TypeError),
        (lambda: core_trainer().state(1, 2), IndexError),
        (lambda: core_trainer().state(3, 0), IndexError),
        (lambda: core.Trainer.__new__(core.Trainer).steps, RuntimeError),
        (lambda: core_network(activation=len(ACTIVATION_NUMBER)), ValueError),
        (lambda: core_network(activation=-1), ValueError),
        (lambda: core_network(loss=len(LOSS_NUMBER)), ValueError),
        (lambda: core_network(loss=-1), ValueError),
        (lambda: core_network()._set_parameters(np.ones(3)), ValueError),
        (lambda: core_network()._set_parameters(np.ones((26, 1))), TypeError),
        (lambda: core_network()._set_weights(1, np.ones((5, 4))), ValueError),
        (lambda: core_network()._set_weights(1, np.ones((2, 4)), 3), ValueError),
        (lambda: core_network()._set_weights(1, np.ones((2, 4)), -1), ValueError),
        (lambda: core_network()._evaluate(None, None, None), TypeError),
        (lambda: core.Reading(None), TypeError),
        (lambda: core.Rows(np.ones((2, 2))).__init__(np.ones((2, 2))), RuntimeError),
        (lambda: core.Targets(None, None, None).__init__(None, None, None), RuntimeError),
        (lambda: core.Targets(np.zeros(3), None, None), TypeError),
        (lambda: core.Targets(np.zeros(3, np.int64), None, np.ones(2)), ValueError),
        (lambda: core.Targets(None, np.ones(3), None), TypeError),
        (lambda: core.Targets(None, None, np.ones(3, np.float32)), TypeError),
        (lambda: core.shuffle(np.ones(3), np.random.RandomState(0)), TypeError),
        (lambda: core.shuffle(None, np.random.RandomState(0)), TypeError),
        (lambda: core.draw_uniform(None, 0, 1.0, np.ones(3)), TypeError),
        (lambda: core.draw_uniform(np.zeros(624, np.uint32), 0, 1.0, None), TypeError),
        (lambda: core.draw_uniform(np.zeros(624, np.uint32), 0, 1.0, np.ones(3, np.float32)), TypeError),
        (lambda: core.draw_uniform(np.zeros(624, np.uint32)[1:], 0, 1.0, np.ones(3)), ValueError),
        (lambda: core.draw_uniform(np.zeros(624, np.uint32), 625, 1.0, np.ones(3)), ValueError),
        (lambda: core.draw_uniform(np.zeros(624, np.uint32), -1, 1.0, np.ones(3)), ValueError),
    ],
)
def test_what_would_crash_is_refused(call: Callable[[], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


@pytest.mark.parametrize(
    "returned",
    [
        (np.zeros(3), np.zeros((4, 2), np.float32)),
        (np.zeros(4), np.zeros((4, 1), np.float32)),
        (np.zeros(4, np.float32), np.zeros((4, 2), np.float32)),
        (np.zeros(4), np.zeros((4, 2))),
    ],
)
def test_what_a_custom_loss_returns_to_the_core_is_checked(returned: Any) -> None:
    network = core_network(loss=LOSS_NUMBER["custom"])
    rows, targets = _core.Rows(np.ones((4, 3))), _core.Targets(None, None, None)
    with pytest.raises((TypeError, ValueError)):
        core_trainer(network).epoch(rows, targets, None, np.ones(1), 4, 1, 0.0, lambda rows, y: returned)
    with pytest.raises((TypeError, ValueError)):
        network._backpropagate(rows, targets, None, lambda y: (0.0, np.zeros((3, 2), np.float32)))


def test_columns_of_the_tables() -> None:
    lowest = {name: (row["lowest_target"], row["lowest_allowed"]) for name, row in LOSSES.items()}
    assert {name: bound for name, bound in lowest.items() if bound != (-np.inf, True)} == {
        "poisson": (0.0, True),
        "gamma": (0.0, False),
        "tweedie": (0.0, True),
    }
    assert {name for name, row in LOSSES.items() if row["margin"]} == {"hinge", "squared_hinge"}
    assert {n: row["outputs_per_target"] for n, row in LOSSES.items() if row["outputs_per_target"] != 1} == {
        "gaussian_nll": 2
    }
    squares = {name: row["squares_state"] for name, row in OPTIMIZERS.items()}
    assert squares == {
        "SGD": None,
        "Adam": 1,
        "AdamW": 1,
        "NAdam": 1,
        "RMSprop": 0,
        "Adagrad": 0,
        "Lion": None,
    }


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("used", [0, 1, 3, 622, 623, 624, 625])
def test_draws_are_those_of_numpy(used: int) -> None:
    ours, numpys = np.random.RandomState(5), np.random.RandomState(5)
    for random in (ours, numpys):
        random.randint(2**32, size=used, dtype=np.uint32)
    for n in (0, 1, 311, 312, 1000):
        drawn = np.empty(n)
        draw_uniform(ours._bit_generator, 0.3, drawn)
        assert same_bits(drawn, numpys.random_sample(n) * 0.6 - 0.3)
    assert ours.randint(2**32, size=700).tolist() == numpys.randint(2**32, size=700).tolist()


def test_rows_of_weights_are_set_in_chunks(rng: np.random.Generator) -> None:
    network, other = (make_network((1, 37, 21, 3), dtype="float32") for _ in range(2))
    W = rng.normal(size=(38, 21))
    network._set_weights(1, W)
    for first in range(0, 38, 11):
        other._set_weights(1, W[first : first + 11], first)
    assert same_bits(network.parameters, other.parameters)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_has_one_order_of_sums(weighted: bool, rng: np.random.Generator) -> None:
    # More rows than a pass holds at once, and not a multiple of anything.
    X, target = rng.normal(size=(5003, 5)), rng.normal(size=(5003, 2))
    weight = rng.uniform(0.5, 1.5, 5003) if weighted else None
    network = make_network((1, 5, 7, 2), dtype="float64")
    expected = network.evaluate(X, target, weight)
    assert network.loss_and_gradient(X, target, weight)[0] == expected
    assert network.backpropagate(X, target, weight).loss == expected


CHANGED_DURING_AN_EPOCH = """
import numpy as np, scipy.sparse, densegrad as dg
X = np.ones((64, 4)); order = np.arange(64)
if {sparse}:
    X = scipy.sparse.csr_array(X)
def loss(t, p):
    {change}
    return ((p - t) ** 2).sum(1), 2 * (p - t)
net = dg.Network(4, [dg.Dense(1, "identity")], loss=loss)
dg.Trainer(net, batch_size=8).epoch(X, np.zeros((64, 1)), order=order)
"""


@pytest.mark.parametrize(
    "change",
    [
        "order[:] = 2**40",
        "order[:] = -2**40",
        "X.indices[:] = 2**30",
        "X.indices[:] = -2**30",
        "X.indptr[:] = 2**30",
        "X.indptr[:] = -2**30",
        "X.indptr[::2] = 2**30; X.indptr[1::2] = -2**30",
    ],
)
def test_what_the_caller_writes_to_during_an_epoch_cannot_crash_it(change: str) -> None:
    code = CHANGED_DURING_AN_EPOCH.format(sparse="X." in change, change=change)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_order_is_taken_as_it_was_when_the_epoch_began(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(40, 3)), rng.normal(size=(40, 1))
    order = rng.permutation(40)

    def trained(change: Callable[[], None]) -> NDArray[Any]:
        def loss(y_true: Any, y_pred: Any) -> Any:
            change()
            return 0.5 * ((y_pred - y_true) ** 2).sum(axis=1), y_pred - y_true

        network = Network(3, [Dense(1, "identity")], loss=loss, random_state=0)
        Trainer(network, batch_size=8).epoch(X, target, order=order)
        return network.parameters

    expected = trained(lambda: None)
    assert same_bits(trained(lambda: order.sort()), expected)


class Paused:
    """A network in the midst of a training step in another thread, until it is told to go on."""

    def __init__(self) -> None:
        self.entered, self.may_go_on = threading.Event(), threading.Event()
        self.network = Network(3, [Dense(2, "identity")], loss=self.loss, random_state=0)
        self.trainer = Trainer(self.network, Adam(0.1))
        step = self.trainer.step
        self.thread = threading.Thread(target=step, args=(np.ones((4, 3)), np.ones((4, 2))))

    def loss(self, y_true: Any, y_pred: Any) -> Any:
        self.entered.set()
        assert self.may_go_on.wait(60)
        return 0.5 * ((y_pred - y_true) ** 2).sum(axis=1), y_pred - y_true

    def __enter__(self) -> Paused:
        self.thread.start()
        assert self.entered.wait(60)
        return self

    def __exit__(self, *error: object) -> None:
        self.may_go_on.set()
        self.thread.join()


@pytest.mark.parametrize(
    "read",
    [
        lambda paused: paused.network.parameters,
        lambda paused: paused.network.weights[1],
        lambda paused: paused.trainer.state_dict()["state"][0][0],
        lambda paused: np.array(paused.trainer.steps),
    ],
)
def test_a_read_out_waits_for_the_end_of_a_step(read: Callable[[Paused], NDArray[Any]]) -> None:
    found: list[NDArray[Any]] = []
    with Paused() as paused:
        reader = threading.Thread(target=lambda: found.append(read(paused)))
        reader.start()
        reader.join(0.2)
        assert reader.is_alive()
    reader.join(60)
    assert same_bits(found[0], read(paused))


def test_read_outs_come_between_the_epochs_of_a_fit() -> None:
    # Epochs of some microseconds, one after the other: a read-out has its turn before the next one.
    network = Network(3, [Dense(2, "identity")], random_state=0)
    trainer = Trainer(network, batch_size=8)
    samples = network.samples(np.ones((8, 3)), np.ones((8, 2)))
    done = threading.Event()

    def train() -> None:
        while not done.is_set():
            trainer.epoch(samples)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        steps = [int(trainer.state_dict()["steps"]) for _ in range(200)]
    finally:
        done.set()
        thread.join()
    assert steps == sorted(steps)
    assert steps[-1] > 0


def test_a_second_change_is_an_error() -> None:
    with Paused() as paused:
        for change in (
            lambda: paused.network.forward(np.ones((1, 3))),
            lambda: paused.trainer.step(np.ones((4, 3)), np.ones((4, 2))),
            lambda: setattr(paused.network, "parameters", np.zeros(8)),
            lambda: setattr(paused.trainer, "optimizer", Adam(0.5)),
        ):
            with pytest.raises(RuntimeError, match="in use by another call"):
                change()
        paused.network.predict(np.ones((1, 3)))


def test_a_change_waits_for_the_end_of_a_reading() -> None:
    network = Network(3, [Dense(2, "identity")], random_state=0)
    before = network.parameters

    def change() -> None:
        network.parameters = np.zeros(8)

    writer = threading.Thread(target=change)
    with _core.Reading(network):
        writer.start()
        writer.join(0.2)
        assert writer.is_alive()
        assert same_bits(network.parameters, before)
        with pytest.raises(RuntimeError, match="in use by another call"):
            network.forward(np.ones((1, 3)))
    writer.join(60)
    assert not network.parameters.any()


def test_a_backpropagation_is_of_one_pass() -> None:
    network = make_network((1, 6, 50, 3), dtype="float32")
    samples = [network.samples(np.full((300, 6), k), np.zeros((300, 3))) for k in (1.0, 2.0)]
    expected = [network.backpropagate(each) for each in samples]
    mixed: list[int] = []

    def work(i: int) -> None:
        for _ in range(200):
            try:
                found = network.backpropagate(samples[i])
            except RuntimeError:  # the other thread's turn
                continue
            same = all(same_bits(found.outputs[l], expected[i].outputs[l]) for l in range(3))
            if not (same and same_bits(found.weight_gradients[1], expected[i].weight_gradients[1])):
                mixed.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not mixed
