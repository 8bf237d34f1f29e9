"""Directories that are whole or absent."""

from __future__ import annotations

import shutil

import pytest

from trainables.claim import Claim
from trainables.whole import whole_directory


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(target, *contents, claim=None, meanwhile=None):
    """Writes files named after their content; returns the name under which the directory was written."""
    with whole_directory(target, shutil.rmtree, claim) as part:
        for content in contents:
            (part / content).write_text(content)
        if meanwhile is not None:
            meanwhile()
    return part.name


def test_it_appears_at_the_end_and_replaces_what_was_there(tmp_path):
    target = tmp_path / "folder" / "target"
    seen = []
    write(target, "old", meanwhile=lambda: seen.extend(names(target.parent)))
    part = write(target, "new")
    assert seen == [part]
    assert names(target) == ["new"]
    assert names(target.parent) == ["target"]


def test_nothing_is_left_of_one_that_went_wrong(tmp_path):
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "target", "file", meanwhile=lambda: 1 / 0)
    assert names(tmp_path) == []


def test_a_claim_that_ends_while_it_is_written_leaves_all_as_it_was(tmp_path):
    write(tmp_path / "target", "theirs")
    with pytest.raises(RuntimeError, match="taken its trials over"):
        write(tmp_path / "target", "ours", claim=Claim(tmp_path, 1), meanwhile=Claim(tmp_path, 2).take)
    assert names(tmp_path) == ["attempt", "target"]
    assert names(tmp_path / "target") == ["theirs"]


def test_what_another_attempt_wrote_right_after_the_check_is_not_replaced(tmp_path):
    class Late(Claim):
        def check(self):
            super().check()
            write(tmp_path / "target", "theirs")

    with pytest.raises(OSError, match="not empty"):
        write(tmp_path / "target", "ours", claim=Late(tmp_path, 1))
    assert names(tmp_path) == ["target"]
    assert names(tmp_path / "target") == ["theirs"]


def test_processes_of_several_attempts_write_in_different_places(tmp_path):
    parts = {write(tmp_path / "target", claim=Claim(tmp_path, attempt)) for attempt in (1, 2)}
    assert len(parts) == 2
