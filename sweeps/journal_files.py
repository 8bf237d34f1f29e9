"""What a journal is written to: one file that grows, or numbered segments. Knows nothing of what the lines say."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.errors import SweepStateError

if TYPE_CHECKING:
    from trainables.remote import RemoteFolder

_FILE = "events.jsonl"
# Number of the segment, and of the writer where it is not the one that made the sweep.
_SEGMENT = re.compile(r"(\d{9})(?:-(\d{4,}))?\.jsonl")
# Seconds between two segments: one for the first 500, then more with their number, so that a week makes 30,000 of them
# and not 600,000, each of which a reader asks for.
_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_AT_FULL_PACE = 500


class GrowingFile:
    """One file, as a disk keeps it.

    Parameters
    ----------
    folder : Path
        The journal's.
    ends : mapping of Path to int
        Of each file there, the length in bytes of what is whole; what follows is cut off.

    Attributes
    ----------
    pause_s : float
        Seconds that should pass between two writes.
    """

    pause_s = 0.0

    def __init__(self, folder: Path, ends: Mapping[Path, int]) -> None:
        path = folder / _FILE
        self._path, self._whole, self._tried = path, ends.get(path, 0), 0
        self._file = path.open("ab", buffering=0)
        self._file.truncate(self._whole)

    def write(self, lines: bytes) -> None:
        """Writes lines and waits until the disk has them.

        Raises
        ------
        SweepStateError
            The file has not the length at which this process left it: another one writes to it too.
        """
        self._refuse_others_lines()
        self._file.truncate(self._whole)  # of a part that an earlier try left when the disk was full
        self._tried = 0
        rest = memoryview(lines)
        while rest:
            written = self._file.write(rest)
            self._tried += written
            rest = rest[written:]
        os.fsync(self._file.fileno())
        self._whole, self._tried = self._whole + len(lines), 0

    def close(self) -> None:
        """Writes nothing more."""
        self._file.close()

    def _refuse_others_lines(self) -> None:
        size = os.fstat(self._file.fileno()).st_size
        if not self._whole <= size <= self._whole + self._tried:
            raise SweepStateError(
                f"{self._path}: has {size} bytes where this driver left {self._whole}, so another process wrote to it; "
                "nothing more is written here; end the other one, then go on with `sweeps resume`"
            )


class Segments:
    """One object after another, as no object of a store can grow; copies here are written second.

    None takes the place of another's: a name tells the writer, who has a higher number than all before it. A driver
    that slept while another followed it may still finish a request; readers leave out what it writes so late.

    Parameters
    ----------
    folder : Path
        The journal's copy here.
    remote : RemoteFolder
        The journal's folder in the store.

    Attributes
    ----------
    pause_s : float
        As of `GrowingFile`.
    """

    def __init__(self, folder: Path, remote: RemoteFolder) -> None:
        self._folder, self._remote = folder, remote
        self._count, _ = _place(files_of(folder)[-1])
        self._writer = 1 + max(_place(path)[1] for path in _all_files(folder))

    @property
    def pause_s(self) -> float:
        """Grows with the number of segments."""
        return min(_PAUSE_S * max(1.0, self._count / _AT_FULL_PACE), _LONGEST_PAUSE_S)

    def write(self, lines: bytes) -> None:
        """Writes lines as the next segment and waits until the store has it."""
        # A try that failed and yet arrived is written over by the next one, which has the same records and more.
        name = _segment_name(self._count + 1, self._writer)
        self._remote.write_bytes(name, lines)
        (self._folder / name).write_bytes(lines)
        self._count += 1

    def close(self) -> None:
        """Does nothing, as nothing is open."""


def first_file(folder: Path, in_segments: bool) -> Path:
    """The file that a new journal begins with."""
    return folder / (_segment_name(1) if in_segments else _FILE)


def files_of(folder: Path) -> list[Path]:
    """The files of a journal in order; never none. Others that lie there are none of its.

    Raises
    ------
    SweepStateError
        There is none, or nothing in them, or one is no file.
    """
    files: list[Path] = []
    newest = 0
    for path in _all_files(folder):
        _, writer = _place(path)
        if writer >= newest:  # else of a driver that was followed by another before it wrote this
            files.append(path)
            newest = writer
    if not files:
        raise SweepStateError(f"{folder / _FILE}: missing, so what this sweep did is unknown")
    if odd := next((path for path in files if not path.is_file()), None):
        raise SweepStateError(f"{odd}: is no file, so what this sweep did is unknown; put a copy of the file back")
    if not any(path.stat().st_size for path in files):
        raise SweepStateError(f"{files[0]}: empty, so what this sweep did is unknown")
    return files


def _all_files(folder: Path) -> list[Path]:
    found = (path for path in folder.glob("*.jsonl") if path.name == _FILE or _SEGMENT.fullmatch(path.name))
    # Of two with one number the later writer's first, as the other is not to be read.
    return sorted(found, key=lambda path: (_place(path)[0], -_place(path)[1]))


def _place(path: Path) -> tuple[int, int]:
    """Number of a segment and of its writer; zeros for the one file of a disk."""
    found = _SEGMENT.fullmatch(path.name)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _segment_name(number: int, writer: int = 0) -> str:
    return f"{number:09d}-{writer:04d}.jsonl" if writer else f"{number:09d}.jsonl"
