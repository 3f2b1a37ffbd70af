"""What one run of peers.py measured, and the figures that follow from it."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from cases import MAIN, TIMED, Case
from libraries import LIBRARIES
from targets import Verdict

Series = list[float]

OURS = "densegrad"
PEERS = tuple(name for name in LIBRARIES if not name.startswith(OURS))

# Losses of the same training with other shuffles lie within this share of their median.
LOSS_TOLERANCE = 0.05


def say(text: str) -> None:
    """Progress goes to standard error."""
    print(text, file=sys.stderr, flush=True)


class Training(NamedTuple):
    """Key of a training: which case, and who trained it how."""

    case: str
    dtype: str
    threads: int
    library: str


class Prediction(NamedTuple):
    """Key of a prediction: the rows of a call, and who predicted how."""

    rows: int
    dtype: str
    threads: int
    library: str


class Setting(NamedTuple):
    """Key of what depends on the precision and the threads alone."""

    dtype: str
    threads: int

    def __str__(self) -> str:
        return f"{self.dtype}, {self.threads} thread{'s' if self.threads > 1 else ''}"


class Tall(NamedTuple):
    """Key of a fit of many rows."""

    rows: int
    dtype: str
    library: str


@dataclass
class Results:
    """Everything that was measured.

    Attributes
    ----------
    train : dict
        Seconds an epoch, one a repeat.
    predict : dict
        Seconds a call, one a repeat.
    losses : dict
        Training loss before, then after the case's epochs, once a repeat.
    peak : dict
        GFLOP/s of the register-only loop, one a repeat.
    tall : dict
        Seconds an epoch, extra bytes at the peak.
    notes : list of str
        Omissions and faults.
    """

    cpu: str
    family: str
    cpus: int
    compiler: str
    load_at_start: float
    date: str
    seconds: float = 0.0  # that the run took
    versions: dict[str, str] = field(default_factory=dict)
    train: dict[Training, Series] = field(default_factory=dict)
    predict: dict[Prediction, Series] = field(default_factory=dict)
    losses: dict[Training, Series] = field(default_factory=dict)
    peak: dict[Setting, Series] = field(default_factory=dict)
    tall: dict[Tall, Series] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    configuration: str = ""

    def to_json(self) -> str:
        """All of it; a dictionary becomes a list of (key, series)."""
        fields = asdict(self)
        for name in KEYS:
            fields[name] = list(fields[name].items())
        return json.dumps(fields, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Results:
        """What `to_json` wrote."""
        fields = json.loads(text)
        for name, key in KEYS.items():
            fields[name] = {key(*parts): series for parts, series in fields[name]}
        return cls(**fields)

    def note(self, text: str) -> None:
        """Say it now and in the report."""
        say(text)
        if text not in self.notes:
            self.notes.append(text)

    def join(self, other: Results) -> None:
        """Put the repeats of `other`, a run on the same machine, beside those of this one."""
        if (self.cpu, self.compiler) != (other.cpu, other.compiler):
            raise ValueError(f"not of one machine: {self.cpu}; {other.cpu} ({other.compiler})")
        for name in ("train", "predict", "peak"):
            mine: dict[Any, Series] = getattr(self, name)
            for key, series in getattr(other, name).items():
                mine[key] = mine.get(key, []) + series
        for key, (before, *afters) in other.losses.items():
            self.losses[key] = self.losses.get(key, [before]) + afters
        self.versions = {**other.versions, **self.versions}
        self.tall = {**other.tall, **self.tall}
        self.seconds += other.seconds
        self.notes += [note for note in other.notes if note not in self.notes]

    def epoch(self, case: str, dtype: str, threads: int, library: str) -> float | None:
        """Median seconds an epoch, None if not measured."""
        return median(self.train.get(Training(case, dtype, threads, library)))

    def call(self, rows: int, dtype: str, threads: int, library: str) -> float | None:
        """Median seconds of a prediction call, None if not measured."""
        return median(self.predict.get(Prediction(rows, dtype, threads, library)))

    def best_peer(self, case: str, dtype: str, threads: int) -> tuple[float, str] | None:
        """Seconds an epoch and name of the fastest peer."""
        times = [(self.epoch(case, dtype, threads, peer), peer) for peer in PEERS]
        return min(((time, peer) for time, peer in times if time is not None), default=None)

    def share_of_peak(self, case: Case, dtype: str, threads: int, library: str) -> float | None:
        """Arithmetic of the products an epoch, divided by the cores' peak in that time."""
        seconds = self.epoch(case.name, dtype, threads, library)
        peak = median(self.peak.get(Setting(dtype, threads)))
        return None if seconds is None or peak is None else case.flops_per_epoch / seconds / (peak * 1e9)

    def verdict(self, case: Case, dtype: str, threads: int) -> Verdict:
        """The figures of a case beside its targets. The products with sparse rows have no share."""
        ours = self.epoch(case.name, dtype, threads, OURS)
        best = self.best_peer(case.name, dtype, threads)
        ratio = best[0] / ours if best is not None and ours is not None else None
        share = None if case.is_sparse else self.share_of_peak(case, dtype, threads, OURS)
        return Verdict.of(case.name, ratio, share)

    def main_cases(self) -> list[Case]:
        """The cases of the main tables that were run."""
        names = {key.case for key in self.train}
        return [case for case in TIMED if case.name in names and case.group in MAIN]

    def scaling(self, case: str, dtype: str, library: str) -> float | None:
        """Time with one thread divided by time with two; `densegrad auto` starts from densegrad's one."""
        one = self.epoch(case, dtype, 1, OURS if library.startswith(OURS) else library)
        two = self.epoch(case, dtype, 2, library)
        return None if one is None or two is None else one / two

    def settings(self) -> list[Setting]:
        """The precisions and numbers of threads that were measured."""
        return sorted({Setting(key.dtype, key.threads) for key in [*self.train, *self.predict]})

    def libraries(self, keys: Iterable[Training | Prediction] | None = None) -> list[str]:
        """Libraries with a measurement, in the order of the list."""
        found = {key.library for key in (keys if keys is not None else [*self.train, *self.predict])}
        return [name for name in LIBRARIES if name in found]

    def loss(self, case: str, dtype: str, library: str) -> float | None:
        """Median training loss after a case's epochs, over the repeats with any number of threads."""
        found = [
            after
            for key, losses in self.losses.items()
            if (key.case, key.dtype, key.library) == (case, dtype, library)
            for after in losses[1:]
        ]
        return median(found)

    def doubtful_peaks(self) -> list[str]:
        """Sentences on a peak that swung, or did not grow with the cores: other work was running."""
        sentences: list[str] = []
        for setting, series in self.peak.items():
            low, high = min(series), max(series)
            if low < 0.9 * high:
                sentences.append(f"the peak swung between {low:.0f} and {high:.0f} GFLOP/s ({setting})")
        for dtype in ("float32", "float64"):
            one, two = (median(self.peak.get(Setting(dtype, threads))) for threads in (1, 2))
            if one is not None and two is not None and two < 1.8 * one:
                sentences.append(f"two cores had only {two / one:.2f} times the peak of one ({dtype})")
        return [f"other work was running: {sentence}" for sentence in sentences]

    def doubtful_losses(self) -> list[str]:
        """Sentences on every training that did not learn, or not as the others did."""
        sentences: list[str] = []
        for case, dtype in dict.fromkeys((key.case, key.dtype) for key in self.losses):
            keys = [key for key in self.losses if (key.case, key.dtype) == (case, dtype)]
            afters = {key: statistics.median(self.losses[key][1:]) for key in keys}
            middle = statistics.median(afters.values())
            for key, after in afters.items():
                before = self.losses[key][0]
                who = f"{key.library}, {case}, {dtype}, {key.threads} thread(s)"
                if not after < 0.95 * before:
                    sentences.append(f"{who}: did not learn (loss {before:.4f} before, {after:.4f} after)")
                elif abs(after - middle) > LOSS_TOLERANCE * middle:
                    off = (after - middle) / middle
                    sentences.append(f"{who}: loss {after:.4f} is {off:+.1%} from the median {middle:.4f}")
        return sentences


# The fields of `Results` that are dictionaries, and the type of their keys.
KEYS: dict[str, type[tuple[Any, ...]]] = {
    "train": Training,
    "predict": Prediction,
    "losses": Training,
    "peak": Setting,
    "tall": Tall,
}


def median(series: Series | None) -> float | None:
    """Median, or None of nothing."""
    return statistics.median(series) if series else None
