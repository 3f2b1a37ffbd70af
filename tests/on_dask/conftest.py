"""A cluster of two processes on this machine, and small models."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client
from numpy.typing import NDArray

import clusters
from densegrad import MLPClassifier


@pytest.fixture(scope="session")
def local_cluster() -> Callable[..., clusters.LocalClient]:
    """`clusters.local_cluster`; workers that import a module of tests cannot import the one beside it."""
    return clusters.local_cluster


#: Variables that Dask sets in this process, too, as it starts workers. They would limit later tests.
_OF_DASK = {name: os.environ.get(name) for name in dask.config.get("distributed.nanny.pre-spawn-environ")}


@pytest.fixture(autouse=True)
def _environment_restored() -> Iterator[None]:
    yield
    for name, value in _OF_DASK.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def client(local_cluster: Callable[..., clusters.LocalClient]) -> Iterator[Client]:
    """Two worker processes of one thread."""
    with local_cluster(2) as (_, client):
        yield client


@pytest.fixture(scope="session")
def four_workers(local_cluster: Callable[..., clusters.LocalClient]) -> Iterator[Client]:
    """Four worker processes of one thread; no test may kill one of them."""
    with local_cluster(4) as (_, client):
        yield client


@pytest.fixture(scope="session")
def X() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((1000, 5)).astype(np.float32)


@pytest.fixture(scope="session")
def y(X: NDArray[Any]) -> NDArray[Any]:
    """Three classes of text."""
    return np.array(["low", "mid", "top"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0)]


@pytest.fixture(scope="session")
def classifier(X: NDArray[Any], y: NDArray[Any]) -> MLPClassifier:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        return MLPClassifier((16,), max_iter=5, random_state=0).fit(X, y)
