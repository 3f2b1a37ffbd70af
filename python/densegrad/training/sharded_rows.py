"""A source of rows that come in shards, here or also on other ranks."""

from __future__ import annotations

import math
import zlib
from contextlib import nullcontext
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from densegrad._arrays import first_bad_row
from densegrad.network import Network
from densegrad.samples import Samples
from densegrad.training.descent import GradientDescent, Part, Shards, StepNumbers
from densegrad.training.ranks import Ranks
from densegrad.training.rates import Rates
from densegrad.training.shards import Layout, check_rows, shard_ends, tree_sum
from densegrad.training.sources import Run


class RowsInShards:
    """The rows of the shards that are here, and their place among all rows.

    Parameters
    ----------
    samples : Samples
        The rows of the shards that are here.
    shards : int
    rows_of_shard : int
        Rows that an update takes of each shard; more than there are stands for all.
    ranks : Ranks or None
        None: all shards are here.

    Raises
    ------
    ValueError
        If there are fewer rows than shards; on all ranks, if one of them has not the rows of its shards.
    """

    def __init__(self, samples: Samples, shards: int, rows_of_shard: int, ranks: Ranks | None) -> None:
        self.samples = samples
        self.ranks = ranks
        n_rows, first, last = samples.n_rows, 0, shards
        if ranks is not None:
            ranks.check_equal(
                {
                    "sample_weight is None": samples.sample_weight is None,
                    "the rows of a shard in an update, by the call or batch_size,": rows_of_shard,
                }
            )
            n_rows, first, last = ranks.total_rows(n_rows), ranks.first, ranks.last
        check_rows(n_rows, shards)
        self.layout = Layout(n_rows, shards, min(rows_of_shard, -(-n_rows // shards)), first, last)

    def check_finite(self) -> None:
        """Raise ValueError if X has NaN or infinity; with several ranks it says where."""
        try:
            self.samples.check_finite()
        except ValueError as error:
            if self.ranks is None:
                raise
            row = first_bad_row(self.samples.X, self.samples.spec.dtype)
            row += self.layout.first * self.layout.n_rows // self.layout.shards
            raise ValueError(f"{error} (rank {self.ranks.rank}, row {row} of all)") from None

    def steps(self, order: NDArray[np.int64] | None, done: int = 0) -> Shards:
        """Return the shards of the updates that are left, as the core takes them.

        `order` is that of the rows here, batch after batch; None: as they stand.
        """
        layout = self.layout
        begin = int(layout.ends[done - 1, -1]) if done else 0
        return (
            layout.shards,
            layout.first,
            layout.last - layout.first,
            layout.ends[done:] - begin,
            layout.batch_rows[done:],
            layout.first_rows[done:],
            self._batch_weights(order)[done:],
        )

    def _batch_weights(self, order: NDArray[np.int64] | None) -> NDArray[np.float64]:
        weights = self.samples.sample_weight
        if weights is None:
            return self.layout.batch_rows.astype(np.float64)
        leaves = self.layout.leaf_sums(weights if order is None else weights[order])
        if self.ranks is not None:
            leaves = self.ranks.columns(leaves)
            if not leaves.any():
                raise ValueError("sample_weight must not be zero for every row")
        return np.ascontiguousarray(tree_sum(leaves))


class ShardedRows:
    """Rows in shards; each update takes as many rows of each shard.

    Parameters
    ----------
    descent : GradientDescent
    rows : RowsInShards
    rates : Rates
    n_threads : int or None
    shuffle : bool

    Attributes
    ----------
    n_steps : int
        Updates of an epoch.
    so_far : Part
        How far the epoch under way has come, also if it was broken off. `epoch` goes on from there, so assign
        an empty one before the next epoch.
    """

    ended = ""

    def __init__(
        self,
        descent: GradientDescent,
        rows: RowsInShards,
        rates: Rates,
        n_threads: int | None,
        shuffle: bool,
    ) -> None:
        self._descent = descent
        self._rows = rows
        self._samples, self._layout, self._ranks = rows.samples, rows.layout, rows.ranks
        self._shuffle = shuffle
        self._rates = rates
        self._n_threads = n_threads
        self.n_steps = self._layout.n_steps
        self.so_far = Part()

    def check_finite(self) -> None:
        """Raise ValueError if X has NaN or infinity; with several ranks it says where."""
        self._rows.check_finite()

    def epoch(self, deadline: float) -> Run:
        """Make the updates of the next epoch that are left, in one call of the core."""
        numbers = self._rates.of_epoch(self.n_steps, done=self.so_far.steps)
        began = monotonic()
        stopped = self.run(numbers, deadline)
        seconds = monotonic() - began
        loss, steps = self.so_far.loss, self.so_far.steps
        if steps == 0:
            return Run(loss, 0, 0.0, seconds, stopped)
        self._descent.epochs += 1
        n_rows = int(self._layout.batch_rows[:steps].sum())
        return Run(loss, n_rows, float(numbers.learning_rates[steps - 1]), seconds, stopped)

    def run(
        self,
        numbers: StepNumbers,
        deadline: float = math.inf,
        order: NDArray[np.int64] | None = None,
    ) -> bool:
        """Make the updates of an epoch that are left; tell whether the time was up before the last one.

        `numbers` are those of the whole epoch. `order` holds the numbers of the rows here, batch after batch.
        None stands for `sharded_order`, or for the order of each shard without shuffling.
        """
        layout, descent, ranks = self._layout, self._descent, self._ranks
        if order is None:
            order = layout.order(descent.seed if self._shuffle else None, descent.epochs)
        done = self.so_far.steps
        if done == layout.n_steps:
            return False
        self._check_equal_rates(numbers)
        shards = self._rows.steps(order, done)
        begin = len(order) - int(shards[3][-1, -1])
        numbers = numbers.between(done, layout.n_steps)
        exchange = None if ranks is None else ranks.add_up
        with nullcontext() if ranks is None else ranks.epoch(descent.network.dtype):
            part = descent.run(
                self._samples,
                order[begin:],
                numbers,
                layout.rows_of_shard,
                self._n_threads,
                deadline,
                self.so_far,
                shards,
                exchange,
                self._note_progress,
            )
        return part.stopped

    def _note_progress(self, part: Part) -> None:
        self.so_far = part

    def _check_equal_rates(self, numbers: StepNumbers) -> None:
        """Raise ValueError, on all ranks, if their schedules or learning rates differ."""
        if self._ranks is not None:
            rates, *factors = numbers
            shown = f"{rates[0]:g} ... {rates[-1]:g} (checksum {zlib.crc32(rates.data):08x})"
            checksums = [None if part is None else zlib.crc32(part.data) for part in factors]
            self._ranks.check_equal(
                {
                    "the learning rates of the updates": shown,
                    "the factors by other schedules (their checksums)": checksums,
                }
            )

    def is_late(self, deadline: float) -> bool:
        """Tell whether no further epoch is to begin, on some rank."""
        late = monotonic() >= deadline
        return late if self._ranks is None else self._ranks.any(late)


def validation_loss(
    network: Network, samples: Samples, shards: int, n_threads: int | None, ranks: Ranks | None
) -> float:
    """Return the weighted mean of the losses of validation rows, which come in shards like the others."""
    n_rows, first, last = samples.n_rows, 0, shards
    if ranks is not None:
        n_rows, first, last = ranks.total_rows(n_rows), ranks.first, ranks.last
    if n_rows == 0:
        raise ValueError("validation must have at least one row; got 0 on all ranks")
    ends = shard_ends(n_rows, shards)
    begin = first * n_rows // shards
    leaves = np.array(network.evaluate_sums(samples, ends=ends[first:last] - begin, n_threads=n_threads))
    if ranks is not None:
        leaves = ranks.columns(leaves)
    loss, weight = tree_sum(leaves)
    if weight == 0:
        raise ValueError("validation: sample_weight must not be zero for every row")
    return float(loss / weight)
