"""FileRows: rows of files, read once on each node and shared by its workers. How a file is read, `loaders` knows."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import stat
import tempfile
import time
import uuid
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout

from trainables.arrays import Array, Target
from trainables.data import DataError, TrialData
from trainables.loaders import load
from trainables.remote import without_credentials

UNUSED_S = 600.0
"""Seconds after its last opening for which a folder of rows stays although no process has it open."""

# Rows that were written just before a power failure may have holes; the name of a folder says which boot it is of.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, eq=False)
class FileRows:
    """Rows that lie in files, on their way to the nodes: how to read them, and all else of their `TrialData`.

    On each node the first process that opens them reads the files, casts as `TrialData.make` does, compares the content
    with the driver's and writes ``X.npy`` and ``y.npy`` into a folder of that node, which all processes there map; so
    the page cache holds them once. The folder is ``skorch-sweeps-UID/…`` in the directory for temporary files, and only
    its user can look into it. It is of one run of one driver, never of a later one. On the driver's node the driver
    removes it; elsewhere whoever opens rows next removes what no process has open and nobody opened for `UNUSED_S`.

    Attributes
    ----------
    source : mapping
        A description for `load`, with an absolute path or a URI.
    target : {"net", "classifier", "binary", "regressor"}
        As for `TrialData.make`.
    blank : TrialData
        Splits, classes, notes and fingerprint, without rows.
    run : str
        Names the driver's run.
    """

    source: Mapping[str, Any]
    target: Target
    blank: TrialData
    run: str

    @classmethod
    def of(cls, data: TrialData, source: Mapping[str, Any], target: Target) -> Self:
        """How the nodes can read what was read here; call it once in a run.

        Parameters
        ----------
        data : TrialData
            What `source` held here, cast.
        source, target
            As the attributes.
        """
        return cls(source, target, replace(data, X={}, y=None), uuid.uuid4().hex)

    def keep_here(self, data: TrialData) -> None:
        """Leaves rows that are already at hand for the workers of this node, until this object is no more.

        Parameters
        ----------
        data : TrialData
            With the rows of these files. Where the disk is too full for them nothing is left, and workers here say so.

        Raises
        ------
        RuntimeError
            The folder for them is not this user's own.
        """
        folder = _folder_of(self.run)
        weakref.finalize(self, _remove, folder)
        with suppress(OSError), _lock_of(folder):
            _write(data, folder)

    def open(self) -> TrialData:
        """The data, with rows that are mapped into this process: read-only, and shared with all others of this node.

        Returns
        -------
        TrialData
            As the driver has it, bit for bit.

        Raises
        ------
        RuntimeError
            The files cannot be read here, or hold other rows than on the driver; or the folder is not this user's own.
        OSError
            The disk is too full for the rows.
        """
        folder = _folder_of(self.run)
        with _lock_of(folder) as lock:
            Path(lock.lock_file).touch()
            try:
                rows = self._mapped(folder)
            except FileNotFoundError:  # not yet written, or cleared away as all of /tmp is from time to time
                _write(self._read(), folder)
                pa.default_memory_pool().release_unused()  # else the one that reads keeps three times the rows
                rows = self._mapped(folder)
        remove_unused()
        return rows

    def remove(self) -> None:
        """Removes the rows from this node once the run is over; processes that have them open keep them."""
        _remove(_folder_of(self.run))

    def _mapped(self, folder: Path) -> TrialData:
        y = None if self.source["target"] is None else _open_array(folder / "y.npy")
        return replace(self.blank, X=_open_array(folder / "X.npy"), y=y)

    def _read(self) -> TrialData:
        place = f"{socket.gethostname()}: {_shown(str(self.source['path']))}"
        try:
            data = TrialData.make(*load(self.source), target=self.target, validation=[([0], [1])])
        except DataError as error:
            raise RuntimeError(
                f"{place}: the data cannot be read on this node ({error}). Parquet data are read where the trial runs: "
                "the path must be reachable from every node, with the files that the driver read"
            ) from error
        if data.fingerprint != self.blank.fingerprint:
            raise RuntimeError(
                f"{place}: the files hold other rows on this node than those that the driver read ({data.n_rows} rows, "
                f"{data.fingerprint[:19]}, instead of {self.blank.fingerprint[:19]}). Bring the same files to every "
                "node and leave them unchanged while the sweep runs, then resume it"
            )
        return data


def remove_unused(unused_s: float = UNUSED_S) -> None:
    """Removes from this node all rows that no process has open.

    Parameters
    ----------
    unused_s : float, default 600
        Seconds since they were opened last.
    """
    for lock in _root().glob("*.lock"):
        with suppress(FileNotFoundError, Timeout):  # another process removes it, or writes it
            if time.time() - lock.stat().st_mtime > unused_s:
                _remove(lock.with_suffix(""), only_unused=True)


def _root() -> Path:
    root = Path(tempfile.gettempdir()) / f"skorch-sweeps-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise RuntimeError(
            f"{root} must be a folder that belongs to this user and that nobody else may enter (mode 0700), since "
            "workers share data in it; remove it, or set TMPDIR where Ray is started"
        )
    return root


def _folder_of(run: str) -> Path:
    boot = _BOOT_ID.read_text(encoding="ascii")[:8] if _BOOT_ID.exists() else "0"
    return _root() / f"{run}-{boot}"


def _lock_of(folder: Path, timeout: float = -1) -> FileLock:
    return FileLock(folder.with_name(f"{folder.name}.lock"), timeout=timeout)


def _part_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.part")


def _write(data: TrialData, folder: Path) -> None:
    """Writes rows beside their folder, which then takes its place; call it with the lock held."""
    part = _part_of(folder)
    arrays = {name: array for name, array in (("X", data.X), ("y", data.y)) if isinstance(array, np.ndarray)}
    n_bytes, free = sum(array.nbytes for array in arrays.values()), shutil.disk_usage(folder.parent).free
    if n_bytes > free:
        text = f"{os.strerror(errno.ENOSPC)} for {n_bytes} bytes of data, only for {free}; set TMPDIR for Ray"
        raise OSError(errno.ENOSPC, text, str(folder))
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    shutil.rmtree(folder, ignore_errors=True)
    try:
        part.mkdir(mode=0o700)
        for name, array in arrays.items():
            np.save(part / f"{name}.npy", array, allow_pickle=False)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _open_array(path: Path) -> Array:
    """Maps an array; its file is locked for reading while a view of it lives, so that others see that it is in use."""
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    descriptor = os.open(path, os.O_RDONLY)
    weakref.finalize(mapped.base, os.close, descriptor)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return np.asarray(mapped)


def _remove(folder: Path, *, only_unused: bool = False) -> None:
    with _lock_of(folder, timeout=0 if only_unused else -1) as lock:
        if only_unused and _is_open(folder / "X.npy"):
            return
        shutil.rmtree(_part_of(folder), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        Path(lock.lock_file).unlink(missing_ok=True)


def _is_open(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _shown(path: str) -> str:
    return without_credentials(path) if "://" in path else path
