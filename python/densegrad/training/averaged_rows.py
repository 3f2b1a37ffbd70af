"""A source of rows in shards that train alone, and are averaged now and then (local SGD)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from densegrad.training.descent import GradientDescent, Numbers, Part, StepNumbers
from densegrad.training.rates import Rates
from densegrad.training.sharded_rows import RowsInShards, ShardedRows
from densegrad.training.shards import TreeSums


class AveragedRows(ShardedRows):
    """Rows in shards; each shard trains alone for some updates, then weights and state are averaged.

    See Stich, Local SGD Converges Fast and Communicates Little, 2018. The mean is a sum in the tree over the
    shards, so it does not depend on the ranks.

    Parameters
    ----------
    descent, rows, rates, n_threads, shuffle
        As for `ShardedRows`.
    average_every : int
        Updates from one average to the next.
    """

    def __init__(
        self,
        descent: GradientDescent,
        rows: RowsInShards,
        rates: Rates,
        n_threads: int | None,
        shuffle: bool,
        average_every: int,
    ) -> None:
        super().__init__(descent, rows, rates, n_threads, shuffle)
        self._average_every = average_every

    def run(
        self,
        numbers: StepNumbers,
        deadline: float = math.inf,
        order: NDArray[np.int64] | None = None,
    ) -> bool:
        """Make the updates of an epoch that are left; tell whether the time was up before the last one."""
        descent, layout = self._descent, self._layout
        if order is None:
            order = layout.order(descent.seed if self._shuffle else None, descent.epochs)
        self._check_equal_rates(numbers)
        while (done := self.so_far.steps) < layout.n_steps:
            end = min(done + self._average_every, layout.n_steps)
            before = descent.numbers()
            try:
                total = self._round(order, numbers, done, end, before, deadline)
            except BaseException:
                descent.take_numbers(before)
                raise
            if total is None:  # the time is up
                descent.take_numbers(before)
                return True
            n_rows = int(layout.batch_rows[:end].sum())
            self.so_far = Part(self.so_far.loss_sum + total, n_rows, end)
        return False

    def _round(
        self,
        order: NDArray[np.int64],
        numbers: StepNumbers,
        begin: int,
        end: int,
        before: Numbers,
        deadline: float,
    ) -> float | None:
        """Make the updates begin … end - 1; return the sum of the rows' losses, None if the time is up."""
        descent, layout, ranks = self._descent, self._layout, self._ranks
        sums = TreeSums(layout.shards)
        losses = TreeSums(layout.shards)
        late = False
        for shard in range(layout.first, layout.last):
            if shard > layout.first:
                descent.take_numbers(before)
            loss, late = self._train_alone(shard, order, numbers, begin, end, deadline)
            if late:
                break
            sums.add(shard, descent.numbers().values)
            losses.add(shard, np.array([loss]))
        descent.count_from(before.steps)  # what the ranks compare; `run` sees to the other numbers
        total, loss_sum = sums.values, np.concatenate(losses.values or [np.zeros(1)])
        if ranks is not None:
            count = len(ranks.nodes[ranks.rank])
            if late:  # the others wait for something
                total, loss_sum = [before.values] * count, np.zeros(count)
            with ranks.epoch(descent.network.dtype):
                views = [values.data.cast("B") for values in total]
                late = not ranks.add_up(late, None, loss_sum.data.cast("B"), views)
        if late:
            return None
        mean = total[0] / total[0].dtype.type(layout.shards)
        descent.take_numbers(Numbers(mean, before.steps + end - begin))
        return float(loss_sum[0])

    def _train_alone(
        self,
        shard: int,
        order: NDArray[np.int64],
        numbers: StepNumbers,
        begin: int,
        end: int,
        deadline: float,
    ) -> tuple[float, bool]:
        """Train on the rows of one shard; return the sum of their losses, and whether the time is up."""
        layout = self._layout
        counts = layout.leaf_rows[begin:end, shard]
        here = int(np.count_nonzero(counts))
        if here == 0:
            return 0.0, False
        ends = layout.ends[begin : begin + here, shard - layout.first]
        rows = np.concatenate(
            [order[last - count : last] for last, count in zip(ends, counts[:here], strict=True)]
        )
        weights = self._samples.sample_weight
        totals = counts[:here].astype(np.float64)
        if weights is not None:
            parts = np.split(weights[rows], np.cumsum(counts[: here - 1]))
            totals = np.array([np.add.accumulate(part)[-1] for part in parts])
        before = layout.leaf_rows[begin : begin + here, :shard].sum(axis=1)  # for the masks of dropout
        shards = (
            1,
            0,
            1,
            np.cumsum(counts[:here])[:, np.newaxis].copy(),
            np.ascontiguousarray(counts[:here]),
            before,
            totals,
        )
        part = self._descent.run(
            self._samples,
            rows,
            numbers.between(begin, begin + here),
            layout.rows_of_shard,
            self._n_threads,
            deadline,
            shards=shards,
        )
        return part.loss * len(rows), part.stopped and part.steps < here
