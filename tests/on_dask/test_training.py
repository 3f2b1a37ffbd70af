"""Training over workers: one machine's bits, whoever holds the rows and whoever is lost."""

from __future__ import annotations

import _thread
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from distributed import Client, LocalCluster, Nanny, Scheduler, SpecCluster, get_worker
from numpy.typing import NDArray

from densegrad import LBFGS, Adam, Dense, Network, Trainer, _core
from densegrad.dask import streams, train
from densegrad.dask.attempts import Attempts
from densegrad.dask.rank import train_rank
from densegrad.distributed import PeerLost, ThreadCommunicator

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not find this module

SHARDS = 8


@pytest.fixture(scope="module")
def target(X: NDArray[Any]) -> NDArray[np.int64]:
    return ((X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)).astype(np.int64)


@pytest.fixture
def own_cluster(local_cluster: Any) -> Iterator[tuple[LocalCluster, Client]]:
    """Three workers, for tests that kill some."""
    with local_cluster(3) as (cluster, client):
        yield cluster, client


def trainer(**options: Any) -> Trainer:
    optimizer = options.pop("optimizer", Adam(0.01))
    layers = [Dense(16, dropout=0.1 if optimizer == Adam(0.01) else 0.0), Dense(3, "softmax")]
    net = Network(5, layers, loss="log_loss", dtype="float32", random_state=0)
    return Trainer(
        net,
        optimizer,
        **{"batch_size": 64, "shards": SHARDS, "random_state": 0, "schedule": "plateau"} | options,
    )


def same(a: Trainer, b: Trainer) -> bool:
    """Weights, record, and what comes next."""
    assert a.history is not None
    assert b.history is not None
    return (
        a.network.parameters.tobytes() == b.network.parameters.tobytes()
        and a.history.loss == b.history.loss
        and a.history.validation_loss == b.history.validation_loss
        and a.history.stopped == b.history.stopped
        and (a.steps, a.epochs) == (b.steps, b.epochs)
    )


@pytest.mark.parametrize("n_workers", [1, 2, 3, 4])
def test_any_number_of_workers(
    n_workers: int, X: NDArray[Any], target: NDArray[Any], local_cluster: Any
) -> None:
    weight = np.linspace(0.5, 2, len(X))
    here, there = trainer(), trainer()
    here.fit(X, target, sample_weight=weight, epochs=3, validation=(X[:300], target[:300]))
    with local_cluster(n_workers) as (_, client):
        assert len(client.nthreads()) == n_workers
        rows = da.from_array(X, chunks=(170, 3))
        labels, weights = da.from_array(target, chunks=300), da.from_array(weight, chunks=170)
        history = train(
            client,
            there,
            rows,
            labels,
            sample_weight=weights,
            epochs=3,
            validation=(rows[:300], labels[:300]),
        )
    assert history is there.history
    assert same(here, there)


def chunked(array: NDArray[Any], size: int) -> da.Array:
    return da.from_array(array, chunks=(size, *array.shape[1:]))


def empty_first(array: NDArray[Any], X: NDArray[Any]) -> da.Array:
    """Chunks of unknown size, of which the first ones are empty."""
    rows, chosen = chunked(array, 170), chunked(X[:, 0], 170) < 1e9
    return da.concatenate([rows[~chosen], rows[chosen]])


def mixed(X: NDArray[Any]) -> da.Array:
    return da.concatenate([chunked(X[:400], 200), chunked(X[400:].astype(np.float64), 200)])


def frames(X: NDArray[Any], y: NDArray[Any]) -> tuple[Any, Any]:
    return dd.from_pandas(pd.DataFrame(X), npartitions=5), dd.from_pandas(pd.Series(y), npartitions=5)


COLLECTIONS: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "one partition": lambda X, y: (chunked(X, len(X)), chunked(y, len(X))),
    "unknown and empty chunks": lambda X, y: (empty_first(X, X), empty_first(y, X)),
    "frames": frames,
    "CSR blocks": lambda X, y: (chunked(X, 170).map_blocks(scipy.sparse.csr_array), chunked(y, 170)),
    "mixed types": lambda X, y: (mixed(X), chunked(y, 200)),
}


