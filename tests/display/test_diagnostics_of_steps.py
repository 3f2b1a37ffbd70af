"""Records every few steps in the middle of a fit, and that an epoch in parts has the same bits."""

from __future__ import annotations

import time
from itertools import count, takewhile
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from densegrad import SGD, Adam, Dense, MLPClassifier, MLPRegressor, Network, Trainer
from densegrad.display import Diagnostics, GradientFlowDisplay

N_ROWS, BATCH = 61, 10  # 7 steps an epoch, the last one of one row
N_STEPS = 7


def make(dropout: float = 0.0, n_inputs: int = 3) -> tuple[Network, Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, n_inputs))
    layers = [Dense(8, "tanh", dropout=dropout), Dense(6, "relu"), Dense(2, "softmax")]
    return Network(n_inputs, layers, loss="log_loss", random_state=0), X, (X[:, 0] > 0).astype(int)


class EverySteps:
    """A callback of the user's own."""

    def __init__(self, every: Any) -> None:
        self.every_steps = every
        self.steps: list[int] = []
        self.epochs: list[int] = []

    def __call__(self, epoch: int, logs: dict[str, float]) -> None:
        self.epochs.append(epoch)

    def after_step(self, step: int) -> None:
        self.steps.append(step)


def multiples(k: int, last: int) -> list[int]:
    return list(takewhile(lambda step: step <= last, count(k, k)))


