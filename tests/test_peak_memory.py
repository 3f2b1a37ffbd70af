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
