"""What one run of peers.py measured, and the figures that follow from it."""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, field

from cases import Case
from libraries import LIBRARIES

Series = list[float]

OURS = "densegrad"
PEERS = tuple(name for name in LIBRARIES if not name.startswith(OURS))

# Losses of the same training with other shuffles lie within this share of their median.
LOSS_TOLERANCE = 0.05


def say(text: str) -> None:
    """Progress goes to standard error."""
    print(text, file=sys.stderr, flush=True)


@dataclass
class Results:
    """Everything that was measured; keys of the dictionaries are joined by ``|``.

    Attributes
    ----------
    train : dict of str to list of float
        ``case|dtype|threads|library`` -> seconds an epoch, one a repeat.
    predict : dict of str to list of float
        ``rows|dtype|threads|library`` -> seconds a call, one a repeat.
    losses : dict of str to list of float
        ``case|dtype|threads|library`` -> training loss before and after the case's epochs.
    peak : dict of str to list of float
        ``dtype|threads`` -> GFLOP/s of the register-only loop, one a repeat.
    tall : dict of str to list of float
        ``rows|dtype|library`` -> seconds an epoch, extra bytes at the peak.
    notes : list of str
        What was left out or went wrong.
    """

    cpu: str
    cpus: int
    compiler: str
    load_at_start: float
    repeats: int
    versions: dict[str, str] = field(default_factory=dict)
    train: dict[str, Series] = field(default_factory=dict)
    predict: dict[str, Series] = field(default_factory=dict)
    losses: dict[str, Series] = field(default_factory=dict)
    peak: dict[str, Series] = field(default_factory=dict)
    tall: dict[str, Series] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    configuration: str = ""

    def note(self, text: str) -> None:
        """Say it now and in the report."""
        say(text)
        if text not in self.notes:
            self.notes.append(text)

    def epoch(self, case: str, dtype: str, threads: int, library: str) -> float | None:
        """Median seconds an epoch, None if not measured."""
        return median(self.train.get(f"{case}|{dtype}|{threads}|{library}"))

    def call(self, rows: int, dtype: str, threads: int, library: str) -> float | None:
        """Median seconds of a prediction call, None if not measured."""
        return median(self.predict.get(f"{rows}|{dtype}|{threads}|{library}"))

    def best_peer(self, case: str, dtype: str, threads: int) -> tuple[float, str] | None:
        """Seconds an epoch and name of the fastest peer."""
        times = [(self.epoch(case, dtype, threads, peer), peer) for peer in PEERS]
        return min(((time, peer) for time, peer in times if time is not None), default=None)

    def share_of_peak(self, case: Case, dtype: str, threads: int, library: str) -> float | None:
        """Arithmetic of the products an epoch, divided by what the cores could do in that time."""
        seconds = self.epoch(case.name, dtype, threads, library)
        peak = median(self.peak.get(f"{dtype}|{threads}"))
        return None if seconds is None or peak is None else case.flops_per_epoch / seconds / (peak * 1e9)

    def scaling(self, case: str, dtype: str, library: str) -> float | None:
        """Time with one thread divided by time with two; `densegrad auto` starts from densegrad's one."""
        one = self.epoch(case, dtype, 1, OURS if library.startswith(OURS) else library)
        two = self.epoch(case, dtype, 2, library)
        return None if one is None or two is None else one / two

    def settings(self) -> list[tuple[str, int]]:
        """The (dtype, threads) pairs that were measured."""
        keys = [*self.train, *self.predict]
        pairs = {(dtype, int(threads)) for _, dtype, threads, _ in (key.split("|") for key in keys)}
        return sorted(pairs)

    def libraries(self, keys: list[str] | None = None) -> list[str]:
        """Libraries with a measurement, in the order of the list."""
        found = {key.split("|")[-1] for key in (keys if keys is not None else [*self.train, *self.predict])}
        return [name for name in LIBRARIES if name in found]

    def doubtful_losses(self) -> list[str]:
        """Sentences on every training that did not learn, or not as the others did."""
        sentences: list[str] = []
        for case, dtype in dict.fromkeys(tuple(key.split("|")[:2]) for key in self.losses):
            group = {key: pair for key, pair in self.losses.items() if key.split("|")[:2] == [case, dtype]}
            middle = statistics.median(after for _, after in group.values())
            for key, (before, after) in group.items():
                _, _, threads, library = key.split("|")
                who = f"{library}, {case}, {dtype}, {threads} thread(s)"
                if not after < 0.95 * before:
                    sentences.append(f"{who}: did not learn (loss {before:.4f} before, {after:.4f} after)")
                elif abs(after - middle) > LOSS_TOLERANCE * middle:
                    off = (after - middle) / middle
                    sentences.append(f"{who}: loss {after:.4f} is {off:+.1%} from the median {middle:.4f}")
        return sentences


def median(series: Series | None) -> float | None:
    """Median, or None of nothing."""
    return statistics.median(series) if series else None
