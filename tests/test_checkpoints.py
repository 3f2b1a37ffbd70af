"""Files of trainers, and checkpoints: a fit that was cut off ends like one that was not, bit for bit."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assertions import same_bits
from builders import half_square, make_network
from choices import OPTIMIZERS
from densegrad import Adam, Dense, Network, Trainer, schedules

X = np.random.default_rng(0).normal(size=(70, 4))
TARGET = np.sin(X[:, :2]) + 0.1 * np.random.default_rng(1).normal(size=(70, 2))
VALIDATION = (X[:20] + 0.1, TARGET[:20])


class Cut(Exception):
    """Ends a fit as a crash would."""


def cut_after(last: int) -> Any:
    def callback(epoch: int, logs: dict[str, float]) -> None:
        if epoch == last:
            raise Cut

    return callback


def noting(seen: list[int]) -> Any:
    return lambda epoch, logs: seen.append(epoch)


class Batches:
    """Mini-batches that come in the same order each time."""

    def __iter__(self) -> Iterator[Any]:
        return iter([(X[i : i + 16], TARGET[i : i + 16]) for i in range(0, 70, 16)])


class SizedBatches(Batches):
    def __len__(self) -> int:
        return 5


def new_trainer(**options: Any) -> Trainer:
    options = {"optimizer": Adam(0.02), "random_state": 7, "batch_size": 16, **options}
    return Trainer(make_network((70, 4, 9, 2), dropout=0.2), **options)


def score(trainer: Trainer) -> float:
    return -trainer.network.evaluate(*VALIDATION)


def falling(step: int, last: int | None) -> float:
    assert last is not None
    return 0.1 / (last - step)


FITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "validation and patience": ({}, {"validation": VALIDATION, "patience": 2, "tol": 0.01}),
    "long patience": ({"optimizer": Adam(0.3)}, {"validation": VALIDATION, "patience": 20}),
    "last weights": ({}, {"validation": VALIDATION, "patience": 2, "tol": 0.01, "restore_best": False}),
    "scoring": ({}, {"scoring": score, "patience": 3}),
    "cosine": ({"schedule": "cosine"}, {}),
    "one-cycle": ({"schedule": schedules.OneCycle(0.4)}, {"patience": 20}),
    "plateau": ({"schedule": schedules.Plateau(0.5, 1, 0.1)}, {}),
    "adaptive": ({"schedule": schedules.Adaptive(0.1, 2, 0.5)}, {}),
    "callable": ({"schedule": falling}, {}),
    "factors": (
        {
            "schedule": "coslog",
            "weight_decay": 0.5,
            "weight_decay_schedule": "flat_cos",
            "dropout_schedule": schedules.Plateau(0.5, 1, 0.1),
            "label_smoothing_schedule": falling,
        },
        {"patience": 20},
    ),
    "generator": ({"random_state": np.random.default_rng(3)}, {}),
    "RandomState": ({"random_state": np.random.RandomState(3)}, {}),
    "not shuffled": ({"shuffle": False}, {}),
    "penalties": ({"l2": 0.1, "l1": 0.01, "weight_decay": 0.1, "max_norm": 1.0, "clip_norm": 0.5}, {}),
}


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("name", FITS)
def test_a_resumed_fit_equals_the_whole(name: str, every: int, tmp_path: Path) -> None:
    options, arguments = FITS[name]
    whole = new_trainer(**pickle_of(options))
    expected = whole.fit(X, TARGET, epochs=12, **arguments)
    n_epochs = len(expected.loss)
    assert n_epochs > 3
    for cut in (0, n_epochs // 2, n_epochs - 1):
        path = tmp_path / str(cut)
        more = {**arguments, "epochs": 12, "checkpoint": path, "checkpoint_every": every}
        with pytest.raises(Cut):
            new_trainer(**pickle_of(options)).fit(X, TARGET, **more, callbacks=[cut_after(cut)])
        resumed = new_trainer(**pickle_of(options))
        seen: list[int] = []
        history = resumed.fit(X, TARGET, **more, callbacks=[noting(seen)])
        assert seen == list(range(cut - cut % every, n_epochs))
        assert same_record(history, expected)
        assert same_bits(resumed.network.parameters, whole.network.parameters)
        assert (resumed.steps, resumed.epochs) == (whole.steps, whole.epochs)
        # The finished fit comes back at once.
        again = new_trainer(**pickle_of(options))
        assert same_record(again.fit(X, TARGET, **more, callbacks=[cut_after(0)]), expected)
        assert same_bits(again.network.parameters, whole.network.parameters)
        # And whatever is trained next goes on from there.
        assert same_bits(next_weights(again), next_weights(pickle.loads(pickle.dumps(resumed))))


def pickle_of(options: dict[str, Any]) -> dict[str, Any]:
    """The options with generators of their own."""
    random = options.get("random_state")
    return options if random is None else {**options, "random_state": pickle.loads(pickle.dumps(random))}


def same_record(a: Any, b: Any) -> bool:
    return all(getattr(a, name) == getattr(b, name) for name in vars(a) if name != "seconds")


def next_weights(trainer: Trainer) -> Any:
    trainer.schedule = None
    trainer.fit(X, TARGET, epochs=2)
    return trainer.network.parameters


@pytest.mark.parametrize(("batches", "schedule"), [(SizedBatches(), "cosine"), (Batches(), "invscaling")])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_batches_from_an_iterable(optimizer: Any, batches: Any, schedule: str, tmp_path: Path) -> None:
    whole = new_trainer(optimizer=optimizer, schedule=schedule)
    whole.fit(batches, epochs=6)
    arguments = {"epochs": 6, "checkpoint": tmp_path / "fit"}
    with pytest.raises(Cut):
        new_trainer(optimizer=optimizer, schedule=schedule).fit(
            batches, **arguments, callbacks=[cut_after(3)]
        )
    resumed = new_trainer(optimizer=optimizer, schedule=schedule)
    resumed.fit(batches, **arguments)
    assert same_bits(resumed.network.parameters, whole.network.parameters)


def test_more_epochs_go_on_and_resume_false_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "fit"
    whole = new_trainer()
    whole.fit(X, TARGET, epochs=9)
    new_trainer().fit(X, TARGET, epochs=4, checkpoint=path)
    longer = new_trainer()
    assert len(longer.fit(X, TARGET, epochs=9, checkpoint=path).loss) == 9
    assert same_bits(longer.network.parameters, whole.network.parameters)
    anew = new_trainer()
    assert len(anew.fit(X, TARGET, epochs=9, checkpoint=path, resume=False).loss) == 9
    assert same_bits(anew.network.parameters, whole.network.parameters)
    with pytest.raises(ValueError, match="it has 9 epochs behind it, and epochs is 5"):
        new_trainer().fit(X, TARGET, epochs=5, checkpoint=path)


def test_a_fit_after_another_fit(tmp_path: Path) -> None:
    def two_fits(**arguments: Any) -> Trainer:
        trainer = new_trainer(schedule="cosine")
        trainer.fit(X, TARGET, epochs=3)
        trainer.fit(X, TARGET, epochs=5, **arguments)
        return trainer

    with pytest.raises(Cut):
        two_fits(checkpoint=tmp_path / "fit", callbacks=[cut_after(2)])
    resumed = two_fits(checkpoint=tmp_path / "fit")
    assert same_bits(resumed.network.parameters, two_fits().network.parameters)
    assert resumed.epochs == 8


def test_an_epoch_that_max_time_cuts_short_is_not_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now = tmp_path / "fit", [0.0]
    for module in ("trainer", "sources"):
        monkeypatch.setattr(f"densegrad.training.{module}.monotonic", lambda: now[0])

    class Ticking(SizedBatches):
        def __iter__(self) -> Iterator[Any]:
            for batch in super().__iter__():
                yield batch
                now[0] += 1.0

    whole, trainer = new_trainer(), new_trainer()
    whole.fit(SizedBatches(), epochs=5)
    # 5 seconds an epoch: the third ends after 2 of its 5 batches, or right after its last one.
    for max_time in (11.5, 14.5):
        now[0] = 0.0
        path.unlink(missing_ok=True)
        trainer = new_trainer()
        assert trainer.fit(Ticking(), epochs=5, checkpoint=path, max_time=max_time).stopped == "max_time"
        assert trainer.epochs == 3
        assert Trainer.load(path).epochs == 2
        assert len(trainer.fit(SizedBatches(), epochs=5, checkpoint=path).loss) == 5
        assert same_bits(trainer.network.parameters, whole.network.parameters)


def test_a_path_that_cannot_be_written_is_told_before_the_first_epoch(tmp_path: Path) -> None:
    trainer = new_trainer()
    for path, error in ((tmp_path / "none" / "fit", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(error):
            trainer.fit(X, TARGET, epochs=2, checkpoint=path, checkpoint_every=2)
        assert (trainer.steps, trainer.history) == (0, None)


def test_checkpoints_of_other_trainings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "fit"
    new_trainer().fit(X, TARGET, epochs=2, checkpoint=path)
    wider = Trainer(make_network((70, 4, 10, 2)), Adam())
    for trainer, arguments, message in (
        (wider, {}, "its network has another description"),
        (new_trainer(optimizer=OPTIMIZERS[0]), {}, r"of another training: its optimizer is Adam.*, .* SGD\("),
        (new_trainer(batch_size=8), {}, "its epochs have 5 updates, those of this fit 9"),
        (new_trainer(), {"patience": 3}, "patience and restore_best must be as they were"),
    ):
        before = pickle.dumps(trainer)
        with pytest.raises(ValueError, match=f"{path}.*{message}"):
            trainer.fit(X, TARGET, epochs=4, checkpoint=path, **arguments)
        assert pickle.dumps(trainer) == before
    new_trainer().save(path)
    with pytest.raises(ValueError, match="`save` wrote it"):
        new_trainer().fit(X, TARGET, checkpoint=path)
    path.write_bytes(b"junk")
    with pytest.raises(ValueError, match=f"{path}.*safetensors"):
        new_trainer().fit(X, TARGET, checkpoint=path)
    for wrong, kind in (({"checkpoint": 3}, TypeError), ({"checkpoint_every": 0}, ValueError)):
        with pytest.raises(kind, match="checkpoint"):
            new_trainer().fit(X, TARGET, **wrong)
    with pytest.raises(TypeError, match="resume"):
        new_trainer().fit(X, TARGET, resume=1)  # type: ignore[arg-type]


TRAINING = """
import os, signal, sys
import numpy as np
from densegrad import Adam, Dense, Network, Trainer
path, calls, n_calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
random = np.random.default_rng(0)
X, y = random.normal(size=(400, 30)), random.normal(size=400)
layers = [Dense(200, "tanh", dropout=0.2), Dense(200), Dense(1, "identity")]
trainer = Trainer(Network(30, layers, random_state=0), Adam(0.003), schedule="one_cycle", random_state=1)

