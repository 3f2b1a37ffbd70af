"""Denormal numbers in X and in assigned weights count as zero, so that no product with them is slow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

from assertions import same_bits
from choices import DTYPES
from densegrad import Dense, Network, Trainer, _core

N, COLUMNS = 37, 21


def network(dtype: str) -> Network:
    return Network(COLUMNS, [Dense(9, "tanh"), Dense(1, "identity")], dtype=dtype, random_state=0)


def rows(dtype: str, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Some numbers of X are denormal in `dtype`, all of them in the first rows; the same with zeros."""
    tiny = float(np.finfo(dtype).tiny)
    X = rng.normal(size=(N, COLUMNS))
    small = rng.random((N, COLUMNS)) < 0.3
    small[:5] = True
    X[small] = rng.uniform(-1, 1, int(small.sum())) * tiny
    zeros = np.where(small, np.copysign(0.0, X), X)
    X[5, 0] = zeros[5, 0] = tiny  # the smallest normal number stays
    X[5, 1] = zeros[5, 1] = -tiny
    return X, zeros


def forms(X: NDArray[Any]) -> dict[str, Any]:
    wide = np.zeros((N, 2 * COLUMNS), X.dtype)
    wide[:, ::2] = X
    return {
        "C": X,
        "F": np.asfortranarray(X),
        "strided": wide[:, ::2],
        "csr": scipy.sparse.csr_array(X),
        "blocks": [X[:10], X[10:]],
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("given", DTYPES)
def test_denormal_numbers_of_rows_are_zero(
    isa: str, dtype: str, given: str, rng: np.random.Generator
) -> None:
    assert _core.instruction_set() == isa
    made = network(dtype)
    # float32 has no number that is denormal in float64: float64 then has the zeros of neither.
    X, zeros = (array.astype(given) for array in rows(dtype if given == "float64" else given, rng))
    if (dtype, given) == ("float64", "float32"):
        zeros = X
    target = rng.normal(size=(N, 1))
    for name, form in forms(X).items():
        plain = forms(zeros)[name]
        if name != "blocks":
            assert same_bits(made.predict(form), made.predict(plain)), name
            outputs = made.backpropagate(form, target).outputs
            np.testing.assert_array_equal(outputs[0], zeros.astype(dtype), err_msg=name)
        trained = []
        for data in (form, plain):
            trainer = Trainer(made.astype(dtype), "sgd", batch_size=8, shuffle=False)
            trainer.epoch(data, [target[:10], target[10:]] if name == "blocks" else target)
            trained.append(trainer.network.parameters)
        assert same_bits(*trained), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_denormal_weights_are_zero(dtype: str) -> None:
    tiny = np.finfo(dtype).tiny
    made = network(dtype)
    weights = made.weights[1].copy()
    weights[:2, :3] = [[tiny / 2, -tiny / 4, tiny], [-tiny, 0.0, 1.0]]
    made.weights[1] = weights
    expected = weights.copy()
    expected[0, :2] = 0.0
    np.testing.assert_array_equal(made.weights[1], expected)
    parameters = np.full(made.n_parameters, tiny / 2, dtype)
    made.parameters = parameters
    assert not made.parameters.any()
