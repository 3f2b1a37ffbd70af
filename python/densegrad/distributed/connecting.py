"""How a program finds its ranks."""

from __future__ import annotations

import os
from typing import Any

from densegrad.distributed.mpi import MPICommunicator
from densegrad.training.communicator import Communicator

# Launchers of MPI set one of these to the number of processes.
_SIZES = (
    "PMI_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "MPI_LOCALNRANKS",
    "SLURM_NTASKS",
    "PALS_LOCAL_SIZE",
    "MV2_COMM_WORLD_SIZE",
)


def connect(comm: Any = None, *, timeout: float = 300.0) -> Communicator | None:
    """Return the communicator of this program's processes, or None if it is the only one.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None
        The ranks that are to train together. None: all that ``mpiexec`` or ``srun`` has started.
    timeout : float, default 300.0
        Seconds to wait for the other ranks, before `PeerLost`.

    Returns
    -------
    Communicator or None
        None stands for one process; `Trainer` and `rows_of` take it, too.

    Raises
    ------
    ImportError
        If there are several processes, but not mpi4py.
    """
    if comm is None and not any(_count(os.environ.get(name)) > 1 for name in _SIZES):
        return None
    communicator = MPICommunicator(comm, timeout=timeout)
    return communicator if communicator.size > 1 else None


def _count(value: str | None) -> int:
    return int(value) if value is not None and value.isdigit() else 1
