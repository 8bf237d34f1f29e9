"""Which config a trial gets: repeatable, without repeats, and as many as there are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searches import CONDITIONAL, CONTINUOUS, SPACES, ended, proposals_of, search

from search_spaces.space import SearchSpace
from sweeps.config import SearcherConfig
from sweeps.proposals import how_many
from sweeps.tried import config_key


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


@pytest.mark.parametrize("name", ["grid", "random", "hyperopt"])
def test_a_space_of_constants_has_one_config(name):
    proposals = proposals_of(name, {"lr": 0.1, "batch_size": 32})
    found = search(proposals, 3)
    assert [record.params for record in found] == [{"lr": 0.1, "batch_size": 32}]


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


def test_a_further_grid_proposes_what_no_trial_has_had_in_its_own_order():
    had = [ended(0, {"a": 2}, 0.5), ended(1, {"a": 9}, 0.5)]
    grid = proposals_of("grid", {"a": [1, 2, 3]})
    assert [grid.propose(2, had), grid.propose(3, had), grid.propose(4, had)] == [{"a": 1}, {"a": 3}, None]


def test_a_changed_space_has_room_beside_the_trials_that_lie_outside_it():
    had = [ended(0, {"a": 2}, 0.5).params, ended(1, {"a": 9}, 0.5).params]
    records = [ended(trial, params, 0.5) for trial, params in enumerate(had)]
    space = SearchSpace({"a": [1, 2, 3]})
    assert how_many(SearcherConfig(name="grid"), space, records) == 4
    assert how_many(SearcherConfig(name="random", num_samples=50), space, records) == 4
    assert how_many(SearcherConfig(name="random", num_samples=3), space, records) == 3
