"""The working copy of a sweep on an object store: kept like it, from it and back. Knows no sweep, only folders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock, Timeout

from trainables.remote import Entry, RemoteFolder

LOCK = "lock"
"""Locked by the driver of this machine, which keeps the copy up to date itself, or by who brings it up to date."""

COPYING = f"{LOCK}.copying"
"""Locked around taking `LOCK`: who has it finds there a driver, or nobody."""

JOURNAL = "journal"
_MARK = "acknowledged.json"
_MANIFEST = "manifest.json"
_STOP = "stop.json"
_COPYING_S = 120.0


def working_copies(uri: str) -> Path:
    """Where the copies of the sweeps below a storage URI lie: in the user's cache (``XDG_CACHE_HOME``)."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "skorch-sweeps" / hashlib.sha256(uri.encode()).hexdigest()[:16]


def refresh(root: Path, remote: RemoteFolder, folders: Iterable[str]) -> bool:
    """Brings a copy up to date for a reader; one that a driver of this machine works with is so already.

    Parameters
    ----------
    root : Path
        The copy, made where it is missing.
    remote : RemoteFolder
        The sweep.
    folders : iterable of str
        Which of its folders are wanted beside the files in it.

    Returns
    -------
    bool
        Whether there is a sweep.

    Raises
    ------
    StorageError
        The store failed.
    """
    if not any(entry.name == _MANIFEST for entry in remote.entries()):
        return False
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / COPYING, timeout=_COPYING_S):
        try:
            with FileLock(root / LOCK, timeout=0):
                pull(root, remote, folders)
        except Timeout:
            pass
    return True


def pull(root: Path, remote: RemoteFolder, folders: Iterable[str]) -> None:
    """Makes the files of a copy, and some of its folders, those of the store; for who holds `LOCK`.

    Raises
    ------
    StorageError
        The store failed.
    """
    top = [entry for entry in remote.entries() if entry.name != _STOP]
    _take(root, remote, top)
    known = {entry.name for entry in top}
    for path in root.iterdir():
        if path.is_file() and path.name not in known and not path.name.startswith((LOCK, ".")):
            path.unlink()
    for folder in folders:
        here, there = root / folder, remote / folder
        if folder == JOURNAL:  # before the records are listed, so that it cannot be ahead of them
            _take(here, there, [entry for entry in there.entries() if entry.name == _MARK])
        entries = there.entries(recursive=True)
        _take(here, there, [entry for entry in entries if entry.name != _MARK or folder != JOURNAL])
        kept = {here / entry.name for entry in entries}
        for path in here.rglob("*"):
            if path.is_file() and path not in kept:
                path.unlink()


def push(root: Path, remote: RemoteFolder, written: Iterable[Path]) -> None:
    """Writes files and folders of a copy to the store; what is no longer in such a folder vanishes there as well.

    Raises
    ------
    StorageError
        The store failed.
    """
    for path in written:
        name = path.relative_to(root).as_posix()
        if path.is_file():
            remote.write_bytes(name, path.read_bytes())
        elif path.is_dir():
            folder = remote / name
            folder.upload(path)
            entries = folder.entries(recursive=True)
            folder.delete(
                *(entry.name for entry in entries if not entry.is_folder and not (path / entry.name).exists())
            )


def _take(here: Path, there: RemoteFolder, entries: Iterable[Entry]) -> None:
    # An object that was written again differs in size or time.
    there.download(here, [entry for entry in entries if not entry.is_folder and not _is_same(here / entry.name, entry)])


def _is_same(path: Path, entry: Entry) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return found.st_size == entry.size and abs(found.st_mtime - entry.mtime) < 1e-3
