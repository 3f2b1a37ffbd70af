"""One library in its own process: reads a command a line as JSON, answers with a line of JSON.

Started by peers.py with the number of threads already in the environment:
``python worker.py LIBRARY THREADS DTYPE``.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import re
import statistics
import sys
import time
import traceback
from pathlib import Path
from typing import Any

# peers.py sets the thread limits in the environment, because NumPy reads them when it is loaded.
import numpy as np

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from cases import PREDICTION_CASE, case_named
from libraries import LIBRARIES
from libraries.base import Library
from workloads import log_loss, make_problem, reference_probabilities, tall_problem

# One measurement lasts at least about this long: a core that has just waited is slow for some milliseconds.
MEASURE_SECONDS = 0.1


class Worker:
    """Answers the commands; every method named `do_...` is one."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def do_hello(self) -> dict[str, Any]:
        library = self.library
        return {
            "versions": library.versions(),
            "trains": library.trains,
            "reads_sparse": library.reads_sparse,
        }

    def do_load(self, case: str) -> dict[str, Any]:
        """Prepare a case and train it once, which compiles and warms up; losses before and after."""
        self.case = case_named(case)
        self.problem = make_problem(self.case, self.library.dtype)
        self.library.load(self.problem)
        self.library.reset()
        if not self.library.trains:
            return {}
        before = self.training_loss()
        self.library.train(self.case.epochs)
        return {"loss_before": before, "loss_after": self.training_loss()}

    def training_loss(self) -> float:
        return log_loss(self.library.predict(self.problem.X), self.problem.y)

    def do_train(self) -> dict[str, Any]:
        """Time the case's epochs from its initial weights, the median of as many times as fit in.

        Seconds an epoch, and the loss after the last of them.
        """
        fits: list[float] = []
        while sum(fits) < MEASURE_SECONDS:
            self.library.reset()
            start = time.perf_counter()
            self.library.train(self.case.epochs)
            fits.append(time.perf_counter() - start)
        return {"seconds": statistics.median(fits) / self.case.epochs, "loss_after": self.training_loss()}

    def do_prepare_prediction(self) -> dict[str, Any]:
        """Give the library the network that prediction is measured with."""
        self.problem = make_problem(PREDICTION_CASE, self.library.dtype)
        self.library.load(self.problem)
        self.library.reset()
        return {}

    def do_predict(self, rows: int) -> dict[str, Any]:
        """Time one call for that many rows; seconds a call and the largest error."""
        X = np.ascontiguousarray(np.resize(self.problem.X, (rows, self.problem.sizes[0])))
        error = np.abs(self.library.predict(X) - reference_probabilities(X, self.problem.weights)).max()
        start = time.perf_counter()
        self.library.predict(X)
        calls = max(3, int(MEASURE_SECONDS / (time.perf_counter() - start)))
        start = time.perf_counter()
        for _ in range(calls):
            self.library.predict(X)
        return {"seconds": (time.perf_counter() - start) / calls, "error": float(error)}

    def do_tall(self, rows: int) -> dict[str, Any]:
        """Fit that many rows of float64 for one epoch: seconds and peak of the extra memory in bytes."""
        few = tall_problem(1000, self.library.dtype)
        self.library.load(few)
        self.library.reset()
        self.library.train(1)
        problem = tall_problem(rows, self.library.dtype)
        before = reset_peak_memory()
        self.library.load(problem)
        self.library.reset()
        start = time.perf_counter()
        self.library.train(1)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "extra_bytes": max(0, status_bytes("VmHWM") - before)}


def reset_peak_memory() -> int:
    """Reset the process's peak of resident memory; returns the resident memory in bytes.

    Memory that the allocator kept goes back to the system first. It would hide allocations of the fit.
    """
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def status_bytes(key: str) -> int:
    """A size from /proc/self/status, in bytes."""
    found = re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"/proc/self/status has no {key}")
    return int(found.group(1)) * 1024


def main() -> None:
    name, threads, dtype = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    # Only answers go to the original standard output; the output of a library goes to standard error.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")

    module_name, class_name, arguments = LIBRARIES[name]
    try:
        module = importlib.import_module(f"libraries.{module_name}")
    except ImportError as error:
        answer({"missing": str(error)})
        return
    worker = Worker(getattr(module, class_name)(threads, dtype, **arguments))
    answer(worker.do_hello())
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer(getattr(worker, "do_" + command.pop("do"))(**command))
        except Exception as error:
            traceback.print_exc()
            answer({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
