"""Faults of one rank: all ranks end at the same update, none waits for ever, and errors say who did it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import half_square
from densegrad import LBFGS, Adam, Dense, Network, Trainer
from densegrad.distributed import Communicator, Interrupted, PeerLost, ThreadCommunicator, rows_of
from thread_ranks import on_ranks, outcomes

N, SHARDS, BATCH = 120, 8, 24
STEPS = 5  # of an epoch


class Program:
    """A small fit on a rank; `trainers` keeps what the ranks had when they ended."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.trainers: dict[int, Trainer] = {}

    def __call__(self, comm: Any, X: Any = None, **fit: Any) -> Any:
        rng = np.random.default_rng(0)
        rows, target = rng.normal(size=(N, 5)), rng.normal(size=(N, 2))
        mine = rows_of(N, SHARDS, comm)
        settings = {"batch_size": BATCH, "shards": SHARDS, "loss": "squared_error", **self.options}
        layers = [Dense(40, "tanh", dropout=settings.pop("dropout", 0.0)), Dense(2, "identity")]
        network = Network(5, layers, loss=settings.pop("loss"), random_state=0)
        optimizer = settings.pop("optimizer", Adam(0.01))
        trainer = Trainer(network, optimizer, comm=comm, random_state=0, **settings)
        self.trainers[0 if comm is None else comm.rank] = trainer
        rows = rows[mine] if X is None else X
        return trainer.fit(rows, target[mine], **{"epochs": 3, **fit})

    def steps(self) -> list[int]:
        return [trainer.steps for _, trainer in sorted(self.trainers.items())]

    def weights(self) -> set[bytes]:
        return {trainer.network.parameters.tobytes() for trainer in self.trainers.values()}


def check_ended_by(found: list[Any], rank: int, error: type[BaseException], match: str) -> None:
    """Rank `rank` raised `error`, and the others said so."""
    for r, result in enumerate(found):
        if r == rank:
            assert type(result) is error
            assert match in str(result)
        else:
            assert type(result) is Interrupted, repr(result)
            assert result.rank == rank
            assert match in str(result)
            assert error.__name__ in str(result)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_an_error_in_a_custom_loss(rank: int) -> None:
    trainers: dict[int, Trainer] = {}

    def fit(comm: Communicator) -> Any:
        def loss(y_true: Any, y_pred: Any) -> Any:
            if comm.rank == rank and trainers[rank].steps == 7:
                raise ZeroDivisionError("a loss of my own")
            return half_square(y_true, y_pred)

        program = Program(loss=loss)
        program.trainers = trainers
        return program(comm)

    check_ended_by(outcomes(3, fit), rank, ZeroDivisionError, "a loss of my own")
    assert [trainer.steps for trainer in trainers.values()] == [7, 7, 7]
    assert len({trainer.network.parameters.tobytes() for trainer in trainers.values()}) == 1


def test_an_error_in_a_custom_activation() -> None:
    def fit(comm: Communicator) -> Any:
        def value(z: Any) -> Any:
            if comm.rank == 1 and trainers and trainers[0].steps == 3:
                raise ZeroDivisionError("an activation of my own")
            return np.sin(z)

        trainers: list[Trainer] = []
        network = Network(5, [Dense(4, (value, np.cos)), Dense(2, "identity")], random_state=0)
        trainers.append(Trainer(network, batch_size=BATCH, shards=SHARDS, comm=comm, random_state=0))
        mine = rows_of(N, SHARDS, comm)
        try:
            trainers[0].fit(np.ones((N, 5))[mine], np.ones((N, 2))[mine])
        finally:
            kept.append(trainers[0])
            network.predict(np.ones((3, 5)) if comm.rank == 0 else np.ones((0, 5)))

    kept: list[Trainer] = []
    check_ended_by(outcomes(3, fit), 1, ZeroDivisionError, "an activation of my own")
    assert [trainer.steps for trainer in kept] == [3, 3, 3]


