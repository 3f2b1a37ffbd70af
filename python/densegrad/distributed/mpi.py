"""Ranks of MPI, by mpi4py, which is imported when first used."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from densegrad import _validation
from densegrad.training.communicator import PeerLost

_TAG = 7  # of all messages


def mpi4py() -> Any:
    """Return the module mpi4py.MPI, or say how to get it."""
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ImportError(
            "MPI needs mpi4py and an MPI library: pip install 'densegrad[mpi]', or mpi4py for the library of"
            f" your cluster; {error}"
        ) from error
    return MPI


class MPICommunicator:
    """A rank of an MPI program, started by ``mpiexec`` or ``srun``.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None
        Its ranks; None: all of the program. It is duplicated, so that messages of others do not mix in.
    cuts : sequence of int or None
        See `Communicator`.
    timeout : float, default 300.0
        Seconds that one movement may take.

    Attributes
    ----------
    rank, size : int
    cuts, timeout

    Raises
    ------
    ImportError
        If mpi4py or an MPI library is missing.
    """

    def __init__(
        self, comm: Any = None, *, cuts: Sequence[int] | None = None, timeout: float = 300.0
    ) -> None:
        mpi = mpi4py()
        comm = mpi.COMM_WORLD if comm is None else comm
        if not isinstance(comm, mpi.Comm):
            raise TypeError(f"comm must be a communicator of mpi4py; got {comm!r}")
        self.timeout = _validation.real("timeout", timeout, 0, closed="neither")
        self.cuts = cuts
        self._comm = comm.Dup()
        self._test = mpi.Request.Testall
        self._given_up: list[Any] = []  # what it may still send; with its buffers
        self.rank: int = self._comm.Get_rank()
        self.size: int = self._comm.Get_size()

    def all_to_all(self, send: Sequence[memoryview], receive: Sequence[memoryview]) -> None:
        """Move send[j] to rank j, whose receive[rank] it fills."""
        own, source = receive[self.rank], send[self.rank]
        if own is not source:
            own[:] = source
        ranks = [(self.rank + i) % self.size for i in range(1, self.size)]
        sources = [rank for rank in ranks if len(receive[rank])]
        receives = [self._comm.Irecv(receive[rank], rank, _TAG) for rank in sources]
        sends = [self._comm.Isend(send[rank], rank, _TAG) for rank in ranks if len(send[rank])]
        if not self._test([*receives, *sends]):
            self._wait(receives, sends, sources)

    def all_gather(self, send: memoryview, receive: Sequence[memoryview]) -> None:
        """Move `send` to every rank, whose receive[rank] it fills."""
        self.all_to_all([send] * self.size, receive)

    def close(self) -> None:
        """Free the duplicate; all ranks have to call it."""
        self._comm.Free()

    def _wait(self, receives: list[Any], sends: list[Any], sources: list[int]) -> None:
        end = time.monotonic() + self.timeout
        turn = 0
        while not self._test([*receives, *sends]):
            turn += 1
            if turn < 200:  # another program may want the core from then on
                continue
            time.sleep(0 if turn < 2000 else 1e-4)
            if time.monotonic() > end:
                late = [rank for rank, request in zip(sources, receives, strict=True) if not request.Test()]
                for request in receives:  # nothing may be written from now on
                    if request:
                        request.Cancel()
                self._given_up += sends
                rank = late[0] if late else None
                who = "a rank" if rank is None else f"rank {rank}"
                raise PeerLost(f"{who} has not answered within {self.timeout:g} s", rank)
