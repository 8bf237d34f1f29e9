"""What counts as better."""

from __future__ import annotations

import math

import pytest

from trainables.objective import Objective

LOSS, SCORE = Objective(), Objective("valid_acc", maximize=True)


@pytest.mark.parametrize(
    ("objective", "value", "than", "better"),
    [
        (LOSS, 1.0, 2.0, True),
        (LOSS, 2.0, 1.0, False),
        (SCORE, 2.0, 1.0, True),
        (SCORE, 1.0, 2.0, False),
        (LOSS, 1.0, 1.0, False),
        (SCORE, 1.0, 1.0, False),
        (LOSS, 5.0, None, True),
        (LOSS, math.nan, None, False),
        (LOSS, -math.inf, 1.0, False),
        (SCORE, math.inf, None, False),
    ],
)
def test_better(objective, value, than, better):
    assert objective.is_better(value, than) is better


@pytest.mark.parametrize("objective", [LOSS, SCORE])
@pytest.mark.parametrize("value", [-1e20, 0.0, 1e20])
def test_the_worst_is_finite_and_loses(objective, value):
    assert math.isfinite(objective.worst)
    assert objective.is_better(value, objective.worst)
    assert not objective.is_better(objective.worst, value)
    assert objective.loss(objective.worst) > objective.loss(value)


def test_less_loss_is_better_whatever_the_goal():
    assert LOSS.loss(0.3) == 0.3
    assert SCORE.loss(0.3) == -0.3
