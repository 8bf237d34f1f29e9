"""Which config a trial gets: repeatable, without repeats, and learnt from what earlier trials honestly reached."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import grids
from search_spaces.space import SearchSpace
from sweeps.config import SearcherConfig
from sweeps.proposals import Proposals, how_many, make_proposals
from sweeps.tpe import rank
from sweeps.tried import config_key
from sweeps.records import TrialRecord, TrialStatus
from trainables.objective import Objective

MOST = Objective("valid_acc", maximize=True)
CONDITIONAL = {
    "optimizer": ["torch.optim:SGD", "torch.optim:Adam"],
    "optimizer__momentum": {"values": [0.0, 0.5, 0.9], "when": {"optimizer": "torch.optim:SGD"}},
    "optimizer__nesterov": {"values": [False, True], "when": {"optimizer__momentum": [0.5, 0.9]}},
    "batch_size": {"min": 16, "max": 64, "q": 16},
}
MANY_KINDS = {"a": ["x", "y"], "b": [None, 0.1], "c": [True, False, 1], "d": [[8], [8, 8]]}
CONTINUOUS = {"lr": {"distribution": "loguniform", "min": 1e-4, "max": 1.0}, "nodes": {"min": 1, "max": 64}}
SPACES = {"conditional": CONDITIONAL, "many kinds": MANY_KINDS, "continuous": CONTINUOUS}


def proposals_of(name: str, parameters: dict[str, Any], **options: Any) -> Proposals:
    config = SearcherConfig(name=name, **({} if name == "grid" else {"num_samples": 50}), **options)
    return make_proposals(config, SearchSpace(parameters), MOST)


def ended(
    trial: int, params: dict[str, Any], score: float | None, status: TrialStatus = TrialStatus.COMPLETED, epoch: int = 1
) -> TrialRecord:
    record = TrialRecord(trial, params, status, rows={epoch: {}}, best_value=score)
    if score is not None:
        record.best_epoch, record.best_params = epoch, params
    return record


def search(
    proposals: Proposals, n: int, outcome: Callable[[dict[str, Any]], float | None] = lambda params: 0.5
) -> list[TrialRecord]:
    """The trials of a sweep, one after another; an outcome of None is a failure."""
    records: list[TrialRecord] = []
    for trial in range(n):
        params = proposals.propose(trial, records)
        if params is None:
            break
        score = outcome(params)
        records.append(ended(trial, params, score, TrialStatus.FAILED if score is None else TrialStatus.COMPLETED))
    return records


def bowl(params: dict[str, Any]) -> float:
    """Best, 0, at lr 0.01 and 48 nodes."""
    return -((math.log10(params["lr"]) + 2) ** 2) - ((params["nodes"] - 48) / 32) ** 2


@pytest.mark.parametrize("space", ["conditional", "many kinds"])
@pytest.mark.parametrize("name", ["grid", "random", "hyperopt"])
def test_every_distinct_config_is_proposed_once_and_then_none(name, space):
    options = {"n_startup": 5} if name == "hyperopt" else {}
    proposals = proposals_of(name, SPACES[space], **options)
    every = [config_key(params) for params in SearchSpace(SPACES[space]).grid()]
    found = search(proposals, len(every) + 5, lambda params: len(config_key(params)) % 7)
    assert sorted(config_key(record.params) for record in found) == sorted(every)
    assert proposals.propose(len(every), found) is None


@pytest.mark.parametrize("space", ["conditional", "continuous"])
@pytest.mark.parametrize("name", ["random", "hyperopt"])
def test_equal_seed_number_and_records_give_equal_configs(name, space):
    records = search(proposals_of(name, SPACES[space]), 22, lambda params: len(config_key(params)) % 7)
    again, other = proposals_of(name, SPACES[space]), proposals_of(name, SPACES[space], seed=1)
    proposed = [again.propose(22, records) for _ in range(2)]
    assert proposed[0] == proposed[1] == proposals_of(name, SPACES[space]).propose(22, records)
    assert any(again.propose(trial, []) != other.propose(trial, []) for trial in range(5))


def test_a_grid_gives_any_of_its_points_again_and_none_after_the_last():
    grid = proposals_of("grid", {"a": [1, 2], "b": ["x", "y", "z"]})
    points = list(SearchSpace({"a": [1, 2], "b": ["x", "y", "z"]}).grid())
    assert [grid.propose(trial, []) for trial in (5, 0, 3, 3, 6, 2)] == [
        points[5],
        points[0],
        *[points[3]] * 2,
        None,
        points[2],
    ]


def test_a_random_trial_does_not_depend_on_what_others_did_unless_it_would_repeat_them():
    random = proposals_of("random", CONTINUOUS)
    alone = random.propose(3, [])
    assert alone is not None
    assert random.propose(3, search(random, 3)) == alone
    assert random.propose(3, [ended(0, alone, 0.5)]) not in (alone, None)


@given(st.sampled_from(sorted(SPACES)), st.integers(0, 2**32), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_random_configs_lie_in_the_space(space, seed, trial):
    params = proposals_of("random", SPACES[space], seed=seed).propose(trial, [])
    assert SearchSpace(SPACES[space]).contains(params)


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


@pytest.mark.parametrize("name", ["grid", "random", "hyperopt"])
def test_a_space_of_constants_has_one_config(name):
    proposals = proposals_of(name, {"lr": 0.1, "batch_size": 32})
    found = search(proposals, 3)
    assert [record.params for record in found] == [{"lr": 0.1, "batch_size": 32}]


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


@pytest.mark.parametrize(
    ("parameters", "asked", "expected"),
    [
        (CONDITIONAL, 50, 24),
        (CONDITIONAL, 7, 7),
        (CONTINUOUS, 7, 7),
        ({"a": [1, 2]}, None, 2),
    ],
)
def test_there_are_as_many_trials_as_asked_for_or_as_distinct_configs(parameters, asked, expected):
    config = SearcherConfig(name="grid") if asked is None else SearcherConfig(name="random", num_samples=asked)
    assert how_many(config, SearchSpace(parameters)) == expected