def dying(call):
    def counted(*arguments, **named):
        global n_calls
        n_calls -= 1
        if n_calls == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **named)
    return counted

if calls != "none":
    setattr(os, calls, dying(getattr(os, calls)))
print("ready", flush=True)
trainer.fit(X, y, epochs=25, validation=(X[:50], y[:50] + 0.1), patience=20, checkpoint=path)
np.save(path + ".npy", trainer.network.parameters)
"""


def run(path: Path, calls: str = "none", n_calls: int = 0, seconds: float | None = None) -> int:
    """Run the training until it ends, has made so many calls or is killed; return its exit status."""
    command = [sys.executable, "-c", TRAINING, str(path), calls, str(n_calls)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def test_kill_minus_nine(tmp_path: Path) -> None:
    assert run(tmp_path / "whole") == 0
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)
    random, path, done = np.random.default_rng(seed), tmp_path / "killed", [0]
    moments: list[dict[str, Any]] = [{"seconds": random.uniform(0, 0.1)} for _ in range(6)]
    # Before and after the bytes are on the disk, and before the new file takes the place of the old one.
    moments += [
        {"calls": name, "n_calls": random.integers(1, 4)} for name in ("fsync", "replace", "fchmod") * 2
    ]
    for moment in random.permutation(moments):
        status = run(path, **moment)
        assert status in (-9, 0), moment
        if path.exists():
            history = Trainer.load(path).history  # a file that is there is always whole
            assert history is not None
            done.append(len(history.loss))
    assert done == sorted(done)
    assert run(path) == 0
    expected, found = (np.load(tmp_path / f"{name}.npy") for name in ("whole", "killed"))
    assert same_bits(expected, found)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "densegrad", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a small disk here: {error}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_last_checkpoint(small_disk: Path) -> None:
    def fill(epoch: int, logs: dict[str, float]) -> None:
        if epoch == 3:
            with (small_disk / "filling").open("wb", 0) as file:
                try:
                    while file.write(bytes(1024)):
                        pass
                except OSError:
                    pass

    arguments: dict[str, Any] = {"epochs": 8, "checkpoint": small_disk / "fit"}
    trainer = new_trainer()
    with pytest.raises(OSError, match="No space left"):
        trainer.fit(X, TARGET, **arguments, callbacks=[fill])
    assert trainer.epochs == 4  # it keeps its training
    assert sorted(os.listdir(small_disk)) == ["filling", "fit"]
    (small_disk / "filling").unlink()
    resumed, whole = new_trainer(), new_trainer()
    assert Trainer.load(small_disk / "fit").epochs == 3
    resumed.fit(X, TARGET, **arguments)
    whole.fit(X, TARGET, epochs=8)
    assert same_bits(resumed.network.parameters, whole.network.parameters)


# --- save and load ---


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loaded_trainer_goes_on(optimizer: Any, dtype: str, tmp_path: Path) -> None:
    network = make_network((70, 4, 9, 2), dtype=dtype, dropout=0.2)
    options: dict[str, Any] = {
        "l1": 0.01,
        "max_norm": 2.0,
        "n_threads": 2,
        "schedule": schedules.Plateau(0.5, 1),
    }
    trainer = Trainer(network, optimizer, random_state=np.random.default_rng(4), batch_size=16, **options)
    trainer.fit(X, TARGET, epochs=4)
    trainer.save(tmp_path / "trainer")
    loaded = Trainer.load(tmp_path / "trainer")
    assert loaded.history == trainer.history
    assert (loaded.optimizer, loaded.schedule) == (trainer.optimizer, trainer.schedule)
    assert repr(loaded) == repr(trainer)
    expected = trainer.fit(X, TARGET, epochs=4)
    assert same_record(loaded.fit(X, TARGET, epochs=4), expected)
    assert same_bits(loaded.network.parameters, trainer.network.parameters)


@pytest.mark.parametrize("generator", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64", "old PCG64"])
def test_every_generator_comes_back(generator: str, tmp_path: Path) -> None:
    bits = getattr(np.random, generator.split()[-1])(5)
    random = np.random.RandomState(bits) if generator.startswith("old") else np.random.Generator(bits)
    random.random(3), random.standard_normal(3)
    trainer = new_trainer(random_state=random)
    trainer.save(tmp_path / "trainer")
    loaded = Trainer.load(tmp_path / "trainer")
    trainer.fit(X, TARGET, epochs=2)
    loaded.fit(X, TARGET, epochs=2)
    assert same_bits(loaded.network.parameters, trainer.network.parameters)


def test_code_is_given_again(tmp_path: Path) -> None:
    path = tmp_path / "trainer"
    network = Network(4, [Dense(3), Dense(2, "identity")], loss=half_square, random_state=0)
    schedule = lambda step, last: 0.1  # noqa: E731
    trainer = Trainer(network, Adam(), schedule=schedule, random_state=0)
    trainer.save(path)
    loaded = Trainer.load(path, loss=half_square, schedule=schedule)
    trainer.fit(X, TARGET, epochs=2)
    loaded.fit(X, TARGET, epochs=2)
    assert same_bits(loaded.network.parameters, trainer.network.parameters)
    with pytest.raises(ValueError, match=f"loss must be a callable.*{path}"):
        Trainer.load(path, schedule=schedule)
    with pytest.raises(ValueError, match=f"schedule must be given.*{path}"):
        Trainer.load(path, loss=half_square)
    new_trainer().save(path)
    with pytest.raises(ValueError, match=f"schedule must be None.*{path}"):
        Trainer.load(path, schedule=schedule)


def test_a_schedule_of_dropout_that_is_code_is_given_again(tmp_path: Path) -> None:
    path = tmp_path / "trainer"
    trainer = new_trainer(dropout_schedule=falling, weight_decay_schedule="flat_cos", weight_decay=0.1)
    trainer.fit(X, TARGET, epochs=2)
    trainer.save(path)
    loaded = Trainer.load(path, dropout_schedule=falling)
    assert loaded.weight_decay_schedule == schedules.FlatCos()
    trainer.fit(X, TARGET, epochs=2)
    loaded.fit(X, TARGET, epochs=2)
    assert same_bits(loaded.network.parameters, trainer.network.parameters)
    with pytest.raises(ValueError, match=f"dropout_schedule must be given.*{path}"):
        Trainer.load(path)
    with pytest.raises(ValueError, match=f"label_smoothing_schedule must be None.*{path}"):
        Trainer.load(path, dropout_schedule=falling, label_smoothing_schedule=falling)


def test_a_trainer_that_diverged_comes_back(tmp_path: Path) -> None:
    trainer = new_trainer()
    trainer.step(X[:4], np.full((4, 2), 1e300))
    trainer.save(tmp_path / "trainer")
    before, after = (t.state_dict()["state"] for t in (trainer, Trainer.load(tmp_path / "trainer")))
    assert not np.all(np.isfinite(before[1][1]))
    for a, b in zip(before, after, strict=True):
        assert same_bits(a, b)


def test_a_trainer_of_a_newer_version_says_so(tmp_path: Path) -> None:
    path = tmp_path / "trainer"
    new_trainer().save(path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"densegrad trainer 1", b"densegrad trainer 2"))
    with pytest.raises(ValueError, match=r"trainer' has format 2, written by densegrad .* up to 1"):
        Trainer.load(path)
    state = new_trainer().__getstate__()
    with pytest.raises(ValueError, match="pickle of a Trainer has format 2"):
        new_trainer().__setstate__({**state, "format": 2})


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("state", []),
        ("state", [[], []]),
        ("steps", -1),
        ("seed", 2**64),
        ("optimizer", {"$optimizer": {"Trainer": {}}}),
        ("optimizer", {"$optimizer": {"Adam": {"lr": -1.0}}}),
        ("regularisation", {"l2": -1.0}),
        ("regularisation", {"nonsense": 1.0}),
    ],
    ids=str,
)
def test_damaged_states_are_refused(change: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "trainer"
    new_trainer().save(path)
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    state = json.loads(header["__metadata__"]["trainer"])
    state["descent"][change] = value
    header["__metadata__"]["trainer"] = json.dumps(state)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    with pytest.raises(ValueError, match=str(path)):
        Trainer.load(path)


def test_the_safetensors_library_reads_a_trainer(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors", reason="needs safetensors")
    trainer = new_trainer()
    trainer.fit(X, TARGET, epochs=1)
    trainer.save(tmp_path / "trainer")
    with safetensors.safe_open(tmp_path / "trainer", framework="numpy") as file:
        assert same_bits(file.get_tensor("network.weights.2"), trainer.network.weights[2])
        assert same_bits(file.get_tensor("descent.state.0.1"), trainer.state_dict()["state"][0][1])


@pytest.mark.parametrize("random", [np.random.default_rng(2), np.random.RandomState(2)], ids=str)
def test_skops_loads_a_trainer(random: Any) -> None:
    sio = pytest.importorskip("skops.io")
    trainer = new_trainer(schedule=schedules.WarmUp(4, schedules.Plateau()), random_state=random)
    trainer.fit(X, TARGET, epochs=2)
    dumped = sio.dumps(trainer)
    types = sio.get_untrusted_types(data=dumped)
    assert all(name.startswith("densegrad.") for name in types)
    loaded = sio.loads(dumped, trusted=types)
    assert loaded.history == trainer.history
    trainer.fit(X, TARGET, epochs=2)
    loaded.fit(X, TARGET, epochs=2)
    assert same_bits(loaded.network.parameters, trainer.network.parameters)
