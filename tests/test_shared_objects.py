"""Several Python threads use the same objects at once. On Python without the GIL they really do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable

import numpy as np
import pytest

from assertions import same_bits
from builders import make_network
from densegrad import Dense, MLPClassifier, Network, Trainer

LONGEST = 60.0  # s until a thread is said to hang


def in_threads(*works: Callable[[], object]) -> list[BaseException]:
    """Run them at once, and return what they raised."""
    raised: list[BaseException] = []
    begin = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        begin.wait(LONGEST)
        try:
            work()
        except BaseException as error:  # told by the main thread
            raised.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONGEST)
        assert not thread.is_alive(), "a thread hangs"
    return raised


def succeeds(call: Callable[[], object]) -> bool:
    """Tell whether a call succeeds; it fails if another thread changes the network, or has changed it."""
    try:
        call()
    except RuntimeError as error:
        if not re.search("in use by another call|forward", str(error)):
            raise
        return False
    return True


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python needs its GIL")
def test_no_module_switches_the_gil_on() -> None:
    """Not even where the environment allows it; Python would warn, too."""
    code = "import sys, densegrad, densegrad.estimators, densegrad.tabular; print(sys._is_gil_enabled())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={name: value for name, value in os.environ.items() if name != "PYTHON_GIL"},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    assert done.stdout == "False\n", done.stderr


def test_reads_of_a_network_in_training_are_of_one_moment(rng: np.random.Generator) -> None:
    """A trainer writes the same number into all weights; no reader may see two numbers."""
    network = Network(8, [Dense(16), Dense(1, "identity")], random_state=0)
    mixed: list[int] = []
    done = threading.Event()

    def write() -> None:
        for number in range(300):
            network.parameters = np.full(network.n_parameters, number, np.float32)
        done.set()

    def read() -> None:
        while not done.is_set():
            if np.unique(network.parameters).size != 1:
                mixed.append(1)

    network.parameters = np.zeros(network.n_parameters, np.float32)
    assert in_threads(write, read, read) == []
    assert not mixed


def test_changes_of_one_network_are_whole_or_an_error(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(64, 8)), rng.normal(size=(64, 2))
    network = make_network((1, 8, 16, 2))
    trainer = Trainer(network, batch_size=16, random_state=0)
    steps: list[int] = []

    def fit() -> None:
        steps.extend(4 for _ in range(40) if succeeds(lambda: trainer.fit(X, target, epochs=1)))

    def differentiate() -> None:
        for _ in range(40):
            if succeeds(lambda: network.forward(X)):
                succeeds(lambda: network.backward(target))  # not if a fit has changed the weights

    def predict() -> None:
        for _ in range(80):
            assert np.isfinite(network.predict(X)).all()

    assert in_threads(fit, fit, differentiate, predict) == []
    assert trainer.steps >= sum(steps)
    network.forward(X)


def test_objects_are_made_used_and_dropped_in_all_threads(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(40, 5)), rng.integers(0, 3, 40)
    fits: list[bytes] = []
    layers = [Dense(7, "tanh", dropout=0.2), Dense(3, "softmax")]

    def work() -> None:
        for _ in range(50):
            network = Network(5, layers, loss="log_loss", random_state=0)
            Trainer(network, "adam", batch_size=8, random_state=0).fit(X, target, epochs=2)
            fits.append(network.parameters.tobytes())

    assert in_threads(work, work, work, work) == []
    assert len(fits) == 200
    assert len(set(fits)) == 1


def test_threads_predict_with_one_estimator(rng: np.random.Generator) -> None:
    X = rng.normal(size=(300, 6))
    classifier = MLPClassifier((16,), max_iter=5, random_state=0)
    with pytest.warns(UserWarning, match="converge"):
        classifier.fit(X, X[:, 0] > 0)
    expected = classifier.predict_proba(X)

    def predict() -> None:
        for _ in range(50):
            assert same_bits(classifier.predict_proba(X), expected)

    assert in_threads(predict, predict, predict, predict) == []
