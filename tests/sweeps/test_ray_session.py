"""What is known of a cluster before its machines are there."""

from __future__ import annotations

import pytest

from sweeps import InfeasibleError
from sweeps.ray_session import NODE_TYPES, coming_machines
from sweeps.resources import Node


def test_machines_that_an_autoscaler_may_add_are_read_from_the_environment(monkeypatch):
    monkeypatch.setenv(NODE_TYPES, '[{"cpus": 8, "gpus": 1, "count": 2}, {"cpus": 4, "gpus": 0, "count": 0}]')
    assert coming_machines() == [Node(8, 1), Node(8, 1)]


def test_without_a_word_none_is_coming(monkeypatch):
    monkeypatch.delenv(NODE_TYPES, raising=False)
    assert coming_machines() == []


@pytest.mark.parametrize("text", ["", "gpu", "[1]", '[{"cpus": 8}]', '{"cpus": 8}'])
def test_a_word_that_means_nothing_is_an_error_that_shows_what_would(monkeypatch, text):
    monkeypatch.setenv(NODE_TYPES, text)
    with pytest.raises(InfeasibleError, match=r"SWEEPS_NODE_TYPES is .*give a list such as"):
        coming_machines()