def test_an_error_in_a_callback() -> None:
    def callback(epoch: int, logs: dict[str, float]) -> None:
        if epoch == 1:
            raise OSError("the disk is full")

    program = Program()
    found = outcomes(3, lambda comm: program(comm, callbacks=[callback]))
    check_ended_by(found, 0, OSError, "the disk is full")
    assert program.steps() == [2 * STEPS] * 3
    assert len(program.weights()) == 1


def test_callbacks_and_scoring_are_those_of_rank_0() -> None:
    seen: list[tuple[int, int]] = []

    def fit(comm: Any) -> Any:
        return Program()(
            comm,
            callbacks=[lambda epoch, logs: seen.append((comm.rank, epoch)) or epoch == 1],
            scoring=lambda trainer: comm.rank + trainer.epochs,
        )

    histories = on_ranks(3, fit)
    assert seen == [(0, 0), (0, 1)]
    assert [history.score for history in histories] == [[1.0, 2.0]] * 3
    assert {history.stopped for history in histories} == {"callback"}


def test_an_error_in_scoring() -> None:
    def scoring(trainer: Trainer) -> float:
        raise LookupError("no scorer")

    found = outcomes(2, lambda comm: Program()(comm, scoring=scoring))
    check_ended_by(found, 0, LookupError, "no scorer")


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("optimizer", [Adam(0.01), LBFGS(0.0, 0.0)])
def test_the_time_of_one_rank_ends_all(optimizer: Any, rank: int) -> None:
    program = Program(optimizer=optimizer, batch_size="auto")
    found = on_ranks(
        2, lambda comm: program(comm, epochs=1_000_000, max_time=0.3 if comm.rank == rank else 1000)
    )
    assert [history.stopped for history in found] == ["max_time"] * 2
    assert len(set(program.steps())) == len(program.weights()) == 1


def test_patience_ends_all_alike() -> None:
    histories = on_ranks(3, lambda comm: Program()(comm, epochs=50, patience=2, tol=10.0))
    assert {history.stopped for history in histories} == {"patience"}
    assert {len(history.loss) for history in histories} == {3}


@pytest.mark.parametrize("optimizer", [Adam(), LBFGS()])
def test_nan_in_the_rows_of_one_rank(optimizer: Any) -> None:
    def fit(comm: Any) -> Any:
        mine = rows_of(N, SHARDS, comm)
        X = np.zeros((mine.stop - mine.start, 5))
        if comm.rank == 1:
            X[3, 2] = np.nan
        return Program(optimizer=optimizer, batch_size="auto")(comm, X)

    found = outcomes(3, fit)
    first = rows_of(N, SHARDS, ThreadCommunicator.group(3)[1]).start
    check_ended_by(
        found, 1, ValueError, f"X must be finite; got NaN or infinity (rank 1, row {first + 3} of all)"
    )


def test_a_rank_with_wrong_rows() -> None:
    def fit(comm: Any) -> Any:
        mine = rows_of(N, SHARDS, comm)
        X = np.zeros((mine.stop - mine.start, 5))
        target = np.zeros((len(X), 2))
        if comm.rank == 0:
            X, target = X[:-2], target[:-2]
        network = Network(5, [Dense(2, "identity")], random_state=0)
        return Trainer(network, shards=SHARDS, comm=comm).fit(X, target)

    for error in outcomes(2, fit):
        assert type(error) is ValueError
        assert "X of rank 0 must have" in str(error)
        assert "rows_of" in str(error)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("batch_size", {"batch_size": 16}),
        ("l2", {"l2": 0.5}),
        ("shuffle", {"shuffle": False}),
        ("schedule", {"schedule": "cosine"}),
        ("network: loss", {"loss": "huber"}),
    ],
)
def test_settings_that_differ(name: str, settings: dict[str, Any]) -> None:
    found = outcomes(3, lambda comm: Program(**(settings if comm.rank == 2 else {}))(comm))
    for error in found:
        assert type(error) is ValueError
        assert f"{name} must be the same on all ranks" in str(error)
        assert "on rank 2" in str(error)


