"""Which worker gets which shards: pure arithmetic."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from densegrad.dask.placement import cuts_by_threads, pieces, placed


@pytest.mark.parametrize("shards", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("threads", [[1], [2, 1], [4, 4, 1], [1, 1, 1, 64], [3] * 7])
def test_every_worker_gets_shards_by_its_threads(shards: int, threads: list[int]) -> None:
    threads = threads[:shards]
    cuts = cuts_by_threads(shards, threads)
    assert cuts[0] == 0
    assert cuts[-1] == shards
    counts = np.diff(cuts)
    assert counts.min() >= 1
    ideal = shards * np.array(threads) / sum(threads)
    assert np.all(counts <= np.maximum(1, ideal + 1))


def test_shards_go_where_the_rows_are() -> None:
    held = [{"c": 1}, {"c": 1}, {"a": 1}, {"a": 1}, {"b": 1}, {"b": 1}]
    placement = placed(6, {"a": 1, "b": 1, "c": 1}, held, [100] * 6)
    assert placement.addresses == ["c", "a", "b"]
    assert placement.cuts == [0, 2, 4, 6]
    assert [placement.rows(rank, 600) for rank in range(3)] == [(0, 200), (200, 400), (400, 600)]


def test_runs_fit_the_threads() -> None:
    placement = placed(8, {"small": 1, "large": 3}, [{}] * 4, [10] * 4)
    shares = np.diff(placement.cuts)
    assert dict(zip(placement.addresses, shares.tolist(), strict=True)) == {"small": 2, "large": 6}
    assert placement.threads == [{"small": 1, "large": 3}[address] for address in placement.addresses]


def test_more_workers_than_shards() -> None:
    """Those that hold the rows take part."""
    held = [{"c": 1}, {"d": 1}]
    placement = placed(2, {"a": 1, "b": 1, "c": 1, "d": 1}, held, [10, 10])
    assert placement.addresses == ["c", "d"]


@pytest.mark.parametrize("n_rows", [[10], [0, 4, 0, 6], [1] * 10, [3, 0, 7, 0]])
@pytest.mark.parametrize("cuts", [[0, 10], [0, 3, 10], [0, 1, 2, 9, 10]])
def test_pieces_are_all_rows_in_order(n_rows: list[int], cuts: list[int]) -> None:
    partitions = np.split(np.arange(10), np.cumsum(n_rows)[:-1])
    got = [
        partitions[number][low:high].tolist()
        for first, last in itertools.pairwise(cuts)
        for number, low, high in pieces(n_rows, first, last)
    ]
    assert all(got)
    assert [*itertools.chain(*got)] == list(range(10))
