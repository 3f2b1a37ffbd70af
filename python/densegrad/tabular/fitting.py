"""A whole fit: folds, the race, the members, within a time limit and with a progress bar."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad.tabular.budget import Plan, planned
from densegrad.tabular.ensemble import NEVER_JUDGED, Ensemble, Problem
from densegrad.tabular.folds import drawn_folds, grouped_folds
from densegrad.tabular.race import ROWS_FOR_SHORT, Watch, candidates, fit, timed_epoch, tries_of
from densegrad.tabular.tasks import Classes, Task

_FOLDS = 5


@dataclass(frozen=True)
class Settings:
    """The settings of a fit: members, encodings, threads, time limit, progress bar."""

    n_members: int
    encodings: Sequence[str]
    n_threads: int
    time_limit: float | None
    progress: bool


@dataclass(frozen=True)
class Fitted:
    """An ensemble, and how its fit ended."""

    ensemble: Ensemble
    interrupted: bool
    #: Whether the time limit ended it before its last epoch.
    cut_off: bool


def folds_of(
    task: Task, n_members: int, groups: NDArray[np.int64] | None, random: np.random.RandomState
) -> NDArray[np.int64]:
    """Return the fold of each row: by group if there are groups; a class of one row is in no fold."""
    n_folds = max(_FOLDS, n_members)
    if groups is not None:
        return grouped_folds(groups, min(n_folds, int(groups.max()) + 1), random)
    key = task.key()
    folds = np.full(len(key), NEVER_JUDGED, np.int64)
    often = np.arange(len(key))
    if isinstance(task, Classes):
        counts = np.bincount(task.numbers_of_rows)
        several = np.flatnonzero(counts[task.numbers_of_rows] > 1)
        often = several if len(several) >= 2 * n_folds else often
    folds[often] = drawn_folds(key[often], min(n_folds, len(often)), random)
    return folds


def fitted(problem: Problem, settings: Settings, random: np.random.RandomState) -> Fitted:
    """Return the ensemble of a problem."""
    start = monotonic()
    encodings = candidates(problem, settings.encodings)
    n_members = min(settings.n_members, int(problem.folds.max()) + 1)
    if problem.validation is not None:
        n_members = settings.n_members
    n_threads = min(settings.n_threads, max(2 * len(encodings), n_members))
    seeds = [int(seed) for seed in random.randint(2**31 - 1, size=n_members)]
    # A short race makes up for all tries but one.
    n_tries = 1
    if problem.training.task.n_rows <= ROWS_FOR_SHORT:
        n_tries = len(tries_of(problem)) + (problem.deeper is not None)
    wanted = plan = Plan(len(encodings), n_members, problem.epochs, n_tries=n_tries)
    deadline = math.inf
    if settings.time_limit is not None:
        deadline = start + settings.time_limit
        for tried in (problem, replace(problem, deeper=None)):
            seconds = timed_epoch(tried, next(iter(encodings.values())), seeds[0])
            plan = planned(wanted, seconds, deadline - monotonic(), n_threads)
            if plan == wanted:
                break
        problem = tried
        encodings = dict(list(encodings.items())[: plan.n_encodings])
    late = threading.Event()

    def in_time() -> bool:
        if monotonic() > deadline:
            late.set()
        return not late.is_set()

    with _Bar(settings.progress) as bar:
        ensemble, interrupted = fit(
            replace(problem, epochs=plan.epochs, part=plan.part),
            encodings,
            seeds[: plan.n_members],
            n_threads,
            Watch(in_time, bar.advance, bar.expect),
        )
    return Fitted(ensemble, interrupted, late.is_set())


class _Bar:
    """A progress bar of epochs, which several threads advance, or none."""

    def __init__(self, shown: bool) -> None:
        self._bar: Any = None
        self._lock = threading.Lock()
        if shown:
            from tqdm import tqdm

            self._bar = tqdm(total=0, unit="epoch")

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def expect(self, n_epochs: int) -> None:
        """Lengthen the bar."""
        if self._bar is not None:
            with self._lock:
                self._bar.total += n_epochs
                self._bar.refresh()

    def advance(self) -> None:
        """Count one epoch."""
        if self._bar is not None:
            with self._lock:
                self._bar.update()
