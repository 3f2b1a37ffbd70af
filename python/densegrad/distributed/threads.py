"""Ranks that are threads of one process: to try and to test a distributed program."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from densegrad import _validation
from densegrad.training.communicator import PeerLost


class _Meeting:
    """Where the threads of a group wait for each other."""

    def __init__(self, size: int) -> None:
        self.condition = threading.Condition()
        self.visits = [0] * size
        self.gone: set[int] = set()
        self.buffers: list[Sequence[memoryview]] = [()] * size


class ThreadCommunicator:
    """A rank that is a thread of this process.

    Threads share the processor's cores with each other: a fit is no faster than with one rank. They are
    there to try a program, and to test one.

    Attributes
    ----------
    rank, size : int
    cuts : sequence of int or None
    timeout : float

    Examples
    --------
    >>> from threading import Thread
    >>> from densegrad.distributed import ThreadCommunicator, rows_of
    >>> def program(comm):
    ...     print(rows_of(100, shards=4, comm=comm))
    >>> for comm in ThreadCommunicator.group(2):
    ...     thread = Thread(target=program, args=[comm])
    ...     thread.start()
    ...     thread.join()
    slice(0, 50, None)
    slice(50, 100, None)
    """

    def __init__(
        self, meeting: _Meeting, rank: int, cuts: Sequence[int] | None = None, timeout: float = 60.0
    ) -> None:
        self._meeting = meeting
        self.rank = rank
        self.size = len(meeting.visits)
        self.cuts = cuts
        self.timeout = timeout

    @classmethod
    def group(
        cls, size: int, *, cuts: Sequence[int] | None = None, timeout: float = 60.0
    ) -> list[ThreadCommunicator]:
        """Return the communicators of `size` threads.

        Parameters
        ----------
        size : int
        cuts : sequence of int or None
            See `Communicator`.
        timeout : float, default 60.0
            Seconds that a rank waits for the others.
        """
        size = _validation.integer("size", size, 1)
        timeout = _validation.real("timeout", timeout, 0, closed="neither")
        meeting = _Meeting(size)
        return [cls(meeting, rank, cuts, timeout) for rank in range(size)]

    def all_to_all(self, send: Sequence[memoryview], receive: Sequence[memoryview]) -> None:
        """Move send[j] to rank j, whose receive[rank] it fills."""
        self._move(send, receive, lambda buffers: buffers[self.rank])

    def all_gather(self, send: memoryview, receive: Sequence[memoryview]) -> None:
        """Move `send` to every rank, whose receive[rank] it fills."""
        self._move([send], receive, lambda buffers: buffers[0])

    def close(self) -> None:
        """Leave the group; the others lose this rank."""
        with self._meeting.condition:
            self._meeting.gone.add(self.rank)
            self._meeting.condition.notify_all()

    def _move(
        self,
        send: Sequence[memoryview],
        receive: Sequence[memoryview],
        for_me: Callable[[Sequence[memoryview]], memoryview],
    ) -> None:
        self._meeting.buffers[self.rank] = send
        self._wait()
        for rank, buffers in enumerate(self._meeting.buffers):
            source = for_me(buffers)
            if rank != self.rank or receive[rank] is not source:
                receive[rank][:] = source
        self._wait()  # until nobody reads from here any more

    def _wait(self) -> None:
        meeting = self._meeting
        with meeting.condition:
            meeting.visits[self.rank] += 1
            visit = meeting.visits[self.rank]
            meeting.condition.notify_all()

            def missing() -> list[int]:
                return [rank for rank, visits in enumerate(meeting.visits) if visits < visit]

            done = meeting.condition.wait_for(
                lambda: not missing() or not meeting.gone.isdisjoint(missing()), self.timeout
            )
            late = missing()
            if late:
                self.close()
                rank = next((rank for rank in late if rank in meeting.gone), late[0])
                how = "has left" if done else f"has not answered within {self.timeout:g} s"
                raise PeerLost(f"rank {rank} {how}", rank)
