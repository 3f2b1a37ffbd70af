"""What Diagnostics costs: seconds of its records against seconds of the epochs, in the same fit.

    python bench/diagnostics.py [case] [threads]

Prints the share for several sizes of the sample. "mid" is the case that the limit of 5 % is meant for.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from densegrad import Adam, Dense, Network, Trainer
from densegrad.display import Diagnostics

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from cases import case_named
from workloads import LEARNING_RATE, make_problem

EPOCHS = 12


@contextmanager
def timed(seconds: list[float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - start)


def milliseconds(case_name: str, rows: int | None, n_threads: int) -> tuple[float, float]:
    """Return the medians of a record and of an epoch; rows None records nothing."""
    problem = make_problem(case_named(case_name), "float32")
    *hidden, last = problem.sizes[1:]
    network = Network(
        problem.sizes[0],
        [*(Dense(n, "relu") for n in hidden), Dense(last, "softmax")],
        loss="log_loss",
        random_state=0,
    )
    diagnostics = Diagnostics(network, problem.X, problem.y, max_rows=rows)
    records: list[float] = []

    def callback(epoch: int, logs: dict[str, float]) -> None:
        with timed(records):
            if rows is not None:
                diagnostics(epoch, logs)

    trainer = Trainer(
        network, Adam(LEARNING_RATE), batch_size=problem.batch, random_state=0, n_threads=n_threads
    )
    history = trainer.fit(problem.X, problem.y, epochs=EPOCHS, callbacks=[callback])
    # The first of each sets up buffers.
    return 1e3 * statistics.median(records[1:]), 1e3 * statistics.median(history.seconds[1:])


def main() -> None:
    case_name = sys.argv[1] if len(sys.argv) > 1 else "mid"
    n_threads = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print(f"{case_name}, {n_threads} thread{'s' * (n_threads > 1)}, float32, {EPOCHS} epochs; medians")
    print(f"{'rows':>6} {'record ms':>10} {'epoch ms':>10} {'share':>7}")
    for rows in (None, 16, 64, 128, 256, 1024):
        record, epoch = milliseconds(case_name, rows, n_threads)
        print(f"{rows or 'none':>6} {record:>10.2f} {epoch:>10.1f} {record / epoch:>7.1%}")


if __name__ == "__main__":
    main()
