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

from sweeps import journal as journals
from sweeps.errors import SweepStateError
from sweeps.journal import Journal, create, losses, read
from trainables.remote import RemoteFolder, StorageError

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
    return next(folder.glob("*.jsonl"))


def write(folder: Path, *events: dict[str, Any]) -> Path:
    with Journal(folder) as journal:
        for event in events:
            journal.append(event)
    return file_of(folder)


def types(folder: Path) -> list[str]:
    return [event["type"] for event in read(folder)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "journal")
    return tmp_path / "journal"


@pytest.fixture
def remote(tmp_path: Path) -> RemoteFolder:
    return RemoteFolder((tmp_path / "store").as_uri())


@pytest.fixture
def copy(tmp_path: Path, remote: RemoteFolder) -> Path:
    """The copy of a journal that lies in a store."""
    create(tmp_path / "copy", in_segments=True)
    remote.upload(tmp_path / "copy")
    return tmp_path / "copy"


@given(st.lists(st.dictionaries(st.text().filter(lambda key: key != "seq"), VALUES, min_size=2), max_size=4))
@settings(max_examples=80, deadline=None)
def test_any_json_values_come_back_as_append_returned_them(events):
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base) / "journal"
        create(folder)
        with Journal(folder) as journal:
            returned = [journal.append(event) for event in events]
        assert returned == [{"seq": number, **event} for number, event in enumerate(events, start=2)]
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
        == {"seq": 2, "type": "trial", "params": {"module__sizes": [1, 2], "shape": [3, 4]}}
    )


def test_numbers_go_on_where_the_last_attempt_ended(folder):
    write(folder, {"type": "a"}, {"type": "b"})
    write(folder)
    write(folder, {"type": "c"})
    assert [event["seq"] for event in read(folder)] == [2, 3, 4]


def test_the_disk_has_a_record_before_flush_returns(folder, monkeypatch):
    synced: list[bytes] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        synced.append(file_of(folder).read_bytes())

    monkeypatch.setattr(os, "fsync", fsync)
    with Journal(folder) as journal:
        journal.append({"type": "a"})
        assert (synced, file_of(folder).read_bytes().count(b"\n")) == ([], 1)
        journal.append({"type": "b"})
        journal.flush()
        assert [text.count(b"\n") for text in synced] == [3]
        journal.flush()
        assert len(synced) == 1
        journal.append({"type": "c"})
    assert synced[-1].count(b"\n") == 4


@pytest.mark.parametrize("kept", [1, 10, -1])
def test_a_torn_last_line_is_cut_and_the_journal_goes_on(folder, kept):
    path = write(folder, {"type": "a"}, {"type": "b"})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + lines[2][:kept])
    assert types(folder) == ["a"]
    assert path.read_bytes() != lines[0] + lines[1]  # reading changes nothing
    write(folder, {"type": "c"})
    assert types(folder) == ["a", "c"]


def test_a_full_disk_tears_nothing_and_the_records_are_written_when_there_is_room(folder):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(folder) as journal:
        journal.append({"type": "a"})
        journal.flush()
        journal.append({"type": "b", "text": "x" * 300})
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
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


@pytest.mark.parametrize("content", [None, b"", b'{"seq":1'], ids=["missing", "empty", "torn"])
def test_a_journal_without_its_first_record_is_damage_and_no_fresh_start(folder, content):
    path = file_of(folder)
    path.unlink() if content is None else path.write_bytes(content)
    for use in (lambda: list(read(folder)), lambda: Journal(folder)):
        with pytest.raises(SweepStateError, match=rf"{path}"):
            use()
    assert not path.exists() or path.read_bytes() == content


def test_a_journal_of_another_format_or_of_none_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "FORMAT", 2)
    create(tmp_path / "newer")
    monkeypatch.undo()
    with pytest.raises(SweepStateError, match="format 2 of the journal is not known"):
        list(read(tmp_path / "newer"))
    path = write(folder, {"type": "a"})
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[1].replace(b'"seq":2', b'"seq":1'))
    with pytest.raises(SweepStateError, match=rf"{path}:1: "):
        Journal(folder)


