"""TPE learns from what trials honestly reached: complete before stopped before failed, and only from its own space."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import scipy.stats
from searches import CONTINUOUS, MOST, SPACES, bowl, ended, proposals_of, search

from search_spaces import grids
from search_spaces.space import SearchSpace
from sweeps.records import TrialRecord, TrialStatus
from sweeps.tpe import rank
from sweeps.tried import config_key
from trainables.objective import Objective


@pytest.mark.parametrize("space", ["conditional", "many kinds", "continuous"])
def test_modelled_configs_lie_in_the_space_and_change_no_record(space):
    parameters = {**SPACES[space], "beta": {"domain": scipy.stats.beta(2, 5)}, "noise": {"mu": 0, "sigma": 1}}
    for record in search(proposals_of("hyperopt", parameters, n_startup=1), 12):
        assert SearchSpace(parameters).contains(record.params), record.params


def test_a_scipy_distribution_is_modelled_where_it_is_likely():
    parameters = {"x": {"domain": scipy.stats.gamma(2, scale=3)}}
    found = search(proposals_of("hyperopt", parameters, n_startup=8), 30, lambda params: -abs(params["x"] - 4))
    distances = [abs(record.params["x"] - 4) for record in found]
    assert np.mean(distances[15:]) < 0.7 * np.mean(distances[:8])


def test_hyperopt_finds_better_configs_than_random_draws():
    def mean_of_late_trials(name: str, **options: Any) -> float:
        runs = [search(proposals_of(name, CONTINUOUS, seed=seed, **options), 40, bowl) for seed in range(3)]
        return float(np.mean([record.best_value for found in runs for record in found[15:]]))

    assert mean_of_late_trials("hyperopt", n_startup=10) > mean_of_late_trials("random") + 0.3


def test_hyperopt_begins_to_learn_after_n_startup_trials():
    parameters = {"a": ["best", "b", "c", "d", "e"], "x": {"min": 0.0, "max": 1.0}}
    seen = [
        ended(n, {"a": name, "x": n / 10}, float(name == "best"))
        for n, name in enumerate(["best", "b", "c", "d", "e"] * 2)
    ]
    chosen = [proposals_of("hyperopt", parameters, seed=seed, n_startup=5).propose(10, seen) for seed in range(12)]
    assert sum(params["a"] == "best" for params in chosen) >= 9


def test_hyperopt_keeps_away_from_where_trials_fail():
    # The best lies at a wall; a model that does not hear of failures runs into it nine times in ten.
    found = search(
        proposals_of("hyperopt", CONTINUOUS, n_startup=10),
        40,
        lambda params: math.log10(params["lr"]) if params["lr"] < 1e-2 else None,
    )
    late = found[20:]
    assert sum(record.status is TrialStatus.FAILED for record in late) <= 0.6 * len(late)
    assert max(record.best_value for record in late if record.best_value is not None) > -2.3


def test_hyperopt_still_proposes_when_every_trial_failed():
    assert len(search(proposals_of("hyperopt", CONTINUOUS, n_startup=2), 5, lambda params: None)) == 5


def test_a_grid_axis_under_hyperopt_gets_equal_shares_and_the_rest_is_modelled():
    parameters = {**CONTINUOUS, "activation": {"distribution": "grid", "values": ["relu", "tanh", True, 1]}}
    found = search(proposals_of("hyperopt", parameters, n_startup=20), 50, bowl)
    counts = Counter(config_key({"": record.params["activation"]}) for record in found)
    assert len(counts) == 4
    assert max(counts.values()) - min(counts.values()) <= 1
    early, late = found[:20], found[-20:]
    assert np.mean([r.best_value for r in late]) > np.mean([r.best_value for r in early])


def test_a_cell_without_further_configs_gives_its_turn_to_the_next():
    parameters = {
        "a": {"distribution": "grid", "values": [1, 2]},
        "x": {"min": 0.0, "max": 1.0, "when": {"a": 2}},
    }
    found = search(proposals_of("hyperopt", parameters, n_startup=2), 8)
    assert Counter(record.params["a"] for record in found) == {1: 1, 2: 7}


def test_a_large_discrete_space_is_never_walked(monkeypatch):
    def walk(*args: Any) -> None:
        raise AssertionError("eight to the tenth configs would be walked")

    monkeypatch.setattr(grids, "walk", walk)
    parameters = {f"p{n}": list(range(8)) for n in range(10)}
    found = search(proposals_of("hyperopt", parameters, n_startup=5), 20, lambda params: -sum(params.values()))
    assert len({config_key(record.params) for record in found}) == 20


def test_complete_trials_rank_before_stopped_ones_and_those_before_failures():
    def row(score: float | None, status: TrialStatus, epoch: int) -> TrialRecord:
        return ended(0, {}, score, status, epoch)

    records = [
        row(0.99, TrialStatus.DIVERGED, 27),
        row(0.95, TrialStatus.STOPPED, 3),
        row(0.60, TrialStatus.COMPLETED, 27),
        row(0.70, TrialStatus.STOPPED, 9),
        row(None, TrialStatus.FAILED, 0),
        row(0.80, TrialStatus.COMPLETED, 27),
        row(0.75, TrialStatus.STOPPED, 9),
        row(0.98, TrialStatus.FAILED, 26),
    ]
    assert rank(records, MOST) == [5, 4, 1, 3, 5, 0, 2, 5]
    losses = rank(records, Objective("valid_loss"))
    assert losses[2] < losses[5] < losses[3] < losses[6] < losses[1] < losses[0] == losses[4] == losses[7]


def test_trials_outside_the_space_teach_nothing_and_those_of_another_length_do():
    parameters = {"lr": {"min": 0.1, "max": 1.0}, "max_epochs": 9}
    model = proposals_of("hyperopt", parameters, n_startup=3)
    outside = [ended(n, {"lr": 0.01 * (n + 1), "max_epochs": 9}, 0.9) for n in range(5)]
    inside = [ended(5 + n, {"lr": 0.2 * (n + 1), "max_epochs": 3}, n / 10) for n in range(4)]
    assert model.propose(9, [*outside, *inside[:2]]) == proposals_of("random", parameters).propose(9, [])
    learnt = proposals_of("hyperopt", parameters, n_startup=3).propose(9, [*outside, *inside])
    assert learnt != proposals_of("random", parameters).propose(9, [])
    assert learnt is not None
    assert 0.1 <= learnt["lr"] <= 1.0
    assert learnt["max_epochs"] == 9
