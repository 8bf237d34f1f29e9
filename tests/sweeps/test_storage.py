"""Where a sweep lies: names and URIs, a directory that is whole or not there, and its copy where it is on a store."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from manifests import manifest

from sweeps import journal, storage
from sweeps.creation import create
from sweeps.errors import InfeasibleError, SweepNotFoundError, SweepStateError
from sweeps.storage import (
    SweepPaths,
    all_below,
    exists,
    find,
    local_path,
    push,
    read_manifest,
    write_text,
)
from trainables.remote import RemoteFolder


@pytest.fixture
def paths(tmp_path: Path) -> SweepPaths:
    made = SweepPaths.of(tmp_path / "results", "digits")
    create(made, manifest(name="digits"), "name: digits\n")
    return made


@pytest.fixture
def store(tmp_path: Path, monkeypatch) -> SweepPaths:
    """A sweep to be made on a store, which here is a folder that pyarrow reads and writes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = storage.working_copies("test") / "digits"
    return SweepPaths(root, RemoteFolder((tmp_path / "store" / "digits").as_uri()))


@pytest.fixture
def reader(store: SweepPaths, tmp_path: Path) -> SweepPaths:
    """The same sweep as another machine sees it."""
    return SweepPaths(tmp_path / "elsewhere" / "digits", store.remote)


def test_every_path_lies_inside_the_sweeps_directory(tmp_path):
    paths = SweepPaths.of(tmp_path, "digits")
    names = [name for name, value in vars(SweepPaths).items() if isinstance(value, property)]
    found = [path for path in (getattr(paths, name) for name in names) if isinstance(path, Path)]
    found += [paths.ray(1), paths.ray(12)]
    assert len(found) > 10
    assert len(set(found)) == len(found)
    assert all(path.is_relative_to(tmp_path / "digits") for path in found)
    assert paths.ray(1).name == "attempt-01"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "form", [str, Path, Path.as_uri, lambda path: path.as_uri().replace("file://", "file://localhost")]
)
def test_a_path_and_its_file_uri_mean_the_same_folder(tmp_path, form):
    folder = tmp_path / "with space" / "ü#%20"
    assert local_path(form(folder)) == folder


def test_relative_paths_and_the_home_folder_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert local_path("results") == tmp_path / "results"
    assert local_path("~/results") == tmp_path / "home" / "results"


@pytest.mark.parametrize("uri", ["ftp://user:word@host/a?key=x", "s3://id:word@bucket/a?key=x"])
def test_what_pyarrow_does_not_know_is_refused_without_showing_secrets(uri):
    for use in (lambda: SweepPaths.of(uri, "digits"), lambda: find(uri), lambda: all_below(uri)):
        with pytest.raises(InfeasibleError, match="a URI of a filesystem that pyarrow knows") as caught:
            use()
        assert uri.partition("://")[0] + "://" in str(caught.value)
        assert "word" not in str(caught.value)


