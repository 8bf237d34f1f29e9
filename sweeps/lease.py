"""Leases: one holder at a time of a folder on an object store, which has no locks. Reads nothing else there."""

from __future__ import annotations

import json
import logging
import random
import shlex
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from uuid import uuid4

from sweeps.errors import SweepStateError
from sweeps.hold import STALE_S, Hold, Holder
from trainables.remote import RemoteFolder, StorageError

# Every contender writes an object of its own and then lists them all; who sees no other alive holds the sweep. That
# excludes two holders because a listing shows every object that was written before it began, on S3 as on other stores
# (https://aws.amazon.com/s3/consistency): of two contenders the one that wrote second sees the first. Both may see each
# other, and then both step back for a random moment.
#
# Nobody's clock is trusted: an object's age is the store's time of it against the store's time of the object that was
# just written. A holder that slept and was taken over finds its object gone.

_CONTENDER, _HOLDER = "contender", "holder"
_EVERY_S = 10.0
_PATIENCE_S = 10.0
_LONGEST_PAUSE_S = 1.0
# A contender that was held up for so long between writing and winning begins again, as others may think it dead.
_STALLED_S = STALE_S / 3

# Leases of this process that it let go and the store did not delete, as of credentials that had expired.
_left_behind: set[str] = set()

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Seen:
    name: str
    state: str
    holder: Holder

    @property
    def is_dead(self) -> bool:
        return self.name in _left_behind or self.holder.age_s >= STALE_S or self.holder.is_dead is True


@contextmanager
def leased(folder: RemoteFolder, what: str) -> Iterator[Hold]:
    """Holds a lease until the block ends.

    Parameters
    ----------
    folder : RemoteFolder
        For the leases alone.
    what : str
        What is held, for messages.

    Raises
    ------
    SweepStateError
        Another driver holds it, or others keep trying for it.
    StorageError
        The store failed.
    """
    me = Holder.myself()
    name, notes = _acquire(folder, me, what)

    def beat() -> str | None:
        if name in (entry.name for entry in folder.entries()):
            _write(folder, name, me, _HOLDER)
            # Held up before it arrived, the write may have brought back a lease that another had deleted as dead.
            if not any(seen.state == _HOLDER and not seen.is_dead for seen in _others(folder, name)):
                return None
            folder.delete(name)
        return "was taken over by another driver while this one seemed dead"

    try:
        with Hold(beat, _EVERY_S, what, notes).beating() as hold:
            yield hold
    finally:
        _let_go(folder, name)


def lease_holder(folder: RemoteFolder) -> Holder | None:
    """Who holds the lease, for those who only look; ages are by this machine's clock."""
    for seen in _look(folder, time.time()):
        if seen.state == _HOLDER and not seen.is_dead:
            return seen.holder
    return None


def _acquire(folder: RemoteFolder, me: Holder, what: str) -> tuple[str, list[str]]:
    notes: list[str] = []
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        name = f"{uuid4().hex}.json"
        with ExitStack() as undo:
            undo.callback(_let_go, folder, name)
            others = _contend(folder, name, me, notes)
            if not others:
                undo.pop_all()
                return name, notes
        first = next((seen for seen in others if seen.state == _HOLDER), None)
        if first is not None or time.monotonic() >= deadline:
            raise SweepStateError(in_use(what, (first or others[0]).holder))
        time.sleep(random.uniform(0, _LONGEST_PAUSE_S))


def in_use(what: str, holder: Holder | str) -> str:
    """The message for a driver that comes second."""
    return f"{what} is in use by {holder}: wait for it, or stop it with `sweeps stop {shlex.quote(what)}`"


def _contend(folder: RemoteFolder, name: str, me: Holder, notes: list[str]) -> list[_Seen]:
    """One try to become the holder; returns who stands in the way."""
    begun = time.monotonic()
    _write(folder, name, me, _CONTENDER)
    others = _others(folder, name)
    while dead := [seen for seen in others if seen.is_dead]:
        folder.delete(*(seen.name for seen in dead))
        notes += [f"took over from {seen.holder}, which is dead" for seen in dead if seen.state == _HOLDER]
        others = _others(folder, name)
    if others:
        return others
    if time.monotonic() - begun > _STALLED_S:
        raise StorageError(f"{folder.uri}: the store was too slow to take a lease; try again")
    _write(folder, name, me, _HOLDER)
    # One that took this contender for dead, as its write was long under way, may hold by now.
    return [seen for seen in _others(folder, name) if seen.state == _HOLDER]


def _others(folder: RemoteFolder, own: str) -> list[_Seen]:
    entries = {entry.name: entry for entry in folder.entries()}
    if own not in entries:
        raise StorageError(f"{folder.uri}/{own}: vanished, so another driver took this one for dead; try again")
    return [seen for seen in _look(folder, entries[own].mtime) if seen.name != own]


def _look(folder: RemoteFolder, now: float) -> list[_Seen]:
    seen = []
    for entry in folder.entries():
        age_s = max(0.0, now - entry.mtime)
        try:
            content = folder.read_bytes(entry.name)
        except FileNotFoundError:  # let go, or being replaced right now: in the way until a later look tells
            seen.append(_Seen(entry.name, _CONTENDER, Holder("unknown", 0, 0.0, "", age_s)))
            continue
        holder = Holder.read(content, age_s)
        if holder is not None:
            seen.append(_Seen(entry.name, json.loads(content).get("state", _HOLDER), holder))
    return seen


def _write(folder: RemoteFolder, name: str, me: Holder, state: str) -> None:
    folder.write_bytes(name, me.to_json(state=state).encode())


def _let_go(folder: RemoteFolder, name: str) -> None:
    try:
        folder.delete(name)
    except StorageError as error:
        _left_behind.add(name)
        logger.warning("the lease of this process stays until it is %.0f s old: %s", STALE_S, error)
