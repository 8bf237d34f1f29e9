"""The arithmetic of steps and shares at its edges."""

from __future__ import annotations

import math

import pytest

from search_spaces.ranges import between, is_multiple, multiple, step_between, step_numbers


@pytest.mark.parametrize(
    ("low", "high", "q", "numbers"),
    [
        (0.1 + 0.2, 0.7, 0.1, (3, 7)),
        (0.05, 0.95, 0.1, (1, 9)),
        (-3, 3, 2, (-1, 1)),
        (5, 7, 8, (1, 0)),
        (2**62, 2**62 + 1, 1, (2**62, 2**62 + 1)),
    ],
)
def test_only_multiples_within_the_bounds_are_numbered(low, high, q, numbers):
    assert step_numbers(low, high, q) == numbers


def test_a_multiple_is_that_of_the_decimal_digits():
    assert multiple(3, 0.1) == 0.3
    assert multiple(-7, 0.01) == -0.07


def test_a_step_that_overflows_has_no_multiple():
    assert not is_multiple(1e308, 1e-10)
    assert is_multiple(0.3, 0.1)
    assert is_multiple(0.123, None)


def test_the_way_between_very_wide_bounds_does_not_overflow():
    assert between(-1.7e308, 1.7e308, 0.5, log=False) == 0
    assert between(1e-300, 1e300, 0.5, log=True) == pytest.approx(1)


@pytest.mark.parametrize("log", [False, True])
def test_the_ends_of_the_shares_are_the_ends_of_the_steps(log):
    assert step_between(3, 9, 0.0, log=log) == 3
    assert step_between(3, 9, math.nextafter(1, 0), log=log) == 9
