"""Training against the float64 twin, step by step, and what else a trainer does."""

from __future__ import annotations

import itertools
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

from cases import (
    CASES,
    DTYPES,
    Pairing,
    assert_close,
    ids,
    isa,  # noqa: F401
    make_network,
    make_rows,
    make_target,
    same_bits,
)
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
    schedules,
)
from reference import Penalties, Reference, ReferenceTrainer

OPTIMIZERS = [
    SGD(0.05),
    SGD(0.05, 0.9),
    SGD(0.05, 0.9, True),
    Adam(0.01),
    Adam(0.01, 0.5, 0.9, 1e-3),
    AdamW(0.01, weight_decay=0.1),
    NAdam(0.01),
    RMSprop(0.01),
    RMSprop(0.01, momentum=0.5),
    Adagrad(0.05),
    Lion(0.001, weight_decay=0.1),
]
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
@pytest.mark.parametrize("case", CASES, ids=ids)
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
    with pytest.raises(ValueError, match="another network"):
        b.evaluate(samples)
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


# --- going on ---


def continuing(rng: np.random.Generator, schedule: Any = None, **options: Any) -> Trainer:
    network = make_network((40, 4, 9, 2), dropout=0.2)
    options = {"optimizer": Adam(0.01), "random_state": 7, **options}
    return Trainer(network, batch_size=16, schedule=schedule, **options)


@pytest.mark.parametrize("how", ["plain", "pickle", "state_dict"])
@pytest.mark.parametrize("random", [7, np.random.RandomState(7), np.random.default_rng(7)], ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS[2:], ids=lambda o: type(o).__name__)
def test_two_fits_equal_one(how: str, random: Any, optimizer: Any, rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(40, 4)), rng.normal(size=(40, 2))
    schedule = schedules.InvScaling(0.1)
    whole = continuing(rng, schedule, optimizer=optimizer, random_state=pickle.loads(pickle.dumps(random)))
    halves = continuing(rng, schedule, optimizer=optimizer, random_state=pickle.loads(pickle.dumps(random)))
    losses = whole.fit(X, target, epochs=8).loss
    first = halves.fit(X, target, epochs=4).loss
    if how == "pickle":
        halves = pickle.loads(pickle.dumps(halves))
    elif how == "state_dict":
        other = continuing(rng, schedule, optimizer=optimizer, random_state=1)
        other.network.parameters = halves.network.parameters
        other.load_state_dict(halves.state_dict())
        halves = other
    assert first + halves.fit(X, target, epochs=4).loss == losses
    assert same_bits(halves.network.parameters, whole.network.parameters)
    assert (halves.steps, halves.epochs) == (whole.steps, whole.epochs) == (24, 8)


@pytest.mark.parametrize("schedule", [schedules.Plateau(0.5, 1, 10.0), schedules.StepDecay(3, 0.5), None])
def test_schedules_go_on_too(schedule: Any, rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(40, 4)), rng.normal(size=(40, 2))
    whole, halves = continuing(rng, schedule), continuing(rng, schedule)
    rates = whole.fit(X, target, epochs=8).learning_rate
    first = halves.fit(X, target, epochs=4).learning_rate
    assert first + pickle.loads(pickle.dumps(halves)).fit(X, target, epochs=4).learning_rate == rates
    assert (len(set(rates)) > 1) == (schedule is not None)


def test_a_pickle_holds_the_state_and_not_the_data(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(5000, 4)), rng.normal(size=(5000, 2))
    trainer = continuing(rng)
    trainer.fit(X, target, epochs=1)
    size = len(pickle.dumps(trainer))
    assert size < 20_000
    for _ in range(20):
        trainer.fit(X, target, epochs=1)
    assert len(pickle.dumps(trainer)) < size + 100


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


def test_state_of_another_kind_is_refused(rng: np.random.Generator) -> None:
    trainer = continuing(rng)
    trainer.step(rng.normal(size=(4, 4)), rng.normal(size=(4, 2)))
    before = pickle.dumps(trainer)
    good = trainer.state_dict()
    assert [len(arrays) for arrays in good["state"]] == [2, 2]
    assert good["state"][0][0].shape == (5, 9)
    for change in (
        {"optimizer": "SGD"},
        {"state": good["state"][:1]},
        {"state": [arrays[:1] for arrays in good["state"]]},
        {"state": [[np.zeros((2, 2))] * 2] * 2},
        {"steps": -1},
        {"epochs": "many"},
        {"seed": -1},
        {"seed": 0.5},
        {"random_state": "a"},
        {"schedule": 3},
    ):
        with pytest.raises(ValueError, match=r"must"):
            trainer.load_state_dict({**good, **change})
    with pytest.raises(ValueError, match="state_dict"):
        trainer.load_state_dict({})
    assert pickle.dumps(trainer) == before


