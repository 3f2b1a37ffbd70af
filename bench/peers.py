"""Compare densegrad with the libraries that people would use instead.

A whole run writes the page of this CPU's family in docs/benchmarks/, with plots, and the overview of all
pages, docs/benchmarks.md. By default it is for float32 and one thread, which takes less than 15 minutes.

Each library has its own worker processes, one for each number of threads. All get the same data, initial
weights and number of updates. The processes stay alive and take turns, one repeat each, so a slow minute of
the machine hits all alike. The report has medians.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from cases import PREDICTION_ROWS, QUICK, TALL_ROWS, TIMED, Case, case_named
from libraries import LIBRARIES
from machine import FmaPeak, compiler_version, cpu_family, cpu_name
from report import target_section, write_report
from results import OURS, Prediction, Results, Setting, Tall, Training, say

HERE = Path(__file__).parent
ROOT = HERE.parent

# A thread that another library left spinning has gone to sleep by then.
SETTLE_SECONDS = 0.2
# Compiling can take minutes; an answer later than this means that the worker hangs.
ANSWER_SECONDS = 900.0

# torch compiles for many seconds a case: not for the curves over width and denormals.
NOT_FOR_CURVES = ("torch compiled", "densegrad auto")


class WorkerError(RuntimeError):
    """A worker answered with an error, hung, or ended."""


class LibraryMissing(RuntimeError):
    """The library is not installed."""


@dataclass
class Client:
    """The parent's end of one worker process."""

    library: str
    threads: int
    dtype: str
    cpus: set[int]

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), self.library, str(self.threads), self.dtype],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if not os.environ.get("BENCH_VERBOSE") else None,
            text=True,
            env={**os.environ, **thread_environment(self.threads)},
            preexec_fn=lambda: os.sched_setaffinity(0, self.cpus),
        )
        hello = self.answer()
        if "missing" in hello:
            self.process.wait()
            raise LibraryMissing(hello["missing"])
        self.versions: dict[str, str] = hello["versions"]
        self.trains: bool = hello["trains"]
        self.reads_sparse: bool = hello["reads_sparse"]

    def __str__(self) -> str:
        return f"{self.library}, {self.dtype}, {self.threads} thread(s)"

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        if self.process.poll() is not None or self.process.stdin is None:
            raise WorkerError("its process has ended")
        time.sleep(SETTLE_SECONDS)
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError("its process has ended") from None
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Wait for one line."""
        pipe = self.process.stdout
        if pipe is None or not select.select([pipe], [], [], ANSWER_SECONDS)[0]:
            self.process.kill()
            raise WorkerError(f"no answer in {ANSWER_SECONDS:.0f} s")
        line = pipe.readline()
        if not line:
            raise WorkerError(f"its process ended with status {self.process.wait()}")
        message: dict[str, Any] = json.loads(line)
        if "error" in message and len(message) == 1:
            raise WorkerError(message["error"])
        return message

    def close(self) -> None:
        """End the process."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def thread_environment(threads: int) -> dict[str, str]:
    """Environment that every library reads its number of threads from."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    xla = "" if threads > 1 else "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return {**dict.fromkeys(names, str(threads)), "XLA_FLAGS": xla, "JAX_PLATFORMS": "cpu"}


def cpus_for(threads: int) -> set[int]:
    """As many CPUs as threads; not the first ones, which serve the system's interrupts."""
    return set(sorted(os.sched_getaffinity(0))[-threads:])


@contextmanager
def running(libraries: list[str], threads: list[int], dtype: str, results: Results) -> Iterator[list[Client]]:
    """Workers for every library and number of threads; those that cannot start are left out with a note."""
    clients: list[Client] = []
    try:
        for library in libraries:
            for count in threads:
                if library == "densegrad auto" and count == 1:
                    continue
                try:
                    client = Client(library, count, dtype, cpus_for(count))
                except LibraryMissing as error:
                    results.note(f"{library}: not installed, left out ({error})")
                    break
                except WorkerError as error:
                    results.note(f"{library}: left out, its worker did not start ({error})")
                    break
                clients.append(client)
                results.versions.update(client.versions)
        yield clients
    finally:
        for client in clients:
            client.close()


