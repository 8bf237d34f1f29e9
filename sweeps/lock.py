"""Who may write to a sweep: its lock, who holds it, and requests to stop. Leases on object stores are in `lease`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

from filelock import FileLock, Timeout

from sweeps.errors import InfeasibleError, SweepStateError
from sweeps.hold import STALE_S, Hold, Holder, is_process
from sweeps.lease import in_use, lease_holder, leased
from sweeps.storage import SweepPaths, bring_up_to_date, write_text
from trainables.remote import RemoteFolder, StorageError

__all__ = ["STALE_S", "Hold", "Holder", "ask_to_stop", "asked_to_stop", "clear_stop", "holder", "is_held", "locked"]

_EVERY_S = 5.0
# A driver writes its name right after it has the lock.
_NAMELESS_S = 1.0
# Readers of this machine hold the lock of a working copy while they bring it up to date.
_COPYING_S = 120.0


def locked(paths: SweepPaths) -> AbstractContextManager[Hold]:
    """Holds the sweep for one driver until the block ends; a holder that died has let go.

    The working copy of a sweep on an object store is up to date once it is held.

    Raises
    ------
    SweepStateError
        Another driver holds it; the message names host and process.
    InfeasibleError
        The storage has no locks, or failed.
    """
    return _locked_file(paths) if paths.remote is None else _leased(paths, paths.remote)


def holder(paths: SweepPaths) -> Holder | None:
    """The driver that seems to be at work, or None.

    One of this machine is judged by its process, others by their last sign of life and this machine's clock. Only
    looks, since a reader that took the lock could keep a driver from starting.
    """
    if paths.remote is not None:
        return lease_holder(paths.remote / paths.lock.name)
    found = _read_holder(paths.holder, time.time())
    return None if found is None or _seems_dead(found) else found


def is_held(paths: SweepPaths) -> bool:
    """Whether a driver seems to be at work; as `holder`."""
    return holder(paths) is not None


def ask_to_stop(paths: SweepPaths, *, now: bool = False) -> None:
    """Asks the driver of a sweep, wherever it runs, to stop.

    Parameters
    ----------
    paths : SweepPaths
        The sweep.
    now : bool, default=False
        Trials too; else those that train go on to their ends and no other begins.
    """
    text = json.dumps({"now": now}) + "\n"
    if paths.remote is None:
        write_text(paths.stop, text)
    else:
        paths.remote.write_bytes(paths.stop.name, text.encode())


def asked_to_stop(paths: SweepPaths) -> Literal["drain", "now"] | None:
    """What `ask_to_stop` asked for; on an object store a request, so look every few seconds only."""
    try:
        text = paths.stop.read_bytes() if paths.remote is None else paths.remote.read_bytes(paths.stop.name)
    except FileNotFoundError:
        return None
    return "now" if b"true" in text else "drain"


def clear_stop(paths: SweepPaths) -> None:
    """Takes the request back, as a driver does that begins."""
    if paths.remote is None:
        paths.stop.unlink(missing_ok=True)
    else:
        paths.remote.delete(paths.stop.name)


@contextmanager
def _leased(paths: SweepPaths, remote: RemoteFolder) -> Iterator[Hold]:
    try:
        with leased(remote / paths.lock.name, paths.location) as hold, FileLock(paths.lock, timeout=_COPYING_S):
            clear_stop(paths)
            bring_up_to_date(paths)
            yield hold
    except (StorageError, Timeout) as error:
        raise InfeasibleError(f"storage {paths.location} failed: {error}") from error


@contextmanager
def _locked_file(paths: SweepPaths) -> Iterator[Hold]:
    lock = _acquire(paths)
    try:
        notes = _take_over(paths)
        own = Holder.myself().to_json()
        clear_stop(paths)  # before anybody can know of this driver and ask it to stop
        write_text(paths.holder, own)
        try:
            with Hold(lambda: _beat(paths.holder, own), _EVERY_S, notes).beating() as hold:
                yield hold
        finally:
            _unname(paths.holder, own)
    finally:
        lock.release()


def _acquire(paths: SweepPaths) -> FileLock:
    lock = FileLock(paths.lock, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise SweepStateError(in_use(str(paths.root), _name_of_holder(paths))) from None
    except (OSError, NotImplementedError) as error:
        raise InfeasibleError(f"storage {paths.root} cannot be locked: {error}; give a folder that can") from error
    return lock


def _name_of_holder(paths: SweepPaths) -> Holder | str:
    deadline = time.monotonic() + _NAMELESS_S
    while True:
        found = _read_holder(paths.holder, time.time())
        # The name of one that died may still be there when the next one has just taken the lock.
        if found is not None and not _seems_dead(found):
            return found
        if time.monotonic() >= deadline:
            return "an unknown process"
        time.sleep(0.05)


def _take_over(paths: SweepPaths) -> list[str]:
    """What there is to tell of a holder that did not let go; refuses where it seems alive though its lock was free."""
    before = _read_holder(paths.holder, _file_system_time(paths.root))
    if before is None:
        return []
    if before.host != Holder.myself().host and before.age_s < STALE_S:
        raise SweepStateError(
            f"{paths.root} is in use by {before}, though its lock was free: locks of this file system do not work "
            f"between machines. Wait for that process, or stop it; if it is dead, try again in {STALE_S:.0f} s"
        )
    return [f"took over from {before}, which died without letting go"]


def _unname(path: Path, own: str) -> None:
    with suppress(FileNotFoundError):  # deleted with its sweep
        if path.read_text(encoding="utf-8") == own:
            path.unlink()


def _beat(path: Path, own: str) -> bool:
    try:
        if path.read_text(encoding="utf-8") != own:
            return False
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _read_holder(path: Path, now: float) -> Holder | None:
    try:
        with path.open("rb") as file:  # opened first, since a network file system answers for closed files from memory
            return Holder.read(file.read(), max(0.0, now - os.fstat(file.fileno()).st_mtime))
    except FileNotFoundError:
        return None


def _file_system_time(folder: Path) -> float:
    """The time that the file system gives to a file that is written now; the clock of its server, perhaps."""
    with TemporaryFile(dir=folder, prefix=".now-") as file:
        file.write(b"now")
        file.flush()
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_mtime


def _seems_dead(found: Holder) -> bool:
    if found.host == Holder.myself().host:
        return not is_process(found.pid)
    return found.age_s >= STALE_S
