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
from sweeps.hold import STALE_S, Hold, Holder
from sweeps.lease import in_use, lease_holder, leased
from sweeps.storage import SweepPaths, bring_up_to_date, write_text
from sweeps.working_copy import COPYING
from trainables.remote import RemoteFolder, StorageError

__all__ = ["STALE_S", "Hold", "Holder", "ask_to_stop", "asked_to_stop", "clear_stop", "holder", "is_held", "locked"]

_EVERY_S = 5.0
# A driver writes its name right after it has the lock.
_NAMELESS_S = 3.0
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

    One of this machine is judged by its process; others, and those of another container or before a restart of the
    machine, by their last sign of life and this machine's clock. Only looks, since a reader that took the lock could
    keep a driver from starting.
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
        Trials too; else those that train go on to their ends and no other begins, unless more was asked for before.
    """
    if not now and asked_to_stop(paths) == "now":
        return
    text = json.dumps({"now": now}) + "\n"
    if paths.remote is None:
        with _as_file(paths.stop):
            write_text(paths.stop, text)
    else:
        paths.remote.write_bytes(paths.stop.name, text.encode())


def asked_to_stop(paths: SweepPaths) -> Literal["drain", "now"] | None:
    """What `ask_to_stop` asked for; on an object store a request, so look every few seconds only."""
    try:
        with _as_file(paths.stop):
            text = paths.stop.read_bytes() if paths.remote is None else paths.remote.read_bytes(paths.stop.name)
    except FileNotFoundError:
        return None
    return "now" if b"true" in text else "drain"


def clear_stop(paths: SweepPaths) -> None:
    """Takes the request back, as a driver does that begins."""
    if paths.remote is None:
        with _as_file(paths.stop):
            paths.stop.unlink(missing_ok=True)
    else:
        paths.remote.delete(paths.stop.name)


@contextmanager
def _leased(paths: SweepPaths, remote: RemoteFolder) -> Iterator[Hold]:
    try:
        with _locked_copy(paths), leased(remote / paths.lock.name, paths.location) as hold:
            clear_stop(paths)
            bring_up_to_date(paths)
            yield hold
    except (StorageError, Timeout) as error:
        raise InfeasibleError(f"storage {paths.location} failed: {error}") from error


@contextmanager
def _locked_copy(paths: SweepPaths) -> Iterator[None]:
    """Keeps other drivers of this machine out, as one that sleeps, whose lease has run out, may still have its copy."""
    lock = FileLock(paths.lock, timeout=0)
    with FileLock(paths.root / COPYING, timeout=_COPYING_S):  # readers, who take the lock too, let go first
        try:
            lock.acquire()
        except Timeout:
            name = holder(paths) or "another process of this machine"
            raise SweepStateError(in_use(paths.location, name)) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _locked_file(paths: SweepPaths) -> Iterator[Hold]:
    lock = _acquire(paths)
    try:
        notes = _take_over(paths)
        own = Holder.myself().to_json().encode()
        lock_file = _identity(paths.lock)
        clear_stop(paths)  # before anybody can know of this driver and ask it to stop
        write_text(paths.holder, own.decode())
        try:
            with Hold(lambda: _beat(paths, own, lock_file), _EVERY_S, str(paths.root), notes).beating() as hold:
                yield hold
        finally:
            _unname(paths.holder, own)
    finally:
        lock.release()


def _acquire(paths: SweepPaths) -> FileLock:
    lock = FileLock(paths.lock, timeout=0)
    deadline = time.monotonic() + _NAMELESS_S
    while True:
        try:
            lock.acquire()
        except Timeout:
            _refuse_named(paths, time.monotonic() >= deadline)
            time.sleep(0.05)
        except (OSError, NotImplementedError) as error:
            raise InfeasibleError(f"storage {paths.root} cannot be locked: {error}; give a folder that can") from error
        else:
            return lock


def _refuse_named(paths: SweepPaths, is_late: bool) -> None:
    """Refuses a sweep whose holder has written its name; one that has not may be about to let go, as `gc` is."""
    found = _read_holder(paths.holder, time.time())
    # The name of one that died may still be there when the next one has just taken the lock.
    is_named = found is not None and not _seems_dead(found)
    if is_named or is_late:
        who = found if found is not None and is_named else "an unknown process"
        raise SweepStateError(in_use(str(paths.root), who)) from None


def _take_over(paths: SweepPaths) -> list[str]:
    """What there is to tell of a holder that did not let go; refuses where it seems alive though its lock was free."""
    before = _read_holder(paths.holder, _file_system_time(paths.root))
    if before is None:
        return []
    me = Holder.myself()
    # A number that this very process has now is that of a dead one: the first of a container that started again.
    is_alive = before.is_dead is False and before.pid != me.pid
    if (is_alive or before.host != me.host) and before.age_s < STALE_S:
        why = "the file `lock` was deleted" if is_alive else "locks of this file system do not work between machines"
        raise SweepStateError(
            f"{paths.root} is in use by {before}, though its lock was free: {why}. Wait for that process, or stop it; "
            f"if it is dead, try again in {STALE_S:.0f} s"
        )
    return [f"took over from {before}, which died without letting go"]


def _unname(path: Path, own: bytes) -> None:
    with suppress(FileNotFoundError):  # deleted with its sweep
        if path.read_bytes() == own:
            path.unlink()


def _beat(paths: SweepPaths, own: bytes, lock_file: tuple[int, int] | None) -> str | None:
    """Renews the holder's name; returns why the sweep is no longer this driver's."""
    if _identity(paths.lock) != lock_file:
        return f"is not locked any more: {paths.lock} was deleted or replaced"
    try:
        if paths.holder.read_bytes() != own:
            return "was taken over by another driver"
        os.utime(paths.holder)
    except FileNotFoundError:  # deleted by hand, as its driver still has the lock
        with paths.holder.open("xb") as file:  # never in the place of another's
            file.write(own)
    return None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _read_holder(path: Path, now: float) -> Holder | None:
    try:
        # Opened first, since a network file system answers for closed files from memory.
        with _as_file(path), path.open("rb") as file:
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
    return found.age_s >= STALE_S if found.is_dead is None else found.is_dead


@contextmanager
def _as_file(path: Path) -> Iterator[None]:
    try:
        yield
    except IsADirectoryError as error:
        raise SweepStateError(f"{path}: is a directory, where a file of the sweep belongs; delete it") from error
