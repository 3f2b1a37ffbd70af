"""A whole tabular fit has the same bits on any number of threads, and on any CPU."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from densegrad import TabularClassifier, TabularRegressor
from frames import classes_of, messy_frame, values_of

HERE = Path(__file__).parent
N_ROWS = 500


def model_of(kind, n_threads):
    shared = {"max_epochs": 20, "random_state": 0, "n_threads": n_threads}
    if kind == "classes":
        return TabularClassifier(class_weight="balanced", **shared), classes_of
    return TabularRegressor("gaussian_nll" if kind == "deviations" else "squared_error", **shared), values_of


def digest(kind, n_threads):
    """A hash of all that a fit learns, and of predictions."""
    frame = messy_frame(N_ROWS)
    model, target = model_of(kind, n_threads)
    # So few rows as if they were many: three encodings, pairs, a short race, and the longer training. Layers
    # are small, since this takes long.
    race = "densegrad.tabular.race"
    with (
        mock.patch(f"{race}.ROWS_FOR_SHORT", 100),
        mock.patch(f"{race}._ROWS_FOR_VALUES", 100),
        mock.patch("densegrad.tabular.ensemble._ROWS_FOR_PAIRS", 100),
        mock.patch("densegrad.tabular.arguments.SHALLOW", (16,)),
        mock.patch("densegrad.tabular.arguments.DEEP", (16, 16)),
    ):
        model.fit(frame, target(frame), np.arange(N_ROWS) % 3 + 1.0, groups=np.arange(N_ROWS) // 2)
    assert len(model.race_) == 3
    chosen = model.hidden_layer_sizes_, model.race_, model.history_, model.member_epochs_
    found = hashlib.sha256(repr(chosen).encode())
    for network in model.members_:
        found.update(network.parameters.tobytes())
    found.update(model.oof_prediction_.tobytes())
    outputs = (
        model.predict_proba(frame)
        if kind == "classes"
        else model.predict(frame, return_std=kind == "deviations")
    )
    found.update(np.array(outputs).tobytes())
    if kind == "classes":
        found.update(repr(model.temperature_).encode())
    else:
        found.update(model.predict_interval(frame).tobytes())
    return found.hexdigest()


KINDS = ["classes", "values", "deviations"]
_REFERENCE = {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads_and_instruction_sets(kind, n_threads, isa):
    if kind not in _REFERENCE:
        _REFERENCE[kind] = digest(kind, 1)
    assert digest(kind, n_threads) == _REFERENCE[kind]


def test_numpy_without_its_instructions():
    if sys.platform != "linux":
        pytest.skip("knows the names of NumPy's features on x86-64 only")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_same_bits as t;"
        " print(*map(t.digest, t.KINDS, [2] * 3))"
    )
    printed = []
    for disabled in ("", "AVX512_SKX AVX2 FMA3 X86_V3 X86_V4"):
        environment = {
            **os.environ,
            "NPY_DISABLE_CPU_FEATURES": disabled,
            "DENSEGRAD_ISA": "generic" if disabled else "",
        }
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program, str(HERE)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        printed.append(run.stdout.split())
    assert len(set(printed[0])) == len(KINDS)
    assert printed[0] == printed[1]
