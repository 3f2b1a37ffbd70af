"""The race: which encoding, and how many epochs, are best on the first folds; then the other members."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
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
    """What a fit heeds while it runs."""

    #: Called after each epoch of each member; False ends them all.
    goes_on: Callable[[], bool]
    epoch_done: Callable[[], None]
    #: Called with the number of epochs that are to come.
    expect: Callable[[int], None]


def candidates(problem: Problem, encodings: Sequence[str]) -> dict[str, Inputs]:
    """Return the encodings that are worth a try, of which no two make the same inputs."""
    chosen: dict[str, Inputs] = {}
    for encoding in encodings:
        if encoding == "values" and len(encodings) > 1 and problem.training.task.n_rows <= _ROWS_FOR_VALUES:
            continue
        inputs = Inputs.learned(problem.training.parsed, problem.columns.categories, encoding, MAX_LEVELS)
        if all(inputs.width != other.width for other in chosen.values()):
            chosen[encoding] = inputs
    return chosen


def fit(
    problem: Problem, encodings: dict[str, Inputs], seeds: list[int], n_threads: int, watch: Watch
) -> tuple[Ensemble, bool]:
    """Return the ensemble, one member for each seed, and whether Ctrl-C has ended the fit."""
    stopped = threading.Event()
    short = problem
    if problem.training.task.n_rows > _ROWS_FOR_SHORT and problem.epochs > SHORT:
        short = replace(problem, epochs=SHORT)

    def goes_on() -> bool:
        watch.epoch_done()
        return watch.goes_on() and not stopped.is_set()

    def job(of: Problem, inputs: Inputs, fold: int, shared: NDArray[np.float32] | None) -> Member | None:
        return None if stopped.is_set() else trained_member(of, inputs, fold, seeds[fold], shared, goes_on)

    n_racing = min(FOLDS_IN_RACE, len(seeds))
    with ThreadPoolExecutor(n_threads) as pool:
        watch.expect(short.epochs * len(encodings) * n_racing)
        jobs = [
            partial(job, short, inputs, k, None) for inputs in encodings.values() for k in range(n_racing)
        ]
        trained, done = _all(pool, stopped, jobs)
        finished = {
            name: members
            for at, name in enumerate(encodings)
            if (members := _made(trained[at * n_racing : (at + 1) * n_racing]))
        }
        if not finished:
            raise Interrupted
        race = {name: _mean_error(members) for name, members in finished.items()}
        winner = min(race, key=lambda name: race[name])
        members, chosen, inputs = finished[winner], short, encodings[winner]
        shared = None if members[0].means else scaled_inputs(problem, inputs, members[0].input_scale)
        if done and short is not problem:
            watch.expect(problem.epochs)
            longer, done = _all(pool, stopped, [partial(job, problem, inputs, 0, shared)])
            if longer[0] is not None and longer[0].error < members[0].error:
                members, chosen = _made(longer), problem
        if done and len(seeds) > len(members):
            missing = range(len(members), len(seeds))
            watch.expect(chosen.epochs * len(missing))
            others, done = _all(pool, stopped, [partial(job, chosen, inputs, k, shared) for k in missing])
            members += _made(others)
    return Ensemble(winner, inputs, members, race), not done


def _made(members: Sequence[Member | None]) -> list[Member]:
    return [member for member in members if member is not None]


def _mean_error(members: list[Member]) -> float:
    return sum(member.error for member in members) / len(members)


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


def _all(
    pool: ThreadPoolExecutor, stopped: threading.Event, jobs: Sequence[Callable[[], Member | None]]
) -> tuple[list[Member | None], bool]:
    """Return the results of the jobs, None for those that Ctrl-C has prevented, and whether all were done."""
    futures = [pool.submit(job) for job in jobs]
    try:
        return [future.result() for future in futures], True
    except KeyboardInterrupt:
        stopped.set()
        return [None if future.cancel() else future.result() for future in futures], False
    except BaseException:
        stopped.set()
        raise
