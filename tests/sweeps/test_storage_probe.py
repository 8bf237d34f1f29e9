"""Marks in a storage: found and answered through the same folder, not through another, and gone afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.errors import InfeasibleError
from sweeps.storage import SweepPaths
from sweeps.storage_probe import answer_in_store, answer_on_disk, marked


def answer(mark, folder=None, name="h2"):
    missing = None if mark.missing is None else str(mark.missing)
    return answer_on_disk(str(folder or mark.folder), missing, mark.content, name)


def test_a_mark_is_found_answered_and_gone(tmp_path):
    with marked(str(tmp_path)) as mark:
        assert answer(mark) == {"is_same": True, "problem": None}
        assert mark.seen_from(["h2", "h3"]) == {"h2"}
    assert not list(tmp_path.iterdir())


def test_a_storage_that_does_not_exist_is_not_made(tmp_path):
    with marked(SweepPaths.of(tmp_path / "a" / "results", "demo")) as mark:
        assert answer(mark)["is_same"]
        assert not (tmp_path / "a").exists()
    assert not list(tmp_path.iterdir())


def test_a_machine_where_the_missing_storage_exists_sees_another_one(tmp_path):
    with marked(str(tmp_path / "results")) as mark:
        (tmp_path / "results").mkdir()
        assert answer(mark) == {"is_same": False, "problem": None}


def test_a_machine_with_another_disk_leaves_nothing_on_it(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    with marked(str(here)) as mark:
        assert answer(mark, there / Path(str(mark.folder)).name) == {"is_same": False, "problem": None}
    assert not list(there.iterdir())


def test_an_old_mark_of_other_content_is_another_storage(tmp_path):
    with marked(str(tmp_path)) as mark:
        assert not answer_on_disk(str(mark.folder), None, "another", "h2")["is_same"]


def test_a_mark_is_gone_after_an_error(tmp_path):
    with pytest.raises(KeyError), marked(str(tmp_path)):
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_storage_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InfeasibleError, match="cannot be written"), marked(str(tmp_path / "file")):
        pass


def test_a_filesystem_named_by_a_uri_works_the_same(tmp_path):
    uri = f"mock:///{tmp_path.name}"
    with marked(uri) as mark:
        assert answer_in_store(mark.folder, mark.content, "h2") == {"is_same": True, "problem": None}
        assert mark.seen_from(["h2", "h3"]) == {"h2"}
        assert not answer_in_store(mark.folder / "elsewhere", mark.content, "h2")["is_same"]
