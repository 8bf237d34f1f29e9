"""The append-only record of a sweep: JSON lines that can be trusted. Gives no meaning to what they say."""

from __future__ import annotations

import json
import math
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sweeps.errors import SweepStateError
from sweeps.journal_files import GrowingFile, Segments, files_of, first_file

if TYPE_CHECKING:
    from trainables.remote import RemoteFolder

Event = dict[str, Any]
"""One record: ``type``, ``seq`` (1, 2, 3, ...) and what belongs to the type."""

FORMAT = 1
"""Version of the records, which the first one tells; another one is refused."""

_read_json = json.JSONDecoder().raw_decode
_SEQ = re.compile(rb'{"seq":(\d+),')
_MARK = "acknowledged.json"
# Seconds between two marks: on a disk, where they need no sync, and on a store, where each is a request.
_MARK_EVERY_S = 1.0
_STORE_MARK_EVERY_S = 20.0


class Journal:
    """Appends records for the one driver that holds the sweep's lock.

    ``append`` only collects; ``flush`` writes and syncs, and nothing may be shown as recorded before it has returned.
    Opening cuts off a last line that a crash left torn. An error inside its ``with`` block drops what was not flushed.

    Parameters
    ----------
    folder : Path
        The sweep's journal folder, as `create` made it.
    remote : RemoteFolder, optional
        The folder in the store that this one is a copy of: what is flushed becomes a numbered segment, one object that
        never changes, there and then here.
    guard : callable, optional
        Raises when this process may write no more, as `sweeps.hold.Hold.refuse_lost`; asked before each write.

    Attributes
    ----------
    lost : str or None
        As `losses` said when the journal was opened.

    Raises
    ------
    SweepStateError
        The journal is missing or empty, or a line before the last is damaged.
    """

    def __init__(
        self, folder: Path, remote: RemoteFolder | None = None, guard: Callable[[], None] = lambda: None
    ) -> None:
        guard()
        self.lost = losses(folder)
        self._folder, self._remote, self._guard = folder, remote, guard
        self._seq, ends = _check(folder)
        self._acknowledged, self._bytes = self._seq, sum(ends.values())
        self._sink = GrowingFile(folder, ends) if remote is None else Segments(folder, remote)
        self._pending: list[bytes] = []
        self._flushed_at = self._marked_at = -math.inf

    def append(self, event: Mapping[str, Any]) -> Event:
        """Collects a record and gives it its number.

        Returns
        -------
        dict
            The record as a reader will get it back.
        """
        self._seq += 1
        body = _body({"seq": self._seq, **event})
        self._pending.append(_line(body))
        return _event(body)

    def flush(self, *, force: bool = False) -> bool:
        """Writes what was collected and waits until the disk, or the store, has it.

        Parameters
        ----------
        force : bool, default=False
            Also where a store was written to a moment ago, which else goes on collecting.

        Returns
        -------
        bool
            Whether all that was appended is recorded now.

        Raises
        ------
        SweepStateError
            Another process writes here too, or has taken the sweep over.
        """
        self._guard()
        if not self._pending:
            return True
        now = time.monotonic()
        if not force and now - self._flushed_at < self._sink.pause_s:
            return False
        lines = b"".join(self._pending)
        self._sink.write(lines)
        self._acknowledged, self._bytes, self._flushed_at = self._seq, self._bytes + len(lines), now
        self._pending.clear()
        if now - self._marked_at >= (_MARK_EVERY_S if self._remote is None else _STORE_MARK_EVERY_S):
            self._mark()
        return True

    def close(self) -> None:
        """Flushes and closes."""
        self.flush(force=True)
        self._mark()
        self._sink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._sink.close()  # another try to write may fail too, and would hide the first error

    def _mark(self) -> None:
        """Says beside the journal how far it goes, so that a part of it cannot vanish unnoticed.

        It is not synced: written after the records, it is never ahead of them, and an older mark only says less.
        """
        self._guard()
        mark = json.dumps({"seq": self._acknowledged, "bytes": self._bytes}).encode()
        beside = self._folder / f".{_MARK}.part"
        beside.write_bytes(mark)
        os.replace(beside, self._folder / _MARK)
        if self._remote is not None:
            self._remote.write_bytes(_MARK, mark)
        self._marked_at = time.monotonic()


