"""Rows of files that the workers of a node share."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sweeps.failures import read_failure
from trainables.data import TrialData
from trainables.loaders import load
from trainables.node_data import FileRows, remove_unused

N_ROWS = 60


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A node whose folder for temporary files is empty, and where what it keeps for this user lies."""
    place = tmp_path / "node"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place / f"skorch-sweeps-{os.getuid()}"


@pytest.fixture
def files(tmp_path):
    """Two Parquet files that make up one table."""
    folder = tmp_path / "table"
    folder.mkdir()
    for part in range(2):
        write_rows(folder / f"part-{part}.parquet", part)
    return folder


def write_rows(path, seed, n_rows=N_ROWS // 2):
    numbers = np.random.default_rng(seed).normal(size=(n_rows, 3))
    labels = np.arange(n_rows) % 3
    pd.DataFrame({"a": numbers[:, 0], "b": numbers[:, 1].astype("float32"), "y": labels}).to_parquet(path)


def describe(files, target="y"):
    return {"type": "parquet", "path": str(files), "target": target, "columns": None}


def rows_of(files, target="classifier", column="y"):
    """What the driver has, and how it travels."""
    source = describe(files, column)
    data = TrialData.make(*load(source), target=target, validation=0.2, seed=3)
    return data, FileRows.of(data, source, target)


def arrived(rows):
    """As it is in another process."""
    return pickle.loads(pickle.dumps(rows))


def folders(node):
    return [path for path in node.iterdir() if path.is_dir()]


@pytest.mark.parametrize("target", ["classifier", "regressor", "net"])
def test_the_rows_are_those_of_the_driver_bit_for_bit(node, files, target):
    data, rows = rows_of(files, target)
    opened = arrived(rows).open()
    for name in ("X", "y"):
        mine, theirs = getattr(data, name), getattr(opened, name)
        assert (mine.dtype, mine.shape, mine.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())
    assert (opened.fingerprint, opened.notes) == (data.fingerprint, data.notes)
    np.testing.assert_array_equal(opened.splits[0].train, data.splits[0].train)


def test_rows_without_targets_have_none(node, files):
    assert arrived(rows_of(files, "net", None)[1]).open().y is None


def test_only_the_description_and_the_splits_travel(node, files):
    for part in range(2):
        write_rows(files / f"part-{part}.parquet", part, n_rows=20_000)
    data, rows = rows_of(files)
    splits = sum(part.nbytes for split in data.splits for part in (split.train, split.valid))
    assert len(pickle.dumps(rows)) - splits < 3000 < data.X.nbytes


def test_rows_are_read_only_and_plain_arrays(node, files):
    opened = arrived(rows_of(files)[1]).open()
    assert type(opened.X) is type(opened.y) is np.ndarray
    assert not opened.X.flags.writeable
    assert not opened.X.flags.owndata


def test_files_are_read_once_on_a_node(node, files):
    _, rows = rows_of(files)
    first = arrived(rows).open()
    shutil.rmtree(files)
    np.testing.assert_array_equal(arrived(rows).open().X, first.X)


def _open_together(rows, gate, found):
    gate.wait()
    X = rows.open().X
    found.put((os.stat(_file_of(X)).st_ino, X.tobytes()))
    gate.wait()


def _file_of(array):
    while not isinstance(array, np.memmap):
        array = array.base
    return array.filename


def test_workers_that_begin_together_map_one_file(node, files):
    data, rows = rows_of(files)
    context = multiprocessing.get_context("fork")
    gate, found = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_open_together, args=(rows, gate, found)) for _ in range(4)]
    for worker in workers:
        worker.start()
    seen = [found.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert len({inode for inode, _ in seen}) == 1
    assert {content for _, content in seen} == {data.X.tobytes()}


def test_what_the_driver_has_read_is_not_read_again_on_its_node(node, files):
    data, rows = rows_of(files)
    rows.keep_here(data)
    shutil.rmtree(files)
    np.testing.assert_array_equal(arrived(rows).open().X, data.X)


def test_the_driver_leaves_nothing_when_its_run_is_over(node, files):
    data, rows = rows_of(files)
    rows.keep_here(data)
    assert len(folders(node)) == 1
    opened = arrived(rows).open()
    del rows
    assert not list(node.iterdir())
    np.testing.assert_array_equal(opened.X, data.X)  # who has it open keeps it


def test_a_disk_too_full_for_the_driver_is_left_to_the_workers_to_tell(node, files, monkeypatch):
    data, rows = rows_of(files)
    usage = shutil.disk_usage(node.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    rows.keep_here(data)
    assert not folders(node)
    with pytest.raises(OSError, match="No space left on device for") as caught:
        arrived(rows).open()
    assert read_failure(f"Traceback (most recent call last):\n{caught.value!r}").cause == "disk"


def test_another_run_does_not_take_what_an_earlier_one_read(node, files):
    arrived(rows_of(files)[1]).open()
    write_rows(files / "part-1.parquet", 7)
    data, rows = rows_of(files)
    np.testing.assert_array_equal(arrived(rows).open().X, data.X)


def test_changed_files_are_refused_by_name_and_leave_nothing(node, files):
    _, rows = rows_of(files)
    write_rows(files / "part-1.parquet", 7)
    with pytest.raises(RuntimeError, match="hold other rows on this node") as caught:
        arrived(rows).open()
    assert str(files) in str(caught.value)
    assert "leave them unchanged while the sweep runs" in str(caught.value)
    assert not folders(node)
    assert read_failure(f"Traceback (most recent call last):\nRuntimeError: {caught.value}").cause == "user"


def test_a_path_that_this_node_lacks_is_told_with_host_and_path(node, files, monkeypatch):
    _, rows = rows_of(files)
    monkeypatch.setattr("socket.gethostname", lambda: "node-7")
    shutil.rmtree(files)
    with pytest.raises(RuntimeError, match="read where the trial runs: the path must be reachable") as caught:
        arrived(rows).open()
    assert str(caught.value).startswith(f"node-7: {files}:")
    assert read_failure(f"Traceback (most recent call last):\nRuntimeError: {caught.value}").cause == "user"


def test_a_message_hides_what_a_uri_has_of_secrets(node, files):
    _, rows = rows_of(files)
    source = describe("nofs://user:hidden@bucket/rows?secret_key=hidden")
    with pytest.raises(RuntimeError, match="nofs://bucket/rows") as caught:
        replace(arrived(rows), source=source).open()
    assert "hidden" not in str(caught.value)


def test_rows_that_were_half_cleared_away_are_read_anew(node, files):
    data, rows = rows_of(files)
    arrived(rows).open()
    (folder,) = folders(node)
    (folder / "y.npy").unlink()
    np.testing.assert_array_equal(arrived(rows).open().y, data.y)


def test_a_writer_that_was_killed_is_made_good(node, files):
    data, rows = rows_of(files)
    first = arrived(rows).open()
    (folder,) = folders(node)
    part = folder.rename(folder.with_name(f"{folder.name}.part"))
    (part / "X.npy").write_bytes((part / "X.npy").read_bytes()[:200])
    del first
    np.testing.assert_array_equal(arrived(rows).open().X, data.X)
    assert [path.name for path in folders(node)] == [folder.name]


def test_rows_in_use_stay_and_others_go(node, files):
    opened = [arrived(rows_of(files)[1]).open() for _ in range(2)]
    in_use = Path(_file_of(opened[0].X)).parent
    del opened[1]
    remove_unused(0.0)
    assert sorted(path.name for path in node.iterdir()) == [in_use.name, f"{in_use.name}.lock"]
    X = opened.pop().X  # a view of the rows is a use of them
    remove_unused(0.0)
    assert in_use.exists()
    del X
    remove_unused(0.0)
    assert not list(node.iterdir())


def test_rows_just_opened_stay_for_the_next_worker(node, files):
    _, rows = rows_of(files)
    arrived(rows).open()
    remove_unused()
    assert len(folders(node)) == 1


def test_opening_rows_removes_those_of_long_ended_runs(node, files):
    arrived(rows_of(files)[1]).open()
    for lock in node.glob("*.lock"):
        os.utime(lock, (time.time() - 3600, time.time() - 3600))
    opened = arrived(rows_of(files)[1]).open()
    assert folders(node) == [Path(_file_of(opened.X)).parent]


def test_rows_can_be_removed_by_whoever_knows_of_the_run(node, files):
    rows = rows_of(files)[1]
    opened = arrived(rows).open()
    arrived(rows).remove()
    assert not list(node.iterdir())
    assert opened.X.shape == (N_ROWS, 2)


def test_the_folder_is_for_this_user_only(node, files):
    arrived(rows_of(files)[1]).open()
    assert node.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("make", [lambda path: path.mkdir(mode=0o755), lambda path: path.symlink_to("/")])
def test_a_folder_that_others_may_enter_is_refused(node, files, make):
    make(node)
    with pytest.raises(RuntimeError, match="nobody else may enter"):
        arrived(rows_of(files)[1]).open()
