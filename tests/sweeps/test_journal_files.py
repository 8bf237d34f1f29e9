"""The files of a journal: who comes second, or too late, takes nothing from it, and no other file is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.errors import SweepStateError
from sweeps.journal import Journal, create, losses, read
from sweeps.journal_files import Segments
from trainables.remote import RemoteFolder


class Refusal:
    """A guard that lets everything pass until it is told not to."""

    is_lost = False

    def __call__(self) -> None:
        if self.is_lost:
            raise SweepStateError("taken over")


def types(folder: Path) -> list[str]:
    return [event["type"] for event in read(folder)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write(journal: Journal, kind: str) -> None:
    journal.append({"type": kind})
    journal.flush(force=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "journal")
    return tmp_path / "journal"


@pytest.fixture
def remote(tmp_path: Path) -> RemoteFolder:
    create(tmp_path / "first", in_segments=True)
    remote = RemoteFolder((tmp_path / "store").as_uri())
    remote.upload(tmp_path / "first")
    return remote


@pytest.fixture
def copies(tmp_path: Path, remote: RemoteFolder):
    """Makes copies of the journal in the store as it is now."""

    def copy(name: str) -> Path:
        remote.download(tmp_path / name)
        return tmp_path / name

    return copy


def test_what_a_driver_writes_after_another_followed_it_takes_the_place_of_nothing(copies, remote):
    slept = Journal(copies("slept"), remote)
    write(slept, "a")
    follower = Journal(copies("follower"), remote)
    write(follower, "b")
    before = {entry.name: remote.read_bytes(entry.name) for entry in remote.entries() if "jsonl" in entry.name}
    for _ in range(3):
        write(slept, "too late")
    assert {name: remote.read_bytes(name) for name in before} == before
    assert types(copies("reader")) == ["a", "b"]
    write(follower, "c")
    with Journal(copies("third"), remote) as third:
        third.append({"type": "d"})
    assert types(copies("last")) == ["a", "b", "c", "d"]
    assert losses(copies("last")) is None


@pytest.mark.parametrize("on_store", [False, True])
def test_nothing_is_written_once_the_guard_refuses(folder, copies, remote, on_store):
    guard = Refusal()
    here = copies("here") if on_store else folder
    journal = Journal(here, remote if on_store else None, guard)
    write(journal, "a")
    before = contents(here), {entry.name: entry.mtime for entry in remote.entries()}
    guard.is_lost = True
    journal.append({"type": "b"})
    for use in (journal.flush, journal.close, lambda: Journal(here, None, guard)):
        with pytest.raises(SweepStateError, match="taken over"):
            use()
    assert (contents(here), {entry.name: entry.mtime for entry in remote.entries()}) == before


@pytest.mark.parametrize("change", ["longer", "shorter"])
def test_a_file_that_another_process_wrote_to_is_left_as_it_is(folder, change):
    first = Journal(folder)
    write(first, "a")
    if change == "longer":
        with Journal(folder) as second:
            second.append({"type": "b"})
    else:
        path = folder / "events.jsonl"
        path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    before = (folder / "events.jsonl").read_bytes()
    first.append({"type": "c"})
    for _ in range(2):
        with pytest.raises(SweepStateError, match=r"events\.jsonl: has .* another process wrote to it"):
            first.flush()
    assert (folder / "events.jsonl").read_bytes() == before


def test_files_of_other_names_are_no_part_of_a_journal(folder, copies):
    store = copies("copy")
    for place in (folder, store):
        for name in ("notes.jsonl", "events (copy).jsonl", "12.jsonl", "000000002-backup.jsonl"):
            (place / name).write_text("not a record\n")
        assert types(place) == []
    with Journal(folder) as journal:
        journal.append({"type": "a"})
    assert types(folder) == ["a"]


def test_a_folder_in_the_place_of_a_journals_file_is_named(folder):
    path = folder / "events.jsonl"
    path.unlink()
    path.mkdir()
    for use in (read, Journal, losses):
        (folder / "acknowledged.json").write_text('{"seq": 1, "bytes": 1}')
        with pytest.raises(SweepStateError, match=rf"{path}: is no file.*put a copy"):
            use(folder)


def test_the_more_segments_there_are_the_less_often_another_is_written(copies, remote):
    folder = copies("copy")
    pauses = []
    for number in (1, 500, 5000, 10_000_000):
        (folder / f"{number:09d}-0001.jsonl").write_text("x")
        pauses.append(Segments(folder, remote).pause_s)
    assert pauses == [1.0, 1.0, 10.0, 30.0]
