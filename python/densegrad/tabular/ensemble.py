"""The ensemble: the data that its members share, and the training of each on its fold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import Network
from densegrad.tabular.calibration import best_temperature
from densegrad.tabular.columns import Columns, Parsed
from densegrad.tabular.crossings import (
    BINS_ALONE,
    BINS_IN_PAIR,
    Crossing,
    LevelCodes,
    best_pairs,
    of_categories,
    of_numbers,
)
from densegrad.tabular.inputs import Inputs, write_last
from densegrad.tabular.level_encoding import TargetMeans
from densegrad.tabular.member import GoesOn, Judge, Rows, trained
from densegrad.tabular.number_encoding import MANY
from densegrad.tabular.portable import log
from densegrad.tabular.recipe import Recipe, batch_size, last_cosine
from densegrad.tabular.standard_target import standard_target
from densegrad.tabular.tasks import Classes, Scaling, Task

Floats = NDArray[np.float64]

#: The fold of a row that every member trains on.
NEVER_JUDGED = -1
MAX_LEVELS = 64
#: From so many rows on pairs of columns may have means of the target.
_ROWS_FOR_PAIRS = 1000
#: Of more classes or targets there would be too many means, and too few pairs.
_SIGNALS_FOR_PAIRS = 6
#: Probabilities that a log loss is taken of; of more, only some rows are taken.
_ENOUGH = 1_000_000


@dataclass(frozen=True)
class Part:
    """Rows with their targets and weights."""

    parsed: Parsed
    task: Task
    #: Of the scores and of the temperature; None means ones.
    weight: Floats | None = None
    #: Of the loss, and of the error that an epoch is judged by: with the weights of the classes.
    loss_weight: Floats | None = None


@dataclass(frozen=True)
class Problem:
    """All that the members have in common."""

    columns: Columns
    training: Part
    #: The fold of each row.
    folds: NDArray[np.int64]
    #: Rows to judge by in place of folds.
    validation: Part | None
    hidden: tuple[int, ...]
    epochs: int
    #: Hidden layers that are worth a try in place of `hidden`.
    deeper: tuple[int, ...] | None = None
    #: Label smoothing at the beginning; None takes the task's.
    smoothing: float | None = None
    #: Part of the rows that an epoch takes, and that it is judged by.
    part: float = 1.0
    #: Categories of more levels than this have means of the target.
    means_above: int = MAX_LEVELS
    #: So many means of the target by pairs of columns at most; above 0 there are means by numbers, too.
    pairs: int = 0

    @property
    def smooths(self) -> bool:
        """Whether the loss has label smoothing."""
        return self.training.task.loss.label_smoothing > 0 and self.smoothing != 0

    @property
    def last_cosine(self) -> int:
        """The number of epochs before the last cosine of the rate."""
        return last_cosine(self.epochs)

    @property
    def has_pairs(self) -> bool:
        """Whether means by pairs of columns are worth a try."""
        parsed = self.training.parsed
        n_numbers, n_categories = parsed.numbers.shape[1], parsed.codes.shape[1]
        few = n_numbers <= MANY and 0 < self.training.task.signals().shape[1] <= _SIGNALS_FOR_PAIRS
        return few and n_numbers + n_categories > 1 and len(self.folds) >= _ROWS_FOR_PAIRS

    @property
    def further_means(self) -> bool:
        """Whether there are categories that could have means of the target, and have none."""
        return self.means_above > 2 and any(
            2 < len(category.levels) <= self.means_above for category in self.columns.categories
        )

    def log_loss(self, member: Member) -> float:
        """Return the log loss of a member's validation rows at their best temperature."""
        part = self.training if self.validation is None else self.validation
        assert isinstance(part.task, Classes)
        some = slice(None, None, max(1, member.judged_outputs.size // _ENOUGH))
        rows = member.judged[some]
        weight = None if part.weight is None else part.weight[rows]
        probabilities = np.maximum(member.judged_outputs[some].astype(np.float64), 1e-30)
        return best_temperature(log(probabilities)[np.newaxis], part.task.numbers_of_rows[rows], weight)[1]

    def judge(self, task: Task, rows: NDArray[np.int64], weight: Floats | None, scaling: Scaling) -> Judge:
        """Return the error that an epoch is judged by: without label smoothing, the log loss of classes.

        The share of wrong rows tells little where even the best classes are often wrong.
        """
        if isinstance(task, Classes) and not self.smooths:
            return task.log_loss_of(rows, weight)
        return task.error_of(rows, weight, scaling)

    def parts(self, fold: int) -> tuple[NDArray[np.int64], Part, NDArray[np.int64]]:
        """Return the rows to train on, the part to judge by, and the rows of that part."""
        everywhere = np.arange(len(self.folds))
        if self.validation is not None:
            return everywhere, self.validation, np.arange(self.validation.task.n_rows)[:: self._stride]
        judged = self.folds == fold
        return everywhere[~judged], self.training, everywhere[judged][:: self._stride]

    @property
    def _stride(self) -> int:
        return max(1, int(1 / self.part))

    def recipe(self, n_inputs: int, n_rows: int) -> Recipe:
        """Return how a member is trained."""
        task = self.training.task
        n_outputs, head = task.head
        return Recipe(
            n_inputs,
            self.hidden,
            task.numbers.activation,
            n_outputs,
            head,
            task.loss if self.smoothing is None else replace(task.loss, label_smoothing=self.smoothing),
            task.numbers.rate,
            0.02,
            task.numbers.dropout,
            batch_size(n_rows),
            self.epochs,
            self.part,
        )


@dataclass(frozen=True)
class Member:
    """A network with the means of the target from its own training rows."""

    network: Network
    means: list[tuple[Crossing, TargetMeans]]
    scaling: Scaling
    input_scale: float
    #: The validation error after each epoch.
    curve: list[float]
    best_epoch: int
    #: Rows of the training, or of the validation data, that it was judged by, and its outputs for them.
    judged: NDArray[np.int64]
    judged_outputs: NDArray[np.float32]

    @property
    def error(self) -> float:
        """The lowest validation error."""
        return self.curve[self.best_epoch]

    def inputs_of(self, plain: NDArray[np.float32], codes: LevelCodes) -> NDArray[np.float32]:
        """Return the inputs of the network, (n_rows, n_inputs), from those without means of the target."""
        further = [means.of(codes.of(crossing)) for crossing, means in self.means]
        width, scale = plain.shape[1], np.float32(self.input_scale)
        X = np.empty((len(plain), width + sum(part.shape[1] for part in further)), np.float32)
        np.multiply(plain, scale, out=X[:, :width])
        write_last(X, further)
        X[:, width:] *= scale
        return X

    def slim(self) -> Member:
        """Return the member without the outputs of its validation rows."""
        return replace(self, judged=self.judged[:0], judged_outputs=self.judged_outputs[:0])


@dataclass(frozen=True)
class Ensemble:
    """Members that share an encoding."""

    encoding: str
    inputs: Inputs
    members: list[Member]
    #: The validation error of each encoding that was tried.
    race: dict[str, float]

    def outputs(self, parsed: Parsed, n_threads: int | None) -> list[Any]:
        """Return the outputs of each member."""
        plain, codes = self.inputs.of(parsed), LevelCodes(parsed)
        # Members without means of the target have the same inputs.
        scales = {member.input_scale for member in self.members if not member.means}
        shared = {scale: plain * np.float32(scale) for scale in scales}
        return [
            member.network.predict(
                member.inputs_of(plain, codes) if member.means else shared[member.input_scale], n_threads
            )
            for member in self.members
        ]


def scaled_inputs(problem: Problem, inputs: Inputs, scale: float) -> NDArray[np.float32]:
    """Return the inputs of all training rows, times the scale of the recipe."""
    X = inputs.of(problem.training.parsed)
    X *= np.float32(scale)
    return X


def trained_member(
    problem: Problem,
    inputs: Inputs,
    fold: int,
    seed: int,
    shared: NDArray[np.float32] | None,
    goes_on: GoesOn,
    n_threads: int = 1,
) -> Member:
    """Train one member; `shared` has the scaled inputs for members without means of the target."""
    rows, judged_part, judged = problem.parts(fold)
    task = problem.training.task
    means, of_rows = _target_means(problem, rows)
    further = sum(part.shape[1] for part in of_rows)
    recipe = problem.recipe(inputs.width + further, len(rows))
    X = None if means else shared
    if X is None:
        X = inputs.of(problem.training.parsed, further)
        write_last(X, of_rows)
        X *= np.float32(recipe.input_scale)
    if judged_part is problem.training:
        X_judged = X[judged]
    else:
        parsed = judged_part.parsed.take(judged)
        X_judged = inputs.of(parsed, further)
        codes = LevelCodes(parsed)
        write_last(X_judged, [mean.of(codes.of(crossing)) for crossing, mean in means])
        X_judged *= np.float32(recipe.input_scale)
    scaling = task.scaling(rows, problem.training.weight)
    weight = judged_part.loss_weight
    best = trained(
        recipe,
        Rows(X, task.target(scaling), problem.training.loss_weight),
        rows,
        X_judged,
        problem.judge(judged_part.task, judged, None if weight is None else weight[judged], scaling),
        seed,
        goes_on,
        n_threads,
    )
    return Member(
        best.network, means, scaling, recipe.input_scale, best.curve, best.best_epoch, judged, best.outputs
    )


def _target_means(
    problem: Problem, rows: NDArray[np.int64]
) -> tuple[list[tuple[Crossing, TargetMeans]], list[Floats]]:
    """Return means by level over the training rows of a member, and the inputs of all rows.

    A training row gets means over the other folds among the training rows; a row to judge by gets means over
    all training rows.
    """
    crossings = of_categories(problem.columns.categories, problem.means_above)
    if not (crossings or problem.pairs) or len(rows) < 2:
        return [], []
    signals = standard_target(problem.training.task.signals()[rows])
    if signals.shape[1] == 0:
        return [], []
    _, folds = np.unique(problem.folds[rows], return_inverse=True)
    if folds.max() == 0:
        folds = np.arange(len(rows)) % 2
    weight = problem.training.weight
    if weight is not None:
        weight = weight[rows] / weight[rows].mean()
    parsed = problem.training.parsed
    if most := problem.pairs // signals.shape[1]:
        singles = of_categories(problem.columns.categories, 1) + of_numbers(parsed, BINS_IN_PAIR)
        pairs = best_pairs(singles, parsed.take(rows), signals, folds, weight, most)
        crossings = crossings + of_numbers(parsed, BINS_ALONE) + pairs
    learned: list[tuple[Crossing, TargetMeans]] = []
    parts: list[Floats] = []
    level_codes = LevelCodes(parsed)
    for crossing in crossings:
        codes = level_codes.of(crossing)
        means, of_rows = TargetMeans.learned(codes[rows], signals, folds, crossing.n_levels, None, weight)
        part = means.of(codes)
        part[rows] = of_rows
        learned.append((crossing, means))
        parts.append(part)
    return learned, parts


def slim_and_cooled(ensemble: Ensemble, temperature: float) -> Ensemble:
    """Return the ensemble without outputs of rows, its heads' weights divided by a temperature."""
    members = []
    for member in ensemble.members:
        network = member.network
        if temperature != 1:
            L = network.depth
            network.weights[L] = network.weights[L] / np.float32(temperature)
        members.append(replace(member.slim(), network=network))
    return replace(ensemble, members=members)