def measure_training(
    case: Case, clients: list[Client], repeats: int, peak: FmaPeak, results: Results
) -> None:
    """One case: load and check all, then repeats in turn."""
    say(f"  {case.title}, {clients[0].dtype if clients else ''}")
    ready: list[Client] = []
    for client in clients:
        if not client.trains or (case.group in ("width", "denormal") and client.library in NOT_FOR_CURVES):
            continue
        if case.is_sparse and not client.reads_sparse:
            continue
        try:
            answer = client.ask("load", case=case.name)
        except WorkerError as error:
            results.note(f"{client}, {case.name}: {error}")
            continue
        results.losses[training(case, client)] = [answer["loss_before"], answer["loss_after"]]
        ready.append(client)
    for _ in range(repeats):
        measure_peak(ready, peak, results)
        for client in list(ready):
            try:
                answer = client.ask("train")
            except WorkerError as error:
                results.note(f"{client}, {case.name}: {error}")
                ready.remove(client)
                continue
            results.train.setdefault(training(case, client), []).append(answer["seconds"])
            results.losses[training(case, client)].append(answer["loss_after"])
    for client in ready:
        times = results.train.get(training(case, client), [math.nan])
        say(f"    {client.library:15} x{client.threads} {statistics.median(times) * 1e3:10.3f} ms an epoch")


def measure_peak(clients: list[Client], peak: FmaPeak, results: Results) -> None:
    """The register-only loop, once for every number of threads in use."""
    for dtype, threads in sorted({(client.dtype, client.threads) for client in clients}):
        gflops = peak.gflops(dtype, threads, cpus_for(threads))
        if gflops is None:
            results.note(f"share of peak: left out ({peak.reason})")
            return
        results.peak.setdefault(Setting(dtype, threads), []).append(gflops)


def measure_prediction(clients: list[Client], repeats: int, results: Results) -> None:
    """Calls of `predict` with few and many rows."""
    say(f"  prediction, {clients[0].dtype if clients else ''}")
    ready: list[Client] = []
    for client in clients:
        # `predict` always chooses its threads itself: nothing to compare.
        if client.library == "densegrad auto":
            continue
        try:
            client.ask("prepare_prediction")
            ready.append(client)
        except WorkerError as error:
            results.note(f"{client}, prediction: {error}")
    for rows in PREDICTION_ROWS:
        for _ in range(repeats):
            for client in list(ready):
                try:
                    answer = client.ask("predict", rows=rows)
                except WorkerError as error:
                    results.note(f"{client}, prediction of {rows} rows: {error}")
                    ready.remove(client)
                    continue
                results.predict.setdefault(prediction(rows, client), []).append(answer["seconds"])
                limit = 1e-4 if client.dtype == "float32" else 1e-10
                if answer["error"] > limit:
                    results.note(f"{client}: prediction of {rows} rows is off by {answer['error']:.1e}")
        for client in ready:
            times = results.predict.get(prediction(rows, client), [math.nan])
            middle = statistics.median(times)
            say(f"    {client.library:15} x{client.threads} {rows:5} rows {middle * 1e6:9.2f} µs")


def measure_tall(libraries: list[str], dtype: str, rows_list: tuple[int, ...], results: Results) -> None:
    """Time and extra memory of fitting many rows of float64, one thread, a fresh process for each."""
    for library in libraries:
        for rows in rows_list:
            with running([library], [1], dtype, results) as clients:
                for client in clients:
                    if not client.trains:
                        continue
                    try:
                        answer = client.ask("tall", rows=rows)
                    except WorkerError as error:
                        results.note(f"{library}, {rows} rows, {dtype}: {error}")
                        continue
                    results.tall[Tall(rows, dtype, library)] = [answer["seconds"], answer["extra_bytes"]]
                    say(
                        f"    {library:15} {rows:8} rows {answer['seconds'] / rows * 1e9:8.1f} ns a row, "
                        f"{answer['extra_bytes'] / 2**20:8.1f} MB extra"
                    )


def training(case: Case, client: Client) -> Training:
    """Key of a client's training."""
    return Training(case.name, client.dtype, client.threads, client.library)


def prediction(rows: int, client: Client) -> Prediction:
    """Key of a client's prediction."""
    return Prediction(rows, client.dtype, client.threads, client.library)


