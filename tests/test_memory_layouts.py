"""Arrays are read right however they lie in memory: misaligned, strided, any number of bytes apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse

from assertions import same_bits
from builders import make_network, make_rows
from choices import Pairing
from densegrad import Adam, Trainer, _arrays, _core
from densegrad.training.arguments import checked_order
from densegrad.training.rates import checked_rates


def misaligned(array: Any) -> Any:
    """The same numbers, one byte off where they could be read in place."""
    array = np.asarray(array)
    moved = np.frombuffer(b"\0" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)
    assert not moved.flags.aligned
    return moved


def strided(array: Any) -> Any:
    return np.repeat(array, 2)[::2]


@pytest.mark.parametrize("pairing", [Pairing("squared_error", "identity"), Pairing("log_loss", "softmax")])
def test_misaligned_targets_and_weights_are_copied(
    pairing: Pairing, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = (30, 4, 8, 3)
    network = make_network(case, pairing)
    X, weight = make_rows(case, rng), rng.uniform(0.5, 2, 30)
    target = rng.normal(size=(30, 3)) if pairing.loss == "squared_error" else rng.integers(3, size=30)
    seen: list[Any] = []
    targets = _core.Targets

    def see(*arrays: Any) -> Any:
        seen.extend(array for array in arrays if array is not None)
        return targets(*arrays)

    monkeypatch.setattr(_core, "Targets", see)
    moved = network.evaluate(misaligned(X), misaligned(target), misaligned(weight))
    assert moved == network.evaluate(X, target, weight)
    assert len(seen) == 4
    assert all(array.flags.aligned for array in seen)


def test_misaligned_orders_rates_and_parameters_are_copied(rng: np.random.Generator) -> None:
    case = (30, 4, 8, 3)
    X, target = make_rows(case, rng), rng.normal(size=(30, 3))
    order, rates = rng.permutation(30), rng.uniform(0.001, 0.01, 3)
    assert checked_order(misaligned(order)).flags.aligned
    assert checked_rates(misaligned(rates), 3).flags.aligned
    a, b = make_network(case), make_network(case)
    assert _arrays.finite_array("parameters", misaligned(a.parameters), a.dtype).flags.aligned
    b.parameters = misaligned(a.parameters)
    for network, change in ((a, np.asarray), (b, misaligned)):
        Trainer(network, Adam(), batch_size=10).epoch(
            X, target, order=change(order), learning_rate=change(rates)
        )
    assert same_bits(a.parameters, b.parameters)


@pytest.mark.parametrize("change", [misaligned, strided])
@pytest.mark.parametrize("member", ["data", "indices", "indptr"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_csr_of_arrays_that_cannot_be_read_in_place(
    dtype: str, member: str, change: Any, rng: np.random.Generator
) -> None:
    network = make_network((20, 6, 5, 2))
    dense = rng.integers(-3, 4, (20, 6)).astype(dtype)
    matrix = scipy.sparse.csr_array(dense)
    changed = change(getattr(matrix, member))
    setattr(matrix, member, changed)
    assert same_bits(network.predict(matrix), network.predict(dense))
    readable = _arrays.readable_rows(matrix)
    for array in (readable.data, readable.indices, readable.indptr):
        assert array.flags.aligned
        assert array.flags.c_contiguous
    assert getattr(matrix, member) is changed


def test_csr_that_can_be_read_in_place_is_not_copied(rng: np.random.Generator) -> None:
    for dtype in (np.float32, np.float64):
        matrix = scipy.sparse.csr_array(rng.integers(-3, 4, (20, 6)).astype(dtype))
        assert _arrays.readable_rows(matrix) is matrix


@pytest.mark.parametrize("n_rows", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_field_of_a_record_whose_rows_are_any_number_of_bytes_apart(dtype: str, n_rows: int) -> None:
    network = make_network((n_rows, 3, 5, 2))
    records = np.zeros(n_rows, [("x", dtype, (6,)), ("flag", "u1")])
    records["x"] = np.arange(6 * n_rows).reshape(n_rows, 6)
    for X in (records["x"][:, ::2], records["x"][:, ::-2], records["x"][:, :3]):
        assert same_bits(network.predict(X), network.predict(X.copy()))
