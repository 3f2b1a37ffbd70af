"""What a training over several processes needs of an engine that moves bytes between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class Communicator(Protocol):
    """Moves bytes between the ranks of a training. It never adds them: densegrad does.

    All ranks make the same calls in the same order, one at a time. Buffers are writable memoryviews of bytes.
    Both sides know their lengths, which may be zero. They are free again once the call returns.

    A call that cannot end raises `PeerLost` after at most `timeout` seconds. The communicator is of no use
    from then on.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        Number of processes.
    cuts : sequence of int, length size + 1, or None
        Rank r holds the shards cuts[r] … cuts[r + 1] - 1. None: about as many each, see `shard_cuts`.
    timeout : float
        Seconds that one call may take.

    Notes
    -----
    An engine that cannot send this process a signal gives its communicator an attribute `interrupted`. Once
    it is true, the training ends before its next update, on all ranks, as by Ctrl-C on this one.
    """

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""

    @property
    def size(self) -> int:
        """Number of processes."""

    @property
    def cuts(self) -> Sequence[int] | None:
        """Where the shards of each rank begin and end."""

    @property
    def timeout(self) -> float:
        """Seconds that one call may take."""

    def all_to_all(self, send: Sequence[memoryview], receive: Sequence[memoryview]) -> None:
        """Move send[j] to rank j, whose receive[rank] it fills; each has `size` buffers.

        The two buffers at `rank` may be the same memory.
        """

    def all_gather(self, send: memoryview, receive: Sequence[memoryview]) -> None:
        """Move `send` to every rank, whose receive[rank] it fills.

        `send` and receive[rank] may be the same memory.
        """

    def close(self) -> None:
        """Give up the connections; the other ranks then lose this one."""


class PeerLost(ConnectionError):
    """Another rank is gone, or has not answered within the time-out.

    Attributes
    ----------
    rank : int or None
        The rank that is lost; None if that is not known.
    step : int or None
        Updates that this rank has made. It has all of them and nothing of the next one.
    """

    def __init__(self, message: str, rank: int | None = None, step: int | None = None) -> None:
        super().__init__(message)
        self.rank = rank
        self.step = step


class Interrupted(RuntimeError):
    """Another rank ended the training, by an error or by Ctrl-C.

    Attributes
    ----------
    rank : int
        The rank that ended it.
    step : int
        Updates that every rank has made.
    """

    def __init__(self, message: str, rank: int, step: int) -> None:
        super().__init__(message)
        self.rank = rank
        self.step = step