def test_a_journal_whose_acknowledged_end_is_gone_says_so_until_a_driver_has_gone_on(folder):
    path = write(folder, *({"type": "a"} for _ in range(9)))
    assert losses(folder) is None
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + lines[4][:7])
    for _ in range(2):  # looking at it, or opening it for nothing, does not make it forgotten
        assert f"{path} ends at record 4 although 10 had been written" in (losses(folder) or "")
        assert Journal(folder).lost == losses(folder)
    with Journal(folder) as journal:
        journal.append({"type": "b"})
        journal.flush()
        assert losses(folder) is None
    assert Journal(folder).lost is None
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert "ends at record 4 although 5" in (losses(folder) or "")


def test_a_journal_that_grew_since_the_mark_or_has_none_lost_nothing(folder, monkeypatch):
    with Journal(folder) as journal:
        journal.append({"type": "a"})
        journal.flush()
        journal.append({"type": "b"})
        journal.flush()  # within a second, so that the mark stays as it is
        assert losses(folder) is None
        assert len(list(read(folder))) == 2
    for text in ("", "{", "[]", '{"seq": "x", "bytes": null}'):
        next(folder.glob("*.json")).write_text(text)
        assert losses(folder) is None
    next(folder.glob("*.json")).unlink()
    assert losses(folder) is None


def test_on_a_store_each_flush_is_an_object_that_never_changes(copy, remote):
    with Journal(copy, remote) as journal:
        journal.append({"type": "a"})
        assert journal.flush()
        first = {entry.name: remote.read_bytes(entry.name) for entry in remote.entries() if "jsonl" in entry.name}
        journal.append({"type": "b"})
        assert journal.flush(force=True)
        journal.append({"type": "c"})
    names = ["000000001.jsonl", *(f"{number:09d}-0001.jsonl" for number in (2, 3, 4))]
    assert [entry.name for entry in remote.entries() if "jsonl" in entry.name] == names
    assert all(remote.read_bytes(name) == (copy / name).read_bytes() for name in names)
    assert {name: remote.read_bytes(name) for name in first} == first
    assert types(copy) == ["a", "b", "c"]
    with Journal(copy, remote) as journal:
        journal.append({"type": "d"})
    assert types(copy) == ["a", "b", "c", "d"]


def test_a_store_is_not_written_to_at_each_turn_and_what_waits_is_not_called_recorded(copy, remote):
    journal = Journal(copy, remote)
    journal.append({"type": "a"})
    assert journal.flush()
    journal.append({"type": "b"})
    assert not journal.flush()
    assert types(copy) == ["a"]
    journal.close()
    assert types(copy) == ["a", "b"]


def test_what_a_store_did_not_take_is_not_in_the_copy_and_comes_with_the_next_flush(copy, remote, monkeypatch):
    journal = Journal(copy, remote)
    journal.append({"type": "a"})
    with monkeypatch.context() as patched:
        patched.setattr(RemoteFolder, "write_bytes", Mock(side_effect=StorageError("403")))
        with pytest.raises(StorageError):
            journal.flush()
    assert types(copy) == []
    journal.append({"type": "b"})
    assert journal.flush()
    assert types(copy) == ["a", "b"]


@pytest.mark.parametrize("damage", ["missing", "doubled", "torn"])
def test_damage_to_a_segment_is_found_and_a_lost_last_one_is_told(copy, remote, damage):
    with Journal(copy, remote) as journal:
        for name in "abc":
            journal.append({"type": name})
            journal.flush(force=True)
    segments = sorted(copy.glob("*.jsonl"))
    if damage == "missing":
        segments[2].unlink()
    elif damage == "doubled":
        segments[3].write_bytes(segments[2].read_bytes())
    else:
        segments[2].write_bytes(segments[2].read_bytes()[:-5])
    with pytest.raises(SweepStateError, match=rf"{segments[3]}:1: record"):
        list(read(copy))
    segments[3].unlink()
    assert "although 4 had been written" in (losses(copy) or "")
