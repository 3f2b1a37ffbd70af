"""Training by several processes, on one machine or on many, with the bits of one process.

Every process, a *rank*, runs the same program and holds a part of the rows. `Trainer` gets the number of
`shards` that the rows are cut into, and a communicator. Results depend on the shards, never on the ranks.
"""

from densegrad.distributed.connecting import connect
from densegrad.distributed.mpi import MPICommunicator
from densegrad.distributed.threads import ThreadCommunicator
from densegrad.training.communicator import Communicator, Interrupted, PeerLost
from densegrad.training.shards import rows_of, sharded_order

__all__ = [
    "Communicator",
    "Interrupted",
    "MPICommunicator",
    "PeerLost",
    "ThreadCommunicator",
    "connect",
    "rows_of",
    "sharded_order",
]