def test_a_uri_keeps_its_options_behind_the_name_and_shows_no_secret(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = "region=eu-west-1&scheme=http&endpoint_override=127.0.0.1:9"
    paths = SweepPaths.of(f"s3://id:word@bucket/sweeps?{options}", "digits")
    assert paths.location == f"s3://bucket/sweeps/digits?{options}"
    assert "word" not in repr(paths)
    assert paths.name == "digits"
    assert paths.root.is_relative_to(tmp_path)
    assert paths.root != SweepPaths.of(f"s3://bucket/others?{options}", "digits").root
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_on_a_store_has_the_layout_of_a_local_one_and_is_copied_whole(store, reader):
    create(store, manifest(name="digits"), "name: digits\n")
    store.best.mkdir()
    (store.best / "params.yaml").write_text("lr: 1\n")
    store.trials_table.write_text("table")
    push(store, store.best, store.trials_table, store.metrics_table)
    names = {entry.name for entry in store.remote.entries(recursive=True) if not entry.is_folder}
    assert names == {
        "manifest.json",
        "sweep.yaml",
        "journal/000000001.jsonl",
        "best/params.yaml",
        "trials.parquet",
    }
    assert exists(reader)
    assert read_manifest(reader) == {"format": 1} | manifest(name="digits")
    assert (reader.best / "params.yaml").read_text() == "lr: 1\n"
    assert list(journal.read(reader.journal)) == []


def test_a_copy_follows_what_changes_and_vanishes_on_the_store(store, reader):
    create(store, manifest(name="digits"), "")
    store.best.mkdir()
    (store.best / "a").write_text("1")
    push(store, store.best)
    assert exists(reader)
    (store.best / "a").rename(store.best / "b")
    store.spec.write_text("changed")
    push(store, store.best, store.spec)
    assert exists(reader)
    assert [path.name for path in reader.best.iterdir()] == ["b"]
    assert reader.spec.read_text() == "changed"


def test_the_copy_of_a_deleted_sweep_is_not_mistaken_for_a_new_one_of_its_name(store, reader):
    create(store, manifest(name="old"), "")
    with journal.Journal(store.journal, store.remote_journal) as records:
        records.append({"type": "a"})
    assert exists(reader)
    store.remote.delete_all()
    assert not exists(reader)
    create(store, manifest(name="new"), "")
    for paths in (store, reader):
        assert exists(paths)
        assert list(journal.read(paths.journal)) == []
        assert read_manifest(paths)["name"] == "new"


def test_a_file_uri_with_too_few_slashes_is_not_read_as_another_folder():
    with pytest.raises(InfeasibleError, match="file:///results/digits"):
        local_path("file://results/digits")


def test_a_sweep_is_found_by_directory_uri_and_name(paths, monkeypatch):
    folder = paths.root.parent
    for reference in (paths.root, str(paths.root), paths.root.as_uri(), f"{paths.root}/"):
        assert find(reference) == paths
    assert find("digits", folder) == find("digits", folder.as_uri()) == paths
    monkeypatch.chdir(folder.parent)
    assert find("digits").root.resolve() == paths.root.resolve()
    assert all_below(folder) == [paths]


def test_a_sweep_that_is_not_there_is_told_with_close_names(paths):
    with pytest.raises(SweepNotFoundError, match="did you mean digits"):
        find("digit", paths.root.parent)
    with pytest.raises(SweepNotFoundError, match="sweeps ls"):
        find("zzz", paths.root.parent)


def test_a_sweep_without_its_manifest_is_unusable_and_not_missing(paths):
    paths.manifest.unlink()
    with pytest.raises(SweepStateError, match=r"manifest\.json: missing"):
        find("digits", paths.root.parent)


def test_hidden_folders_are_no_sweeps(paths):
    paths.root.rename(paths.root.with_name(".digits.1.part"))
    assert all_below(paths.root.parent) == []


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "7", "null", '"text"', '{"name": "a"}', '{"format": 2}', '{"format": "1"}']
)
def test_a_manifest_of_another_format_or_none_is_refused(paths, text):
    paths.manifest.write_text(text)
    with pytest.raises(SweepStateError, match=r"manifest\.json: "):
        read_manifest(paths)


def test_everything_that_is_missing_or_wrong_in_a_manifest_is_said_at_once(paths):
    damaged = manifest(format=1, goal="best", created="yesterday", data={"rows": "many", "splits": 1}, notes=None)
    del damaged["search_path"]
    paths.manifest.write_text(json.dumps(damaged))
    with pytest.raises(SweepStateError) as caught:
        read_manifest(paths)
    assert str(caught.value).splitlines() == [
        f"{paths.manifest}: damaged; put a whole copy back:",
        "  created: 'yesterday' is not a time such as 2025-01-31T12:00:00Z",
        "  goal: 'best' is not minimize or maximize",
        "  search_path: missing",
        "  notes: 'None' is not a list of texts",
        "  data.rows: 'many' is not a whole number",
        "  data.fingerprint: missing",
    ]


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_text(path, "before")
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        write_text(path, "after")
    assert path.read_text() == "before"
