"""Ranks on workers: movements over their connections, and peers that are lost."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import cloudpickle
import pytest
from distributed import Client, get_worker

from densegrad.dask import streams
from densegrad.distributed import PeerLost

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not find this module


def addresses_of(client: Client, size: int) -> list[str]:
    client.run(streams.install)
    return sorted(client.nthreads())[:size]


def at_ranks(client: Client, function: Any, addresses: list[str], *arguments: Any) -> list[Any]:
    return [
        client.submit(function, rank, addresses, *arguments, workers=[address], pure=False)
        for rank, address in enumerate(addresses)
    ]


def move(rank: int, addresses: list[str], group: str) -> bool:
    """All-to-all and all-gather of several sizes, each rank with a length of its own for each other."""
    comm = streams.WorkerCommunicator(get_worker(), group, rank, addresses, [0, 1, 2, 3], 30)
    comm.connect()
    size = comm.size
    right = True
    for scale in (0, 1, 1000, 300_000):
        send = [memoryview(bytearray([16 * rank + j] * scale * (rank + j))) for j in range(size)]
        receive = [memoryview(bytearray(scale * (rank + j))) for j in range(size)]
        comm.all_to_all(send, receive)
        right &= all(bytes(receive[j]) == bytes([16 * j + rank]) * len(receive[j]) for j in range(size))
        gathered = [memoryview(bytearray(scale * j)) for j in range(size)]
        gathered[rank][:] = bytes([rank]) * (scale * rank)
        comm.all_gather(gathered[rank], gathered)
        right &= all(bytes(gathered[j]) == bytes([j]) * (scale * j) for j in range(size))
    comm.close()
    return right


@pytest.mark.parametrize("size", [1, 2, 3])
def test_movements(size: int, four_workers: Client) -> None:
    addresses = addresses_of(four_workers, size)
    assert four_workers.gather(at_ranks(four_workers, move, addresses, f"move-{size}")) == [True] * size


def end(rank: int, addresses: list[str], group: str, how: str) -> tuple[str, int | None, float]:
    """Rank 1 ends; the others tell whom they have lost, and when."""
    comm = streams.WorkerCommunicator(get_worker(), group, rank, addresses, [0, 1, 2, 3], 2)
    comm.connect()
    buffers = [memoryview(bytearray(1000)) for _ in addresses]
    try:
        for step in range(50):
            if rank == 1 and step == 20:
                if how == "silence":
                    time.sleep(4)
                elif how == "close":
                    comm.close()
                else:
                    os.kill(os.getpid(), signal.SIGKILL)
                return "", None, 0.0
            comm.all_to_all(buffers, [memoryview(bytearray(1000)) for _ in addresses])
    except PeerLost as error:
        return str(error), error.rank, time.time()
    finally:
        comm.close()
    return "went on", None, time.time()


@pytest.mark.parametrize("how", ["close", "silence"])
def test_a_lost_peer_is_named(how: str, four_workers: Client) -> None:
    addresses = addresses_of(four_workers, 3)
    began = time.time()
    answers = four_workers.gather(at_ranks(four_workers, end, addresses, f"end-{how}", how))
    what = "has closed the connection" if how == "close" else "has not answered for 2 s"
    for rank in (0, 2):
        message, lost, when = answers[rank]
        assert what in message
        # Who learns of a loss leaves, so the others may see that rank go first.
        assert lost == 1 or how == "close"
        assert when - began < 10


def test_a_killed_peer_is_known_at_once(local_cluster: Any) -> None:
    with local_cluster(3) as (_, client):
        addresses = addresses_of(client, 3)
        futures = at_ranks(client, end, addresses, "kill", "kill")
        message, _, _ = futures[0].result(timeout=30)
        assert "has closed the connection" in message
        client.cancel(futures)


def test_what_a_worker_keeps(four_workers: Client) -> None:
    (address,) = addresses_of(four_workers, 1)

    def answer(function: Any, *arguments: Any) -> Any:
        return four_workers.run(function, "group", *arguments, workers=[address])[address]

    assert answer(streams.kept) is None
    answer(streams.stop)
    answer(streams.forget)
    assert answer(streams.kept) is None


def test_bytes_of_other_ranks_are_not_kept(four_workers: Client) -> None:
    """A worker that has forgotten a group holds nothing of it."""
    addresses = addresses_of(four_workers, 2)
    four_workers.gather(at_ranks(four_workers, move, addresses, "forgotten"))
    four_workers.run(streams.forget, "forgotten", workers=addresses)

    def holds(dask_worker: Any) -> bool:
        return "forgotten" in vars(streams.Mail.of(dask_worker))["_inboxes"]

    assert not any(four_workers.run(holds, workers=addresses).values())