@pytest.mark.parametrize("kind", COLLECTIONS)
def test_kinds_of_collections(kind: str, four_workers: Client, X: NDArray[Any], target: NDArray[Any]) -> None:
    here, there = trainer(), trainer()
    here.fit(X, target, epochs=2)
    train(four_workers, there, *COLLECTIONS[kind](X, target), epochs=2)
    assert same(here, there)


def test_sorted_labels_and_persisted_rows(
    four_workers: Client, X: NDArray[Any], target: NDArray[Any]
) -> None:
    """Each partition has one class, and all of them lie on one worker."""
    order = np.argsort(target, kind="stable")
    here, there = trainer(), trainer()
    here.fit(X[order], target[order], epochs=2)
    address = min(four_workers.nthreads())
    rows, labels = four_workers.persist(
        [da.from_array(X[order], chunks=(100, 5)), da.from_array(target[order], chunks=100)],
        workers=[address],
    )
    train(four_workers, there, rows, labels, epochs=2)
    assert same(here, there)


def test_fewer_shards_than_workers(four_workers: Client, X: NDArray[Any], target: NDArray[Any]) -> None:
    here, there = trainer(shards=2), trainer(shards=2)
    here.fit(X, target, epochs=2)
    train(four_workers, there, chunked(X, 100), chunked(target, 100), epochs=2)
    assert same(here, there)


def test_shards_that_are_averaged(four_workers: Client, X: NDArray[Any], target: NDArray[Any]) -> None:
    here, there = trainer(average_every=4), trainer(average_every=4)
    here.fit(X, target, epochs=2)
    train(four_workers, there, chunked(X, 100), chunked(target, 100), epochs=2)
    assert same(here, there)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_lbfgs(
    kind: str, client: Client, four_workers: Client, X: NDArray[Any], target: NDArray[Any]
) -> None:
    weight = np.linspace(0, 2, len(X))
    rows: Any = scipy.sparse.csr_array(X * (X > 0)) if kind == "sparse" else X
    blocks = chunked(X, 130)
    if kind == "sparse":
        blocks = (blocks * (blocks > 0)).map_blocks(scipy.sparse.csr_array)
    options: dict[str, Any] = {"optimizer": LBFGS(), "batch_size": "auto", "schedule": None, "l2": 0.1}
    for shards in (3, 8):
        here = trainer(shards=shards, **options)
        here.fit(rows, target, sample_weight=weight, epochs=9, validation=(rows, target))
        for there in (client, four_workers):
            other = trainer(shards=shards, **options)
            labels = chunked(target, 130)
            weights, validation = chunked(weight, 130), (blocks, labels)
            train(there, other, blocks, labels, sample_weight=weights, epochs=9, validation=validation)
            assert same(here, other)


def test_a_second_training_continues(four_workers: Client, X: NDArray[Any], target: NDArray[Any]) -> None:
    rows, labels = chunked(X, 100), chunked(target, 100)
    here, there = trainer(schedule=None), trainer(schedule=None)
    here.fit(X, target, epochs=4)
    train(four_workers, there, rows, labels, epochs=2)
    train(four_workers, there, rows, labels, epochs=2)
    assert here.network.parameters.tobytes() == there.network.parameters.tobytes()


