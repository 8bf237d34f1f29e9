"""Conditions: when they hold, what they refuse, and that they read back."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from search_spaces import Condition, SpaceError
from search_spaces.conditions import parents_first


@pytest.mark.parametrize(
    ("clauses", "params", "holds"),
    [
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": True}, {"a": 1}, False),
        ({"a": None}, {"a": None}, True),
        ({"a": None}, {}, False),
        ({"a": [1, 2]}, {"a": 2}, True),
        ({"a": [1, 2]}, {"a": [1, 2]}, False),
        ({"a": [[1, 2]]}, {"a": [1, 2]}, True),
        ({"a": {"min": 1, "max": 2}}, {"a": 1}, True),
        ({"a": {"min": 1, "max": 2}}, {"a": 2.0}, True),
        ({"a": {"min": 1, "max": 2}}, {"a": 2.1}, False),
        ({"a": {"min": 1}}, {"a": 10**9}, True),
        ({"a": {"max": 1}}, {"a": 2}, False),
        ({"a": {"min": 0}}, {"a": "text"}, False),
        ({"a": {"min": 0}}, {"a": True}, False),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, True),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, False),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"optimizer": torch.optim.SGD}, {"optimizer": "torch.optim:SGD"}, True),
        ({"act": nn.ReLU()}, {"act": "ReLU()"}, True),
    ],
)
def test_a_condition_holds_where_every_clause_fits(clauses, params, holds):
    assert Condition.from_plain(clauses).matches(params) is holds


@pytest.mark.parametrize(
    "clauses",
    [{"a": 1}, {"a": [1, 2]}, {"a": [[1, 2]]}, {"a": {"min": 1}}, {"a": {"min": 1, "max": 2.5}, "b": None}],
)
def test_a_condition_reads_back_as_it_was_written(clauses):
    condition = Condition.from_plain(clauses)
    assert condition.plain() == clauses
    assert Condition.from_plain(json.loads(json.dumps(condition.plain()))) == condition
    assert Condition.from_plain(condition) is condition


def test_the_parents_are_the_parameters_in_it():
    assert Condition.from_plain({"a": 1, "b": 2}).parents == ("a", "b")


@pytest.mark.parametrize(
    ("clauses", "messages"),
    [
        ({}, ["must map parameters to values"]),
        (None, ["must map parameters to values"]),
        ("optimizer", ["must map parameters to values"]),
        ({1: 2}, ["1 is not a parameter name"]),
        ({"a": []}, ["a: an empty list never fits"]),
        ({"a": {}}, ["a: give min, max or both"]),
        ({"a": {"mim": 1}}, ["a: unknown key 'mim'; did you mean 'min'?", "a: give min, max or both"]),
        ({"a": {"min": 3, "max": 1}, "b": {"min": "x"}}, ["a: min 3 is greater than max 1", "b: min must be a number"]),
        ({"a": {"min": True, "max": float("inf")}}, ["a: min must be a number", "a: max must be finite"]),
    ],
)
def test_a_condition_that_says_nothing_is_refused_with_every_problem(clauses, messages):
    with pytest.raises(SpaceError) as raised:
        Condition.from_plain(clauses)
    told = [message for _, message in raised.value.problems]
    assert len(told) == len(messages), told
    assert all(expected in message for expected, message in zip(messages, told, strict=True))


def test_parents_come_first_and_the_order_is_kept_otherwise():
    conditions = {"a": Condition.from_plain({"c": 1}), "c": Condition.from_plain({"d": 1})}
    assert parents_first(conditions, "abcd") == ["d", "c", "a", "b"]
    assert parents_first({}, "abcd") == ["a", "b", "c", "d"]