def names(text: str) -> list[str]:
    """The parts of a comma-separated list."""
    return text.split(",")


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--cases", type=names, help="names, comma-separated (default: all)")
    parser.add_argument("--libraries", type=names, default=list(LIBRARIES), help="names, comma-separated")
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1])
    parser.add_argument("--dtypes", type=names, default=["float32"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few cases, two repeats, float32, one thread")
    parser.add_argument("--no-training", action="store_true", help="leave the training cases out")
    parser.add_argument("--no-prediction", action="store_true", help="leave prediction out")
    parser.add_argument("--no-tall", action="store_true", help="leave tall data out")
    parser.add_argument(
        "--docs", type=Path, help="folder to write the pages to (default: docs, if nothing is left out)"
    )
    parser.add_argument("--json", type=Path, help="also write the raw measurements")
    parser.add_argument(
        "--from-json", type=Path, nargs="+", help="measure nothing, write the report of these runs"
    )
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.cases = arguments.cases or list(QUICK)
        arguments.repeats = 2
        arguments.dtypes = ["float32"]
        arguments.threads = [1]
    parts_left_out = arguments.no_training or arguments.no_prediction or arguments.no_tall
    if arguments.docs is None and not arguments.cases and not parts_left_out:
        arguments.docs = ROOT / "docs" if arguments.libraries == list(LIBRARIES) else None
    for library in arguments.libraries:
        if library not in LIBRARIES:
            parser.error(f"unknown library {library!r}; known: {', '.join(LIBRARIES)}")
    for dtype in arguments.dtypes:
        if dtype not in ("float32", "float64"):
            parser.error(f"unknown dtype {dtype!r}; known: float32, float64")
    available = len(os.sched_getaffinity(0))
    for threads in list(arguments.threads):
        if not 1 <= threads <= available:
            say(f"{threads} threads: left out, the process may use {available} CPUs")
            arguments.threads.remove(threads)
    try:
        arguments.chosen = [case_named(name) for name in arguments.cases] if arguments.cases else list(TIMED)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def measure(arguments: argparse.Namespace) -> Results:
    """Run everything that was asked for."""
    load = os.getloadavg()[0]
    start = time.monotonic()
    today = datetime.date.today().isoformat()
    results = Results(cpu_name(), cpu_family(), os.cpu_count() or 1, compiler_version(), load, today)
    if load > 0.5:
        results.note(f"the machine was not idle at the start (load average {load:.2f})")
    peak = FmaPeak()
    tall_rows = TALL_ROWS[:1] if arguments.quick else TALL_ROWS
    for dtype in arguments.dtypes:
        with running(arguments.libraries, arguments.threads, dtype, results) as clients:
            if not arguments.no_training:
                for case in arguments.chosen:
                    measure_training(case, clients, arguments.repeats, peak, results)
            if not arguments.no_prediction:
                measure_prediction(clients, arguments.repeats, results)
        if not arguments.no_tall:
            # The peers' networks have the type of the data; densegrad is measured with both.
            chosen = [name for name in arguments.libraries if name not in NOT_FOR_CURVES]
            if dtype == "float32":
                chosen = [name for name in chosen if name == OURS]
            measure_tall(chosen, dtype, tall_rows, results)
    results.configuration = densegrad_configuration()
    for doubt in results.doubtful_peaks():
        results.note(doubt)
    results.seconds = time.monotonic() - start
    return results


def densegrad_configuration() -> str:
    """What `densegrad.show_config()` prints, or nothing when it is not installed."""
    shown = subprocess.run(
        [sys.executable, "-c", "import densegrad; densegrad.show_config()"], capture_output=True, text=True
    )
    return shown.stdout.strip() if shown.returncode == 0 else ""


def main() -> None:
    arguments = parse_arguments()
    if arguments.from_json:
        first, *others = (Results.from_json(path.read_text()) for path in arguments.from_json)
        results = first
        for other in others:
            results.join(other)
    else:
        results = measure(arguments)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(results.to_json())
    print(target_section(results))
    if arguments.docs:
        say(f"wrote {write_report(results, arguments.docs)}")
    else:
        say("not a whole run: no page was written")


if __name__ == "__main__":
    main()
