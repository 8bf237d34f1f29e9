"""What a journal is written to: one file that grows, or numbered segments. Knows nothing of what the lines say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.errors import SweepStateError

if TYPE_CHECKING:
    from trainables.remote import RemoteFolder

_FILE = "events.jsonl"


class GrowingFile:
    """One file, as a disk keeps it.

    Parameters
    ----------
    folder : Path
        The journal's.
    ends : mapping of Path to int
        Of each file there, the length in bytes of what is whole; what follows is cut off.
    """

    def __init__(self, folder: Path, ends: Mapping[Path, int]) -> None:
        path = folder / _FILE
        self._whole = ends.get(path, 0)
        self._file = path.open("ab", buffering=0)
        self._file.truncate(self._whole)

    def write(self, lines: bytes) -> None:
        """Writes lines and waits until the disk has them."""
        self._file.truncate(self._whole)  # of a part that an earlier try left when the disk was full
        rest = memoryview(lines)
        while rest:
            rest = rest[self._file.write(rest) :]
        os.fsync(self._file.fileno())
        self._whole += len(lines)

    def close(self) -> None:
        """Writes nothing more."""
        self._file.close()


class Segments:
    """One object after another, as no object of a store can grow; copies here are written second.

    Parameters
    ----------
    folder : Path
        The journal's copy here.
    remote : RemoteFolder
        The journal's folder in the store.
    count : int
        How many segments there are.
    """

    def __init__(self, folder: Path, remote: RemoteFolder, count: int) -> None:
        self._folder, self._remote, self._count = folder, remote, count

    def write(self, lines: bytes) -> None:
        """Writes lines as the next segment and waits until the store has it."""
        # A try that failed and yet arrived is written over by the next one, which has the same records and more.
        name = _segment_name(self._count + 1)
        self._remote.write_bytes(name, lines)
        (self._folder / name).write_bytes(lines)
        self._count += 1

    def close(self) -> None:
        """Does nothing, as nothing is open."""


def first_file(folder: Path, in_segments: bool) -> Path:
    """The file that a new journal begins with."""
    return folder / (_segment_name(1) if in_segments else _FILE)


def files_of(folder: Path) -> list[Path]:
    """The files of a journal in order; never none.

    Raises
    ------
    SweepStateError
        There is none, or nothing in them.
    """
    files = sorted(folder.glob("[!.]*.jsonl"))
    if not files:
        raise SweepStateError(f"{folder / _FILE}: missing, so what this sweep did is unknown")
    if not any(path.stat().st_size for path in files):
        raise SweepStateError(f"{files[0]}: empty, so what this sweep did is unknown")
    return files


def _segment_name(number: int) -> str:
    return f"{number:09d}.jsonl"
