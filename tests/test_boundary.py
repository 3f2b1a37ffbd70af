"""Random networks and layouts: X gives the same bits however it lies in memory, on any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from assertions import same_bits
from builders import make_network
from choices import DTYPES, OPTIMIZERS
from densegrad import Trainer

Array = NDArray[Any]

widths = st.integers(1, 40)
shapes = st.builds(
    lambda n_rows, n_inputs, hidden, n_outputs: (n_rows, n_inputs, *hidden, n_outputs),
    st.integers(1, 70),
    widths,
    st.lists(widths, max_size=2),
    widths,
)
seeds = st.integers(0, 2**32 - 1)
check = settings(max_examples=60, derandomize=True, deadline=None, database=None)


def strided(X: Array) -> Array:
    wide = np.full((3 * len(X), 2 * X.shape[1]), np.nan, X.dtype)
    wide[1::3, ::2] = X
    return wide[1::3, ::2]


def read_only(X: Array) -> Array:
    X = X.copy()
    X.flags.writeable = False
    return X


def unaligned(X: Array) -> Array:
    memory = np.zeros(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
    memory[:] = X
    return memory


def csr(X: Array, index: Any) -> Any:
    matrix = scipy.sparse.csr_array(X)
    matrix.indptr, matrix.indices = matrix.indptr.astype(index), matrix.indices.astype(index)
    return matrix


LAYOUTS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "rows backwards": lambda X: X[::-1].copy()[::-1],
    "columns backwards": lambda X: X[:, ::-1].copy()[:, ::-1],
    "strided": strided,
    "read-only": read_only,
    "unaligned": unaligned,
    "byte-swapped": lambda X: X.astype(X.dtype.newbyteorder()),
    "CSR, int32": lambda X: csr(X, np.int32),
    "CSR, int64": lambda X: csr(X, np.int64),
}


def sparse_rows(shape: tuple[int, ...], dtype: str, random: np.random.Generator) -> Array:
    return (random.normal(size=shape[:2]) * (random.uniform(size=shape[:2]) < 0.7)).astype(dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@check
@given(shape=shapes, dtypes=st.tuples(st.sampled_from(DTYPES), st.sampled_from(DTYPES)), seed=seeds)
def test_predict(layout: str, shape: tuple[int, ...], dtypes: tuple[str, str], seed: int) -> None:
    network = make_network(shape, dtype=dtypes[0])
    X = sparse_rows(shape, dtypes[1], np.random.default_rng(seed))
    assert same_bits(network.predict(LAYOUTS[layout](X)), network.predict(X.astype(np.float64)))


@check
@given(
    shape=shapes,
    dtypes=st.tuples(st.sampled_from(DTYPES), st.sampled_from(DTYPES)),
    layout=st.sampled_from(list(LAYOUTS)),
    optimizer=st.sampled_from(OPTIMIZERS),
    batch_size=st.integers(1, 80),
    n_threads=st.integers(2, 4),
    seed=seeds,
)
def test_training(
    shape: tuple[int, ...],
    dtypes: tuple[str, str],
    layout: str,
    optimizer: Any,
    batch_size: int,
    n_threads: int,
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    X, target = sparse_rows(shape, dtypes[1], random), random.normal(size=(shape[0], shape[-1]))

    def trained(rows: Any, n_threads: int) -> Array:
        network = make_network(shape, dtype=dtypes[0])
        trainer = Trainer(network, optimizer, batch_size=batch_size, random_state=0, n_threads=n_threads)
        trainer.fit(rows, target, epochs=2)
        return network.parameters

    assert same_bits(trained(LAYOUTS[layout](X), n_threads), trained(X.astype(np.float64), 1))
