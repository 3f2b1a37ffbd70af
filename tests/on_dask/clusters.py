"""Clusters of processes on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TypeAlias

from distributed import Client, LocalCluster

#: A context that gives a cluster and its client.
LocalClient: TypeAlias = contextlib.AbstractContextManager[tuple[LocalCluster, Client]]


@contextlib.contextmanager
def local_cluster(n_workers: int, **options: Any) -> Iterator[tuple[LocalCluster, Client]]:
    """Give a cluster of worker processes of one thread, and its client."""
    cluster = LocalCluster(
        n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1", **options
    )
    try:
        with Client(cluster, set_as_default=False) as client:
            yield cluster, client
    finally:
        # On a busy machine, processes take longer to end than Dask waits. It kills them all the same.
        with contextlib.suppress(TimeoutError):
            cluster.close()
