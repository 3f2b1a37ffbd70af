"""Learning rates: every schedule, its name, and the facts it needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from assertions import same_bits
from builders import make_network, regression
from densegrad import (
    SGD,
    Dense,
    Network,
    Trainer,
    schedules,
)


def rates_of(schedule: Any, epochs: int = 4, rows: int = 100) -> list[float]:
    """The learning rates of each update, of which there are 5 an epoch."""
    network = make_network((1, 2, 1))
    trainer = Trainer(network, SGD(0.5), batch_size=20, schedule=schedule)
    rates: list[float] = []
    run = trainer._descent._core.epoch

    class Spy:
        def __getattr__(self, name: str) -> Any:
            return getattr(core, name)

        def epoch(self, rows: Any, targets: Any, order: Any, learning_rates: Any, *rest: Any) -> Any:
            rates.extend(learning_rates)
            return run(rows, targets, order, learning_rates, *rest)

    core, trainer._descent._core = trainer._descent._core, Spy()  # type: ignore[assignment]
    trainer.fit(np.zeros((rows, 2)), np.ones(rows), epochs=epochs)
    return rates


def test_schedules() -> None:
    assert rates_of(None) == rates_of(schedules.Constant()) == [0.5] * 20
    np.testing.assert_allclose(rates_of(schedules.InvScaling(0.5)), 0.5 / np.sqrt(np.arange(1, 21)))
    assert rates_of(schedules.StepDecay(2, 0.1)) == pytest.approx([0.5] * 10 + [0.05] * 10)
    cosine = rates_of(schedules.Cosine(0.2))
    assert cosine[0] == 0.5
    assert cosine[10] == pytest.approx(0.3)
    assert np.all(np.diff(cosine) < 0)
    assert cosine[-1] > 0.1
    cycle = rates_of(schedules.OneCycle(0.25))
    assert np.argmax(cycle) == 5
    assert cycle[0] == pytest.approx(0.02)
    assert cycle[5] == 0.5
    flat = rates_of(schedules.FlatCos(0.5))
    assert flat[:11] == [0.5] * 11
    np.testing.assert_allclose(flat, 0.25 * (1 + np.cos(np.pi * np.maximum(0, np.arange(20) / 10 - 1))))
    log = rates_of(schedules.CosLog(3))
    expected = 0.25 * (1 - np.cos(2 * np.pi * np.log2(1 + 7 * np.arange(20) / 20)))
    np.testing.assert_allclose(log, expected, atol=1e-15)
    assert log[0] == 0
    warm = rates_of(schedules.WarmUp(4, schedules.Cosine()))
    np.testing.assert_allclose(warm[:4], np.array(rates_of(schedules.Cosine())[:4]) * [0.25, 0.5, 0.75, 1])
    assert warm[4:] == rates_of(schedules.Cosine())[4:]
    assert rates_of(lambda step, total: step / total) == [step / 20 for step in range(20)]
    plateau = rates_of(schedules.Plateau(0.5, 1, tol=1e9))
    assert plateau == [0.5] * 10 + [0.25] * 5 + [0.125] * 5


def test_the_adaptive_schedule_ends_the_fit(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    schedule = schedules.Adaptive(0.1, patience=1, tol=1e9, lowest=1e-2)
    history = Trainer(make_network((1, 4, 9, 2)), schedule=schedule).fit(X, target, epochs=50)
    assert history.stopped == "schedule"
    assert history.learning_rate == pytest.approx([1e-3, 1e-3, 1e-4])


def test_schedules_that_need_the_end_must_know_it(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    trainer = Trainer(make_network((1, 4, 9, 2)), schedule=schedules.Cosine())
    before = trainer.network.parameters
    for action in (
        lambda: trainer.step(X, target),
        lambda: trainer.fit(((x, t) for x, t in [(X, target)]), epochs=1),
    ):
        with pytest.raises(ValueError, match="number of updates"):
            action()
    assert same_bits(trainer.network.parameters, before)


def test_a_fit_within_a_fit_leaves_the_outer_ones_schedule(rng: np.random.Generator) -> None:
    X, target = regression(rng)
    trainer = Trainer(make_network((1, 4, 9, 2)), batch_size=len(X), schedule="cosine")

    def fit_once(epoch: int, figures: object) -> None:
        if epoch == 0:
            trainer.fit(X, target, epochs=2)

    history = trainer.fit(X, target, epochs=10, callbacks=[fit_once])
    # The two updates within count as updates of the outer fit, too.
    assert history.learning_rate[1] == pytest.approx(5e-4 * (1 + np.cos(0.3 * np.pi)))


def test_schedules_have_names(rng: np.random.Generator) -> None:
    X, target = rng.normal(size=(40, 3)), rng.normal(size=40)
    curves = []
    for schedule in ("coslog", schedules.CosLog()):
        network = Network(3, [Dense(1, "identity")], random_state=0)
        trainer = Trainer(network, batch_size=10, random_state=0, schedule=schedule)
        curves.append(trainer.fit(X, target, epochs=3).loss)
    assert curves[0] == curves[1]
    with pytest.raises(ValueError, match="schedule must be one of constant,"):
        Trainer(network, schedule="cosinus")


def test_the_logarithm_of_coslog() -> None:
    x = np.concatenate([np.linspace(1, 3, 2001), 2.0 ** np.arange(31), np.geomspace(1, 2**30, 2001)])
    assert np.abs(schedules._log2(x) - np.log2(x)).max() < 4e-15
    assert schedules._log2(2.0 ** np.arange(31)).tolist() == list(range(31))


@pytest.mark.parametrize("cycles", [0, 31, 1.5])
def test_bad_numbers_of_cycles_and_flat_parts(cycles: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="cycles must be"):
        schedules.CosLog(cycles)
    with pytest.raises(ValueError, match="flat must be"):
        schedules.FlatCos(1.0)
