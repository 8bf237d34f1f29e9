"""The error: what it says, what it carries, and that it travels between processes."""

from __future__ import annotations

import pickle

import pytest

from search_spaces import SpaceError
from search_spaces.problems import did_you_mean, refuse


def test_the_error_tells_every_problem_behind_its_parameter():
    error = SpaceError([("lr", "min is missing"), ("", "something else")])
    assert str(error) == "lr: min is missing\nsomething else"
    assert isinstance(error, ValueError)


def test_the_error_survives_pickling():
    again = pickle.loads(pickle.dumps(SpaceError([("lr", "min is missing")])))
    assert again.problems == (("lr", "min is missing"),)


def test_a_message_given_twice_is_told_once():
    with pytest.raises(SpaceError) as raised:
        refuse(["a", "b", "a"])
    assert raised.value.problems == (("", "a"), ("", "b"))


def test_no_message_refuses_nothing():
    refuse([])


def test_the_closest_word_is_suggested():
    assert did_you_mean("momentun", ["lr", "momentum"]) == "; did you mean 'momentum'?"
    assert did_you_mean("xyz", ["lr", "momentum"]) == ""
