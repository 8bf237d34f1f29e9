"""Rungs: the epochs at which Ray's own brackets compare."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ray.tune.schedulers import AsyncHyperBandScheduler

from sweeps.rungs import rungs


def milestones(grace_period: int, reduction_factor: float, max_epochs: int) -> list[float]:
    options: dict[str, Any] = {"metric": "m", "mode": "max", "time_attr": "epoch", "max_t": max_epochs}
    scheduler = AsyncHyperBandScheduler(grace_period=grace_period, reduction_factor=reduction_factor, **options)
    return sorted(milestone for milestone, _ in scheduler._brackets[0]._rungs)


@given(st.integers(1, 30), st.sampled_from([2, 3, 4, 1.5, 2.5, 3.3]) | st.floats(1.05, 10), st.integers(1, 500))
@example(1, 3, 243)
@example(1, 3, 244)
@example(10, 1.1, 100)
def test_rungs_are_the_first_epochs_at_which_ray_compares(grace_period, reduction_factor, max_epochs):
    if grace_period > max_epochs:
        return
    # At max_epochs, and a rung beyond it, Ray ends a trial anyway.
    expected = [
        math.ceil(level) for level in milestones(grace_period, reduction_factor, max_epochs) if level < max_epochs
    ]
    assert rungs(grace_period, reduction_factor, max_epochs) == tuple(dict.fromkeys(expected))


@pytest.mark.parametrize(
    ("grace_period", "reduction_factor", "max_epochs", "expected"),
    [
        (1, 3, 27, (1, 3, 9)),
        (2, 2, 17, (2, 4, 8, 16)),
        (1, 1.5, 6, (1, 2, 3, 4, 6)),
        (5, 3, 5, ()),
        (9, 3, 5, ()),
    ],
)
def test_rungs_lie_below_the_last_epoch_and_come_once(grace_period, reduction_factor, max_epochs, expected):
    assert rungs(grace_period, reduction_factor, max_epochs) == expected
