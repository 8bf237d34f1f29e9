"""TPE learns from what trials honestly reached: complete before stopped before failed, and only from its own space."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import scipy.stats
from searches import CONTINUOUS, SPACES, bowl, ended, proposals_of, search

from search_spaces import grids
from search_spaces.space import SearchSpace
from sweeps import tpe
from sweeps.records import TrialRecord, TrialStatus
from sweeps.tried import config_key


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


@pytest.mark.parametrize("space", ["conditional", "continuous"])
def test_what_it_had_seen_before_does_not_matter(space, monkeypatch):
    monkeypatch.setattr(tpe, "MOST_OTHERS", 8)
    followed = proposals_of("hyperopt", SPACES[space], n_startup=5)
    records: list[TrialRecord] = []
    running: list[TrialRecord] = []
    for trial in range(20):
        params = followed.propose(trial, records)
        assert params == proposals_of("hyperopt", SPACES[space], n_startup=5).propose(trial, records)
        record = TrialRecord(trial, params)
        records.append(record)
        running.append(record)
        if trial % 4 != 1:  # four in a row, then three end, not in the order of their start
            over = running.pop(trial % len(running))
            over.status = TrialStatus.COMPLETED if trial % 3 else TrialStatus.FAILED
            over.rows, over.best_value, over.best_params = {1: {}}, len(config_key(over.params)) % 7, over.params
    for fewer in (records[:12], records[:18], records[5:]):
        fresh = proposals_of("hyperopt", SPACES[space], n_startup=5)
        assert followed.propose(20, fewer) == fresh.propose(20, fewer)


def test_the_latest_trials_and_the_best_of_all_are_modelled_and_no_more(monkeypatch):
    monkeypatch.setattr(tpe, "MOST_OTHERS", 20)
    seen: list[tuple[Any, Any]] = []

    def suggest(sizes: Any, best: Any, others: Any, seed: int) -> dict[str, float]:
        seen.append((best[:, 0].tolist(), others[:, 0].tolist()))
        return {"x": 0.5}

    monkeypatch.setattr(tpe.parzen, "suggest", suggest)
    records = [ended(n, {"x": n / 1000}, float(n == 7 or n % 50 == 0)) for n in range(400)]
    proposals_of("hyperopt", {"x": {"min": 0.0, "max": 1.0}}).propose(400, records)
    [(best, others)] = seen
    assert best == pytest.approx([0, 0.007, 0.05, 0.1, 0.15], abs=1e-9)  # a quarter of the root of 400, the earlier
    assert others == pytest.approx([n / 1000 for n in range(380, 400)], abs=1e-9)


def test_a_number_that_a_changed_space_writes_otherwise_is_still_the_same_choice():
    had = [ended(n, {"a": n % 3, "x": n / 10}, float(n)) for n in range(6)]
    params = proposals_of("hyperopt", {"a": [0.0, 1.0, 2.0], "x": {"min": 0.0, "max": 1.0}}, n_startup=2).propose(
        6, had
    )
    assert params is not None
    assert params["a"] in (0.0, 1.0, 2.0)
