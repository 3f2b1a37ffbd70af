"""A network takes at most twice the memory of its weights while it is made, saved or loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, re, sys
from pathlib import Path
from densegrad import Dense, Network

def memory(name):
    return 1024 * int(re.search(name + r":\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

def make(width):
    return Network(width, [Dense(width, "tanh")] * 3, random_state=0)

path, what = sys.argv[1:]
small, width = path + "-small", 2000
make(3).save(small)
Network.load(small)
if what == "load" and os.fork() == 0:
    make(width).save(path)
    os._exit(0)
if what == "load":
    os.wait()
before = memory("VmRSS")
if what == "load":
    network = Network.load(path)
elif what != "make a layer":
    network = make(width)
if what == "save":
    network.save(path)
if what == "make a layer":
    network = Network(3 * width, [Dense(width)], random_state=0)
print((memory("VmHWM") - before) / network.parameters.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("what", ["make", "make a layer", "save", "load"])
def test_at_most_twice_the_weights(what: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "net"), what]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 1 <= float(done.stdout) <= 2


FIT = """
import re
from pathlib import Path
import numpy as np, scipy.sparse
from densegrad import MLPClassifier

def memory(name):
    return 1024 * int(re.search(name + r":\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

rng = np.random.default_rng(0)
n, columns, k = 1000, 50_000, 20
indices, indptr = rng.integers(0, columns, n * k), np.arange(n + 1) * k
X = scipy.sparse.csr_array((rng.random(n * k), indices, indptr), (n, columns))
y = rng.integers(0, 5, n)
model = MLPClassifier((32,), max_iter=2, random_state=0, n_threads=1)
model.fit(X[:9, :9], y[:9])
before = memory("VmRSS")
model.fit(X, y)
print((memory("VmHWM") - before) / model.network_.parameters.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_fit_takes_little_beside_weights_and_state() -> None:
    command = [sys.executable, "-W", "ignore", "-c", FIT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 3 <= float(done.stdout) <= 3.5
