"""Grids: each distinct config once, in a fixed order, and counted without being walked."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import SearchSpace, SpaceError


def test_the_last_parameter_varies_fastest():
    space = SearchSpace({"a": [1, 2], "b": 0, "c": {"min": 3, "max": 4}})
    assert list(space.grid()) == [
        {"a": 1, "b": 0, "c": 3},
        {"a": 1, "b": 0, "c": 4},
        {"a": 2, "b": 0, "c": 3},
        {"a": 2, "b": 0, "c": 4},
    ]


@st.composite
def conditional_spaces(draw):
    """Up to five parameters of up to three values, each possibly under a condition on earlier or later ones."""
    order = draw(st.permutations("abcde"))
    parameters = {}
    for position, name in enumerate(order):
        parameters[name] = {"values": list(range(draw(st.integers(1, 3))))}
        parents = draw(st.lists(st.sampled_from(order[:position]), max_size=2, unique=True)) if position else []
        when = {parent: draw(st.sampled_from(parameters[parent]["values"])) for parent in parents}
        parameters[name] |= {"when": when} if when else {}
    return SearchSpace({name: parameters[name] for name in sorted(parameters)})


@given(conditional_spaces())
def test_a_grid_has_every_active_config_exactly_once_and_its_size_says_how_many(space):
    everything = [
        space.active(dict(zip(space.domains, values, strict=True)))
        for values in itertools.product(*(domain.axis() for domain in space.domains.values()))
    ]
    walked = [json.dumps(config) for config in space.grid()]
    assert len(walked) == len(set(walked)) == space.grid_size() == space.size()
    assert set(walked) == {json.dumps(config) for config in everything}
    assert all(space.contains(config) for config in space.grid())


def test_ten_million_points_are_counted_at_once():
    space = SearchSpace({f"p{i}": list(range(10)) for i in range(7)})
    start = time.perf_counter()
    assert space.grid_size() == 10**7
    assert next(space.grid()) == {f"p{i}": 0 for i in range(7)}
    assert time.perf_counter() - start < 1.0


def test_conditional_spaces_are_counted_by_their_parents_only():
    leaves = {f"leaf{i}": {"domain": list(range(100)), "when": {"parent": 1}} for i in range(5)}
    assert SearchSpace({"parent": [1, 2], **leaves}).size() == 100**5 + 1


def test_the_size_is_an_upper_bound_where_the_parents_are_too_many_to_walk():
    space = SearchSpace(
        {
            "a": {"distribution": "int_loguniform", "min": 1, "max": 10**6},
            "b": {"values": [1, 2], "when": {"a": {"max": 10}}},
        }
    )
    assert space.size() == 2 * 10**6


def test_the_size_is_none_where_a_domain_is_continuous():
    assert SearchSpace({"a": [1, 2], "b": {"min": 0.0, "max": 1}}).size() is None
    assert SearchSpace({"a": [1, 2], "b": {"min": 0.0, "max": 1, "q": 0.5}}).size() == 6


def test_a_grid_over_what_cannot_be_walked_names_all_of_it():
    space = SearchSpace(
        {
            "lr": {"min": 0.0, "max": 1},
            "batch_size": [1, 2],
            "nodes": {"distribution": "int_loguniform", "min": 1, "max": 4},
            "seed": {"min": 0, "max": 10**9},
        }
    )
    for call in (space.grid, space.grid_size):
        with pytest.raises(SpaceError) as raised:
            call()
        assert [name for name, _ in raised.value.problems] == ["lr", "nodes", "seed"]
        assert all("`values: [...]`" in message for _, message in raised.value.problems)


def test_a_walked_config_may_be_changed():
    space = SearchSpace({"a": [[1, 2]], "b": [1, 2]})
    for config in space.grid():
        config["a"].append(3)
        assert config["a"] == [1, 2, 3]


def test_an_empty_space_has_one_config():
    assert list(SearchSpace({}).grid()) == [{}]
    assert SearchSpace({}).size() == 1