def create(folder: Path, *, in_segments: bool = False) -> None:
    """Makes a journal without events; so one that is missing or empty later is known to be damaged.

    Parameters
    ----------
    folder : Path
        Must not exist.
    in_segments : bool, default=False
        As a store has it.
    """
    folder.mkdir()
    with first_file(folder, in_segments).open("xb") as file:
        file.write(_line(_body({"seq": 1, "type": "created", "format": FORMAT})))
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> Iterator[Event]:
    """The records of a journal in order, without the one that `create` wrote; a torn last line is left out.

    Raises
    ------
    SweepStateError
        The journal is missing or empty, or a line is damaged or out of order; the message names file and line.
    """
    files_of(folder)
    return (_event(body) for body, _, _ in islice(_bodies(folder), 1, None))


def losses(folder: Path) -> str | None:
    """What a person should know when a journal ends before what had been acknowledged; None where it does not."""
    try:
        mark = json.loads((folder / _MARK).read_bytes())
        known, size = int(mark["seq"]), int(mark["bytes"])
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None  # a power failure may leave such a mark, as it is never synced
    files = files_of(folder)
    if sum(path.stat().st_size for path in files) >= size:
        return None
    kept = sum(path.read_bytes().count(b"\n") for path in files)
    return (
        f"{files[-1]} ends at record {kept} although {known} had been written: its end was cut off, or an older copy "
        "was put in its place; what is missing is taken from checkpoints or trained again"
    )


def _check(folder: Path) -> tuple[int, dict[Path, int]]:
    """Last sequence number, and of each file the length in bytes of what is whole."""
    seq, ends = 0, dict.fromkeys(files_of(folder), 0)
    for number, (_, path, end) in enumerate(_bodies(folder), start=1):
        seq, ends[path] = number, end
    return seq, ends


def _bodies(folder: Path) -> Iterator[tuple[bytes, Path, int]]:
    """Each record, checked and not yet read, its file, and where it ends there."""
    seq = 0
    for path in files_of(folder):
        end = 0
        for number, line in enumerate(_whole_lines(path), start=1):
            body = _checked(line, number, path)
            seq, end = seq + 1, end + len(line)
            found = _seq_of(body)
            if found != seq:
                raise SweepStateError(
                    f"{path}:{number}: record {found} stands where {seq} belongs; records are missing or doubled"
                )
            if seq == 1:
                _check_head(_event(body), path)
            yield body, path, end
    if not seq:
        raise SweepStateError(f"{files_of(folder)[0]}: holds no whole record, so what this sweep did is unknown")


def _whole_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return  # torn by a crash: never acknowledged
            yield line


def _check_head(event: Event, path: Path) -> None:
    if event.get("type") != "created":
        raise SweepStateError(f"{path}:1: the record that a journal begins with is missing")
    found = event.get("format")
    if found != FORMAT:
        raise SweepStateError(f"{path}:1: format {found!r} of the journal is not known; this version reads {FORMAT}")


def _body(event: Event) -> bytes:
    return json.dumps(_encoded(event), separators=(",", ":"), allow_nan=False).encode()


def _line(body: bytes) -> bytes:
    return b'%s,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body))


def _event(body: bytes) -> Event:
    event: Event = _read_json(body.decode())[0]  # as json.loads, without its looking for an encoding and trailing text
    # Looking through a record takes longer than reading it, and few hold anything that was encoded.
    return dict(_decoded(event)) if b'"float"' in body else event


def _checked(line: bytes, number: int, path: Path) -> bytes:
    body, _, check = line.rpartition(b',"crc":"')
    body += b"}"
    if check != b'%08x"}\n' % zlib.crc32(body):
        raise SweepStateError(f"{path}:{number}: damaged: the line does not have the checksum that it was written with")
    return body


def _seq_of(body: bytes) -> int:
    # Opening a journal asks for nothing else, and to read all of a record takes ten times as long.
    found = _SEQ.match(body)
    return int(found[1]) if found else int(_event(body)["seq"])


def _encoded(value: Any) -> Any:
    # JSON has no NaN and no infinity, and a diverged trial's loss is one of them.
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, dict):
        parts = {key: _encoded(part) for key, part in value.items()}
        return {"float": [parts["float"]]} if parts.keys() == {"float"} else parts
    if isinstance(value, (list, tuple)):
        return [_encoded(part) for part in value]
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"float"} and isinstance(value["float"], str):
            return float(value["float"])
        parts = {key: _decoded(part) for key, part in value.items()}
        return {"float": parts["float"][0]} if parts.keys() == {"float"} else parts
    return [_decoded(part) for part in value] if isinstance(value, list) else value
