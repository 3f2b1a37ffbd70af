"""The race on the first folds: depths, encodings, label smoothing, means, epochs; then the other members."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad.tabular.budget import FOLDS_IN_RACE
from densegrad.tabular.crossings import MOST_PAIRS
from densegrad.tabular.ensemble import MAX_LEVELS, Ensemble, Member, Problem, scaled_inputs, trained_member
from densegrad.tabular.inputs import Inputs
from densegrad.tabular.member import Rows
from densegrad.tabular.member import trained as train
from densegrad.tabular.tasks import Classes

#: 'values' joins the race from so many rows on.
_ROWS_FOR_VALUES = 5000
_TIMED_ROWS = 2048
#: From so many rows on the race has fewer epochs, and tells whether more of them are any better.
ROWS_FOR_SHORT = 5000
SHORT = 8
#: The errors of so many epochs before the last cosine, when the rate is low, are compared.
_AT_AN_END = 2
#: A deeper network must lower the error by such a share: it takes twice the time.
_DEEPER_PAYS = 0.03
#: A share of the error that two folds do not tell from luck. Further means of the target, of many rows, may
#: seem so much worse: all members together gain more from them than two show.
_LUCK = 0.01
#: Errors are worse, or far behind, beyond these ratios, and if more than about two rows make the difference.
_WORSE, _FAR_BEHIND, _ROWS_OF_LUCK = 1.02, 1.03, 10
#: More epochs go on if the error is below this ratio of what fewer have reached, before their last cosine.
_PAYS = 0.99


class Interrupted(Exception):
    """Ctrl-C came before there was a member."""


@dataclass(frozen=True)
class Watch:
    """Functions that a fit calls while it runs."""

    #: Called after each epoch of each member; False ends them all.
    goes_on: Callable[[], bool]
    epoch_done: Callable[[], None]
    #: Called with the number of epochs that are to come; below 0 if they will not.
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


@dataclass(frozen=True)
class Try:
    """A change of the problem that may help."""

    change: dict[str, Any]
    #: The change stays if the error is above by less than this share; below 0 it must be below by more.
    luck: float = 0.0


@dataclass(frozen=True)
class Job:
    """One member to train."""

    problem: Problem
    inputs: Inputs
    fold: int
    #: An error on the same rows that is already reached.
    to_beat: float = math.inf


class _Workers:
    """Threads that train members side by side, until they are stopped by Ctrl-C or an error."""

    def __init__(self, seeds: list[int], n_threads: int, watch: Watch) -> None:
        self.seeds, self.n_threads, self.watch = seeds, n_threads, watch
        self.interrupted = False
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(n_threads)

    def __enter__(self) -> _Workers:
        return self

    @property
    def over(self) -> bool:
        """Whether Ctrl-C or the time limit has come: nothing new is worth a start."""
        return self.interrupted or not self.watch.goes_on()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)

    def _train(self, job: Job, shared: NDArray[np.float32] | None, n_threads: int) -> Member | None:
        if self._stopped.is_set():
            return None

        def goes_on(curve: list[float]) -> bool:
            self.watch.epoch_done()
            if not self.watch.goes_on() or self._stopped.is_set():
                return False
            hopeless = _hopeless(job, curve)
            if hopeless:
                self.watch.expect(len(curve) - job.problem.epochs)
            return not hopeless

        seed = self.seeds[job.fold]
        return trained_member(job.problem, job.inputs, job.fold, seed, shared, goes_on, n_threads)

    def train(self, jobs: Sequence[Job], shared: NDArray[np.float32] | None = None) -> list[Member | None]:
        """Return the member of each job; None for those that Ctrl-C has prevented."""
        self.watch.expect(sum(job.problem.epochs for job in jobs))
        # The last jobs share the threads that would have none.
        n_last = len(jobs) % self.n_threads
        futures: list[Future[Member | None]] = []
        try:
            for i, job in enumerate(jobs):
                n_threads = self.n_threads // n_last if i >= len(jobs) - n_last else 1
                futures.append(self._pool.submit(self._train, job, shared, n_threads))
            return [future.result() for future in futures]
        except KeyboardInterrupt:
            self._stopped.set()
            self.interrupted = True
            ready = [None if future.cancel() else future.result() for future in futures]
            return ready + [None] * (len(jobs) - len(ready))
        except BaseException:
            self._stopped.set()
            raise


def _hopeless(job: Job, curve: list[float]) -> bool:
    """Tell before the last and longest cosine whether it is not worth its time.

    It is not if the member learns its rows by heart, or is hardly better than fewer epochs were.
    """
    n_rows = job.problem.training.task.n_rows
    if n_rows <= ROWS_FOR_SHORT or len(curve) != job.problem.last_cosine:
        return False
    now = min(curve[-_AT_AN_END:])
    return now > _PAYS * job.to_beat or now > _limit(min(curve), _WORSE, n_rows)


def _limit(error: float, ratio: float, n_rows: int) -> float:
    """Return the error above which another one is worse than a known one."""
    return ratio * error + _ROWS_OF_LUCK / n_rows


def fit(
    problem: Problem, encodings: dict[str, Inputs], seeds: list[int], n_threads: int, watch: Watch
) -> tuple[Ensemble, bool]:
    """Return the ensemble, one member for each seed, and whether Ctrl-C has ended the fit."""
    short = problem
    if problem.training.task.n_rows > ROWS_FOR_SHORT and problem.epochs > SHORT:
        short = replace(problem, epochs=SHORT)
    with _Workers(seeds, n_threads, watch) as workers:
        finished, short = _raced(workers, short, encodings, min(FOLDS_IN_RACE, len(seeds)))
        race = {name: _mean_error(members) for name, members in finished.items()}
        most = max(map(len, finished.values()))
        winner = min(
            (name for name, members in finished.items() if len(members) == most), key=lambda name: race[name]
        )
        members, inputs = finished[winner], encodings[winner]
        shared = None if members[0].means else scaled_inputs(problem, inputs, members[0].input_scale)
        chosen = short
        if not workers.over:
            members, chosen = _refined(workers, short, inputs, members, tries_of(short), shared)
        if not workers.over and short.epochs < problem.epochs:
            members, chosen = _longer(workers, problem.epochs, chosen, inputs, members, shared)
        if not workers.over:
            missing = range(len(members), len(seeds))
            members = members + _made(workers.train([Job(chosen, inputs, k) for k in missing], shared))
    return Ensemble(winner, inputs, members, race), workers.interrupted


def _raced(
    workers: _Workers, problem: Problem, encodings: dict[str, Inputs], n_folds: int
) -> tuple[dict[str, list[Member]], Problem]:
    """Race depths with the first encoding, then all encodings.

    Returns
    -------
    finished : dict of list of Member
        Those of each encoding; one that is far behind on the first fold has no others.
    problem : Problem
        With the hidden layers of these.
    """
    n_rows = problem.training.task.n_rows
    finished: dict[str, list[Member]] = {}
    rounds = [[fold] for fold in range(n_folds)] if n_rows > ROWS_FOR_SHORT else [list(range(n_folds))]
    if problem.deeper is not None:
        name, inputs = next(iter(encodings.items()))
        members = _made(workers.train([Job(problem, inputs, k) for k in rounds[0]]))
        if not workers.over:
            deeper = Try({"hidden": problem.deeper, "deeper": None}, -_DEEPER_PAYS)
            members, problem = _refined(workers, problem, inputs, members, [deeper])
        if members:
            finished[name] = members
    ahead = list(encodings)
    for folds in rounds:
        if finished and workers.over:
            break
        if finished and folds is not rounds[0]:
            best = min(_mean_error(members) for members in finished.values())
            limit = _limit(best, _FAR_BEHIND, n_rows)
            ahead = [name for name, members in finished.items() if _mean_error(members) <= limit]
        missing = [(name, k) for name in ahead for k in folds if k >= len(finished.get(name, []))]
        trained = workers.train([Job(problem, encodings[name], k) for name, k in missing])
        for (name, _), member in zip(missing, trained, strict=True):
            if member is not None:
                finished.setdefault(name, []).append(member)
    if not finished:
        raise Interrupted
    return finished, problem


def _refined(
    workers: _Workers,
    problem: Problem,
    inputs: Inputs,
    members: list[Member],
    tries: Sequence[Try],
    shared: NDArray[np.float32] | None = None,
) -> tuple[list[Member], Problem]:
    """Try changes of the problem, each with those before it that have helped.

    Returns
    -------
    members : list of Member
        Those of the choice.
    problem : Problem
        The choice.
    """
    cost = problem.log_loss if isinstance(problem.training.task, Classes) else lambda member: member.error
    for further in tries:
        changed = replace(problem, **further.change)
        jobs = [Job(changed, inputs, k) for k in range(len(members))]
        trained = _made(workers.train(jobs, shared))
        if workers.over:
            break
        before, after = sum(map(cost, members)), sum(map(cost, trained))
        if after < before + further.luck * abs(before):
            members, problem = trained, changed
    return members, problem


def tries_of(problem: Problem) -> list[Try]:
    """Return what the winner is tried with: no label smoothing, then means of the target.

    Label smoothing helps if classes can be told apart, and spoils probabilities if they cannot. Means for all
    categories help if the rows of a level are few, those by pairs of columns if two together tell what each
    alone does not.
    """
    tries: list[Try] = []
    if problem.smooths:
        tries.append(Try({"smoothing": 0.0}))
    if problem.further_means or problem.has_pairs:
        many = problem.has_pairs and problem.training.task.n_rows > ROWS_FOR_SHORT
        change = {"means_above": 2, "pairs": MOST_PAIRS if problem.has_pairs else 0}
        tries.append(Try(change, _LUCK if many else 0.0))
    return tries


def _longer(
    workers: _Workers,
    epochs: int,
    problem: Problem,
    inputs: Inputs,
    members: list[Member],
    shared: NDArray[np.float32] | None,
) -> tuple[list[Member], Problem]:
    """Try more epochs on the first fold; return the members to keep, and the choice."""
    more = replace(problem, epochs=epochs)
    longer = _made(workers.train([Job(more, inputs, 0, members[0].error)], shared))
    whole = not workers.over and all(len(member.curve) == epochs for member in longer)
    if whole and _mean_error(longer) < members[0].error:
        return longer, more
    return members, problem


def _made(members: Sequence[Member | None]) -> list[Member]:
    return [member for member in members if member is not None]


def _mean_error(members: Sequence[Member]) -> float:
    return sum(member.error for member in members) / len(members)


def timed_epoch(problem: Problem, inputs: Inputs, seed: int) -> float:
    """Return the seconds of one epoch of the largest member, from a training that is thrown away."""
    rows, _, _ = problem.parts(0)
    few = rows[:_TIMED_ROWS]
    task = problem.training.task
    recipe = replace(problem, hidden=problem.deeper or problem.hidden).recipe(inputs.width, len(rows))
    plain = inputs.of(problem.training.parsed.take(few))
    scaling = task.scaling(few, None)
    some = Rows(plain, task.target(scaling)[few], None)
    start = monotonic()
    train(recipe, some, np.arange(len(few)), plain, lambda _: 0.0, seed, lambda _: False)
    return (monotonic() - start) * len(rows) / len(few)
