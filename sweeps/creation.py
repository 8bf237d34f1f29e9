"""Makes a sweep's directory, whole or not at all, and never in the place of another. Runs and reads no sweep."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from sweeps import journal
from sweeps.errors import InfeasibleError, SweepStateError
from sweeps.lease import leased
from sweeps.storage import FORMAT, SweepPaths, store_failures, write_text
from sweeps.working_copy import LOCK


def create(paths: SweepPaths, manifest: Mapping[str, Any], spec: str) -> None:
    """Makes a sweep's directory with its spec, manifest and a journal without events: whole, or not at all.

    Raises
    ------
    SweepStateError
        The name is in use; the message tells what to do.
    InfeasibleError
        The storage cannot be written.
    """
    if paths.remote is None:
        _create(paths, manifest, spec)
        return
    with store_failures(paths.location), leased(paths.remote / LOCK, paths.location):
        refuse_existing(paths)
        shutil.rmtree(paths.root, ignore_errors=True)  # the copy of one of that name that was deleted
        _create(paths, manifest, spec)
        paths.remote.upload(paths.root)


def _create(paths: SweepPaths, manifest: Mapping[str, Any], spec: str) -> None:
    beside = SweepPaths(paths.root.with_name(f".{paths.name}.{uuid4().hex}.part"))
    try:
        beside.trials.mkdir(parents=True)
        write_text(beside.spec, spec)
        journal.create(beside.journal, in_segments=paths.remote is not None)
        write_text(beside.manifest, json.dumps({"format": FORMAT, **manifest}, indent=1, ensure_ascii=False) + "\n")
        _refuse_existing_folder(paths)
        os.rename(beside.root, paths.root)
    except OSError as error:
        _refuse_existing_folder(paths)  # another driver was faster
        raise InfeasibleError(f"storage {paths.root.parent} cannot be written: {error}") from error
    finally:
        shutil.rmtree(beside.root, ignore_errors=True)


def clear_unfinished(paths: SweepPaths) -> None:
    """Deletes what drivers were writing into the sweep's directory, or as it, when they died; for who holds the sweep.

    What trials left is not looked for, as their number has no limit: their next checkpoint or `sweeps gc` deletes it.
    """
    # Another process may be asking to stop right now.
    found = [path for path in paths.root.glob(".*.part") if not path.name.startswith(f".{paths.stop.name}.")]
    found += paths.journal.glob(".*.part")
    # Whoever makes a sweep of this name at this moment fails anyway.
    begun = re.compile(rf"\.{re.escape(paths.name)}\.[0-9a-f]{{32}}\.part")
    found += [path for path in paths.root.parent.glob(".*.part") if begun.fullmatch(path.name)]
    for path in found:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def check_writable(paths: SweepPaths) -> None:
    """Tries whether a sweep's directory could be made; leaves nothing behind.

    Raises
    ------
    InfeasibleError
        The storage, or the nearest folder above it that exists, cannot be written.
    """
    if paths.remote is not None:
        probe = f".sweeps-{uuid4().hex}"
        with store_failures(paths.location):
            paths.remote.write_bytes(probe, b"")
            paths.remote.delete(probe)
        return
    storage = paths.root.parent
    try:
        nearest = next(folder for folder in (storage, *storage.parents) if folder.exists())
        with TemporaryDirectory(prefix=".sweeps-", dir=nearest):
            return
    except OSError as error:
        text = f"storage {storage} cannot be written: {error.strerror or error}; give a folder that can (--storage)"
        raise InfeasibleError(text) from error


def refuse_existing(paths: SweepPaths) -> None:
    """Refuses a place where a sweep, or anything else, lies already.

    Raises
    ------
    SweepStateError
        The message tells what to do.
    InfeasibleError
        The storage failed.
    """
    if is_taken(paths):
        raise SweepStateError(_in_use(paths))


def is_taken(paths: SweepPaths) -> bool:
    """Whether a sweep, or anything else, lies in a place.

    Raises
    ------
    InfeasibleError
        The storage failed.
    """
    if paths.remote is None:
        return paths.root.exists()
    with store_failures(paths.location):
        return any(not entry.is_folder or entry.name != LOCK for entry in paths.remote.entries())


def _refuse_existing_folder(paths: SweepPaths) -> None:
    if paths.root.exists():
        raise SweepStateError(_in_use(paths))


def _in_use(paths: SweepPaths) -> str:
    place = paths.location
    return (
        f"{place} exists already, and a sweep is never overwritten: see what it found with "
        f"`sweeps show {shlex.quote(place)}`, choose another name (--name), or delete the directory"
    )