def test_fits_that_differ() -> None:
    for error in outcomes(2, lambda comm: Program()(comm, epochs=2 + comm.rank)):
        assert type(error) is ValueError
        assert "epochs must be the same on all ranks; got 2 on rank 0 and 3 on rank 1" in str(error)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("patience", ({"patience": 1}, {"patience": 2})),
        ("patience", ({}, {"patience": 2})),
        ("tol", ({"patience": 2, "tol": 0.1}, {"patience": 2, "tol": 0.2})),
        ("restore_best", ({"patience": 2}, {"patience": 2, "restore_best": False})),
    ],
)
def test_early_stopping_that_differs(name: str, settings: tuple[Any, Any]) -> None:
    for error in outcomes(2, lambda comm: Program()(comm, epochs=3, **settings[comm.rank])):
        assert type(error) is ValueError
        assert f"{name} must be the same on all ranks" in str(error)


def test_rates_that_differ() -> None:
    for average_every in (None, 2):
        found = outcomes(
            2,
            lambda comm, every=average_every: Program(
                schedule=lambda step, n_steps, rank=comm.rank: 0.01 * (rank + 1), average_every=every
            )(comm),
        )
        for error in found:
            assert type(error) is ValueError
            assert "the learning rates of the updates must be the same on all ranks; got '0.01" in str(error)


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("the weights", lambda trainer, rank, X, t: trainer.epoch(X, t, learning_rate=0.0 * rank)),
        ("the learning rates", lambda trainer, rank, X, t: trainer.epoch(X, t, learning_rate=0.1 * rank)),
        (
            "the rows of a shard in an update",
            lambda trainer, rank, X, t: (trainer.step if rank else trainer.epoch)(X, t),
        ),
    ],
)
def test_epochs_and_steps_that_differ(name: str, act: Callable[..., Any]) -> None:
    def train(comm: Any) -> Any:
        mine = rows_of(N, SHARDS, comm)
        network = Network(5, [Dense(2, "identity")], random_state=0)
        trainer = Trainer(network, comm=comm, shards=SHARDS, batch_size=BATCH, random_state=0)
        X, target = np.ones((N, 5))[mine], np.ones((N, 2))[mine]
        trainer.epoch(X, target)
        if comm.rank and name == "the weights":
            network.parameters = 2 * network.parameters
        return act(trainer, comm.rank, X, target)

    for error in outcomes(2, train, timeout=5.0):
        assert type(error) is ValueError
        assert f"{name}" in str(error)
        assert "must be the same on all ranks" in str(error)


def test_a_bad_argument_on_one_rank() -> None:
    found = outcomes(3, lambda comm: Program(**({"l2": -1.0} if comm.rank == 1 else {}))(comm))
    check_ended_by(found, 1, ValueError, "l2 must be")


def test_calls_that_differ() -> None:
    def fit(comm: Any) -> Any:
        program = Program()
        program(comm, epochs=1)
        trainer = program.trainers[comm.rank]
        mine = rows_of(N, SHARDS, comm)
        X, target = np.zeros((N, 5))[mine], np.zeros((N, 2))[mine]
        if comm.rank == 0:
            return trainer.epoch(X, target)
        trainer.comm = comm
        return None

    for error in outcomes(2, fit, timeout=5.0):
        assert type(error) is RuntimeError
        assert "all ranks must make the same calls in the same order" in str(error)


def test_more_ranks_than_shards() -> None:
    for error in outcomes(3, lambda comm: Program(shards=2)(comm)):
        assert type(error) is ValueError
        assert "shards must be at least the number of ranks, which is 3; got shards=2" in str(error)


def test_more_shards_than_rows() -> None:
    network = Network(2, [Dense(1, "identity")], random_state=0)
    with pytest.raises(ValueError, match="shards must be at most the number of rows, 3; got 4"):
        Trainer(network, shards=4, batch_size=4).fit(np.zeros((3, 2)), np.zeros(3))


