"""The floor on free disk space: said with a way out, asked of the right disk, and not asked for without one."""

from __future__ import annotations

import shutil
from collections import namedtuple

import pytest

from sweeps.disk import free_space_problem
from sweeps.storage import SweepPaths
from trainables.remote import RemoteFolder


@pytest.fixture
def paths(tmp_path) -> SweepPaths:
    (tmp_path / "demo").mkdir()
    return SweepPaths(tmp_path / "demo")


Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def free_gb(monkeypatch):
    """Sets how much space the disk seems to have."""
    asked = []

    def set_free(free_gb):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or Usage(10e9, 0, int(free_gb * 1e9)))
        return asked

    return set_free


def test_too_little_free_space_is_said_with_a_way_out(paths, free_gb):
    free_gb(0.456)
    problem = free_space_problem(paths, 1.0)
    assert f"storage {paths.root.parent}: 0.45 GB free, less than checkpoint.min_free_gb 1;" in problem
    assert f"`sweeps gc {paths.root}`" in problem
    free_gb(1.0)
    assert free_space_problem(paths, 1.0) is None


def test_a_sweep_that_is_not_there_yet_asks_for_the_disk_where_it_will_be(tmp_path, free_gb):
    asked = free_gb(0.999)
    problem = free_space_problem(SweepPaths(tmp_path / "new" / "sweep"), 1.0)
    assert asked == [tmp_path]
    assert "0.99 GB free" in problem
    assert "`sweeps gc SWEEP`" in problem


def test_without_a_floor_no_disk_is_asked(paths, free_gb):
    asked = free_gb(0)
    assert free_space_problem(paths, 0.0) is None
    assert asked == []


def test_the_space_of_this_disk_can_be_asked(paths):
    assert free_space_problem(paths, 1e-9) is None
    assert "less than checkpoint.min_free_gb 1e+12" in free_space_problem(paths, 1e12)


def test_a_command_that_is_named_can_be_pasted_whatever_the_folder_is_called(tmp_path, free_gb):
    (tmp_path / "my sweeps" / "demo").mkdir(parents=True)
    free_gb(0.1)
    assert f"`sweeps gc '{tmp_path}/my sweeps/demo'`" in free_space_problem(SweepPaths(tmp_path / "my sweeps/demo"), 1)


def test_of_a_sweep_on_a_store_the_copies_on_this_machine_are_named_and_no_gc(paths, free_gb, tmp_path):
    free_gb(0.1)
    remote = SweepPaths(paths.root, RemoteFolder((tmp_path / "store" / "demo").as_uri()))
    problem = free_space_problem(remote, 1.0)
    assert problem.startswith(f"the folder of working copies {paths.root.parent}: 0.1 GB free")
    assert "gc" not in problem
    assert str(paths.spec) not in problem
