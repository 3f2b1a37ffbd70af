"""Elementary functions against higher precision; the rates and the temperature that are made of them."""

import mpmath
import numpy as np
import pytest

from densegrad._losses import Loss
from densegrad.tabular.calibration import best_temperature
from densegrad.tabular.portable import cosine, exp, log, log_softmax
from densegrad.tabular.recipe import Recipe, batch_size, epochs_for


@pytest.mark.parametrize(
    ("function", "exact", "low", "high", "tolerance"),
    [
        (exp, mpmath.exp, -700, 700, 4),
        (log, mpmath.log, 1e-300, 10, 4),
        (cosine, lambda x: mpmath.cos(2 * mpmath.pi * x), 0, 4, 20),
    ],
    ids=["exp", "log", "cosine"],
)
def test_functions(function, exact, low, high, tolerance, rng):
    x = np.concatenate([rng.uniform(low, high, 200), [low, high, 1.0, 0.5]])
    wanted = np.array([float(exact(mpmath.mpf(float(value)))) for value in x])
    error = np.abs(function(x) - wanted) / np.maximum(np.abs(wanted), 1 if function is not exp else 1e-320)
    assert error.max() < tolerance * 2.3e-16 * (1 if function is not exp else 2)


def test_log_softmax(rng):
    z = rng.normal(size=(5, 4)) * 50
    np.testing.assert_allclose(exp(log_softmax(z)).sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(np.diff(log_softmax(z), axis=1), np.diff(z, axis=1), rtol=1e-12, atol=1e-12)


def recipe(epochs=64, hidden=(256, 256, 256)):
    return Recipe(
        50,
        hidden,
        "selu",
        3,
        "softmax",
        Loss.checked("log_loss", label_smoothing=0.1),
        0.04,
        0.02,
        0.15,
        64,
        epochs,
    )


def test_rates_are_four_cycles_that_end_at_zero():
    rates = recipe().rates(0, 15_000, 15_000)
    assert rates.max() == pytest.approx(0.04 / 16, rel=1e-6)
    t = np.arange(15_000) / 15_000
    np.testing.assert_allclose(
        rates, 0.0025 * 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * t))), atol=1e-15
    )
    assert rates[-1] < 1e-6
    np.testing.assert_array_equal(recipe().rates(7000, 100, 15_000), rates[7000:7100])


def test_dropout_and_decay_fall_to_zero_in_the_second_half():
    factors = [recipe().factor(epoch) for epoch in range(64)]
    assert factors[:32] == [1.0] * 32
    assert factors[-1] == 0.0
    assert factors == sorted(factors, reverse=True)
    assert 3 < len(set(factors)) <= 9  # each change makes a new trainer


def test_initial_weights_have_the_scale_of_the_rates(rng):
    split = list(recipe().spec(1.0).split(recipe().initial(np.random.RandomState(0))))
    for W in split[:-1]:
        assert W[:-1].std() == pytest.approx(1 / 16, rel=0.05)
        assert W[-1].std() == pytest.approx(1, rel=0.2)
    assert not split[-1].any()
    assert recipe().input_scale == pytest.approx((256 / 50) ** 0.5)


def test_batches_and_epochs():
    assert [batch_size(n) for n in (3, 1024, 1025, 8192, 8193)] == [3, 64, 128, 128, 256]
    assert epochs_for(10_000) == 64
    assert epochs_for(200_000) * (200_000 // 256) <= 10_000
    assert epochs_for(10**9) == 1


def test_temperature_finds_the_one_that_made_the_labels(rng):
    z = 3 * rng.normal(size=(1, 20_000, 4))
    labels = (z[0] / 2.0 + rng.gumbel(size=z[0].shape)).argmax(axis=1)
    assert best_temperature(log_softmax(z), labels, None)[0] == pytest.approx(2.0, rel=0.06)


def test_few_rows_hold_the_temperature_at_one(rng):
    z = 5 * rng.normal(size=(1, 12, 2))
    right = z[0].argmax(axis=1)  # all right: only the prior keeps the temperature from the lowest one
    assert best_temperature(log_softmax(z), right, None)[0] > 0.21
    many = np.tile(right, 500)
    assert best_temperature(np.tile(log_softmax(z), (1, 500, 1)), many, None)[0] < 0.21


def test_rows_of_no_weight_do_not_count_for_the_temperature(rng):
    z = log_softmax(3 * rng.normal(size=(1, 500, 3)))
    labels = rng.integers(0, 3, 500)
    weight = (rng.random(500) < 0.5).astype(float)
    kept = weight > 0
    assert best_temperature(z, labels, weight)[0] == best_temperature(z[:, kept], labels[kept], None)[0]