def test_arguments() -> None:
    network = Network(2, [Dense(1, "identity")], random_state=0)
    with pytest.raises(ValueError, match="batch_size must be a multiple of shards=4"):
        Trainer(network, shards=4, batch_size=10)
    with pytest.raises(ValueError, match="shards must be"):
        Trainer(network, shards=0)
    with pytest.raises(TypeError, match="comm must be a Communicator"):
        Trainer(network, shards=4, comm=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cuts of the communicator must ascend from 0 to 4 for 2 ranks"):
        Trainer(network, shards=4, comm=ThreadCommunicator.group(2, cuts=(0, 3, 5))[0])
    with pytest.raises(ValueError, match="target must be given"):
        Trainer(network, shards=4).fit([(np.zeros((8, 2)), np.zeros(8))])


class Faulty:
    """A communicator whose calls may be lost: at call number `at`, before or after bytes have moved."""

    def __init__(self, comm: ThreadCommunicator, at: int, after: bool) -> None:
        self.comm = comm
        self.rank, self.size, self.cuts, self.timeout = comm.rank, comm.size, comm.cuts, comm.timeout
        self.calls = 0
        self.at, self.after = at, after

    def all_to_all(self, send: Sequence[memoryview], receive: Sequence[memoryview]) -> None:
        self._move(lambda: self.comm.all_to_all(send, receive))

    def all_gather(self, send: memoryview, receive: Sequence[memoryview]) -> None:
        self._move(lambda: self.comm.all_gather(send, receive))

    def _move(self, move: Callable[[], None]) -> None:
        self.calls += 1
        if self.calls > self.at:
            raise SystemExit
        if self.calls == self.at and not self.after:
            self.close()
            raise SystemExit  # as a process that is killed: nothing more comes from it
        move()
        if self.calls == self.at:
            self.close()
            raise SystemExit

    def close(self) -> None:
        self.comm.close()


def group_with_fault(at: int, after: bool) -> list[Any]:
    first, second, third = ThreadCommunicator.group(3, timeout=20.0)
    return [first, Faulty(second, at, after), third]


@pytest.mark.parametrize("after", [False, True])
def test_a_rank_is_lost_at_any_moment(after: bool) -> None:
    program = Program()
    comms = group_with_fault(10**9, after)
    on_ranks(3, lambda comm: program(comm, epochs=1), group=comms)
    total = comms[1].calls
    for at in range(1, total + 1):
        program = Program()
        found = outcomes(3, lambda comm: program(comm, epochs=1), group=group_with_fault(at, after))  # noqa: B023
        for rank in (0, 2):
            error = found[rank]
            if at == total and after:
                continue  # it was lost after the end
            assert isinstance(error, PeerLost), (at, repr(error))
            assert error.rank == 1
            assert "rank 1 has left" in str(error)
            if rank in program.trainers:
                assert error.step == program.trainers[rank].steps
        steps = [trainer.steps for rank, trainer in program.trainers.items() if rank != 1]
        # At most one of the survivors has made the update that was under way.
        assert not steps or max(steps) - min(steps) <= 1


def test_a_rank_that_never_answers() -> None:
    def fit(comm: Any) -> Any:
        program = Program()

        def wait(epoch: int, logs: Any) -> None:
            done.wait(30)

        try:
            return program(comm, callbacks=[wait] if comm.rank == 0 else [])
        finally:
            done.set()

    done = threading.Event()
    began = time.monotonic()
    found = outcomes(2, fit, timeout=0.5)
    assert time.monotonic() - began < 10
    assert isinstance(found[1], PeerLost)
    assert found[1].rank == 0
    assert "has not answered within 0.5 s" in str(found[1])


SETTINGS: dict[str, dict[str, Any]] = {
    "plateau": {"schedule": "plateau", "l2": 0.1, "clip_norm": 0.5},
    "cosine": {"schedule": "cosine", "dropout": 0.2, "dropout_schedule": "cosine", "max_norm": 1.0},
    "averages": {"average_every": 2, "dropout": 0.2, "schedule": "cosine"},
    "lbfgs": {"optimizer": LBFGS(), "batch_size": "auto", "l2": 0.1},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_after_a_loss_others_go_on_in_the_middle_of_the_epoch(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    epochs = 8 if "optimizer" in settings else 2

    def fit(program: Program, comm: Any, path: Path | None = None) -> Any:
        mine = rows_of(N, SHARDS, comm)
        rng = np.random.default_rng(1)
        validation = rng.normal(size=(N, 5))[mine], rng.normal(size=(N, 2))[mine]
        return program(comm, epochs=epochs, patience=epochs, validation=validation, checkpoint=path)

    def saved(program: Program, paths: Sequence[Path], comm: Any) -> Any:
        return fit(program, comm, paths[comm.rank])

    def record(history: Any) -> Any:
        return history.loss, history.validation_loss, history.best_epoch, history.stopped

    whole = Program(**settings)
    complete = fit(whole, None)
    counted = group_with_fault(10**9, False)
    on_ranks(3, lambda comm: fit(Program(**settings), comm), group=counted)
    made = []
    for at in range(1, counted[1].calls + 1, 3):
        program, paths = Program(**settings), [tmp_path / f"{at}-{rank}" for rank in range(3)]
        broken_off = partial(saved, program, paths)
        outcomes(3, broken_off, group=group_with_fault(at, at % 2 == 0))
        for rank, size in ((0, 1), (2, 2)):
            again = Program(**settings)
            histories = on_ranks(size, partial(saved, again, [paths[rank]] * size))
            assert again.weights() == whole.weights(), at
            assert [record(history) for history in histories] == [record(complete)] * size
        if 0 in program.trainers:
            made.append(program.trainers[0].steps)
    assert len({steps for steps in made if 0 < steps < whole.steps()[0]}) > 3


class UntoldError(Exception):
    """An error of a user, whose text cannot be had."""

    def __str__(self) -> str:
        raise AttributeError("no text here")


def test_an_error_whose_text_fails() -> None:
    def fit(comm: Communicator) -> Any:
        def loss(y_true: Any, y_pred: Any) -> Any:
            if comm.rank == 1:
                raise UntoldError
            return half_square(y_true, y_pred)

        return Program(loss=loss)(comm)

    first, second = outcomes(2, fit)
    assert type(first) is Interrupted
    assert str(first) == "rank 1 ended the training after 0 updates: UntoldError"
    assert type(second) is UntoldError


def test_ctrl_c_leaves_a_checkpoint_in_the_middle_of_the_epoch(tmp_path: Path) -> None:
    whole = Program(loss=half_square)
    complete = whole(None)
    path = tmp_path / "fit.safetensors"

    def fit(comm: Any) -> Any:
        def loss(y_true: Any, y_pred: Any) -> Any:
            if comm.rank == 0 and program.trainers[0].steps == 7:
                raise KeyboardInterrupt
            return half_square(y_true, y_pred)

        return program_of(loss)(comm, checkpoint=path)

    def program_of(loss: Any) -> Program:
        one = Program(loss=loss)
        one.trainers = program.trainers
        return one

    program = Program()
    found = outcomes(2, fit)
    assert [type(error) for error in found] == [KeyboardInterrupt, Interrupted]
    assert program.steps() == [7, 7]
    again = Program(loss=half_square)
    history = again(None, checkpoint=path)
    assert again.weights() == whole.weights()
    assert history.loss == complete.loss
    assert Trainer.load(path, loss=half_square).steps == 3 * STEPS


@pytest.mark.parametrize("where", ["newer", "older", "missing", "damaged"])
def test_the_checkpoint_of_rank_0_counts(where: str, tmp_path: Path) -> None:
    """Ranks on other machines may have older files, or none: all ranks take what rank 0 has."""
    whole = Program()
    complete = whole(None, epochs=4)
    paths = [tmp_path / "first", tmp_path / "second"]
    for path, epochs in zip(paths, {"newer": (3, 1), "older": (1, 3)}.get(where, (2, 0)), strict=True):
        if epochs:

            def stop(epoch: int, logs: Any, last: int = epochs) -> None:
                if epoch == last:
                    raise KeyError("killed")

            with pytest.raises(KeyError):
                Program()(None, epochs=4, checkpoint=path, callbacks=[stop])
    if where == "damaged":
        paths[1].write_bytes(b"nothing of ours")
    again = Program()
    histories = on_ranks(2, lambda comm: again(comm, epochs=4, checkpoint=paths[comm.rank]))
    assert again.weights() == whole.weights()
    assert [history.loss for history in histories] == [complete.loss] * 2


def test_a_damaged_checkpoint_of_rank_0_ends_all(tmp_path: Path) -> None:
    path = tmp_path / "fit.safetensors"
    path.write_bytes(b"nothing of ours")
    found = outcomes(2, lambda comm: Program()(comm, checkpoint=path))
    check_ended_by(found, 0, ValueError, "fit.safetensors")


def test_a_rank_with_other_updates_takes_those_of_rank_0() -> None:
    """A trainer that is made by hand may have made updates before its ranks met."""

    def fit(comm: Any) -> Trainer:
        program = Program()
        program(None, epochs=1 + comm.rank)
        trainer = program.trainers[0]
        trainer.comm = comm
        rng = np.random.default_rng(0)
        mine = rows_of(N, SHARDS, comm)
        trainer.fit(rng.normal(size=(N, 5))[mine], rng.normal(size=(N, 2))[mine], epochs=2)
        return trainer

    whole = Program()
    whole(None, epochs=1)
    rng = np.random.default_rng(0)
    whole.trainers[0].fit(rng.normal(size=(N, 5)), rng.normal(size=(N, 2)), epochs=2)
    for trainer in on_ranks(2, fit):
        assert trainer.steps == 3 * STEPS
        assert trainer.network.parameters.tobytes() in whole.weights()


@pytest.mark.parametrize(("before", "after"), [(3, 2), (1, 3), (2, 1)])
def test_a_checkpoint_goes_on_with_another_number_of_ranks(before: int, after: int, tmp_path: Path) -> None:
    whole = Program()
    complete = whole(None, epochs=6, patience=3)

    def stop(epoch: int, logs: Any) -> None:
        if epoch == 3:
            raise KeyError("killed")

    path = tmp_path / "fit.safetensors"
    first = outcomes(
        before, lambda comm: Program()(comm, epochs=6, patience=3, checkpoint=path, callbacks=[stop])
    )
    assert all(isinstance(error, KeyError | Interrupted) for error in first)
    second = Program()
    histories = on_ranks(after, lambda comm: second(comm, epochs=6, patience=3, checkpoint=path))
    assert second.weights() == whole.weights()
    assert [history.loss for history in histories] == [complete.loss] * after


def test_a_checkpoint_of_other_shards(tmp_path: Path) -> None:
    path = tmp_path / "fit.safetensors"
    Program()(None, checkpoint=path)
    with pytest.raises(ValueError, match="it has shards=8, this trainer 4"):
        Program(shards=4)(None, checkpoint=path)


def test_ctrl_c_on_one_rank_ends_all() -> None:
    # The main thread is rank 1 here: signals come to it alone.
    program, found = Program(), {}
    comms = ThreadCommunicator.group(2, timeout=30.0)

    def first() -> None:
        try:
            program(comms[0], epochs=1_000_000, callbacks=[press])
        except BaseException as error:
            found[0] = error

    def press(epoch: int, logs: Any) -> None:
        if epoch == 3:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    other = threading.Thread(target=first)
    other.start()
    handler = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            program(comms[1], epochs=1_000_000)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)
        other.join()
    assert isinstance(found[0], Interrupted)
    assert found[0].rank == 1
    assert "KeyboardInterrupt" in str(found[0])
    assert len(set(program.steps())) == len(program.weights()) == 1


def test_a_pickled_trainer_leaves_its_ranks() -> None:
    import pickle

    def fit(comm: Any) -> bytes:
        program = Program()
        program(comm, epochs=1)
        trainer = pickle.loads(pickle.dumps(program.trainers[comm.rank]))
        assert trainer.comm is None
        trainer.comm = comm
        mine = rows_of(N, SHARDS, comm)
        rng = np.random.default_rng(0)
        rows, target = rng.normal(size=(N, 5)), rng.normal(size=(N, 2))
        trainer.fit(rows[mine], target[mine], epochs=2)
        return bytes(trainer.network.parameters.tobytes())

    whole = Program()
    whole(None)
    assert set(on_ranks(3, fit)) == whole.weights()
