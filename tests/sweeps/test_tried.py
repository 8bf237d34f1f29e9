"""Which configs are the same, which lie in a space, which are left."""

from __future__ import annotations

import numpy as np
import pytest
from searches import ended

from search_spaces.space import SearchSpace
from sweeps.tried import Tried, config_key, fits, key_of, untried

SHORT = SearchSpace({"lr": [0.1, 0.2], "max_epochs": 3})
LONG = SearchSpace({"lr": [0.1, 0.2], "max_epochs": 9})
VARIED = SearchSpace({"lr": [0.1, 0.2], "max_epochs": [3, 9]})
LISTED = SearchSpace({"lr": [0.1, 0.2], "max_epochs": [9]})
UNSAID = SearchSpace({"lr": [0.1, 0.2]})
SOMETIMES = SearchSpace({"lr": [0.1, 0.2], "max_epochs": {"values": [9], "when": {"lr": 0.1}}})


def test_a_key_tells_types_apart_and_not_the_order():
    assert config_key({"a": 1, "b": 2}) == config_key({"b": 2, "a": 1})
    assert len({config_key({"a": value}) for value in (1, 1.0, True, "1", None)}) == 5


@pytest.mark.parametrize("space", [SHORT, LONG, LISTED, UNSAID])
def test_configs_that_train_equally_long_are_the_same_at_any_length(space):
    keys = {key_of(space, {"lr": 0.1, **length}) for length in ({}, {"max_epochs": 3}, {"max_epochs": 9})}
    assert len(keys) == 1
    assert keys != {key_of(space, {"lr": 0.2})}


@pytest.mark.parametrize("space", [VARIED, SOMETIMES])
def test_where_the_length_varies_it_tells_configs_apart(space):
    assert key_of(space, {"lr": 0.1, "max_epochs": 3}) != key_of(space, {"lr": 0.1, "max_epochs": 9})


@pytest.mark.parametrize(
    ("space", "params", "expected"),
    [
        (LONG, {"lr": 0.1, "max_epochs": 3}, True),
        (LONG, {"lr": 0.1}, True),
        (UNSAID, {"lr": 0.1, "max_epochs": 3}, True),
        (LONG, {"lr": 0.3, "max_epochs": 9}, False),
        (LONG, {"lr": 0.1, "batch_size": 8, "max_epochs": 9}, False),
        (VARIED, {"lr": 0.1, "max_epochs": 4}, False),
        (VARIED, {"lr": 0.1, "max_epochs": 9}, True),
    ],
)
def test_a_config_lies_in_a_space_whatever_its_equal_length(space, params, expected):
    assert fits(space, params) is expected


def test_keys_grow_with_the_records_and_begin_anew_with_others():
    tried = Tried(LONG)
    first, second = ended(0, {"lr": 0.1, "max_epochs": 3}, 0.5), ended(1, {"lr": 0.2}, 0.5)
    assert len(tried.of([first])) == 1
    assert len(tried.of([first, second])) == 2
    assert tried.of([second]) == {key_of(LONG, {"lr": 0.2})}


def test_what_is_left_is_drawn_until_nothing_is():
    rng = np.random.default_rng(0)
    tried: set[str] = set()
    found = []
    while (params := untried(VARIED, tried, rng)) is not None:
        found.append(params)
        tried.add(key_of(VARIED, params))
    assert sorted((params["lr"], params["max_epochs"]) for params in found) == [(0.1, 3), (0.1, 9), (0.2, 3), (0.2, 9)]
    assert untried(VARIED, set(), rng, {"lr": 0.2})["lr"] == 0.2
    assert untried(SearchSpace({"lr": {"min": 0.0, "max": 1.0}}), set(), rng) is None
