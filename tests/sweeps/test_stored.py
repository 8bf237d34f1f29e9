"""The spec in a sweep's directory: read once, and said to be missing, damaged or lacking what only Python brings."""

from __future__ import annotations

import pytest

from sweeps import stored
from sweeps.errors import SpecError, SweepStateError
from sweeps.stored import stored_spec

SPEC = """version: 1
name: demo
metric: {name: valid_acc, goal: maximize}
parameters: {lr: [0.1, 0.2]}
searcher: {name: grid}
"""


@pytest.fixture
def paths(record_sweep):
    paths = record_sweep()
    paths.spec.write_text(SPEC)
    return paths


def test_a_spec_is_parsed_once(paths, monkeypatch):
    paths.spec.write_text(SPEC + "net: nets:make_net\n")
    read, calls = stored.load_spec, []
    monkeypatch.setattr(stored, "load_spec", lambda *given, **more: calls.append(given) or read(*given, **more))
    assert stored_spec(paths, ["net"]).net == "nets:make_net"
    assert len(calls) == 1


def test_what_only_python_could_bring_is_asked_for(paths):
    with pytest.raises(SpecError) as caught:
        stored_spec(paths, ["net", "data"])
    assert "hand over the same again: net=..., data=..." in str(caught.value)


def test_a_spec_that_is_gone_is_to_be_put_back_and_no_new_one_begun(paths):
    paths.spec.unlink()
    with pytest.raises(SweepStateError, match=r"sweep\.yaml: missing, .* put a copy back") as caught:
        stored_spec(paths)
    assert "init" not in str(caught.value)


def test_a_spec_that_is_wrong_is_damaged(paths):
    paths.spec.write_text(SPEC + "more: 1\n")
    with pytest.raises(SweepStateError, match=r"sweep\.yaml: damaged"):
        stored_spec(paths, ["net"])
