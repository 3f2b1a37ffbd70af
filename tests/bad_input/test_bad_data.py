"""Bad rows, targets and sample weights: errors that name the argument, and change nothing."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from assertions import refused, same_bits
from builders import half_square, make_network
from choices import INF, NAN, PAIRINGS, Pairing
from densegrad import (
    Dense,
    Network,
    Trainer,
    check_gradients,
)

BAD_ROWS = [
    None,
    3.0,
    "abc",
    b"abcdefgh",
    {},
    [],
    [[1.0, 2.0], [3.0]],
    [["a", "b"]],
    [[None, 1.0]],
    np.zeros(2),
    np.zeros((1, 1, 2)),
    np.zeros((2, 3)),
    np.zeros((2, 0)),
    np.zeros((2, 2), complex),
    np.full((2, 2), "0", object),
    [[1.0, 10**400], [1.0, 2.0]],
    np.zeros((2, 2), "U3"),
    np.zeros((2, 2), "M8[s]"),
    np.zeros((2, 2), [("a", "f4")]),
    scipy.sparse.csr_array(np.zeros((2, 3))),
    scipy.sparse.csr_array(np.zeros((2, 2), complex)),
]


@pytest.mark.parametrize("X", BAD_ROWS, ids=lambda X: f"{type(X).__name__}-{X}"[:40].replace("\n", ""))
def test_rows(X: Any) -> None:
    network = make_network((1, 2, 3, 1))
    target = np.zeros((2, 1))
    before = pickle.dumps(network)
    trainer = Trainer(network)
    for action in (
        lambda: network.predict(X),
        lambda: network.forward(X),
        lambda: network.evaluate(X, target),
        lambda: network.backpropagate(X, target),
        lambda: network.loss_and_gradient(X, target),
        lambda: network.samples(X, target),
        lambda: trainer.fit(X, target),
        lambda: trainer.step(X, target),
        lambda: trainer.epoch(X, target),
        lambda: trainer.fit(np.zeros((2, 2)), target, validation=(X, target)),
        lambda: check_gradients(network, X, target),
    ):
        refused("X", action)
    assert pickle.dumps(network) == before
    assert trainer.steps == 0


def test_csr_that_points_outside_is_no_crash() -> None:
    network = make_network((1, 3, 1))
    for indptr, indices in [
        ([0, 1, 2], [0, 3]),
        ([0, 1, 2], [-1, 0]),
        ([0, 2, 1], [0, 1]),
        ([0, 1, 9], [0, 1]),
    ]:
        matrix = scipy.sparse.csr_array((2, 3))
        matrix.data, matrix.indices = np.ones(2), np.array(indices, np.int32)
        matrix.indptr = np.array(indptr, np.int32)
        refused("X is not a valid CSR", lambda matrix=matrix: network.predict(matrix))


def test_no_rows_have_no_loss() -> None:
    network = make_network((1, 2, 1))
    X, target = np.zeros((0, 2)), np.zeros((0, 1))
    trainer = Trainer(network)
    for action in (
        lambda: network.forward(X),
        lambda: network.evaluate(X, target),
        lambda: network.backpropagate(X, target),
        lambda: network.loss_and_gradient(X, target),
        lambda: trainer.epoch(X, target),
        lambda: trainer.fit(X, target),
        lambda: trainer.step(X, target),
        lambda: trainer.fit([], epochs=1),
    ):
        refused("X must .*at least one", action)


def test_validation_is_checked_before_the_first_epoch() -> None:
    network, other = make_network((1, 2, 1)), make_network((1, 2, 1), dtype="float32")
    X, target = np.ones((4, 2)), np.ones((4, 1))
    trainer = Trainer(network)
    for validation in ((X[:0], target[:0]), network.samples(X[:0], target[:0]), other.samples(X, target)):
        refused("one row|another network", lambda v=validation: trainer.fit(X, target, validation=v))
    refused("validation: X must have 2", lambda: trainer.fit(X, target, validation=(X[:, :1], target)))
    refused("validation: target must", lambda: trainer.fit(X, target, validation=(X, target[:2])))
    refused("validation must be .* tuple of length 1", lambda: trainer.fit(X, target, validation=(X,)))
    assert trainer.steps == 0


def test_nan_in_the_rows_is_seen_before_it_does_harm() -> None:
    network = make_network((1, 2, 3, 1))
    before = network.parameters
    for value in (NAN, INF, -INF):
        for dtype in (np.float32, np.float64):
            X = np.zeros((10, 2), dtype)
            X[7, 1] = value
            formats = [
                scipy.sparse.csr_array(X).asformat(name) for name in ("csr", "csc", "lil", "dok", "bsr")
            ]
            for rows in (X, X.tolist(), X.astype(object), *formats):
                samples = network.samples(rows, np.zeros(10))
                batches = [(rows, np.zeros(10))], [(samples, None)]
                for given in ((rows, np.zeros(10)), (samples,), *[(batch,) for batch in batches]):
                    refused("X must be finite", lambda given=given: Trainer(network).fit(*given))
    assert same_bits(network.parameters, before)


def test_a_batch_with_nan_is_refused_before_its_update() -> None:
    network, expected = make_network((1, 2, 3, 1)), make_network((1, 2, 3, 1))
    good, bad = (np.ones((4, 2)), np.ones(4)), (np.full((4, 2), NAN), np.ones(4))
    trainer = Trainer(network)
    refused("X must be finite", lambda: trainer.fit([good, bad]))
    Trainer(expected).step(*good)
    assert trainer.steps == 1
    assert same_bits(network.parameters, expected.parameters)


def targets_of(pairing: Pairing) -> list[Any]:
    bad: list[Any] = [None, "ab", np.zeros(3), np.zeros((2, 9)), np.zeros((2, 2, 2)), [[1], [1, 2]]]
    bad += [[NAN, 0.0], [10**400, 0], np.zeros(2, complex), np.array(["a", "b"]), np.array([None, 1.0])]
    return bad + {
        ("log_loss", "softmax"): [[0, 3], [-1, 0], [0.5, 1.0], np.full((2, 3), 0.5), [[2, -1, 0]] * 2],
        ("log_loss", "logistic"): [[0, 1], np.full((2, 3), 1.5), np.full((2, 3), -0.1)],
        ("hinge", "identity"): [np.full((2, 3), 0.5), [0, 3], [0.5, 0.5]],
        ("focal", "logistic"): [np.full((2, 3), 0.5)],
        ("poisson", "exp"): [np.full((2, 3), -1.0)],
        ("gamma", "exp"): [np.zeros((2, 3))],
        ("tweedie", "exp"): [np.full((2, 3), -1.0)],
        ("focal", "softmax"): [[0, 3], [-1, 0]],
        ("squared_hinge", "identity"): [[0.5, 0.5]],
    }.get((pairing.loss, pairing.head), [np.zeros(2)])


@pytest.mark.parametrize("pairing", PAIRINGS, ids=str)
def test_targets(pairing: Pairing) -> None:
    network = make_network((2, 2, 3, 3), pairing)
    before = pickle.dumps(network)
    trainer = Trainer(network)
    X = np.zeros((2, 2))
    for target in targets_of(pairing):
        for action in (
            lambda target=target: network.evaluate(X, target),
            lambda target=target: network.backpropagate(X, target),
            lambda target=target: trainer.fit(X, target),
            lambda target=target: trainer.step(X, target),
        ):
            refused("target", action)
    assert pickle.dumps(network) == before
    assert trainer.steps == 0


@pytest.mark.parametrize("loss", ["squared_error", half_square])
def test_sparse_targets(loss: Any) -> None:
    network = Network(2, [Dense(3, "identity")], loss=loss)
    for kind in (scipy.sparse.csr_array, scipy.sparse.coo_matrix):
        target = kind(np.zeros((2, 3)))
        refused("target must not be sparse", lambda target=target: network.evaluate(np.zeros((2, 2)), target))


@pytest.mark.parametrize("number", [1e30, -1e30, 2.0**63, 2**64 - 1, 2**63, -(2**63), 2**32])
def test_class_numbers_out_of_range(number: float) -> None:
    network = Network(2, [Dense(3, "softmax")], loss="log_loss")
    refused("target", lambda: network.samples(np.zeros((1, 2)), np.array([number])))


def test_binary_targets_of_one_output() -> None:
    network = make_network((2, 2, 1), Pairing("log_loss", "logistic"))
    for target in ([0, 2], [-1, 0], [[0.5], [1.5]], [0.5, 1.5]):
        refused("target", lambda target=target: network.evaluate(np.zeros((2, 2)), target))


@pytest.mark.parametrize(
    "weight",
    [
        *[[1.0], [1.0] * 3, [[1.0], [1.0]], 1.0, "ab"],
        *[[NAN, 1], [INF, 1], [-1, 1], [0, 0], [None, 1], [1j, 1], [10**400, 1]],
    ],
    ids=lambda weight: str(weight)[:20],
)
def test_sample_weights(weight: Any) -> None:
    network = make_network((2, 2, 1))
    X, target = np.zeros((2, 2)), np.zeros((2, 1))
    for action in (
        lambda: network.evaluate(X, target, weight),
        lambda: Trainer(network).fit(X, target, sample_weight=weight),
        lambda: Trainer(network).fit(X, target, validation=(X, target, weight)),
    ):
        refused("sample_weight must", action)


def frame_with_missing(column: str, row: int) -> Any:
    import pandas as pd

    frame = pd.DataFrame(np.ones((4, 2)), columns=["a", "b"], dtype="Float64")
    frame.loc[row, column] = pd.NA
    return frame


def test_missing_values_are_named() -> None:
    network = make_network((1, 2, 3, 1))
    trainer = Trainer(network)
    X, target = np.ones((4, 2)), np.ones(4)
    missing = frame_with_missing("b", 2)
    for action in (
        lambda: network.predict(missing),
        lambda: network.evaluate(missing, target),
        lambda: trainer.fit(missing, target),
        lambda: trainer.step(missing, target),
    ):
        refused("X must not have missing values; got <NA> in row 2 of column 'b'", action)
    for name, action in {
        "target": lambda: trainer.fit(X, missing["b"]),
        "sample_weight": lambda: trainer.fit(X, target, sample_weight=missing["b"]),
    }.items():
        refused(f"{name} must (not have missing values; got <NA> in row 2|be finite; got NaN)", action)
    refused("X must not have missing .* None in row 0 of column 1", lambda: network.predict([[1.0, None]]))


def test_frames_of_nullable_columns_without_missing_values_are_read() -> None:
    network = make_network((1, 2, 3, 1))
    frame = frame_with_missing("b", 2).fillna(1.0)
    assert same_bits(network.predict(frame), network.predict(np.ones((4, 2))))


@pytest.mark.skipif(np.finfo(np.longdouble).max == np.finfo(np.float64).max, reason="no wider numbers here")
def test_numbers_beyond_float64() -> None:
    network = make_network((1, 2, 1))
    huge = np.full((2, 2), np.longdouble("1e4000"))
    X, target = np.ones((2, 2)), np.ones(2)
    refused("X must be finite", lambda: Trainer(network).fit(huge, target))
    refused("target must be finite", lambda: Trainer(network).fit(X, huge[:, 0]))
    refused("sample_weight must be finite", lambda: network.evaluate(X, target, huge[:, 0]))
    refused("parameters must be finite", lambda: setattr(network, "parameters", huge[0].repeat(2)[:3]))
