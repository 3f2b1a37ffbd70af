"""Interrupts, threads and forks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

from assertions import same_bits
from builders import make_network, make_rows
from densegrad import (
    Dense,
    Network,
    Trainer,
)

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
def test_ctrl_c_stops_calls_over_many_rows(call: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED_CALLS, call]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.5


INTERRUPTED_PASSES = """
import signal, sys, traceback, numpy as np, densegrad as d
signal.signal(signal.SIGALRM, signal.default_int_handler)
net = d.Network(3000, [d.Dense(3000), d.Dense(1, "identity")], random_state=0)
X = np.ones((3000, 3000), np.float32)
samples = net.samples(X, X[:, :1])
trainer = d.Trainer(net, batch_size=1000, n_threads=1)
calls = {
    "forward": lambda: net.forward(X, 1),
    "backward": lambda: net.backward(np.ones((3000, 1)), 1),
    "backpropagate": lambda: net.backpropagate(samples, n_threads=1),
    "epoch": lambda: trainer.epoch(samples),
}
net.forward(X)
before = net.parameters
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    calls[sys.argv[1]]()
except KeyboardInterrupt as error:
    # Where the call does not end early, the error comes after it, from the line above.
    print(traceback.extract_tb(error.__traceback__)[-1].filename.rpartition("/")[2])
assert (net.parameters == before).all()
net.predict(X[:5])
"""


@pytest.mark.parametrize("call", ["forward", "backward", "backpropagate", "epoch"])
def test_ctrl_c_ends_a_pass_through_wide_layers(call: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED_PASSES, call]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "_core.pyx\n"), done.stderr


AT_EXIT = """
import sys, threading, time, numpy as np, densegrad as d
what, n_threads = sys.argv[1], int(sys.argv[2])
X = np.random.RandomState(0).normal(size=(20_000, 64)).astype(np.float32)
def loss(target, prediction):
    return ((prediction - target) ** 2).sum(axis=1), 2 * (prediction - target)
layers = [d.Dense(128), d.Dense(1, "identity")]
network = d.Network(64, layers, random_state=0)
samples = network.samples(X, X[:, :1])
custom = d.Network(64, layers, loss=loss, random_state=0)
calls = {
    "fit": lambda: d.Trainer(network, n_threads=n_threads).fit(samples),
    "custom loss": lambda: d.Trainer(custom, n_threads=n_threads).fit(X, X[:, :1]),
    "predict": lambda: network.predict(X, n_threads),
    "evaluate": lambda: network.evaluate(samples, n_threads=n_threads),
    "loss_and_gradient": lambda: network.loss_and_gradient(samples, n_threads=n_threads),
}
def call_for_ever():
    while True:
        calls[what]()
threading.Thread(target=call_for_ever, daemon=True).start()
time.sleep(0.3)
print("done")
"""


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("call", ["fit", "custom loss", "predict", "evaluate", "loss_and_gradient"])
def test_the_interpreter_ends_while_a_daemon_thread_is_in_a_call(call: str, n_threads: int) -> None:
    command = [sys.executable, "-c", AT_EXIT, call, str(n_threads)]
    for _ in range(2):  # it depends on where the thread is just then
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


LATE_CALL = """
import numpy as np, densegrad as d
network = d.Network(64, [d.Dense(1, "identity")], random_state=0)
X = np.ones((100_000, 64), np.float32)
class Late:
    def __del__(self, samples=network.samples(X, X[:, :1])):
        print(network.evaluate(samples) > 0)
late = Late()
"""


def test_calls_work_while_the_interpreter_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE_CALL], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.* is multi-threaded:DeprecationWarning")  # from Python 3.12 on
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
    assert fitted() == expected  # the parent's threads are still its own


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_forked_during_a_fit_can_use_the_network() -> None:
    entered, may_go_on = threading.Event(), threading.Event()

    def loss(target: Any, prediction: Any) -> Any:
        entered.set()
        may_go_on.wait(60)
        return (prediction**2).sum(axis=1), 2 * prediction

    network = Network(2, [Dense(1)], loss=loss, random_state=0)
    X = np.ones((3, 2))
    thread = threading.Thread(target=Trainer(network, random_state=0).step, args=(X, np.ones((3, 1))))
    thread.start()
    assert entered.wait(60)
    with pytest.raises(RuntimeError, match="in use by another call"):
        network.forward(X)
    child = os.fork()
    if child == 0:
        try:
            network.forward(X)
        except BaseException:
            os._exit(1)
        os._exit(0)
    may_go_on.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    network.forward(X)


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
