"""The records of Diagnostics, and that it changes nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from densegrad import SGD, Adam, Dense, MLPClassifier, MLPRegressor, Network, Trainer
from densegrad.display import Diagnostics, GradientFlowDisplay


def make() -> tuple[Network, Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    return (
        Network(
            3, [Dense(8, "tanh"), Dense(6, "relu"), Dense(2, "softmax")], loss="log_loss", random_state=0
        ),
        X,
        (X[:, 0] > 0).astype(int),
    )


def norm(array: Any) -> float:
    return float(np.sqrt(np.sum(np.square(np.asarray(array, np.float64)))))


def test_a_record_is_that_of_the_pass() -> None:
    network, X, t = make()
    diagnostics = Diagnostics(network, X, t, max_rows=None)
    diagnostics.record(7)
    p = network.backpropagate(X, t)
    assert diagnostics.epochs == [7]
    for l in (1, 2, 3):
        assert diagnostics.outputs[l] == [norm(p.outputs[l])]
        assert diagnostics.loss_gradients[l] == [norm(p.loss_gradients[l])]
        assert diagnostics.weight_gradients[l] == [norm(p.weight_gradients[l])]
        assert math.isnan(diagnostics.update_ratio[l][0])


def test_the_update_ratio_is_that_of_the_weights() -> None:
    network, X, t = make()
    diagnostics = Diagnostics(network, X, t)
    diagnostics.record(-1)
    before = network.weights[2]
    Trainer(network, SGD(0.1), random_state=0).fit(X, t, epochs=1, callbacks=[diagnostics])
    assert diagnostics.epochs == [-1, 0]
    expected = norm(network.weights[2] - before) / norm(before)
    assert diagnostics.update_ratio[2][1] == pytest.approx(expected)
    assert expected > 0


def test_dead_and_saturated_units_are_counted() -> None:
    network = Network(1, [Dense(4, "relu"), Dense(4, "tanh"), Dense(1, "identity")], random_state=0)
    W = np.ones((2, 4))
    W[:, 1] = -1.0  # these get -1 · x - 1 with x ≥ 0: below 0 for each row
    W[:, 3] = -1.0
    network.weights[1] = W
    flat = np.zeros((5, 4))
    flat[4] = [0.0, 3.0, -3.0, 0.1]  # tanh'(3) < 0.01
    network.weights[2] = flat
    diagnostics = Diagnostics(network, np.linspace(0, 1, 9)[:, np.newaxis], np.zeros(9))
    diagnostics.record(0)
    assert diagnostics.dead == {1: [0.5], 2: [0.0], 3: [0.0]}
    assert diagnostics.saturated[2] == [0.5]
    assert math.isnan(diagnostics.saturated[1][0])


def test_a_relu_head_that_says_nothing_is_dead() -> None:
    network = Network(1, [Dense(1, "relu")], random_state=0)
    network.weights[1] = [[-1.0], [-1.0]]
    diagnostics = Diagnostics(network, [[0.5], [1.0]], [1.0, 2.0])
    diagnostics.record(0)
    assert diagnostics.dead[1] == [1.0]


def test_training_is_the_same_bits_with_it() -> None:
    weights = []
    for watched in (False, True):
        network, X, t = make()
        callbacks = [Diagnostics(network, X, t, max_rows=10)] if watched else []
        history = Trainer(network, Adam(0.01), batch_size=16, random_state=0).fit(
            X, t, epochs=5, callbacks=callbacks
        )
        weights.append((network.parameters, history.loss))
    np.testing.assert_array_equal(weights[0][0], weights[1][0])
    assert weights[0][1] == weights[1][1]


def test_every_kth_epoch() -> None:
    network, X, t = make()
    diagnostics = Diagnostics(network, X, t, every=3)
    Trainer(network, random_state=0).fit(X, t, epochs=8, callbacks=[diagnostics])
    assert diagnostics.epochs == [0, 3, 6]


def test_it_never_ends_a_fit() -> None:
    network, X, t = make()
    history = Trainer(network, random_state=0).fit(X, t, epochs=3, callbacks=[Diagnostics(network, X, t)])
    assert history.stopped == "epochs"


@pytest.mark.parametrize("kind", ["array", "frame", "sparse"])
def test_rows_of_any_kind(kind: str) -> None:
    network, X, t = make()
    rows = {"array": X, "frame": pd.DataFrame(X), "sparse": scipy.sparse.csr_matrix(X)}[kind]
    diagnostics = Diagnostics(network, rows, t, max_rows=10)
    diagnostics.record(0)
    reference = Diagnostics(network, X, t, max_rows=10)
    reference.record(0)
    assert diagnostics.loss_gradients == reference.loss_gradients


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_in_an_estimator_with_text_labels(solver: str) -> None:
    _, X, t = make()
    y = np.array(["no", "yes"])[t]
    clf = MLPClassifier((5,), solver=solver, random_state=0, max_iter=5, n_iter_no_change=np.inf)
    diagnostics = Diagnostics(clf, X, y)
    clf.set_params(callbacks=[diagnostics])
    with pytest.warns(match="(?i)converge"):
        clf.fit(X, y)
    assert diagnostics.epochs == list(range(clf.n_iter_))
    p = clf.network_.backpropagate(X, t)
    assert diagnostics.weight_gradients[1][-1] == pytest.approx(norm(p.weight_gradients[1]))


def test_lbfgs_is_seen_iteration_by_iteration() -> None:
    _, X, t = make()
    clf = MLPClassifier((5,), solver="lbfgs", max_iter=8, random_state=0)
    diagnostics = Diagnostics(clf, X, t)
    clf.set_params(callbacks=[diagnostics])
    with pytest.warns(match="(?i)converge"):
        clf.fit(X, t)
    assert diagnostics.epochs == list(range(clf.n_iter_))
    assert len(set(diagnostics.weight_gradients[1])) == clf.n_iter_


def test_in_a_regressor() -> None:
    _, X, _ = make()
    reg = MLPRegressor(hidden_layer_sizes=(4,), random_state=0, max_iter=3)
    diagnostics = Diagnostics(reg, X, X[:, 0])
    reg.set_params(callbacks=[diagnostics])
    with pytest.warns(match="(?i)converge"):
        reg.fit(X, X[:, 0])
    assert len(diagnostics.epochs) == 3


def test_a_table_for_a_data_frame() -> None:
    network, X, t = make()
    diagnostics = Diagnostics(network, X, t)
    Trainer(network, random_state=0).fit(X, t, epochs=2, callbacks=[diagnostics])
    frame = pd.DataFrame(diagnostics.to_dict())
    assert list(frame["epoch"]) == [0, 0, 0, 1, 1, 1]
    assert list(frame["layer"]) == [1, 2, 3, 1, 2, 3]
    assert frame.query("layer == 2")["outputs"].to_list() == diagnostics.outputs[2]


def test_a_wide_softmax_takes_fewer_rows() -> None:
    network = Network(2, [Dense(1500, "softmax")], loss="log_loss", random_state=0)
    X = np.random.default_rng(0).normal(size=(50, 2))
    diagnostics = Diagnostics(network, X, np.arange(50))
    diagnostics.record(0)
    one = network.backpropagate(X[:1], [0])
    # 1500² numbers a Jacobian: one row fits.
    assert diagnostics.outputs[1] == [norm(one.outputs[1])]


def batches_of(X: Any, t: Any) -> list[tuple[Any, Any]]:
    return [(X[i : i + 10], t[i : i + 10]) for i in range(0, 60, 10)]


def test_every_kth_step_of_a_fit_on_batches() -> None:
    results = []
    for watched in (False, True):
        network, X, t = make()
        diagnostics = Diagnostics(network, X, t)
        batches: Any = batches_of(X, t)
        if watched:
            batches = diagnostics.over(batches, every=4)
        assert len(batches) == 6
        history = Trainer(network, Adam(0.01), random_state=0).fit(batches, epochs=2)
        results.append((network.parameters, history.loss))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert diagnostics.epochs == [4, 8, 12]
    assert diagnostics.unit == "step"
    assert set(diagnostics.to_dict()["step"]) == {4, 8, 12}
    last = network.backpropagate(X, t)
    assert diagnostics.loss_gradients[1][-1] == norm(last.loss_gradients[1])
    network, X, t = make()
    trainer = Trainer(network, Adam(0.01), random_state=0)
    for X_batch, t_batch in batches_of(X, t)[:4]:
        trainer.step(X_batch, t_batch)
    assert diagnostics.outputs[2][0] == norm(network.backpropagate(X, t).outputs[2])
    display = GradientFlowDisplay.from_diagnostics(diagnostics)
    assert display.axes_[-1].get_xlabel() == "step"


def test_steps_of_an_estimator_and_of_batches_without_a_number() -> None:
    class Stream:
        def __iter__(self) -> Any:
            return iter([*batches_of(X, t), (X[:0], t[:0])])

    network, X, t = make()
    diagnostics = Diagnostics(network, X, t)
    Trainer(network).fit(diagnostics.over(Stream(), every=3), epochs=2)
    assert diagnostics.epochs == [3, 6, 9, 12]
    clf = MLPClassifier((5,), random_state=0)
    diagnostics = Diagnostics(clf, X, t)
    clf.partial_fit(diagnostics.over(batches_of(X, t), every=3), classes=[0, 1])
    assert diagnostics.epochs == [3, 6]


def test_batches_that_can_be_gone_over_once_stay_so() -> None:
    network, X, t = make()
    diagnostics = Diagnostics(network, X, t)
    once = diagnostics.over(iter(batches_of(X, t)))
    with pytest.raises(ValueError, match="only once, for 2 epochs"):
        Trainer(network).fit(once, epochs=2)
    Trainer(network).fit(once, epochs=1)
    assert diagnostics.epochs == [1, 2, 3, 4, 5, 6]


def test_steps_and_epochs_do_not_mix() -> None:
    network, X, t = make()
    diagnostics = Diagnostics(network, X, t)
    for every in (0, -1, 1.5, True, None, "2"):
        with pytest.raises(ValueError, match="every must be a whole number from 1 up; got"):
            diagnostics.over(batches_of(X, t), every=every)  # type: ignore[arg-type]
    batches = diagnostics.over(batches_of(X, t))
    with pytest.raises(ValueError, match="record steps"):
        Trainer(network).fit(batches, epochs=1, callbacks=[diagnostics])
    other = Diagnostics(network, X, t)
    other.record(0)
    with pytest.raises(ValueError, match="have recorded epochs"):
        other.over(batches_of(X, t))
