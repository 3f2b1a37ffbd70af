"""Shards: fixed parts of the rows, the batches that take from each, and the tree that sums over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad import _core, _validation
from densegrad.training.communicator import Communicator


def shard_ends(n_rows: int, shards: int) -> NDArray[np.int64]:
    """Return where each shard ends, (shards,): shard k has the rows k · n // K … (k + 1) · n // K - 1."""
    return np.array([(k + 1) * n_rows // shards for k in range(shards)], np.int64)


def shard_cuts(shards: int, size: int) -> tuple[int, ...]:
    """Return the first shard of each of `size` ranks, and `shards`: about as many each.

    Cuts are multiples of a power of two, if the largest share grows by no more than an eighth: then fewer
    sums travel.
    """

    def cuts(unit: int) -> tuple[int, ...]:
        firsts = ((2 * rank * shards + size * unit) // (2 * size * unit) * unit for rank in range(size))
        return (*firsts, shards)

    if size > shards:
        raise ValueError(f"shards must be at least the number of ranks, {size}; got {shards}")
    unit = 1
    for power in range(1, shards.bit_length()):
        counts = np.diff(cuts(1 << power))
        if counts.min() > 0 and 8 * size * counts.max() <= 9 * shards:
            unit = 1 << power
    found = cuts(unit)
    return found if np.diff(found).min() > 0 else tuple(rank * shards // size for rank in range(size + 1))


def cuts_of(comm: Communicator, shards: int) -> tuple[int, ...]:
    """Return the communicator's own cuts of the shards, checked, or the usual ones."""
    if comm.size > shards:
        raise ValueError(
            f"shards must be at least the number of ranks, which is {comm.size}; got shards={shards}. Give"
            " more shards, or start fewer ranks"
        )
    if comm.cuts is None:
        return shard_cuts(shards, comm.size)
    cuts = tuple(int(cut) for cut in comm.cuts)
    if len(cuts) != comm.size + 1 or cuts[0] != 0 or cuts[-1] != shards or np.diff(cuts).min() < 1:
        raise ValueError(
            f"cuts of the communicator must ascend from 0 to {shards} for {comm.size} ranks; got {cuts}"
        )
    return cuts


def rows_of(n_rows: int, shards: int, comm: Communicator | None = None) -> slice:
    """Return the rows that a rank has to hold: those of its shards.

    Parameters
    ----------
    n_rows : int
        Rows of all ranks together.
    shards : int
        As for `Trainer`.
    comm : Communicator or None
        None stands for one process, which holds all rows.

    Returns
    -------
    slice

    Raises
    ------
    ValueError
        If there are more ranks than shards.

    Examples
    --------
    >>> from densegrad.distributed import rows_of
    >>> rows_of(1000, shards=8)
    slice(0, 1000, None)
    """
    n_rows = _validation.integer("n_rows", n_rows, 0)
    shards = _validation.integer("shards", shards, 1)
    if comm is None:
        return slice(0, n_rows)
    cuts = cuts_of(comm, shards)
    first, last = cuts[comm.rank], cuts[comm.rank + 1]
    return slice(first * n_rows // shards, last * n_rows // shards)


@dataclass(frozen=True)
class Layout:
    """Which rows of an epoch go into which batch, and which of them are here.

    Each batch takes as many rows of each shard, the last ones what is left.

    Attributes
    ----------
    n_rows, shards : int
        Of all ranks together.
    rows_of_shard : int
        Rows that a batch takes from each shard.
    first, last : int
        The shards here are first … last - 1.
    """

    n_rows: int
    shards: int
    rows_of_shard: int
    first: int
    last: int

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return shard_ends(self.n_rows, self.shards)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Rows of each shard, (shards,)."""
        return np.diff(self._ends, prepend=0)

    @cached_property
    def n_steps(self) -> int:
        """Updates of an epoch."""
        return -(-int(self.sizes.max()) // self.rows_of_shard)

    @cached_property
    def leaf_rows(self) -> NDArray[np.int64]:
        """Rows that a batch takes from each shard, (n_steps, shards)."""
        steps = np.arange(self.n_steps, dtype=np.int64)[:, np.newaxis]
        rows: NDArray[np.int64] = np.clip(self.sizes - steps * self.rows_of_shard, 0, self.rows_of_shard)
        return rows

    @cached_property
    def batch_rows(self) -> NDArray[np.int64]:
        """Rows of each batch, (n_steps,)."""
        rows: NDArray[np.int64] = self.leaf_rows.sum(axis=1)
        return rows

    @cached_property
    def first_rows(self) -> NDArray[np.int64]:
        """Number in each batch of the first row that is here, (n_steps,)."""
        rows: NDArray[np.int64] = self.leaf_rows[:, : self.first].sum(axis=1)
        return rows

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Where the rows of each shard here end in the order of an epoch, (n_steps, last - first)."""
        here = self.leaf_rows[:, self.first : self.last]
        return np.ascontiguousarray(np.cumsum(here).reshape(here.shape))

    @property
    def n_rows_here(self) -> int:
        """Rows of the shards here."""
        return int(self.sizes[self.first : self.last].sum())

    def by_step(self, rows: Sequence[NDArray[Any]], fill: Any) -> NDArray[Any]:
        """Return values by shard as (n_steps, last - first, rows_of_shard), filled up."""
        padded = np.full((len(rows), self.n_steps * self.rows_of_shard), fill, rows[0].dtype)
        for line, values in zip(padded, rows, strict=True):
            line[: len(values)] = values
        return padded.reshape(len(rows), self.n_steps, self.rows_of_shard).transpose(1, 0, 2)

    def order(self, seed: int | None, epoch: int) -> NDArray[np.int64]:
        """Return the row numbers here, from 0, in the order of an epoch; seed None: each shard ascending."""
        begin = 0
        rows = []
        random = np.random.RandomState(0)
        for shard in range(self.first, self.last):
            numbers = np.arange(self.sizes[shard], dtype=np.int64)
            if seed is not None:
                parts = [seed & 0xFFFFFFFF, seed >> 32, epoch, shard]
                random.seed(parts)  # as RandomState(parts) begins, in a tenth of the time
                _core.shuffle(numbers, random)
            rows.append(numbers + begin)
            begin += len(numbers)
        order = self.by_step(rows, -1)
        return np.ascontiguousarray(order[order >= 0])

    def leaf_sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return sums for each shard here, (n_steps, last - first), of values in the order of an epoch."""
        filled = np.zeros((*self.ends.shape, self.rows_of_shard))
        filled[np.arange(self.rows_of_shard) < self.leaf_rows[:, self.first : self.last, np.newaxis]] = values
        return np.add.accumulate(filled, axis=-1)[..., -1]  # each sum goes from the first row to the last


def sharded_order(n_rows: int, shards: int, batch_size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order in which a training with shards visits the rows.

    Parameters
    ----------
    n_rows : int
        Rows of all ranks together.
    shards, batch_size : int
        As for `Trainer`.
    seed : int
        The trainer's: ``trainer.state_dict()["seed"]``.
    epoch : int
        Number of the epoch, from 0: ``trainer.epochs`` before it.

    Returns
    -------
    ndarray of int64, shape (n_rows,)
        Row numbers, batch after batch. A batch has rows of shard 0, then of shard 1, and so on.

    Examples
    --------
    >>> from densegrad.distributed import sharded_order
    >>> order = sharded_order(8, shards=2, batch_size=4, seed=0, epoch=0)
    >>> sorted(order[:2].tolist() + order[4:6].tolist())  # the first shard: rows 0 … 3
    [0, 1, 2, 3]
    """
    n_rows = _validation.integer("n_rows", n_rows, 1)
    shards = _validation.integer("shards", shards, 1)
    check_rows(n_rows, shards)
    each = rows_of_shard(_validation.integer("batch_size", batch_size, 1), shards)
    seed = _validation.integer("seed", seed, 0, 2**64 - 1)
    return Layout(n_rows, shards, each, 0, shards).order(seed, _validation.integer("epoch", epoch, 0))


def rows_of_shard(batch_size: int | str, shards: int) -> int:
    """Return the rows that a batch takes from each shard."""
    if isinstance(batch_size, str):
        return 64
    if batch_size % shards:
        raise ValueError(
            f"batch_size must be a multiple of shards={shards}, as many rows of each; got {batch_size}"
        )
    return batch_size // shards


def check_rows(n_rows: int, shards: int) -> None:
    """Raise ValueError if a shard would have no rows."""
    if n_rows < shards:
        raise ValueError(f"shards must be at most the number of rows, {n_rows}; got {shards}")


# --- the tree ---

#: First leaf of a node, and the number of leaves that it has room for.
Node = tuple[int, int]


def _push(nodes: list[Node], node: Node, shards: int) -> int:
    """Add a node to those before it, merged with them where both halves are there; return how often."""
    begin, size = node
    merges = 0
    while begin > 0 or size < shards:
        if begin // size % 2 == 1:
            if not nodes or nodes[-1][0] != begin - size:
                break
            begin = nodes.pop()[0]
            merges += 1
        elif begin + size < shards:
            break
        size *= 2
    nodes.append((begin, size))
    return merges


class TreeSums:
    """The sums of the leaves that have come so far: one for each of the largest nodes that they make up.

    Attributes
    ----------
    values : list of ndarray
        One for each node, in their order.
    """

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._nodes: list[Node] = []
        self.values: list[NDArray[Any]] = []

    def add(self, leaf: int, value: NDArray[Any]) -> None:
        """Take the value of the next leaf, which may be written to."""
        self.values.append(value)
        for _ in range(_push(self._nodes, (leaf, 1), self._shards)):
            source = self.values.pop()
            self.values[-1] += source


def nodes_of(shards: int, first: int, last: int) -> list[Node]:
    """Return the largest nodes of the tree over `shards` leaves that the leaves first … last - 1 make up."""
    nodes: list[Node] = []
    for leaf in range(first, last):
        _push(nodes, (leaf, 1), shards)
    return nodes


def additions(shards: int, nodes: Sequence[Node]) -> list[tuple[int, int]]:
    """Return which nodes' sums are added to which, by their numbers: the first becomes the root."""
    stack: list[Node] = []
    numbers: list[int] = []
    pairs = []
    for number, node in enumerate(nodes):
        numbers.append(number)
        for _ in range(_push(stack, node, shards)):
            source = numbers.pop()
            pairs.append((numbers[-1], source))
    return pairs


def tree_sum(leaves: NDArray[Any]) -> NDArray[Any]:
    """Return the sums over the last axis, the leaves, in the order of the tree."""
    while leaves.shape[-1] > 1:
        even = leaves.shape[-1] // 2 * 2
        pairs = leaves[..., 0:even:2] + leaves[..., 1:even:2]
        leaves = np.concatenate([pairs, leaves[..., even:]], axis=-1)
    return leaves[..., 0]