@pytest.mark.parametrize(
    ("settings", "dropout", "sparse"),
    [
        ({}, 0.0, False),
        ({"shuffle": False}, 0.0, False),
        ({"l2": 0.1, "l1": 0.01, "max_norm": 1.0}, 0.3, False),
        ({"clip_norm": 0.1, "schedule": "cosine"}, 0.0, False),
        ({"optimizer": SGD(0.1, momentum=0.9)}, 0.0, True),
        ({"optimizer": SGD(0.1)}, 0.2, True),
    ],
)
@pytest.mark.parametrize("every", [1, 2, 3, 7, 100])
def test_an_epoch_in_parts_has_the_same_bits(
    settings: dict[str, Any], dropout: float, sparse: bool, every: int
) -> None:
    results = []
    for watched in (False, True):
        network, X, t = make(dropout, 40 if sparse else 3)
        rows = scipy.sparse.csr_matrix(np.where(X > 1.0, X, 0.0)) if sparse else X
        weight = np.linspace(0.1, 2, N_ROWS)
        weight[:BATCH] = 0.0  # a batch without weight, if not shuffled
        diagnostics = Diagnostics(network, rows, t, every_steps=every, max_rows=10)
        trainer = Trainer(
            network, **{"optimizer": Adam(0.01), "batch_size": BATCH, **settings}, random_state=0
        )
        history = trainer.fit(
            rows, t, epochs=3, sample_weight=weight, callbacks=[diagnostics] if watched else []
        )
        results.append(
            (network.parameters, history.loss, history.learning_rate, trainer.state_dict()["state"])
        )
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1:3] == results[1][1:3]
    for one, other in zip(results[0][3], results[1][3], strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    assert diagnostics.epochs == multiples(every, 3 * N_STEPS)


def test_a_record_is_of_the_network_after_that_step() -> None:
    network, X, t = make()
    diagnostics = Diagnostics(network, X, t, every_steps=3)
    Trainer(network, batch_size=BATCH, shuffle=False).fit(X, t, epochs=1, callbacks=[diagnostics])
    by_hand, _, _ = make()
    trainer = Trainer(by_hand)
    for i in range(0, 3 * BATCH, BATCH):
        trainer.step(X[i : i + BATCH], t[i : i + BATCH])
    p = by_hand.backpropagate(X, t)
    expected = np.sqrt(np.sum(np.square(np.asarray(p.loss_gradients[1], np.float64))))
    assert diagnostics.loss_gradients[1][0] == expected
    assert diagnostics.unit == "step"
    assert GradientFlowDisplay.from_diagnostics(diagnostics).axes_[-1].get_xlabel() == "step"
    assert diagnostics.to_dict()["step"] == [3, 3, 3, 6, 6, 6]


def test_several_callbacks_each_at_their_steps_and_a_second_fit_goes_on() -> None:
    network, X, t = make()
    two, five, epochs = EverySteps(2), EverySteps(5), []
    trainer = Trainer(network, batch_size=BATCH, random_state=0)
    for _ in range(2):
        trainer.fit(X, t, epochs=2, callbacks=[two, five, lambda epoch, logs: epochs.append(epoch)])
    assert two.steps == multiples(2, 4 * N_STEPS)
    assert five.steps == multiples(5, 4 * N_STEPS)
    assert two.epochs == epochs == [0, 1, 0, 1]
    assert trainer.steps == 4 * N_STEPS


def test_steps_of_a_stream() -> None:
    network, X, t = make()
    seen = EverySteps(4)
    batches = [(X[i : i + BATCH], t[i : i + BATCH]) for i in range(0, N_ROWS, BATCH)]
    Trainer(network).fit([*batches, (X[:0], t[:0])], epochs=2, callbacks=[seen])
    assert seen.steps == [4, 8, 12]


@pytest.mark.parametrize("early_stopping", [False, True])
def test_steps_of_an_estimator(early_stopping: bool) -> None:
    _, X, t = make()
    coefs = []
    for watched in (False, True):
        clf = MLPClassifier(
            (5,), batch_size=10, max_iter=4, early_stopping=early_stopping, n_iter_no_change=9, random_state=0
        )
        diagnostics = Diagnostics(clf, X, np.array(["no", "yes"])[t], every_steps=3)
        clf.set_params(callbacks=[diagnostics] if watched else None)
        with pytest.warns(match="(?i)converge"):
            clf.fit(X, np.array(["no", "yes"])[t])
        coefs.append((*clf.coefs_, clf.loss_curve_))
    for one, other in zip(*coefs, strict=True):
        np.testing.assert_array_equal(one, other)
    steps = 4 * (6 if early_stopping else N_STEPS)
    assert diagnostics.epochs == multiples(3, steps)


def test_an_error_in_the_middle_of_an_epoch_leaves_a_usable_trainer() -> None:
    class Fails(EverySteps):
        def after_step(self, step: int) -> None:
            raise RuntimeError("enough")

    network, X, t = make()
    trainer = Trainer(network, batch_size=BATCH, random_state=0)
    with pytest.raises(RuntimeError, match="enough"):
        trainer.fit(X, t, callbacks=[Fails(3)])
    assert trainer.steps == 3
    trainer.fit(X, t, epochs=1)
    assert trainer.steps == 3 + N_STEPS


def test_max_time_ends_the_epoch_between_two_parts() -> None:
    class Slow(EverySteps):
        def after_step(self, step: int) -> None:
            super().after_step(step)
            time.sleep(0.2)

    network, X, t = make()
    slow = Slow(1)
    history = Trainer(network, batch_size=BATCH, random_state=0).fit(
        X, t, epochs=50, max_time=0.1, callbacks=[slow]
    )
    assert history.stopped == "max_time"
    assert slow.steps == [1]


@pytest.mark.parametrize("every", [0, -1, 2.5, "2", True])
def test_bad_numbers_of_steps(every: Any) -> None:
    network, X, t = make()
    before = network.parameters
    with pytest.raises(ValueError, match="every_steps must be a whole number from 1 up or None; got"):
        Diagnostics(network, X, t, every_steps=every)
    with pytest.raises((ValueError, TypeError), match="every_steps must be an integer of at least 1; got"):
        Trainer(network).fit(X, t, callbacks=[EverySteps(every)])
    clf = MLPClassifier(callbacks=[EverySteps(every)])
    with pytest.raises((ValueError, TypeError), match="every_steps must be an integer of at least 1; got"):
        clf.fit(X, t)
    assert not hasattr(clf, "classes_")
    np.testing.assert_array_equal(network.parameters, before)


def test_a_callback_that_wants_steps_must_take_them() -> None:
    class Forgetful:
        every_steps = 2

        def __call__(self, epoch: int, logs: dict[str, float]) -> None:
            """Do nothing."""

    network, X, t = make()
    with pytest.raises(
        TypeError, match=r"every_steps must have a method after_step\(step\); got <.*Forgetful"
    ):
        Trainer(network).fit(X, t, callbacks=[Forgetful()])


def test_where_steps_cannot_be_seen() -> None:
    network, X, t = make()
    diagnostics = Diagnostics(network, X, t, every_steps=2)
    with pytest.raises(ValueError, match="every_steps need shards=1; got shards=2"):
        Trainer(network, shards=2).fit(X, t, callbacks=[diagnostics])
    with pytest.raises(ValueError, match=r"every_steps need a stochastic solver; got solver='lbfgs'"):
        MLPRegressor(solver="lbfgs", callbacks=[diagnostics]).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="every and every_steps cannot both be given; got 3 and 2"):
        Diagnostics(network, X, t, every=3, every_steps=2)
    with pytest.raises(ValueError, match="record the steps of a fit, by every_steps"):
        diagnostics.over([(X, t)])
    assert diagnostics.epochs == []
