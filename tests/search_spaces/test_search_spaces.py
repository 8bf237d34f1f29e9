"""The package's face: every name is there, and reading a space loads no other library."""

from __future__ import annotations

import subprocess
import sys

import pytest

import search_spaces

READING = """
import sys
from search_spaces import *
from search_spaces import SearchSpace, check_names, presets
space = SearchSpace({**presets.mlp(), "callbacks": None, "x": {"mu": 0, "sigma": 1}})
SearchSpace(space.plain()).contains({})
heavy = {"numpy", "ray", "torch", "scipy", "sklearn", "skorch"} & set(sys.modules)
sys.exit(f"loaded {heavy}" if heavy else 0)
"""


@pytest.mark.parametrize("name", search_spaces.__all__)
def test_every_name_of_the_face_exists(name):
    assert getattr(search_spaces, name) is not None
    assert name in dir(search_spaces)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'SearchSpaces'"):
        search_spaces.SearchSpaces  # noqa: B018  # asking for it is the test


def test_the_names_are_sorted():
    assert search_spaces.__all__ == sorted(search_spaces.__all__)


def test_reading_a_space_loads_no_other_library():
    subprocess.run([sys.executable, "-c", READING], check=True, timeout=60)
