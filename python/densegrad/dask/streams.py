"""Ranks on the workers of a cluster: messages over the connections that the workers have anyway.

Each rank opens one connection to each other rank, through its worker's pool of connections, and sends arrays
over it. So there is no further port, and TLS is spoken here if the cluster speaks it.
The worker's event loop moves the bytes; the rank's own thread waits for them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from densegrad.dask.packages import imported
from densegrad.training.communicator import PeerLost

OPERATION = "densegrad_stream"


class Inbox:
    """Messages of the other ranks of a group that have come to this worker; for its event loop only."""

    def __init__(self) -> None:
        self._messages: dict[int, deque[Any]] = {}
        self._lost: set[int] = set()
        self._came = asyncio.Event()

    def put(self, rank: int, message: Any) -> None:
        """Keep a message until it is asked for."""
        self._messages.setdefault(rank, deque()).append(message)
        self._came.set()

    def lose(self, rank: int) -> None:
        """Note that no more messages come from a rank."""
        self._lost.add(rank)
        self._came.set()

    async def until_lost(self, rank: int) -> None:
        """Raise ConnectionError as soon as a rank is lost."""
        while rank not in self._lost:
            self._came.clear()
            await self._came.wait()
        raise ConnectionError

    async def get(self, rank: int) -> Any:
        """Return the next message of a rank; ConnectionError if it is lost."""
        messages = self._messages.setdefault(rank, deque())
        while not messages:
            if rank in self._lost:
                raise ConnectionError
            self._came.clear()
            await self._came.wait()
        return messages.popleft()


class Mail:
    """The inboxes of a worker, by the name of the group, and the requests to stop."""

    def __init__(self) -> None:
        self._inboxes: dict[str, Inbox] = {}
        self._stops: set[str] = set()
        self._kept: dict[str, Any] = {}
        self._delivered: dict[str, bytes] = {}
        self._checkpoints: dict[str, Path] = {}
        self._begun: set[str] = set()

    @classmethod
    def of(cls, dask_worker: Any) -> Mail:
        """Return the mail of a worker, which takes connections of ranks from now on."""
        handler: Any = dask_worker.handlers.get(OPERATION)
        if handler is None:
            handler = dask_worker.handlers[OPERATION] = cls().receive
        mail: Mail = handler.__self__
        return mail

    def inbox(self, group: str) -> Inbox:
        """Return the inbox of a group; its rank here or its first message makes it."""
        return self._inboxes.setdefault(group, Inbox())

    def forget(self, group: str) -> None:
        """Drop all that belongs to a group."""
        self._inboxes.pop(group, None)
        self._stops.discard(group)
        self._kept.pop(group, None)
        self._delivered.pop(group, None)
        self._checkpoints.pop(group, None)
        self._begun.discard(group)

    def begin(self, group: str) -> None:
        """Note that the rank of a group runs."""
        self._begun.add(group)

    def has_begun(self, group: str) -> bool:
        """Tell whether the rank of a group runs, or has ended."""
        return group in self._begun

    def stop(self, group: str) -> None:
        """Ask the rank of a group to end."""
        self._stops.add(group)

    def stops(self, group: str) -> bool:
        """Tell whether the rank of a group was asked to end."""
        return group in self._stops

    def deliver(self, group: str, checkpoint: bytes) -> None:
        """Keep a checkpoint that the rank of a group is to go on from."""
        self._delivered[group] = checkpoint

    def delivered(self, group: str) -> bytes | None:
        """Return the checkpoint that the rank of a group is to go on from; None if it begins."""
        return self._delivered.get(group)

    def keep(self, group: str, outcome: Any) -> None:
        """Keep how the rank of a group ended, for whoever asks for it."""
        self._kept[group] = outcome

    def kept(self, group: str) -> Any:
        """Return what was kept; None if nothing was."""
        return self._kept.get(group)

    def checkpoint(self, group: str, path: Path) -> None:
        """Note where the rank of a group writes its checkpoints."""
        self._checkpoints[group] = path

    def newest_checkpoint(self, group: str, known: float) -> tuple[float, bytes] | None:
        """Return when the checkpoint was written, and its contents, if that was not `known`."""
        path = self._checkpoints.get(group)
        if path is None or not path.exists():
            return None
        when = path.stat().st_mtime
        return None if when == known else (when, path.read_bytes())

    async def receive(self, comm: Any, group: str, rank: int) -> Any:
        """Read one rank's connection to its end: the handler of the worker."""
        inbox = self.inbox(group)
        try:
            while True:
                inbox.put(rank, await comm.read())
        except OSError:  # closed
            inbox.lose(rank)
        return imported("distributed.core").Status.dont_reply


# For `client.run`.


def install(dask_worker: Any) -> str:
    """Let a worker take connections of ranks; return the name of its process."""
    Mail.of(dask_worker)
    name: str = dask_worker.id
    return name


def deliver(group: str, checkpoint: bytes, dask_worker: Any) -> None:
    """Give rank 0 of a group, on this worker, a checkpoint to go on from."""
    Mail.of(dask_worker).deliver(group, checkpoint)


def waiting(group: str, dask_worker: Any) -> str:
    """Return the state of a worker whose rank of a group has not begun; "" if it has."""
    return "" if Mail.of(dask_worker).has_begun(group) else str(dask_worker.status.name)


def stop(group: str, dask_worker: Any) -> None:
    """Ask the rank of a group on a worker to end."""
    Mail.of(dask_worker).stop(group)


def lose(group: str, rank: int, dask_worker: Any) -> None:
    """Tell a group's rank on a worker that another rank is lost."""
    Mail.of(dask_worker).inbox(group).lose(rank)


