"""The journal: whatever happens to a driver or its disk, what was acknowledged comes back, and damage is never read."""

from __future__ import annotations

import math
import os
import resource
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.errors import SweepStateError
from sweeps.journal import Journal, read

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just("float")
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["float", "a", "crc", "é\u2028"]) | st.text(), inner, max_size=3)
        | inner.map(lambda value: {"float": value})
    ),
    max_leaves=10,
)


def file_of(folder: Path) -> Path:
    return next(folder.iterdir())


def write(folder: Path, *events: dict[str, Any]) -> Path:
    with Journal(folder) as journal:
        for event in events:
            journal.append(event)
    return file_of(folder)


def types(folder: Path) -> list[str]:
    return [event["type"] for event in read(folder)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@given(st.lists(st.dictionaries(st.text().filter(lambda key: key != "seq"), VALUES, min_size=2), max_size=4))
@settings(max_examples=80, deadline=None)
def test_any_json_values_come_back_as_append_returned_them(events):
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base) / "journal"
        with Journal(folder) as journal:
            returned = [journal.append(event) for event in events]
        assert returned == [{"seq": number, **event} for number, event in enumerate(events, start=1)]
        assert list(read(folder)) == returned


def test_what_json_does_not_know_comes_back_too(folder):
    losses = [math.inf, -math.inf, math.nan, 0.1]
    write(folder, {"losses": losses, "float": "nan", "nested": {"float": {"float": math.nan}}, "text": "\ud800"})
    (event,) = read(folder)
    assert event["losses"][:2] == losses[:2]
    assert math.isnan(event["losses"][2])
    assert (event["float"], event["text"]) == ("nan", "\ud800")
    assert math.isnan(event["nested"]["float"]["float"])


def test_a_record_is_as_a_reader_gets_it_back_and_shares_nothing_with_the_writer(folder):
    params = {"module__sizes": [1, 2], "shape": (3, 4)}
    with Journal(folder) as journal:
        returned = journal.append({"type": "trial", "params": params})
    params["module__sizes"].append(3)
    assert (
        returned
        == next(read(folder))
        == {"seq": 1, "type": "trial", "params": {"module__sizes": [1, 2], "shape": [3, 4]}}
    )


def test_numbers_go_on_where_the_last_attempt_ended(folder):
    write(folder, {"type": "a"}, {"type": "b"})
    write(folder)
    write(folder, {"type": "c"})
    assert [event["seq"] for event in read(folder)] == [1, 2, 3]


def test_the_disk_has_a_record_before_flush_returns(folder, monkeypatch):
    synced: list[bytes] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        synced.append(file_of(folder).read_bytes())

    monkeypatch.setattr(os, "fsync", fsync)
    with Journal(folder) as journal:
        journal.append({"type": "a"})
        assert (synced, file_of(folder).read_bytes()) == ([], b"")
        journal.append({"type": "b"})
        journal.flush()
        assert [text.count(b"\n") for text in synced] == [2]
        journal.flush()
        assert len(synced) == 1
        journal.append({"type": "c"})
    assert synced[-1].count(b"\n") == 3


@pytest.mark.parametrize("kept", [1, 10, -1])
def test_a_torn_last_line_is_cut_and_the_journal_goes_on(folder, kept):
    path = write(folder, {"type": "a"}, {"type": "b"})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:kept])
    assert types(folder) == ["a"]
    assert path.read_bytes() != lines[0]  # reading changes nothing
    write(folder, {"type": "c"})
    assert types(folder) == ["a", "c"]


def test_a_full_disk_tears_nothing_and_the_records_are_written_when_there_is_room(folder):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(folder) as journal:
        journal.append({"type": "a"})
        journal.flush()
        journal.append({"type": "b", "text": "x" * 300})
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
        try:
            for _ in range(2):
                with pytest.raises(OSError, match="File too large"):
                    journal.flush()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert types(folder) == ["a"]
        journal.append({"type": "c"})
        journal.flush()
        assert types(folder) == ["a", "b", "c"]


def test_the_error_that_ends_a_journal_is_not_hidden_by_a_disk_that_is_still_full(folder, monkeypatch):
    def write_while_full(journal: Journal) -> None:
        monkeypatch.setattr(os, "fsync", Mock(side_effect=[OSError("first"), OSError("second")]))
        with journal:
            journal.append({"type": "b"})
            journal.flush()

    with Journal(folder) as journal:
        journal.append({"type": "a"})
    journal = Journal(folder)
    with pytest.raises(OSError, match="first") as caught:
        write_while_full(journal)
    assert caught.value.__context__ is None
    with pytest.raises(ValueError, match="closed"):
        journal.close()


def test_a_flipped_bit_anywhere_is_found(folder):
    path = write(folder, {"type": "a"}, {"type": "b"}, {"type": "c"})
    whole = path.read_bytes()
    for position in range(len(whole) - 1):  # without its last newline, the last line is a torn one
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        line = whole[:position].count(b"\n") + 1
        with pytest.raises(SweepStateError, match=rf"events\.jsonl:{line}: "):
            list(read(folder))


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda lines: [lines[0], b"garbage\n", *lines[1:]], 2),
        (lambda lines: [lines[0], b"\n", *lines[1:]], 2),
        (lambda lines: [lines[0], lines[2]], 2),
        (lambda lines: [lines[0], lines[1], lines[1], lines[2]], 3),
        (lambda lines: [lines[1], lines[0], lines[2]], 1),
        (lambda lines: [lines[0], lines[1][:10] + lines[2]], 2),
        (lambda lines: [b"\0" * 50 + b"\n", *lines], 1),
    ],
    ids=["garbage", "empty", "missing", "doubled", "swapped", "torn inside", "zeros"],
)
def test_damage_before_the_end_names_file_and_line_for_readers_and_writers(folder, damage, line):
    path = write(folder, {"type": "a"}, {"type": "b"}, {"type": "c"})
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True))))
    before = path.read_bytes()
    for use in (lambda: list(read(folder)), lambda: Journal(folder)):
        with pytest.raises(SweepStateError, match=rf"{path}:{line}: "):
            use()
    assert path.read_bytes() == before


def test_a_missing_journal_is_an_error_and_not_an_empty_sweep(folder):
    with pytest.raises(SweepStateError, match="missing"):
        read(folder)
