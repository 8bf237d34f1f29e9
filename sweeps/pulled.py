"""A copy of a sweep from elsewhere: what it found, without its checkpoints, as a folder that every verb reads."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from sweeps.errors import SweepStateError
from sweeps.storage import SweepPaths, read_manifest
from sweeps.stored import read_state
from sweeps.working_copy import JOURNAL, LOCK

LEFT_THERE = ("trials", "ray", LOCK, f"{LOCK}.*", "stop.json", ".*.part")
"""Patterns of what a copy lacks: checkpoints, what Ray wrote, and what only a driver needs."""

_MARK = "acknowledged.json"
# By which two copies are of one sweep.
_IDENTITY = ("name", "uri", "created", "seed")


def copy_sweep(source: Path, target: Path) -> None:
    """Copies a sweep's folder, for `place`.

    The journal's records come after the mark of how many there are, so that a driver at work makes no copy that seems
    to have lost some.
    """
    target.mkdir(parents=True, exist_ok=True)
    (target / JOURNAL).mkdir(exist_ok=True)
    mark = source / JOURNAL / _MARK
    if mark.is_file():
        shutil.copy2(mark, target / JOURNAL / _MARK)
    ignored = shutil.ignore_patterns(*LEFT_THERE)

    def ignore(folder: str, names: list[str]) -> set[str]:
        marks = {_MARK} if Path(folder) == source / JOURNAL else set()
        return ignored(folder, names) | marks

    shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)


def place(target: Path, bring: Callable[[Path], None]) -> SweepPaths:
    """Brings a sweep and puts it where it belongs, whole or not at all.

    Parameters
    ----------
    target : Path
        Its folder; an earlier copy of the same sweep is replaced.
    bring : callable
        Fills the folder that it is given.

    Returns
    -------
    SweepPaths
        The copy. It has tables, from its journal where the sweep has not written any.

    Raises
    ------
    SweepStateError
        Something else lies there, or what was brought is no sweep.
    """
    target = target.expanduser().absolute()
    here = _manifest_of(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{uuid4().hex}.part")
    try:
        beside.mkdir()
        bring(beside)
        brought = read_manifest(SweepPaths(beside))
        if here is not None and any(here.get(key) != brought.get(key) for key in _IDENTITY):
            raise SweepStateError(
                f"{target}: is another sweep, of {here.get('created')} in {here.get('uri')}, and is never overwritten; "
                "give another folder (--to DIR), or move it away"
            )
        _add_tables(SweepPaths(beside))
        SweepPaths(beside).copy_mark.write_text(json.dumps({"of": brought.get("uri")}) + "\n", encoding="utf-8")
        _replace(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return SweepPaths(target)


def _manifest_of(target: Path) -> dict[str, Any] | None:
    if not target.exists():
        return None
    paths = SweepPaths(target)
    if not paths.manifest.is_file():
        raise SweepStateError(f"{target}: exists and is no sweep; give another folder (--to DIR), or move it away")
    return read_manifest(paths)


def _add_tables(paths: SweepPaths) -> None:
    from sweeps.tables import write_tables  # pyarrow

    if not (paths.trials_table.is_file() and paths.metrics_table.is_file()) or _is_newer(paths):
        write_tables(read_state(paths), paths.trials_table, paths.metrics_table)


def _is_newer(paths: SweepPaths) -> bool:
    """Whether the journal has gone on since the tables were written."""
    written = paths.trials_table.stat().st_mtime
    records = (path for path in paths.journal.glob("*.jsonl"))
    return any(path.stat().st_mtime > written for path in records)


def _replace(beside: Path, target: Path) -> None:
    if not target.exists():
        os.replace(beside, target)
        return
    before = target.with_name(f".{target.name}.{uuid4().hex}.part")
    os.replace(target, before)
    try:
        os.replace(beside, target)
    except OSError:
        os.replace(before, target)
        raise
    shutil.rmtree(before, ignore_errors=True)