def abandon(group: str, size: int, dask_worker: Any) -> None:
    """End a group's rank on a worker, which loses all others."""
    for rank in range(size):
        Mail.of(dask_worker).inbox(group).lose(rank)


def kept(group: str, dask_worker: Any) -> Any:
    """Return what a worker has kept of a group."""
    return Mail.of(dask_worker).kept(group)


def newest_checkpoint(group: str, known: float, dask_worker: Any) -> tuple[float, bytes] | None:
    """Return when a group's checkpoint was written, and its contents, if that was not `known`."""
    with suppress(FileNotFoundError):  # the rank is ending
        return Mail.of(dask_worker).newest_checkpoint(group, known)
    return None


def forget(group: str, dask_worker: Any) -> None:
    """Drop what a worker has of a group."""
    Mail.of(dask_worker).forget(group)


class WorkerCommunicator:
    """The communicator of a rank that runs in a task of a worker.

    Parameters
    ----------
    worker : distributed.Worker
        The one that this thread runs a task of. Each worker of the group must have had `install`.
    group : str
        Name of the training; no other one may use it.
    rank : int
    addresses : sequence of str
        Addresses of the workers, by rank.
    cuts : sequence of int
        Of length size + 1: rank r holds shards cuts[r] … cuts[r + 1] - 1.
    timeout : float
        Seconds that one movement may take.

    Attributes
    ----------
    interrupted : bool
        Whether the client has asked this rank to end.
    silent : tuple of int
        The ranks that have not answered within the time-out.
    """

    def __init__(
        self,
        worker: Any,
        group: str,
        rank: int,
        addresses: Sequence[str],
        cuts: Sequence[int],
        timeout: float,
    ) -> None:
        self.rank, self.size, self.cuts, self.timeout = rank, len(addresses), cuts, timeout
        self._worker, self._group, self._addresses = worker, group, addresses
        self._mail = Mail.of(worker)
        self._loop = worker.loop.asyncio_loop
        self._to_serialize: Callable[[Any], Any] = imported("distributed.protocol").to_serialize
        self._comms: dict[int, Any] = {}
        self.silent: tuple[int, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Whether the client has asked this rank to end."""
        return self._mail.stops(self._group)

    def connect(self) -> None:
        """Open a connection to each other rank."""
        self._run({peer: self._connect(peer) for peer in self._peers()})

    def all_to_all(self, send: Sequence[Any], receive: Sequence[Any]) -> None:
        """Send send[j] to rank j, and receive into receive[j] what it sends."""
        self._copy_own(send[self.rank], receive[self.rank])
        self._run({peer: self._swap(peer, send[peer], receive[peer]) for peer in self._peers()})

    def all_gather(self, send: Any, receive: Sequence[Any]) -> None:
        """Send to all, and receive into receive[j] what rank j sends."""
        self._copy_own(send, receive[self.rank])
        self._run({peer: self._swap(peer, send, receive[peer]) for peer in self._peers()})

    def close(self) -> None:
        """Close the connections, after what was sent has gone."""

        async def close() -> None:
            for peer, comm in self._comms.items():
                with suppress(OSError, TimeoutError):
                    await asyncio.wait_for(comm.close(), 1)
                comm.abort()
                self._worker.rpc.reuse(self._addresses[peer], comm)  # which gives up one that is closed
            self._comms.clear()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result()

    def _peers(self) -> list[int]:
        return [peer for peer in range(self.size) if peer != self.rank]

    def _copy_own(self, source: Any, target: Any) -> None:
        if len(source):
            target[:] = source

    async def _connect(self, peer: int) -> None:
        # Dask tries for a while, but the client may know that the worker is gone.
        connecting = asyncio.ensure_future(self._worker.rpc.connect(self._addresses[peer]))
        losing = asyncio.ensure_future(self._mail.inbox(self._group).until_lost(peer))
        try:
            await asyncio.wait((connecting, losing), return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                losing.result()  # raises
            comm = connecting.result()
        finally:
            connecting.cancel()
            losing.cancel()
        self._comms[peer] = comm
        await comm.write({"op": OPERATION, "group": self._group, "rank": self.rank, "reply": False})

    async def _swap(self, peer: int, send: Any, receive: Any) -> None:
        if len(send):
            # A copy: the connection may still send it after this call.
            await self._comms[peer].write(self._to_serialize(np.array(send)))
        if len(receive):
            receive[:] = await self._mail.inbox(self._group).get(peer)

    def _run(self, by_peer: dict[int, Awaitable[None]]) -> None:
        """Run what is to be done with each peer, all at once; PeerLost if one of them fails."""
        done: set[int] = set()

        async def with_peer(peer: int, work: Awaitable[None]) -> None:
            try:
                await work
            except OSError as error:  # also distributed's CommClosedError
                raise self._lost(peer, "has closed the connection") from error
            done.add(peer)

        async def all_of_them() -> None:
            async with asyncio.timeout(self.timeout), asyncio.TaskGroup() as tasks:
                for peer, work in by_peer.items():
                    tasks.create_task(with_peer(peer, work))

        try:
            asyncio.run_coroutine_threadsafe(all_of_them(), self._loop).result()
        except TimeoutError:
            self.silent = tuple(sorted(by_peer.keys() - done))
            raise self._lost(self.silent[0], f"has not answered for {self.timeout:g} s") from None
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    def _lost(self, peer: int, what: str) -> PeerLost:
        return PeerLost(f"rank {peer} on worker {self._addresses[peer]} {what}", rank=peer)
