"""What Diagnostics costs: CPU time of its records against that of the epochs, in the same fit.

    python bench/diagnostics.py [case] [threads]

Prints the share for several sizes of the sample, each epoch and every few steps. "mid" is the case that the
limit of 5 % is meant for. Epochs with records every few steps are made in parts; "epoch ms" shows what that
costs.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

from densegrad import Adam, Dense, Network, Trainer
from densegrad.display import Diagnostics

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from cases import case_named
from workloads import LEARNING_RATE, make_problem

EPOCHS = 12
# Rows of the sample, and the steps from one record to the next; None records epochs.
SETTINGS = [(16, None), (64, None), (128, None), (256, None), (1024, None), (128, 50), (16, 50), (16, 25)]


class Timed(Diagnostics):
    """Diagnostics that note the time of each record."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.milliseconds: list[float] = []

    def record(self, epoch: int) -> None:
        start = time.process_time()
        super().record(epoch)
        self.milliseconds.append(1e3 * (time.process_time() - start))


def costs(
    case_name: str, rows: int | None, every_steps: int | None, n_threads: int
) -> tuple[float, float, float]:
    """Return records an epoch, and the CPU milliseconds of a record and of an epoch without them."""
    problem = make_problem(case_named(case_name), "float32")
    *hidden, last = problem.sizes[1:]
    layers = [*(Dense(n, "relu") for n in hidden), Dense(last, "softmax")]
    network = Network(problem.sizes[0], layers, loss="log_loss", random_state=0)
    timed = Timed(network, problem.X, problem.y, max_rows=rows, every_steps=every_steps)
    trainer = Trainer(
        network, Adam(LEARNING_RATE), batch_size=problem.batch, random_state=0, n_threads=n_threads
    )
    callbacks = [] if rows is None else [timed]
    trainer.epoch(problem.X, problem.y)  # sets up buffers
    start = time.process_time()
    trainer.fit(problem.X, problem.y, epochs=EPOCHS, callbacks=callbacks)
    total = 1e3 * (time.process_time() - start)
    records = timed.milliseconds or [0.0]
    return len(timed.epochs) / EPOCHS, statistics.median(records), (total - sum(records)) / EPOCHS


def main() -> None:
    case_name = sys.argv[1] if len(sys.argv) > 1 else "mid"
    n_threads = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print(f"{case_name}, {n_threads} thread{'s' * (n_threads > 1)}, float32, {EPOCHS} epochs; CPU time")
    print(f"{'rows':>6} {'every':>9} {'records an epoch':>17} {'record ms':>10} {'epoch ms':>9} {'share':>7}")
    for rows, every in [(None, None), *SETTINGS]:
        records, record, epoch = costs(case_name, rows, every, n_threads)
        rhythm = "never" if rows is None else "epoch" if every is None else f"{every} steps"
        print(
            f"{rows or '':>6} {rhythm:>9} {records:>17.1f} {record:>10.2f} {epoch:>9.1f}"
            f" {records * record / epoch:>7.1%}"
        )


if __name__ == "__main__":
    main()
