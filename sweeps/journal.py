"""The append-only record of a sweep: JSON lines that can be trusted. Gives no meaning to what they say."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sweeps.errors import SweepStateError

Event = dict[str, Any]
"""One record: ``type``, ``seq`` (1, 2, 3, ...) and what belongs to the type."""

_FILE = "events.jsonl"


class Journal:
    """Appends records for the one driver that holds the sweep's lock.

    ``append`` only collects; ``flush`` writes and syncs, and nothing may be shown as recorded before it has returned.
    Opening cuts off a last line that a crash left torn. An error inside its ``with`` block drops what was not flushed.

    Parameters
    ----------
    folder : Path
        The sweep's journal folder; made where it is missing.

    Raises
    ------
    SweepStateError
        A line before the last is damaged.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        path = folder / _FILE
        self._seq, self._whole = _check(path)
        self._file = path.open("ab", buffering=0)
        self._file.truncate(self._whole)
        self._pending: list[bytes] = []

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

    def flush(self) -> None:
        """Writes what was collected and waits until the disk has it."""
        if not self._pending:
            return
        lines = b"".join(self._pending)
        self._file.truncate(self._whole)  # of a part that an earlier try left when the disk was full
        rest = memoryview(lines)
        while rest:
            rest = rest[self._file.write(rest) :]
        os.fsync(self._file.fileno())
        self._whole += len(lines)
        self._pending.clear()

    def close(self) -> None:
        """Flushes and closes."""
        self.flush()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._file.close()  # another try to write may fail too, and would hide the first error


def read(folder: Path) -> Iterator[Event]:
    """The records of a journal in order; a torn last line is left out.

    Raises
    ------
    SweepStateError
        The journal is missing, or a line is damaged or out of order; the message names file and line.
    """
    path = folder / _FILE
    if not path.is_file():
        raise SweepStateError(f"{path}: missing, so what this sweep did is unknown")
    return (event for event, _ in _events(path))


def _check(path: Path) -> tuple[int, int]:
    """Last sequence number and length in bytes of what is whole."""
    seq = whole = 0
    if path.exists():
        for event, end in _events(path):
            seq, whole = event["seq"], end
    return seq, whole


def _events(path: Path) -> Iterator[tuple[Event, int]]:
    end = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return  # torn by a crash: never acknowledged
            end += len(line)
            yield _parse(line, number, path), end


def _body(event: Event) -> bytes:
    return json.dumps(_encoded(event), separators=(",", ":"), allow_nan=False).encode()


def _line(body: bytes) -> bytes:
    return b'%s,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body))


def _event(body: bytes) -> Event:
    return dict(_decoded(json.loads(body)))


def _parse(line: bytes, number: int, path: Path) -> Event:
    body, _, check = line.rpartition(b',"crc":"')
    body += b"}"
    if check != b'%08x"}\n' % zlib.crc32(body):
        raise SweepStateError(f"{path}:{number}: damaged: the line does not have the checksum that it was written with")
    event = _event(body)
    if event["seq"] != number:
        raise SweepStateError(f"{path}:{number}: record {event['seq']} stands here; lines are missing or doubled")
    return event


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
