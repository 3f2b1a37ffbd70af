"""The race on the first folds, of encodings, label smoothing and epochs; then the other members."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from densegrad.tabular.budget import FOLDS_IN_RACE
from densegrad.tabular.ensemble import MAX_LEVELS, Ensemble, Member, Problem, scaled_inputs, trained_member
from densegrad.tabular.inputs import Inputs
from densegrad.tabular.member import Rows
from densegrad.tabular.member import trained as train

#: 'values' joins the race from so many rows on.
_ROWS_FOR_VALUES = 5000
_TIMED_ROWS = 2048
#: From so many rows on the race has fewer epochs, and tells whether more of them are any better.
_ROWS_FOR_SHORT = 5000
SHORT = 16


class Interrupted(Exception):
    """Ctrl-C came before there was a member."""


@dataclass(frozen=True)
class Watch:
    """Functions that a fit calls while it runs."""

    #: Called after each epoch of each member; False ends them all.
    goes_on: Callable[[], bool]
    epoch_done: Callable[[], None]
    #: Called with the number of epochs that are to come.
    expect: Callable[[int], None]


def candidates(problem: Problem, encodings: Sequence[str]) -> dict[str, Inputs]:
    """Return the encodings that are worth a try; no two make the same inputs."""
    chosen: dict[str, Inputs] = {}
    for encoding in encodings:
        if encoding == "values" and len(encodings) > 1 and problem.training.task.n_rows <= _ROWS_FOR_VALUES:
            continue
        inputs = Inputs.learned(problem.training.parsed, problem.columns.categories, encoding, MAX_LEVELS)
        if all(inputs.width != other.width for other in chosen.values()):
            chosen[encoding] = inputs
    return chosen


class _Workers:
    """Threads that train members side by side, until they are stopped by Ctrl-C or an error."""

    def __init__(self, seeds: list[int], n_threads: int, watch: Watch) -> None:
        self.seeds, self.watch = seeds, watch
        self.interrupted = False
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(n_threads)

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def _goes_on(self) -> bool:
        self.watch.epoch_done()
        return self.watch.goes_on() and not self._stopped.is_set()

    def _train(
        self, problem: Problem, inputs: Inputs, fold: int, shared: NDArray[np.float32] | None
    ) -> Member | None:
        if self._stopped.is_set():
            return None
        return trained_member(problem, inputs, fold, self.seeds[fold], shared, self._goes_on)

    def train(
        self, wanted: Sequence[tuple[Problem, Inputs, int]], shared: NDArray[np.float32] | None = None
    ) -> list[Member | None]:
        """Return the member of each problem, inputs and fold; None for those that Ctrl-C has prevented."""
        if self.interrupted:
            return [None] * len(wanted)
        self.watch.expect(sum(problem.epochs for problem, _, _ in wanted))
        futures = [self._pool.submit(self._train, *job, shared) for job in wanted]
        try:
            return [future.result() for future in futures]
        except KeyboardInterrupt:
            self._stopped.set()
            self.interrupted = True
            return [None if future.cancel() else future.result() for future in futures]
        except BaseException:
            self._stopped.set()
            raise


def fit(
    problem: Problem, encodings: dict[str, Inputs], seeds: list[int], n_threads: int, watch: Watch
) -> tuple[Ensemble, bool]:
    """Return the ensemble, one member for each seed, and whether Ctrl-C has ended the fit."""
    short = problem
    if problem.training.task.n_rows > _ROWS_FOR_SHORT and problem.epochs > SHORT:
        short = replace(problem, epochs=SHORT)
    racing = range(min(FOLDS_IN_RACE, len(seeds)))
    with _Workers(seeds, n_threads, watch) as workers:
        trained = workers.train([(short, inputs, k) for inputs in encodings.values() for k in racing])
        finished = {
            name: members
            for at, name in enumerate(encodings)
            if (members := _made(trained[at * len(racing) : (at + 1) * len(racing)]))
        }
        if not finished:
            raise Interrupted
        race = {name: _mean([member.error for member in members]) for name, members in finished.items()}
        winner = min(race, key=lambda name: race[name])
        members, inputs = finished[winner], encodings[winner]
        shared = None if members[0].means else scaled_inputs(problem, inputs, members[0].input_scale)
        members, chosen = _refined(workers, problem, short, inputs, members, shared)
        missing = range(len(members), len(seeds))
        members += _made(workers.train([(chosen, inputs, k) for k in missing], shared))
    return Ensemble(winner, inputs, members, race), workers.interrupted


def _refined(
    workers: _Workers,
    problem: Problem,
    short: Problem,
    inputs: Inputs,
    members: list[Member],
    shared: NDArray[np.float32] | None,
) -> tuple[list[Member], Problem]:
    """Try no label smoothing, and more epochs; return the members that can be kept, and the choice.

    Label smoothing helps if classes can be told apart, and spoils probabilities if they cannot.
    """
    jobs = []
    if problem.smooths:
        jobs += [(replace(short, smoothing=0.0), inputs, k) for k in range(len(members))]
    if short is not problem:
        jobs.append((problem, inputs, 0))
    tried = workers.train(jobs, shared)
    if workers.interrupted:
        return members, short
    kept, smoothing = members, problem.smoothing
    if problem.smooths:
        sharp = _made(tried[: len(members)])
        if _mean([problem.log_loss(member) for member in sharp]) < _mean(
            [problem.log_loss(member) for member in members]
        ):
            kept, smoothing = sharp, 0.0
    if short is not problem:
        (longer,) = _made(tried[-1:])
        if longer.error < members[0].error:
            return [longer] if kept is members else [], replace(problem, smoothing=smoothing)
    return kept, replace(short, smoothing=smoothing)


def _made(members: Sequence[Member | None]) -> list[Member]:
    return [member for member in members if member is not None]


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def timed_epoch(problem: Problem, inputs: Inputs, seed: int) -> float:
    """Return the seconds of one epoch of one member, from a training that is thrown away."""
    rows, _, _ = problem.parts(0)
    few = rows[:_TIMED_ROWS]
    task = problem.training.task
    recipe = problem.recipe(inputs.width, len(rows))
    plain = inputs.of(problem.training.parsed.take(few))
    scaling = task.scaling(few, None)
    some = Rows(plain, task.target(scaling)[few], None)
    start = monotonic()
    train(recipe, some, np.arange(len(few)), plain, lambda _: 0.0, seed, lambda: False)
    return (monotonic() - start) * len(rows) / len(few)
