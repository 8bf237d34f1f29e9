"""What user code raises is told with the user's own line."""

from __future__ import annotations

import json

import pytest

from trainables.data import DataError
from trainables.user_code import UserDataErrors, told


def decode(text: str) -> None:
    json.loads(text)


def test_the_line_is_the_users_and_not_the_librarys():
    with pytest.raises(DataError) as caught, UserDataErrors("decoding"):
        decode("{")
    (problem,) = caught.value.problems
    assert problem.startswith("decoding raised JSONDecodeError: Expecting")
    assert problem.endswith(f"({__file__}:{decode.__code__.co_firstlineno + 1})")


def test_what_is_a_problem_of_the_data_already_stays_as_it_is():
    with pytest.raises(DataError, match=r"^rows: too few$"), UserDataErrors("reading"):
        raise DataError(["rows: too few"])


def test_no_place_is_invented_where_the_called_code_has_none():
    with pytest.raises(TypeError) as caught:
        decode()
    assert told(caught.value) == f"TypeError: {caught.value}"
