"""The making of a sweep's directory: whole or not there, never in the place of another, tried beforehand."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from sweeps import creation
from sweeps.creation import check_writable, clear_unfinished, create, refuse_existing
from sweeps.errors import InfeasibleError, SweepStateError
from sweeps.storage import SweepPaths, exists, read_manifest, write_text
from sweeps.working_copy import working_copies
from trainables.remote import RemoteFolder, StorageError


@pytest.fixture
def paths(tmp_path: Path) -> SweepPaths:
    made = SweepPaths.of(tmp_path / "results", "digits")
    create(made, {"name": "digits", "metric": "valid_acc"}, "name: digits\n")
    return made


@pytest.fixture
def store(tmp_path: Path, monkeypatch) -> SweepPaths:
    """A sweep to be made on a store, which here is a folder that pyarrow reads and writes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = working_copies("test") / "digits"
    return SweepPaths(root, RemoteFolder((tmp_path / "store" / "digits").as_uri()))


@pytest.fixture
def reader(store: SweepPaths, tmp_path: Path) -> SweepPaths:
    """The same sweep as another machine sees it."""
    return SweepPaths(tmp_path / "elsewhere" / "digits", store.remote)


def test_a_name_in_use_on_a_store_is_refused_and_left_alone(store, reader):
    create(store, {"name": "first"}, "")
    for use in (lambda: create(reader, {"name": "second"}, ""), lambda: refuse_existing(reader)):
        with pytest.raises(SweepStateError, match="exists already"):
            use()
    assert exists(reader)
    assert read_manifest(reader)["name"] == "first"


def test_trying_a_store_leaves_nothing_behind_and_a_failing_one_is_infeasible(store, monkeypatch):
    check_writable(store)
    assert store.remote.entries() == []
    monkeypatch.setattr(RemoteFolder, "write_bytes", Mock(side_effect=StorageError("no such bucket")))
    with pytest.raises(InfeasibleError, match="no such bucket"):
        check_writable(store)


def test_a_new_sweep_has_its_spec_manifest_and_folder_of_trials(paths):
    assert sorted(path.name for path in paths.root.iterdir()) == ["journal", "manifest.json", "sweep.yaml", "trials"]
    assert read_manifest(paths) == {"format": 1, "name": "digits", "metric": "valid_acc"}
    assert list(paths.root.parent.iterdir()) == [paths.root]


@pytest.mark.parametrize("fails", ["sweep.yaml", "manifest.json"])
def test_a_sweep_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch, fails):
    paths = SweepPaths.of(tmp_path, "digits")

    def write(path: Path, text: str) -> None:
        if path.name == fails:
            raise OSError(28, "No space left on device")
        write_text(path, text)

    with monkeypatch.context() as patched:
        patched.setattr(creation, "write_text", write)
        with pytest.raises(InfeasibleError, match="No space left"):
            create(paths, {}, "")
    assert list(tmp_path.iterdir()) == []
    create(paths, {}, "")


def test_storage_that_is_no_folder_is_infeasible(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(InfeasibleError, match="cannot be written"):
        create(SweepPaths.of(tmp_path / "results", "digits"), {}, "")


def test_a_name_in_use_is_refused_and_left_alone(paths):
    with pytest.raises(SweepStateError, match="exists already"):
        create(paths, {"name": "other"}, "")
    assert read_manifest(paths)["name"] == "digits"
    assert list(paths.root.parent.iterdir()) == [paths.root]


def test_of_two_drivers_that_make_the_same_name_at_once_the_first_wins(tmp_path, monkeypatch):
    paths = SweepPaths.of(tmp_path, "digits")

    def write(path: Path, text: str) -> None:
        write_text(path, text)
        monkeypatch.undo()
        create(paths, {"name": "first"}, "")

    monkeypatch.setattr(creation, "write_text", write)
    with pytest.raises(SweepStateError, match="exists already"):
        create(SweepPaths(tmp_path / "digits"), {"name": "second"}, "")
    assert read_manifest(paths)["name"] == "first"
    assert list(tmp_path.iterdir()) == [paths.root]


@pytest.mark.parametrize("folder", ["results", "results/deeper/still", ""])
def test_trying_the_storage_leaves_nothing_behind(tmp_path, folder):
    check_writable(SweepPaths.of(tmp_path / folder, "digits"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["/proc/nope", "/proc/nope/deeper", "file", "file/deeper"])
def test_a_storage_that_cannot_be_written_is_known_beforehand(tmp_path, folder):
    (tmp_path / "file").touch()
    with pytest.raises(InfeasibleError, match=f"storage .*{folder} cannot be written: "):
        check_writable(SweepPaths.of(tmp_path / folder, "digits"))


def test_what_dead_drivers_left_unfinished_is_deleted_and_nothing_else(paths):
    storage = paths.root.parent
    begun = f".{paths.name}.{'0a' * 16}.part"
    left = [paths.root / ".best.part" / "half", paths.root / ".lock.json.7.part", storage / begun / "sweep.yaml"]
    others = [paths.root / ".stop.json.7.part", storage / f".{paths.name}.b.{'0a' * 16}.part" / "sweep.yaml"]
    for path in (*left, *others):
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    before = set(storage.rglob("*"))
    clear_unfinished(paths)
    assert before - set(storage.rglob("*")) == {*left, paths.root / ".best.part", storage / begun}