def test_two_trainings_at_once(four_workers: Client, X: NDArray[Any], target: NDArray[Any]) -> None:
    rows, labels = chunked(X, 100), chunked(target, 100)
    here, trainers = trainer(), [trainer(), trainer()]
    here.fit(X, target, epochs=2)
    threads = [
        threading.Thread(target=train, args=[four_workers, one, rows, labels], kwargs={"epochs": 2})
        for one in trainers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert all(same(here, one) for one in trainers)


class Record:
    """A callback that notes where it is called."""

    def __call__(self, epoch: int, logs: dict[str, float]) -> bool:
        assert get_worker() is not None
        assert {"loss", "validation_loss"} <= logs.keys()
        return epoch == 2


def test_callbacks_patience_and_progress(
    four_workers: Client, X: NDArray[Any], target: NDArray[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    rows, labels = chunked(X, 100), chunked(target, 100)
    there = trainer()
    options = {"validation": (rows[:200], labels[:200]), "epochs": 9}
    train(four_workers, there, rows, labels, callbacks=[Record()], progress=True, **options)
    assert there.history is not None
    assert there.history.stopped == "callback"
    assert len(there.history.loss) == 3
    assert "epoch" in capsys.readouterr().err
    here, there = trainer(), trainer()
    here.fit(X, target, validation=(X[:200], target[:200]), epochs=9, patience=1, tol=0.1)
    train(four_workers, there, rows, labels, patience=1, tol=0.1, **options)
    assert here.history is not None
    assert here.history.stopped == "patience"
    assert same(here, there)


class Kill:
    """A callback that sends a signal to a worker at the end of an epoch: that of rank 0 or another one."""

    def __init__(
        self, folder: str, epochs: list[int], own: bool, sends: signal.Signals = signal.SIGKILL
    ) -> None:
        self.folder, self.epochs, self.own, self.sends = folder, epochs, own, sends

    def __call__(self, epoch: int, logs: dict[str, float]) -> None:
        mark = os.path.join(self.folder, f"killed-{epoch}")
        if epoch in self.epochs and not os.path.exists(mark):
            with open(mark, "w"):
                pass
            if self.own:
                os.kill(os.getpid(), self.sends)
            with open(os.path.join(self.folder, "pids")) as file:
                others = [int(pid) for pid in file.read().split() if int(pid) != os.getpid()]
            for pid in others:
                try:
                    os.kill(pid, self.sends)
                    return
                except ProcessLookupError:
                    continue


def noted_pids(client: Client, folder: Any) -> dict[str, int]:
    """Return the processes of the workers by their addresses, and write them where `Kill` reads them."""
    pids: dict[str, int] = client.run(os.getpid)
    (folder / "pids").write_text(" ".join(map(str, pids.values())))
    return pids


@pytest.mark.parametrize(
    ("own", "options"),
    [
        (True, {}),
        (False, {}),
        (True, {"optimizer": LBFGS(0.0, 0.0), "batch_size": "auto", "schedule": None}),
    ],
    ids=["rank 0", "another rank", "rank 0 with L-BFGS"],
)
def test_a_killed_worker_changes_nothing(
    own: bool,
    options: dict[str, Any],
    own_cluster: tuple[LocalCluster, Client],
    X: NDArray[Any],
    target: NDArray[Any],
    tmp_path: Any,
) -> None:
    _, client = own_cluster
    noted_pids(client, tmp_path)
    rows, labels = chunked(X, 100), chunked(target, 100)
    here, there = trainer(**options), trainer(**options)
    here.fit(X, target, epochs=6)
    kill = Kill(str(tmp_path), [1, 4], own)
    train(client, there, rows, labels, epochs=6, callbacks=[kill], timeout=30)
    assert (tmp_path / "killed-1").exists()
    assert same(here, there)


def test_the_holder_of_the_state_is_lost_during_recovery(
    own_cluster: tuple[LocalCluster, Client],
    X: NDArray[Any],
    target: NDArray[Any],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, client = own_cluster
    pids = noted_pids(client, tmp_path)
    rows, labels = chunked(X, 100), chunked(target, 100)
    here, there = trainer(), trainer()
    here.fit(X, target, epochs=6)
    fetched, killed = Attempts._fetched, []

    def killed_before(self: Attempts, job: Any, rank: int) -> Any:
        address = job.placement.addresses[rank]
        if not killed:
            killed.append(address)
            os.kill(pids[address], signal.SIGKILL)
            while address in client.nthreads():
                time.sleep(0.05)
        return fetched(self, job, rank)

    monkeypatch.setattr(Attempts, "_fetched", killed_before)
    kill = Kill(str(tmp_path), [1], own=False)
    train(client, there, rows, labels, epochs=6, callbacks=[kill], timeout=30)
    assert killed
    assert same(here, there)


def test_a_killed_worker_at_any_moment(
    own_cluster: tuple[LocalCluster, Client], X: NDArray[Any], target: NDArray[Any], rng: np.random.Generator
) -> None:
    _, client = own_cluster
    rows, labels = chunked(X, 100), chunked(target, 100)
    here, there = trainer(), trainer()
    here.fit(X, target, epochs=12)
    pid = rng.choice([*client.run(os.getpid).values()])
    timer = threading.Timer(rng.uniform(0.2, 2), os.kill, [int(pid), signal.SIGKILL])
    timer.start()
    train(client, there, rows, labels, epochs=12, timeout=30)
    timer.join()
    assert same(here, there)


def test_without_recovery_the_loss_is_told(
    own_cluster: tuple[LocalCluster, Client], X: NDArray[Any], target: NDArray[Any], tmp_path: Any
) -> None:
    _, client = own_cluster
    rows, labels = chunked(X, 100), chunked(target, 100)
    kill = Kill(str(tmp_path), [1], True)
    with pytest.raises(PeerLost, match=r"rank \d on worker tcp://.* (has closed the connection|is gone)"):
        train(client, trainer(), rows, labels, epochs=6, callbacks=[kill], recover=False, timeout=30)


def test_a_worker_that_joins_is_welcome(
    own_cluster: tuple[LocalCluster, Client], X: NDArray[Any], target: NDArray[Any]
) -> None:
    cluster, client = own_cluster
    rows, labels = chunked(X, 100), chunked(target, 100)
    here, there = trainer(schedule=None), trainer(schedule=None)
    here.fit(X, target, epochs=4)
    train(client, there, rows, labels, epochs=2)
    cluster.scale(4)
    client.wait_for_workers(4, timeout=60)
    train(client, there, rows, labels, epochs=2)
    assert here.network.parameters.tobytes() == there.network.parameters.tobytes()


def test_a_worker_that_is_stopped(
    own_cluster: tuple[LocalCluster, Client],
    X: NDArray[Any],
    target: NDArray[Any],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It lives and does not answer: after the time-out the others go on without it."""
    _, client = own_cluster
    pids = [*noted_pids(client, tmp_path).values()]
    here, there = trainer(), trainer()
    here.fit(X, target, epochs=4)
    unanswered = []

    def run(function: Any, *arguments: Any, **options: Any) -> Any:
        answers = type(client).run(client, function, *arguments, **options)
        if function in (streams.waiting, streams.newest_checkpoint):
            unanswered.extend(set(options["workers"]) - answers.keys())
        return answers

    monkeypatch.setattr(client, "run", run)
    stop = Kill(str(tmp_path), [1], False, signal.SIGSTOP)
    try:
        train(client, there, chunked(X, 100), chunked(target, 100), epochs=4, callbacks=[stop], timeout=10)
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    assert (tmp_path / "killed-1").exists()
    assert same(here, there)
    assert not unanswered  # nothing more is waited for, since the scheduler has not heard of it either


def test_a_worker_that_is_stopped_between_two_attempts(own_cluster: tuple[LocalCluster, Client]) -> None:
    _, client = own_cluster
    pids = client.run(os.getpid)
    frozen, pid = pids.popitem()
    os.kill(pid, signal.SIGSTOP)
    try:
        rows: Any = None
        threads, names = Attempts(client, trainer(), rows, None, 10.0, True, {}).workers()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert threads.keys() == names.keys() == pids.keys()
    assert frozen not in threads


def test_a_worker_that_is_stopped_before_others_have_its_rows(
    own_cluster: tuple[LocalCluster, Client],
    X: NDArray[Any],
    target: NDArray[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, client = own_cluster
    pids = client.run(os.getpid)
    holder, pid = next(iter(pids.items()))
    rows, labels = (da.from_array(part, chunks=((333, 333, 334), *part.shape[1:])) for part in (X, target))
    rows, labels = client.persist([rows, labels], workers=[holder], allow_other_workers=True)
    here, there = trainer(shards=3, batch_size=63), trainer(shards=3, batch_size=63)
    here.fit(X, target, epochs=2)

    def submit(function: Any, *arguments: Any, **options: Any) -> Any:
        if function is train_rank:
            os.kill(pid, signal.SIGSTOP)
        return type(client).submit(client, function, *arguments, **options)

    monkeypatch.setattr(client, "submit", submit)
    try:
        train(client, there, rows, labels, epochs=2, timeout=6)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    assert same(here, there)


def test_a_lost_worker_costs_the_update_under_way(
    own_cluster: tuple[LocalCluster, Client],
    X: NDArray[Any],
    target: NDArray[Any],
    tmp_path: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An epoch of many updates goes on in its middle."""
    _, client = own_cluster
    rows, labels = np.tile(X, (8, 1)), np.tile(target, 8)
    here, there = trainer(batch_size=8), trainer(batch_size=8)
    here.fit(rows, labels, epochs=2)
    pid, mark = min(client.run(os.getpid).values()), tmp_path / "epoch-0"

    def kill() -> None:
        while not mark.exists():
            time.sleep(0.01)
        time.sleep(0.3)
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    rows, labels = chunked(rows, 1000), chunked(labels, 1000)
    train(client, there, rows, labels, epochs=2, callbacks=[Marks(str(tmp_path / "epoch"))], timeout=30)
    thread.join()
    assert same(here, there)
    (lost,) = (record.getMessage() for record in caplog.records if record.name == "densegrad.dask")
    found = re.search(r"has closed the connection; training goes on without it after (\d+) updates", lost)
    assert found is not None
    assert 1000 < int(found[1]) < 2000


class Marks:
    """A callback that leaves a file for each epoch, and waits for another file, if it has a name."""

    def __init__(self, path: str, waits_for: str = "") -> None:
        self.path, self.waits_for = path, waits_for

    def __call__(self, epoch: int, logs: dict[str, float]) -> None:
        with open(f"{self.path}-{epoch}", "w"):
            pass
        if self.waits_for:
            while not os.path.exists(self.waits_for):
                time.sleep(0.05)
            time.sleep(0.1)


def test_a_killed_scheduler_ends_the_training(X: NDArray[Any], target: NDArray[Any], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    begin = partial(subprocess.Popen, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    command = [sys.executable, "-m", "dask"]
    where = ["--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard"]
    scheduler = begin([*command, "scheduler", *where])
    options = ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
    workers = [begin([*command, "worker", address, *options]) for _ in range(2)]

    def kill() -> None:
        while not (tmp_path / "epoch-0").exists():
            time.sleep(0.1)
        scheduler.kill()

    try:
        with Client(address, set_as_default=False, timeout="5s") as client:
            client.wait_for_workers(2, timeout=60)
            killer = threading.Thread(target=kill)
            killer.start()
            there = trainer()
            before = there.network.parameters
            with pytest.raises(PeerLost, match="the scheduler does not answer any more"):
                train(
                    client,
                    there,
                    chunked(X, 100),
                    chunked(target, 100),
                    epochs=10**6,
                    callbacks=[Marks(str(tmp_path / "epoch"))],
                )
            killer.join()
            assert there.network.parameters.tobytes() == before.tobytes()
    finally:
        for process in (scheduler, *workers):
            process.kill()
            process.wait()


def test_workers_that_join_take_part_at_once(
    X: NDArray[Any], target: NDArray[Any], tmp_path: Any, local_cluster: Any
) -> None:
    here, there = trainer(), trainer()
    here.fit(X, target, epochs=15)
    joined = tmp_path / "joined"
    with local_cluster(1) as (cluster, client):

        def grow() -> None:
            while not (tmp_path / "epoch-0").exists():
                time.sleep(0.05)
            cluster.scale(2)
            client.wait_for_workers(2, timeout=60)
            joined.touch()

        thread = threading.Thread(target=grow, daemon=True)
        thread.start()
        marks = Marks(str(tmp_path / "epoch"), str(joined))
        rows, labels = chunked(X, 100), chunked(target, 100)
        train(client, there, rows, labels, epochs=15, callbacks=[marks], recover="grow", timeout=60)
        thread.join()
        takes_messages = client.run(lambda dask_worker: streams.OPERATION in dask_worker.handlers)
        assert [*takes_messages.values()] == [True, True]  # as only ranks do
    assert same(here, there)


def test_a_worker_whose_threads_are_busy_is_named(
    client: Client, X: NDArray[Any], target: NDArray[Any], tmp_path: Any
) -> None:
    free, busy = sorted(client.nthreads())
    rows, labels = client.persist([chunked(X, 100), chunked(target, 100)], workers=[free])
    client.gather(client.compute([rows.sum(), labels.sum()]))
    there, end = trainer(), tmp_path / "end"
    before = there.network.parameters.tobytes()
    task = client.submit(wait_for, str(end), workers=[busy], pure=False)
    try:
        with pytest.raises(TimeoutError, match=rf"rank \d on worker {busy} has not begun for 5 s.*running"):
            train(client, there, rows, labels, epochs=2, timeout=5)
    finally:
        end.touch()
    assert there.network.parameters.tobytes() == before
    task.result()


def wait_for(path: str) -> None:
    while not os.path.exists(path):
        time.sleep(0.05)


def test_processors_of_several_kinds(X: NDArray[Any], target: NDArray[Any]) -> None:
    """Each worker has another instruction set."""
    sets = _core.supported_instruction_sets()
    here, there = trainer(), trainer()
    here.fit(X, target, epochs=2)
    workers = {
        name: {
            "cls": Nanny,
            "options": {"nthreads": 1, "host": "127.0.0.1", "env": {"DENSEGRAD_ISA": name}},
        }
        for name in sets
    }
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": ":0"}}
    with (
        SpecCluster(workers, scheduler) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.wait_for_workers(len(sets), timeout=60)
        assert sorted(client.run(lambda: os.environ["DENSEGRAD_ISA"]).values()) == sorted(sets)
        train(client, there, chunked(X, 100), chunked(target, 100), epochs=2)
    assert same(here, there)


class Fail:
    """A callback that raises."""

    def __call__(self, epoch: int, logs: dict[str, float]) -> None:
        if epoch == 1:
            raise OSError("no space left")


def test_an_error_of_one_rank_is_raised_once(
    four_workers: Client, X: NDArray[Any], target: NDArray[Any]
) -> None:
    rows, labels = chunked(X, 100), chunked(target, 100)
    there, here = trainer(), trainer()
    here.fit(X, target, epochs=2)
    with pytest.raises(OSError, match="no space left") as error:
        train(four_workers, there, rows, labels, epochs=5, callbacks=[Fail()])
    assert any("rank 0 on worker tcp://" in note for note in error.value.__notes__)
    assert there.steps == here.steps
    assert there.network.parameters.tobytes() == here.network.parameters.tobytes()
    again = trainer()
    train(four_workers, again, rows, labels, epochs=2)  # nothing is left behind
    assert same(here, again)


class Mark:
    """A callback that tells the test, by a file, that the second epoch is done."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, epoch: int, logs: dict[str, float]) -> None:
        if epoch == 1:
            with open(self.path, "w"):
                pass


class UpTo(ThreadCommunicator):
    """One rank, which ends after so many updates."""

    def __init__(self, trainer: Trainer, steps: int) -> None:
        (alone,) = ThreadCommunicator.group(1)
        vars(self).update(vars(alone))
        self._trainer, self._last = trainer, steps

    @property
    def interrupted(self) -> bool:
        return self._trainer.steps >= self._last


def interrupt_after(path: Any) -> None:
    while not path.exists():
        time.sleep(0.05)
    _thread.interrupt_main()


def test_ctrl_c(four_workers: Client, X: NDArray[Any], target: NDArray[Any], tmp_path: Any) -> None:
    there, mark = trainer(), tmp_path / "mark"
    # A job in the background has it ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt_after, args=[mark], daemon=True)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            train(
                four_workers,
                there,
                chunked(X, 100),
                chunked(target, 100),
                epochs=10_000,
                callbacks=[Mark(str(mark))],
            )
    finally:
        signal.signal(signal.SIGINT, before)
    assert there.epochs >= 2
    here = trainer()
    here.comm = UpTo(here, there.steps)
    with pytest.raises(KeyboardInterrupt):
        here.fit(X, target, epochs=10_000)
    assert here.network.parameters.tobytes() == there.network.parameters.tobytes()


def test_a_time_limit(four_workers: Client, X: NDArray[Any], target: NDArray[Any]) -> None:
    rows, labels = chunked(X, 100), chunked(target, 100)
    there = trainer()
    history = train(four_workers, there, rows, labels, epochs=100_000, max_time=1.0)
    assert history.stopped == "max_time"


def test_lost_rows_that_dask_cannot_load_again(
    own_cluster: tuple[LocalCluster, Client], X: NDArray[Any], target: NDArray[Any], tmp_path: Any
) -> None:
    _, client = own_cluster
    parts = client.scatter([X[k : k + 100] for k in range(0, 1000, 100)], hash=False)
    rows = da.concatenate([da.from_delayed(part, (100, 5), np.float32) for part in parts])
    labels = da.from_array(target, chunks=100)
    kill = Kill(str(tmp_path), [1], True)
    with pytest.raises(RuntimeError, match=r"partition \d+ of X .* cannot be computed again.*read_parquet"):
        train(client, trainer(), rows, labels, epochs=6, callbacks=[kill], timeout=30)


def with_nan(X: NDArray[Any]) -> NDArray[Any]:
    X = X.copy()
    X[730, 2] = np.nan
    return X


BAD: dict[str, tuple[Callable[[Any, Any], tuple[Any, Any]], str]] = {
    "NaN": (
        lambda X, y: (with_nan(X), y),
        r"partition 7 of X: X must be finite.*row 30 of the partition. Drop such rows.*on worker tcp://",
    ),
    "rows": (lambda X, y: (X, y[:-1]), "target must have 1000 rows, as X has; got 999"),
    "classes": (lambda X, y: (X, y + 1), r"partition \d of X: .*class numbers in \[0, 2\]"),
    "one class": (
        lambda X, y: (X, np.where(np.arange(len(y)) == 420, 7, y)),
        r"partition 4 of X: .*class numbers in \[0, 2\]; got 7.*on worker",
    ),
    "no number": (
        lambda X, y: (X, np.where(np.arange(len(y)) == 420, np.nan, y)),
        "partition 4 of X: target must be finite.*on worker",
    ),
    "columns": (lambda X, y: (X[:, :4], y), r"partition \d of X: X must have 5 columns"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_rows(what: str, four_workers: Client, X: NDArray[Any], target: NDArray[Any]) -> None:
    change, message = BAD[what]
    rows, labels = change(X, target)
    there = trainer()
    before = there.network.parameters.tobytes()
    with pytest.raises(ValueError, match=message):
        train(
            four_workers,
            there,
            da.from_array(rows, chunks=(100, -1)),
            da.from_array(labels, chunks=100),
            timeout=30,
        )
    assert there.network.parameters.tobytes() == before


def test_refused_arguments(four_workers: Client, X: NDArray[Any], target: NDArray[Any]) -> None:
    rows, labels = chunked(X, 100), chunked(target, 100)
    with pytest.raises(TypeError, match=r"client must be a distributed\.Client; got str"):
        train("tcp://…", trainer(), rows, labels)
    with pytest.raises(TypeError, match="trainer must be a Trainer; got Network"):
        train(four_workers, trainer().network, rows, labels)
    with pytest.raises(TypeError, match=r"X must be a Dask Array.*got numpy\.ndarray"):
        train(four_workers, trainer(), X, labels)
    with pytest.raises(TypeError, match="target must be a Dask collection, as X is; got ndarray"):
        train(four_workers, trainer(), rows, target)
    with pytest.raises(ValueError, match="target must have as many partitions as X, 10; got 3"):
        train(four_workers, trainer(), rows[rows[:, 0] < 9], dd.from_pandas(pd.Series(target), npartitions=3))
    with pytest.raises(TypeError, match="checkpoint is not for a cluster"):
        train(four_workers, trainer(), rows, labels, checkpoint="x")
    with pytest.raises(ValueError, match="timeout"):
        train(four_workers, trainer(), rows, labels, timeout=0)
    with pytest.raises(ValueError, match=r"recover must be True, False or .*; got 'shrink'"):
        train(four_workers, trainer(), rows, labels, recover="shrink")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shards must be at most the number of rows, 5; got 8"):
        train(four_workers, trainer(), rows[:5], labels[:5])


def test_bad_weights_and_text_name_the_partition(
    four_workers: Client, X: NDArray[Any], target: NDArray[Any]
) -> None:
    rows, labels = chunked(X, 100), chunked(target, 100)
    weight = np.ones(len(X))
    weight[650] = -1
    with pytest.raises(ValueError, match=r"partition 6 of X: sample_weight must .*on worker tcp://"):
        train(four_workers, trainer(), rows, labels, sample_weight=chunked(weight, 100))
    frame = pd.DataFrame(X)
    parts = [frame[k : k + 100] for k in range(0, 1000, 100)]
    parts[3] = parts[3].astype(object)
    parts[3].iloc[33, 2] = "three"
    lazy = dd.from_map(lambda part: part, parts, meta=frame[:0])
    with pytest.raises((TypeError, ValueError), match=r"partition 3 of X: .*on worker tcp://"):
        train(four_workers, trainer(), lazy, dd.from_pandas(pd.Series(target), npartitions=10))
    with pytest.raises(ValueError, match=r"partition 7 of validation: X must be finite"):
        train(four_workers, trainer(), rows, labels, validation=(chunked(with_nan(X), 100), labels))
