"""The work of `Trainer.fit` around the epochs: history, patience, callbacks, time, batches, divergence."""

from __future__ import annotations

import pickle
import time
from typing import Any

import numpy as np
import pytest

from assertions import same_bits
from builders import half_square, make_network, regression
from densegrad import (
    SGD,
    Adam,
    Dense,
    Network,
    Trainer,
    check_gradients,
)


def test_history_tells_what_happened(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    trainer = Trainer(make_network((1, 4, 9, 2)), Adam(0.01), random_state=0)
    seen: list[Any] = []
    history = trainer.fit(
        X[:200],
        target[:200],
        epochs=5,
        validation=(X[200:], target[200:]),
        scoring=lambda t: -t.network.evaluate(X, target),
        callbacks=[lambda epoch, logs: seen.append((epoch, logs))],
    )
    assert history is trainer.history
    assert len(history.loss) == len(history.seconds) == len(history.score) == 5
    assert history.loss[-1] < history.loss[0]
    assert history.validation_loss[-1] == trainer.network.evaluate(X[200:], target[200:])
    assert history.score[-1] == -trainer.network.evaluate(X, target)
    assert history.learning_rate == [0.01] * 5
    assert history.best_epoch == int(np.argmax(history.score))
    assert history.stopped == "epochs"
    assert list(history.lists()) == ["loss", "validation_loss", "score", "learning_rate", "seconds"]
    assert [epoch for epoch, _ in seen] == [0, 1, 2, 3, 4]
    assert seen[2][1]["loss"] == history.loss[2]
    assert seen[2][1]["score"] == history.score[2]


def test_patience_ends_the_fit_with_the_best_weights(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    scores = [1, 2, 5, 4, 5.00001, 3, 2, 9]
    parameters = []

    def scoring(trainer: Trainer) -> float:
        parameters.append(trainer.network.parameters)
        return scores[len(parameters) - 1]

    trainer = Trainer(make_network((1, 4, 9, 2)), random_state=0)
    history = trainer.fit(X, target, epochs=8, scoring=scoring, patience=3)
    assert history.stopped == "patience"
    assert history.score == scores[:6]
    assert history.best_epoch == 4
    assert same_bits(trainer.network.parameters, parameters[4])
    parameters.clear()
    trainer = Trainer(make_network((1, 4, 9, 2)), random_state=0)
    trainer.fit(X, target, epochs=8, scoring=scoring, patience=3, restore_best=False)
    assert same_bits(trainer.network.parameters, parameters[-1])


def test_callbacks_end_the_fit(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    trainer = Trainer(make_network((1, 4, 9, 2)), random_state=0)
    calls: list[int] = []
    callbacks = [lambda epoch, _: np.int64(epoch) == 2, lambda epoch, _: calls.append(epoch)]
    history = trainer.fit(X, target, callbacks=callbacks)
    assert (history.stopped, len(history.loss)) == ("callback", 3)
    assert calls == [0, 1, 2]


def test_max_time_ends_the_fit_in_the_middle_of_an_epoch(rng: np.random.Generator) -> None:
    X = np.broadcast_to(rng.normal(size=(1, 50)), (3_000_000, 50))
    target = np.zeros((3_000_000, 1), np.float32)
    network = Network(50, [Dense(100), Dense(1, "identity")], random_state=0)
    began = time.monotonic()
    history = Trainer(network, shuffle=False).fit(network.samples(X, target), epochs=100, max_time=0.3)
    assert time.monotonic() - began < 2
    assert history.stopped == "max_time"
    assert np.all(np.isfinite(network.predict(X[:5])))


def test_a_slow_custom_loss_does_not_put_off_the_end(rng: np.random.Generator) -> None:
    def slow(y_true: Any, y_pred: Any) -> Any:
        time.sleep(0.01)
        return (y_pred - y_true)[:, 0] ** 2, 2 * (y_pred - y_true)

    X = rng.normal(size=(1000, 1))
    trainer = Trainer(Network(1, [Dense(1, "identity")], loss=slow), batch_size=1)
    assert trainer.fit(X, X, max_time=0.1).stopped == "max_time"
    assert trainer.steps < 100


def test_batches_may_come_one_by_one(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    weight = rng.uniform(0.5, 2, 300)
    whole, piecewise = make_network((1, 4, 9, 2)), make_network((1, 4, 9, 2))
    batches = [(X[i : i + 100], target[i : i + 100], weight[i : i + 100]) for i in (0, 100, 200)]
    a = Trainer(whole, batch_size=100, shuffle=False).fit(X, target, sample_weight=weight, epochs=4)
    b = Trainer(piecewise).fit(batches, epochs=4)
    assert same_bits(whole.parameters, piecewise.parameters)
    assert a.loss == pytest.approx(b.loss, rel=1e-14)
    once = make_network((1, 4, 9, 2))
    Trainer(once).fit(iter(batches), epochs=1)
    with pytest.raises(ValueError, match="only once"):
        Trainer(once).fit(iter(batches), epochs=2)


def test_progress_is_shown_when_asked_for(
    rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    X, target = regression(rng)
    trainer = Trainer(make_network((1, 4, 9, 2)))
    trainer.fit(X, target, epochs=3)
    assert capsys.readouterr() == ("", "")
    trainer.fit(X, target, epochs=3, progress=True)
    assert "3/3" in capsys.readouterr().err


def test_a_diverging_fit_says_so(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    trainer = Trainer(make_network((1, 4, 9, 2), hidden="identity"), SGD(1e10), random_state=0)
    with pytest.raises(ValueError, match=r"^Training diverged: (?!.*Solver).*Try"):
        trainer.fit(1e5 * X, target, epochs=50)
    assert trainer.history is not None
    assert trainer.history.loss


@pytest.mark.parametrize("X", [np.full((40, 3), np.nan), np.full((40, 3), 1e100)])
def test_rows_that_are_not_finite_are_refused(X: Any) -> None:
    network = Network(3, [Dense(1, "identity")], random_state=0)
    good, target = np.ones((40, 3)), np.ones(40)
    with pytest.raises(ValueError, match="X must be finite"):
        Trainer(network).fit(X, target)
    for validation in ((X, target), network.samples(X, target)):
        with pytest.raises(ValueError, match="validation: X must be finite"):
            Trainer(network).fit(good, target, validation=validation)


def test_weights_that_diverge_behind_a_finite_loss_are_told(rng: np.random.Generator) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return np.ones(len(y_pred)), np.full_like(y_pred, np.nan)

    network = Network(3, [Dense(1, "identity")], loss=loss, random_state=0)
    with pytest.raises(ValueError, match="no longer finite"):
        Trainer(network).fit(rng.normal(size=(20, 3)), np.ones(20), epochs=1)


@pytest.mark.parametrize("patience", [None, 3])
@pytest.mark.parametrize(
    ("score", "error"), [(float("nan"), ValueError), (None, TypeError), ("0.5", TypeError), (1j, TypeError)]
)
def test_a_score_that_is_no_number_is_told(
    score: Any, error: type[Exception], patience: int | None, rng: np.random.Generator
) -> None:
    X, target = regression(rng)
    trainer = Trainer(make_network((1, 4, 9, 2)), random_state=0)
    scores = iter([0.5, -float("inf"), score])
    with pytest.raises(error, match=rf"^scoring must return a .*number.*; got {score!r} after epoch 2$"):
        trainer.fit(X, target, scoring=lambda _: next(scores), patience=patience)
    assert trainer.history is not None
    assert trainer.history.score == [0.5, -float("inf")]


class Empty:
    """A callable that is taken for false."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __len__(self) -> int:
        return 0

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


def test_the_last_update_diverges_before_the_score(rng: np.random.Generator) -> None:
    network = Network(5, [Dense(10, "relu"), Dense(10, "relu"), Dense(1)], random_state=0)
    trainer = Trainer(network, SGD(1e38), batch_size=100)
    with pytest.raises(ValueError, match="Training diverged"):
        trainer.fit(rng.normal(size=(100, 5)), np.full((100, 1), 1e6), epochs=3, scoring=lambda _: np.nan)


def test_callables_that_are_taken_for_false_are_called(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    network = Network(4, [Dense(2, "identity", initializer=Empty(lambda *_: np.ones((4, 2))))])
    assert np.all(network.weights[1][:4] == 1)
    scores = iter([3.0, 2.0, 1.0])
    history = Trainer(network).fit(X, target, epochs=3, scoring=Empty(lambda _: next(scores)))
    assert history.best_epoch == 0
    own = Network(4, [Dense(2, "identity")], loss=Empty(half_square), dtype="float64")
    assert check_gradients(own, X[:5], target[:5]).max_relative_error < 1e-6
    assert pickle.loads(pickle.dumps(own)).custom_loss is not None
