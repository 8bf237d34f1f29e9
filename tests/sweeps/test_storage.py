"""Where a sweep lies: names and URIs, a directory that is whole or not there, one driver at a time."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps import storage
from sweeps.errors import InfeasibleError, SweepNotFoundError, SweepStateError
from sweeps.storage import (
    SweepPaths,
    all_below,
    check_writable,
    create,
    find,
    is_held,
    local_path,
    locked,
    read_manifest,
    write_text,
)

HOLD = """
import sys
from pathlib import Path
from sweeps.storage import SweepPaths, locked
with locked(SweepPaths(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def paths(tmp_path: Path) -> SweepPaths:
    made = SweepPaths.of(tmp_path / "results", "digits")
    create(made, {"name": "digits", "metric": "valid_acc"}, "name: digits\n")
    return made


@pytest.fixture
def holder(paths: SweepPaths):
    """Another process that holds the sweep."""
    command = [sys.executable, "-c", HOLD, str(paths.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_every_path_lies_inside_the_sweeps_directory(tmp_path):
    paths = SweepPaths.of(tmp_path, "digits")
    names = [name for name, value in vars(SweepPaths).items() if isinstance(value, property) and name != "name"]
    found = [getattr(paths, name) for name in names] + [paths.ray(1), paths.ray(12)]
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


@pytest.mark.parametrize("uri", ["s3://bucket/sweeps?region=x", "gs://bucket/a", "hdfs://host:9000/a"])
def test_other_filesystems_are_refused_by_name_without_their_query(uri):
    with pytest.raises(InfeasibleError, match="paths and file:// URIs") as caught:
        local_path(uri)
    assert uri.partition("?")[0] in str(caught.value)
    assert "region" not in str(caught.value)


def test_a_file_uri_with_too_few_slashes_is_not_read_as_another_folder():
    with pytest.raises(InfeasibleError, match="file:///results/digits"):
        local_path("file://results/digits")


def test_a_new_sweep_has_its_spec_manifest_and_folder_of_trials(paths):
    assert sorted(path.name for path in paths.root.iterdir()) == ["manifest.json", "sweep.yaml", "trials"]
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
        patched.setattr(storage, "write_text", write)
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

    monkeypatch.setattr(storage, "write_text", write)
    with pytest.raises(SweepStateError, match="exists already"):
        create(SweepPaths(tmp_path / "digits"), {"name": "second"}, "")
    assert read_manifest(paths)["name"] == "first"
    assert list(tmp_path.iterdir()) == [paths.root]


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


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_text(path, "before")
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        write_text(path, "after")
    assert path.read_text() == "before"


def test_a_second_driver_is_refused_with_host_and_process_of_the_first(paths, holder):
    assert is_held(paths)
    with pytest.raises(SweepStateError, match=str(holder.pid)) as caught, locked(paths):
        pass
    assert socket.gethostname() in str(caught.value)
    assert is_held(paths)


@pytest.mark.parametrize("folder", ["results", "results/deeper/still", ""])
def test_trying_the_storage_leaves_nothing_behind(tmp_path, folder):
    check_writable(SweepPaths.of(tmp_path / folder, "digits"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["/proc/nope", "/proc/nope/deeper", "file", "file/deeper"])
def test_a_storage_that_cannot_be_written_is_known_beforehand(tmp_path, folder):
    (tmp_path / "file").touch()
    with pytest.raises(InfeasibleError, match=f"storage .*{folder} cannot be written: "):
        check_writable(SweepPaths.of(tmp_path / folder, "digits"))


def test_a_driver_that_was_killed_has_let_go(paths, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not is_held(paths)
    with locked(paths):
        assert is_held(paths)
        with pytest.raises(SweepStateError, match=str(os.getpid())), locked(paths):
            pass


def test_a_driver_that_has_ended_holds_nothing_though_its_process_lives(paths):
    with locked(paths):
        pass
    assert not is_held(paths)
    with pytest.raises(KeyError), locked(paths):
        raise KeyError
    assert not is_held(paths)
    with locked(paths):
        pass


def test_a_driver_on_another_machine_is_believed(paths):
    write_text(paths.holder, json.dumps({"host": "elsewhere", "pid": 1}))
    assert is_held(paths)


def test_a_driver_of_another_user_is_at_work(paths, monkeypatch):
    def kill(pid: int, number: int) -> None:
        raise PermissionError

    write_text(paths.holder, json.dumps({"host": socket.gethostname(), "pid": 1}))
    monkeypatch.setattr(os, "kill", kill)
    assert is_held(paths)
