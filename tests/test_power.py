"""Powers of the core, for learning rates: against mpmath, at the edges, and in the schedules."""

import math

import mpmath
import numpy as np
import pytest

from assertions import same_bits
from densegrad import _core, schedules
from densegrad.training.rates import LearningRateRule


def error_in_ulp(base: float, exponent: float, power: float) -> float:
    with mpmath.workprec(200):
        return abs(float((mpmath.mpf(base) ** mpmath.mpf(exponent) - power) / math.ulp(power)))


@pytest.mark.parametrize(
    "exponent", [0.0, 1e-300, 1e-9, 0.1, 0.2, 1 / 3, 0.5, 0.7, 0.9999, 1.0, 1.5, 2.0, 19.3]
)
def test_powers_are_the_nearest_numbers(exponent: float, rng: np.random.Generator) -> None:
    bases = np.concatenate(
        [
            np.arange(1.0, 70.0),
            2.0 ** np.arange(53),
            rng.integers(1, 2**53, 200),
            np.exp2(rng.uniform(0, 53, 300)),
        ]
    )
    powers = _core.powers(bases, exponent)
    assert max(map(error_in_ulp, bases, [exponent] * len(bases), powers)) < 0.51


def test_powers_near_the_ends_of_the_range(rng: np.random.Generator) -> None:
    for base in [np.nextafter(1.0, 2), 1.5, 2.0, 3.0, 1e9, 1.7e308]:
        highest = 1024 * math.log(2) / math.log(base)
        for exponent in highest * rng.uniform(0, 0.999, 50):
            (power,) = _core.powers(base, exponent)
            assert error_in_ulp(base, exponent, power) < 0.51
    assert _core.powers([2.0, 3.0, 1e300, 1.7e308], 1e300).tolist() == [math.inf] * 4
    assert _core.powers([2.0, 1.0], 1024.0).tolist() == [math.inf, 1.0]
    assert _core.powers(2.0, 1023.0) == 2.0**1023
    assert _core.powers([1.0, 7.0], 0.0).tolist() == [1.0, 1.0]


def test_bases_are_not_changed() -> None:
    bases = np.array([2.0, 3.0])
    _core.powers(bases, 2.0)
    assert bases.tolist() == [2.0, 3.0]


def test_schedule_and_rule_use_them() -> None:
    steps = np.arange(1000)
    for power_t in (0.0, 0.3, 0.5, 2.0):
        factors = schedules.InvScaling(power_t).factors(schedules.Position(steps, 0, 0, None, {}))
        assert same_bits(factors, 1 / _core.powers(steps + 1.0, power_t))
        rule = LearningRateRule(0.1, "invscaling", power_t)
        rule.after_epoch(999)
        assert rule.learning_rate == 0.1 / _core.powers(1000.0, power_t)[0]


def test_a_huge_power_ends_at_a_rate_of_zero() -> None:
    # Python's own power raises OverflowError.
    rule = LearningRateRule(0.1, "invscaling", 500.0)
    rule.after_epoch(1000)
    assert rule.learning_rate == 0