def test_the_optimizer_may_change_its_numbers(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(40, 4)), rng.normal(size=(40, 2))
    trainer, network = continuing(rng), make_network((40, 4, 9, 2), dropout=0.2)
    trainer.fit(X, target, epochs=1)
    trainer.optimizer = Adam(1e-30)
    before = trainer.network.parameters
    trainer.fit(X, target, epochs=1)
    assert same_bits(trainer.network.parameters, before)
    assert not same_bits(network.parameters, before)
    with pytest.raises(TypeError, match="Adam"):
        trainer.optimizer = SGD()


# --- fit ---


def regression(rng: np.random.Generator) -> tuple[Any, Any]:
    X = rng.normal(size=(300, 4))
    return X, np.sin(X[:, :2]) + 0.1 * rng.normal(size=(300, 2))


def test_history_tells_what_happened(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    trainer = Trainer(make_network((1, 4, 9, 2)), Adam(0.01), random_state=0)
    seen: list[Any] = []
    history = trainer.fit(
        X[:200],
        target[:200],
        epochs=5,
        validation=(X[200:], target[200:]),
        scoring=lambda t: -t.network.evaluate(X, target),
        callbacks=[lambda epoch, logs: seen.append((epoch, logs))],
    )
    assert history is trainer.history
    assert len(history.loss) == len(history.seconds) == len(history.score) == 5
    assert history.loss[-1] < history.loss[0]
    assert history.validation_loss[-1] == trainer.network.evaluate(X[200:], target[200:])
    assert history.score[-1] == -trainer.network.evaluate(X, target)
    assert history.learning_rate == [0.01] * 5
    assert history.best_epoch == int(np.argmax(history.score))
    assert history.stopped == "epochs"
    assert [epoch for epoch, _ in seen] == [0, 1, 2, 3, 4]
    assert seen[2][1]["loss"] == history.loss[2]
    assert seen[2][1]["score"] == history.score[2]


def test_patience_ends_the_fit_with_the_best_weights(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    scores = [1, 2, 5, 4, 5.00001, 3, 2, 9]
    parameters = []

    def scoring(trainer: Trainer) -> float:
        parameters.append(trainer.network.parameters)
        return scores[len(parameters) - 1]

    trainer = Trainer(make_network((1, 4, 9, 2)), random_state=0)
    history = trainer.fit(X, target, epochs=8, scoring=scoring, patience=3)
    assert history.stopped == "patience"
    assert history.score == scores[:6]
    assert history.best_epoch == 4
    assert same_bits(trainer.network.parameters, parameters[4])
    parameters.clear()
    trainer = Trainer(make_network((1, 4, 9, 2)), random_state=0)
    trainer.fit(X, target, epochs=8, scoring=scoring, patience=3, restore_best=False)
    assert same_bits(trainer.network.parameters, parameters[-1])


def test_callbacks_end_the_fit(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    trainer = Trainer(make_network((1, 4, 9, 2)), random_state=0)
    calls: list[int] = []
    callbacks = [lambda epoch, _: np.int64(epoch) == 2, lambda epoch, _: calls.append(epoch)]
    history = trainer.fit(X, target, callbacks=callbacks)
    assert (history.stopped, len(history.loss)) == ("callback", 3)
    assert calls == [0, 1, 2]


def test_max_time_ends_the_fit_in_the_middle_of_an_epoch(rng: np.random.Generator) -> None:
    X = np.broadcast_to(rng.normal(size=(1, 50)), (3_000_000, 50))
    target = np.zeros((3_000_000, 1), np.float32)
    network = Network(50, [Dense(100), Dense(1, "identity")], random_state=0)
    began = time.monotonic()
    history = Trainer(network, shuffle=False).fit(network.samples(X, target), epochs=100, max_time=0.3)
    assert time.monotonic() - began < 2
    assert history.stopped == "max_time"
    assert np.all(np.isfinite(network.predict(X[:5])))


def test_a_slow_loss_of_ones_own_does_not_put_off_the_end(rng: np.random.Generator) -> None:
    def slow(y_true: Any, y_pred: Any) -> Any:
        time.sleep(0.01)
        return (y_pred - y_true)[:, 0] ** 2, 2 * (y_pred - y_true)

    X = rng.normal(size=(1000, 1))
    trainer = Trainer(Network(1, [Dense(1, "identity")], loss=slow), batch_size=1)
    assert trainer.fit(X, X, max_time=0.1).stopped == "max_time"
    assert trainer.steps < 100


def test_batches_may_come_one_by_one(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    weight = rng.uniform(0.5, 2, 300)
    whole, piecewise = make_network((1, 4, 9, 2)), make_network((1, 4, 9, 2))
    batches = [(X[i : i + 100], target[i : i + 100], weight[i : i + 100]) for i in (0, 100, 200)]
    a = Trainer(whole, batch_size=100, shuffle=False).fit(X, target, sample_weight=weight, epochs=4)
    b = Trainer(piecewise).fit(batches, epochs=4)
    assert same_bits(whole.parameters, piecewise.parameters)
    assert a.loss == pytest.approx(b.loss, rel=1e-14)
    once = make_network((1, 4, 9, 2))
    Trainer(once).fit(iter(batches), epochs=1)
    with pytest.raises(ValueError, match="only once"):
        Trainer(once).fit(iter(batches), epochs=2)


def test_progress_is_shown_when_asked_for(
    rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    X, target = regression(rng)
    trainer = Trainer(make_network((1, 4, 9, 2)))
    trainer.fit(X, target, epochs=3)
    assert capsys.readouterr() == ("", "")
    trainer.fit(X, target, epochs=3, progress=True)
    assert "3/3" in capsys.readouterr().err


def test_a_diverging_fit_says_so(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    trainer = Trainer(make_network((1, 4, 9, 2), hidden="identity"), SGD(1e10), random_state=0)
    with pytest.raises(ValueError, match=r"^Solver produced non-finite parameter weights\. .*Try"):
        trainer.fit(1e5 * X, target, epochs=50)
    assert trainer.history is not None
    assert trainer.history.loss


def test_shuffling_depends_on_the_seed_alone(rng: np.random.Generator) -> None:
    X, target = regression(rng)

    def fitted(**options: Any) -> bytes:
        network = make_network((1, 4, 9, 2))
        Trainer(network, **options).fit(X, target, epochs=2)
        return network.parameters.tobytes()

    assert fitted(random_state=1) == fitted(random_state=1) == fitted(random_state=np.random.RandomState(1))
    assert len({fitted(random_state=1), fitted(random_state=2), fitted(shuffle=False)}) == 3


# --- schedules ---


def rates_of(schedule: Any, epochs: int = 4, rows: int = 100) -> list[float]:
    """The learning rates of each update, of which there are 5 an epoch."""
    network = make_network((1, 2, 1))
    trainer = Trainer(network, SGD(0.5), batch_size=20, schedule=schedule)
    rates: list[float] = []
    run = trainer._core.epoch

    class Spy:
        def __getattr__(self, name: str) -> Any:
            return getattr(core, name)

        def epoch(self, rows: Any, targets: Any, order: Any, learning_rates: Any, *rest: Any) -> Any:
            rates.extend(learning_rates)
            return run(rows, targets, order, learning_rates, *rest)

    core, trainer._core = trainer._core, Spy()  # type: ignore[assignment]
    trainer.fit(np.zeros((rows, 2)), np.ones(rows), epochs=epochs)
    return rates


def test_schedules() -> None:
    assert rates_of(None) == rates_of(schedules.Constant()) == [0.5] * 20
    np.testing.assert_allclose(rates_of(schedules.InvScaling(0.5)), 0.5 / np.sqrt(np.arange(1, 21)))
    assert rates_of(schedules.StepDecay(2, 0.1)) == pytest.approx([0.5] * 10 + [0.05] * 10)
    cosine = rates_of(schedules.Cosine(0.2))
    assert cosine[0] == 0.5
    assert cosine[10] == pytest.approx(0.3)
    assert np.all(np.diff(cosine) < 0)
    assert cosine[-1] > 0.1
    cycle = rates_of(schedules.OneCycle(0.25))
    assert np.argmax(cycle) == 5
    assert cycle[0] == pytest.approx(0.02)
    assert cycle[5] == 0.5
    warm = rates_of(schedules.WarmUp(4, schedules.Cosine()))
    np.testing.assert_allclose(warm[:4], np.array(rates_of(schedules.Cosine())[:4]) * [0.25, 0.5, 0.75, 1])
    assert warm[4:] == rates_of(schedules.Cosine())[4:]
    assert rates_of(lambda step, total: step / total) == [step / 20 for step in range(20)]
    plateau = rates_of(schedules.Plateau(0.5, 1, tol=1e9))
    assert plateau == [0.5] * 10 + [0.25] * 5 + [0.125] * 5


def test_the_adaptive_schedule_ends_the_fit(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    schedule = schedules.Adaptive(0.1, patience=1, tol=1e9, lowest=1e-2)
    history = Trainer(make_network((1, 4, 9, 2)), schedule=schedule).fit(X, target, epochs=50)
    assert history.stopped == "schedule"
    assert history.learning_rate == pytest.approx([1e-3, 1e-3, 1e-4])


def test_schedules_that_need_the_end_must_know_it(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    trainer = Trainer(make_network((1, 4, 9, 2)), schedule=schedules.Cosine())
    before = trainer.network.parameters
    for action in (
        lambda: trainer.step(X, target),
        lambda: trainer.fit(((x, t) for x, t in [(X, target)]), epochs=1),
    ):
        with pytest.raises(ValueError, match="number of updates"):
            action()
    assert same_bits(trainer.network.parameters, before)


# --- a loss of the caller's own ---


def test_own_loss_trains_as_the_built_in_one(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    weight = rng.uniform(0.5, 2, 300)
    shapes = []

    def own(y_true: Any, y_pred: Any) -> Any:
        shapes.append((y_true.shape, y_pred.shape))
        r = y_pred - y_true
        return 0.5 * (r**2).sum(axis=1), r

    built_in = make_network((1, 4, 9, 2))
    network = Network(4, built_in.layers, loss=own, dtype="float64")
    network.parameters = built_in.parameters
    options = {"batch_size": 64, "random_state": 0, "n_threads": 2}
    a = Trainer(network, **options).fit(X, target, sample_weight=weight, epochs=3)
    assert shapes == ([((64, 2), (64, 2))] * 4 + [((44, 2), (44, 2))]) * 3
    b = Trainer(built_in, **options).fit(X, target, sample_weight=weight, epochs=3)
    assert a.loss == pytest.approx(b.loss, rel=1e-12)
    assert_close(network.parameters, built_in.parameters, "float64", 1e4)


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        (lambda y: (np.zeros(len(y)), np.zeros((len(y), 3))), ValueError),
        (lambda y: (np.zeros(3), np.zeros_like(y)), ValueError),
        (lambda y: 1.0, TypeError),
        (lambda y: 1 / 0, ZeroDivisionError),
    ],
)
def test_own_loss_with_an_error_stops_the_fit(returned: Any, error: type, rng: np.random.Generator) -> None:
    X, target = regression(rng)
    calls = []

    def own(y_true: Any, y_pred: Any) -> Any:
        calls.append(1)
        if len(calls) < 3:
            return np.zeros(len(y_pred)), y_pred - y_true
        return returned(y_pred)

    network = Network(4, [Dense(2, "identity")], loss=own, dtype="float64", random_state=0)
    trainer = Trainer(network, SGD(0.1), batch_size=50)
    with pytest.raises(error):
        trainer.fit(X, target)
    assert trainer.steps == 2
    assert np.all(np.isfinite(network.predict(X)))


def test_the_network_cannot_be_trained_from_within_its_own_training(rng: np.random.Generator) -> None:
    X, target = regression(rng)

    def own(y_true: Any, y_pred: Any) -> Any:
        network.predict(X)
        trainer.step(X, target)

    network = Network(4, [Dense(2, "identity")], loss=own, dtype="float64", random_state=0)
    trainer = Trainer(network)
    with pytest.raises(RuntimeError, match="in use"):
        trainer.fit(X, target)


def test_the_optimizer_cannot_be_changed_from_within_a_training(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    actions: list[Any] = [
        lambda: setattr(trainer, "optimizer", Adam(0.5)),
        lambda: trainer.state_dict(),
        lambda: setattr(trainer._core, "steps", 7),
        lambda: trainer._core.set_state(1, 0, np.zeros((5, 2))),
    ]

    def own(y_true: Any, y_pred: Any) -> Any:
        actions.pop()()

    network = Network(4, [Dense(2, "identity")], loss=own, dtype="float64", random_state=0)
    trainer = Trainer(network, Adam(0.1))
    while actions:
        with pytest.raises(RuntimeError, match="in use"):
            trainer.fit(X, target)
    assert (trainer.optimizer, trainer.steps) == (Adam(0.1), 0)


# --- interrupts, threads, forks ---

INTERRUPTED = """
import sys, threading, time, os, signal, numpy as np, densegrad as d
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has it ignored
d._core.set_exact_threads(True)
net = d.Network(50, [d.Dense(200), d.Dense(1, "identity")], random_state=0)
X = np.broadcast_to(np.random.RandomState(0).normal(size=(1, 50)), (3_000_000, 50))
samples = net.samples(X, np.zeros((3_000_000, 1), np.float32))
trainer = d.Trainer(net, shuffle=False, n_threads=int(sys.argv[1]))
sent = []
def interrupt():
    time.sleep(0.5); sent.append(time.monotonic()); os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    trainer.fit(samples, epochs=100)
except KeyboardInterrupt:
    waited = time.monotonic() - sent[0]
else:
    sys.exit("not interrupted")
assert 0 < trainer.steps, trainer.steps
assert np.all(np.isfinite(net.parameters))
trainer.fit(X[:1000], np.zeros(1000))
print(waited)
"""


@pytest.mark.parametrize("n_threads", [1, 2])
def test_ctrl_c_stops_a_fit_at_once(n_threads: int) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(n_threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.2


INTERRUPTED_CALLS = """
import sys, threading, time, os, signal, warnings, numpy as np, densegrad as d
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has it ignored
X = np.random.RandomState(0).normal(size=(100_000, 64)); t = X[:, 0]
net = d.Network(64, [d.Dense(512), d.Dense(256), d.Dense(1, "identity")], random_state=0)
samples = net.samples(np.broadcast_to(X[:1], (4_000_000, 64)), np.zeros((4_000_000, 1), np.float32))
reg = d.MLPRegressor(hidden_layer_sizes=(512, 256), solver="lbfgs", max_iter=1000, random_state=0)
calls = {
    "predict": lambda: net.predict(samples.rows),
    "evaluate": lambda: net.evaluate(samples),
    "loss_and_gradient": lambda: net.loss_and_gradient(samples),
    "lbfgs": lambda: reg.fit(X, t),
}
warnings.simplefilter("ignore")
sent = []
def interrupt():
    time.sleep(1.0); sent.append(time.monotonic()); os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    calls[sys.argv[1]]()
    assert sys.argv[1] == "lbfgs", "not interrupted"
    assert reg.loss_ > 0 and np.isfinite(reg.predict(X[:5])).all()
except KeyboardInterrupt:
    assert sys.argv[1] != "lbfgs"
print(time.monotonic() - sent[0])
"""


@pytest.mark.parametrize("call", ["predict", "evaluate", "loss_and_gradient", "lbfgs"])
def test_ctrl_c_stops_every_long_call(call: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED_CALLS, call]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.5


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_can_train(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(2000, 40)), rng.normal(size=(2000, 5))

    def fitted() -> bytes:
        network = make_network((1, 40, 100, 5), dtype="float32")
        Trainer(network, random_state=0, n_threads=2).fit(X, target, epochs=2)
        return network.parameters.tobytes()

    expected = fitted()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, fitted()[:1000])
        finally:
            os._exit(0)
    os.close(write)
    for _ in range(300):
        if os.waitpid(child, os.WNOHANG)[0]:
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert os.read(read, 2000) == expected[:1000]


def test_predict_runs_in_several_threads_at_once(rng: np.random.Generator) -> None:
    network = make_network((1, 20, 64, 64, 2), dtype="float32")
    X = [make_rows((500 + i, 20), rng, "float32") for i in range(4)]
    expected = [network.predict(rows) for rows in X]
    wrong: list[int] = []

    def work(i: int) -> None:
        wrong.extend(i for _ in range(50) if not same_bits(network.predict(X[i]), expected[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_networks_train_in_several_threads_at_once(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(3000, 20)), rng.normal(size=(3000, 2))
    results: list[bytes] = [b""] * 3

    def work(i: int) -> None:
        network = make_network((1, 20, 64, 2), dtype="float32")
        Trainer(network, random_state=0, n_threads=2).fit(X, target, epochs=3)
        results[i] = network.parameters.tobytes()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1] == results[2] != b""


def test_own_loss_is_called_once_a_batch(rng: np.random.Generator) -> None:
    sizes = []

    def loss(y_true: Any, y_pred: Any) -> Any:
        sizes.append(len(y_pred))
        return 0.5 * ((y_pred - y_true) ** 2).sum(axis=1), y_pred - y_true

    X, target = rng.normal(size=(5000, 3)), rng.normal(size=(5000, 1))
    layers = [Dense(4, "tanh"), Dense(1, "identity")]
    own = Network(3, layers, loss=loss, dtype="float64", random_state=0)
    built_in = Network(3, layers, dtype="float64", random_state=0)
    for network in (own, built_in):
        Trainer(network, Adam(0.01), batch_size=3000, shuffle=False).fit(X, target, epochs=2)
    assert sizes == [3000, 2000] * 2
    assert_close(own.parameters, built_in.parameters, "float64", 1e4)


THREADS_SCRIPT = """
import os, sys, threading, numpy as np
from densegrad import Dense, Network, Trainer, _core

def threads_of_a_fit(n_rows, width, **arguments):
    X = np.zeros((n_rows, width), np.float32)
    net = Network(width, [Dense(width), Dense(1, "identity")], random_state=0)
    before = len(os.listdir("/proc/self/task"))
    Trainer(net, batch_size=n_rows, **arguments).fit(X, np.zeros(n_rows), epochs=1)
    net.predict(X, arguments.get("n_threads"))
    return len(os.listdir("/proc/self/task")) - before

available = _core.available_threads()
print(available, threads_of_a_fit(20, 8), threads_of_a_fit(512, 512, n_threads=1))
print(threads_of_a_fit(20, 8, n_threads=64))
print(threads_of_a_fit(512, 512, n_threads=100_000), threads_of_a_fit(512, 512))
"""


@pytest.mark.skipif(not _core.has_openmp(), reason="built without OpenMP: there is one thread")
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_no_more_threads_than_pay_and_the_process_may_use(limit: int) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": str(limit), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", THREADS_SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    available, small, one, small_of_many, many, default = map(int, done.stdout.split())
    assert available == min(limit, len(os.sched_getaffinity(0)))
    assert (small, one, small_of_many) == (0, 0, 0)
    assert many == available - 1
    assert default == 0  # the team that is there already


@pytest.mark.parametrize("X", [np.full((40, 3), np.nan), np.full((40, 3), 1e100)])
def test_rows_that_are_not_finite_are_refused(X: Any) -> None:
    network = Network(3, [Dense(1, "identity")], random_state=0)
    good, target = np.ones((40, 3)), np.ones(40)
    with pytest.raises(ValueError, match="X must be finite"):
        Trainer(network).fit(X, target)
    with pytest.raises(ValueError, match="X of the validation must be finite"):
        Trainer(network).fit(good, target, validation=(X, target))


def test_weights_that_diverge_behind_a_finite_loss_are_told(rng: np.random.Generator) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return np.ones(len(y_pred)), np.full_like(y_pred, np.nan)

    network = Network(3, [Dense(1, "identity")], loss=loss, random_state=0)
    with pytest.raises(ValueError, match="non-finite"):
        Trainer(network).fit(rng.normal(size=(20, 3)), np.ones(20), epochs=1)


def test_schedules_have_names(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(40, 3)), rng.normal(size=40)
    curves = []
    for schedule in ("cosine", schedules.Cosine()):
        network = Network(3, [Dense(1, "identity")], random_state=0)
        trainer = Trainer(network, batch_size=10, random_state=0, schedule=schedule)
        curves.append(trainer.fit(X, target, epochs=3).loss)
    assert curves[0] == curves[1]
    with pytest.raises(ValueError, match="schedule must be one of constant,"):
        Trainer(network, schedule="cosinus")


@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 5, 8, 9, 255, 257, 1000, 4097])
def test_shuffling_draws_what_numpy_draws(n_rows: int) -> None:
    ours, numpys = np.random.RandomState(n_rows), np.random.RandomState(n_rows)
    for _ in range(3):
        order, expected = np.arange(n_rows), np.arange(n_rows)
        _core.shuffle(order, ours)
        numpys.shuffle(expected)
        np.testing.assert_array_equal(order, expected)
    assert ours.randint(2**30) == numpys.randint(2**30)
