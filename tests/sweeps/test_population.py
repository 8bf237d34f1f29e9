"""What a population changes while it trains, and that it never leaves the space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from search_spaces.space import SearchSpace
from sweeps.population import mutable_names, perturbed

SPACE = SearchSpace(
    {
        "lr": {"distribution": "loguniform", "min": 1e-4, "max": 0.1},
        "batch_size": [16, 32, 64, 128],
        "optimizer__delay": {"min": 1, "max": 9},
        "iterator_train__drop_last": [None, True, False],
        "optimizer": ["torch.optim:SGD", "torch.optim:Adam"],
        "optimizer__momentum": {"min": 0.0, "max": 0.9, "when": {"optimizer": "torch.optim:SGD"}},
        "optimizer__weight_decay": 0.01,
        "generator__nodes": {"min": 4, "max": 64},
        "module__nodes": {"min": 4, "max": 64},
        "criterion__label_smoothing": {"min": 0.0, "max": 0.2},
        "max_epochs": [5, 10],
    }
)
NAMES = mutable_names(SPACE)


def moved(donor: dict[str, Any], n: int = 300) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [perturbed(SPACE, NAMES, donor, rng) for _ in range(n)]


def sample(**fixed: Any) -> dict[str, Any]:
    return SPACE.active({**SPACE.sample(np.random.default_rng(3)), **fixed})


def test_only_what_a_trained_net_can_change_is_mutable():
    assert NAMES == ["lr", "batch_size", "optimizer__delay", "iterator_train__drop_last", "optimizer__momentum"]


@pytest.mark.parametrize("optimizer", ["torch.optim:SGD", "torch.optim:Adam"])
def test_the_result_lies_in_the_space_with_the_donors_other_params(optimizer):
    donor = sample(optimizer=optimizer, optimizer__momentum=0.5)
    before = dict(donor)
    for params in moved(donor):
        assert SPACE.contains(params), params
        assert all(params[name] == donor[name] for name in donor if name not in NAMES)
    assert donor == before


def test_a_number_moves_by_a_fifth_or_is_drawn_anew():
    donor = sample(lr=0.01)
    moves = [params["lr"] for params in moved(donor)]
    by_a_fifth = [lr for lr in moves if lr in (0.01 * 0.8, 0.01 * 1.2)]
    assert set(by_a_fifth) == {0.01 * 0.8, 0.01 * 1.2}
    assert 0.65 < len(by_a_fifth) / len(moves) < 0.85


def test_a_choice_moves_to_a_neighbour_and_stops_at_the_ends():
    moves = [params["batch_size"] for params in moved(sample(batch_size=32))]
    neighbours = moves.count(16) + moves.count(64)
    assert neighbours > 0.75 * len(moves)
    ends = [params["batch_size"] for params in moved(sample(batch_size=128))]
    assert {64, 128} <= set(ends)


@pytest.mark.parametrize("value", [2, 3, 4])
def test_a_small_whole_number_can_move_both_ways(value):
    moves = [params["optimizer__delay"] for params in moved(sample(optimizer__delay=value))]
    assert moves.count(value - 1) > 0.2 * len(moves)
    assert moves.count(value + 1) > 0.2 * len(moves)


def test_equal_seeds_give_equal_moves():
    assert moved(sample(), 5) == moved(sample(), 5)
