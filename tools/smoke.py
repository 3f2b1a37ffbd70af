"""Tests an installed wheel as a user's machine would use it: no compiler, and beside other libraries.

    python tools/smoke.py

It needs nothing but what the wheel itself requires. PyTorch takes part if it is installed.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMPORT_LIMIT = 60.0  # ms above NumPy's


def python(code: str) -> str:
    """Run `code` in a fresh interpreter outside the source tree, and return what it prints."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-W", "error::RuntimeWarning", "-c", code],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
    if done.returncode:
        raise SystemExit(f"failed:\n{code}\n{done.stderr}")
    return done.stdout.strip()


def import_time(modules: str) -> float:
    """The shortest of several imports, in ms of processor time, since the machine may be busy.

    It is the time of this thread alone: the threads of NumPy's BLAS wait in a loop for their first work.
    """
    code = f"from time import thread_time as t; a = t(); import {modules}; print(t() - a)"
    return 1000 * min(float(python(code)) for _ in range(9))


FITS = """
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.neural_network import MLPClassifier as Other
import warnings
warnings.simplefilter("ignore")
X = np.random.RandomState(0).random_sample((300, 5))
y = (X[:, 0] > X[:, 1]) * 1
for _ in range(3):  # densegrad's threads beside those of OpenMP
    ours = densegrad.MLPClassifier((64, 64), max_iter=5, random_state=0).fit(X, y)
    theirs = Other((64, 64), max_iter=5, random_state=0).fit(X, y)
    HistGradientBoostingClassifier(max_iter=5).fit(X, y)
    LogisticRegression().fit(X, y)
    assert np.allclose(ours.coefs_[0], theirs.coefs_[0], atol=1e-7)
"""
TORCH = "\nlayer = torch.nn.Linear(64, 64); layer(torch.ones(256, 64)).sum().backward()\n" + FITS

SAVING = """
import numpy as np, densegrad as d
X = np.random.RandomState(0).random_sample((100, 3))
net = d.Network(3, [d.Dense(8, "tanh"), d.Dense(1, "identity")], random_state=0)
d.Trainer(net, "adam", random_state=0).fit(X, X[:, :1] * X[:, 1:2], epochs=3)
net.save("net.safetensors")
assert np.array_equal(d.Network.load("net.safetensors").parameters, net.parameters)
assert "sklearn" not in __import__("sys").modules
"""


def golden() -> str:
    """Train as tests/golden_training.py does and compare the bits."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "golden_training.py")],
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = (ROOT / "tests" / "golden" / "training.txt").read_text()
    moved = [line for line in done.stdout.splitlines() if line not in wanted.splitlines()]
    if done.stdout != wanted:
        raise SystemExit(f"these weights have other bits than tests/golden/training.txt says: {moved}")
    return f"{len(wanted.splitlines())} golden hashes"


def main() -> None:
    where = python("import densegrad; print(densegrad.__file__)")
    if ROOT in Path(where).parents and "site-packages" not in where:
        raise SystemExit(f"{where} is the source tree, not an installed wheel")
    print(python("import densegrad; densegrad.show_config()"))
    python(SAVING)
    print(golden())
    orders = ["import densegrad, sklearn", "import sklearn.ensemble\nimport densegrad"]
    for order in orders:
        python(order + FITS)
    print("beside scikit-learn, in both orders of import")
    if importlib.util.find_spec("torch"):
        for order in ("import densegrad, torch", "import torch, densegrad"):
            python(order + TORCH)
        print("beside PyTorch, in both orders of import")
    numpy, both = import_time("numpy"), import_time("numpy, densegrad")
    print(f"import: {both:.0f} ms, of which NumPy {numpy:.0f} ms")
    if both - numpy > IMPORT_LIMIT:
        raise SystemExit(
            f"the import takes {both - numpy:.0f} ms above NumPy's; the limit is {IMPORT_LIMIT} ms"
        )


if __name__ == "__main__":
    main()
