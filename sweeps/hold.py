"""Hold: one driver's right to write to a sweep, kept alive by a heartbeat; and Holder, who has it. Takes no lock."""

from __future__ import annotations

import json
import logging
import os
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Self

from sweeps.errors import SweepStateError

STALE_S = 60.0
"""Seconds without a sign of life after which a holder counts as dead where no kernel can tell."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """A process that holds a sweep, or did.

    Attributes
    ----------
    host : str
        Name of its machine.
    pid : int
        Its number there.
    started : float
        When it took hold, in seconds since 1970 by its own clock; for people.
    kernel : str
        Which run of which kernel counts its processes, as machines may share a name; empty where that is unknown.
    age_s : float
        Seconds since its last sign of life.
    """

    host: str
    pid: int
    started: float
    kernel: str = ""
    age_s: float = 0.0

    @classmethod
    def myself(cls) -> Self:
        """The process that calls, from now on."""
        return cls(socket.gethostname(), os.getpid(), round(time.time(), 3), _kernel())

    @classmethod
    def read(cls, text: str | bytes, age_s: float) -> Self | None:
        """What `to_json` wrote; None where it is something else."""
        try:
            said = json.loads(text)
            return cls(str(said["host"]), int(said["pid"]), float(said["started"]), str(said["kernel"]), age_s)
        except (KeyError, TypeError, ValueError):
            return None

    def to_json(self, **more: str) -> str:
        """One line."""
        said = {key: value for key, value in asdict(self).items() if key != "age_s"}
        return json.dumps({**said, **more}) + "\n"

    @property
    def is_dead(self) -> bool | None:
        """Whether its process has ended, where this machine can tell; else None."""
        if self.kernel != _kernel() or not self.kernel:
            return None
        return not is_process(self.pid)

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.started, UTC)
        said = f"since {since:%Y-%m-%d %H:%M:%S} UTC, last sign of life {self.age_s:.0f} s ago"
        return f"process {self.pid} on {self.host} ({said})"


class Hold:
    """One driver's right to write to a sweep.

    Parameters
    ----------
    beat : callable
        Gives a sign of life; returns why the sweep is no longer ours, None while it is. OSError means that nobody could
        tell.
    every_s : float
        Seconds between two of them.
    what : str
        What is held, for messages.
    notes : sequence of str
        What a person should know of how it was taken.

    Attributes
    ----------
    notes : tuple of str
        The same.
    """

    def __init__(self, beat: Callable[[], str | None], every_s: float, what: str, notes: Sequence[str] = ()) -> None:
        self.notes = tuple(notes)
        self._beat, self._every_s, self._what = beat, every_s, what
        self._lost: str | None = None
        self._ended, self._beating = Event(), Lock()
        self._beaten_at = _seconds()

    def is_lost(self) -> bool:
        """Whether another driver may have taken the sweep over, so that nothing more may be written to it.

        Costs next to nothing while the heart beats. After a pause of the process or the machine it beats first.
        """
        if self._lost is None and self._overdue_s() > 3 * self._every_s:
            self._give_sign()
        if self._lost is None and (silent_s := self._overdue_s()) > STALE_S:
            self._lost = (
                f"could not be reached for {silent_s:.0f} s to give a sign of life, so another driver may have taken "
                "it over"
            )
        return self._lost is not None

    def refuse_lost(self) -> None:
        """Passes while `is_lost` is false; to be called right before anything is written.

        Raises
        ------
        SweepStateError
            It is lost; the message tells why and how to go on.
        """
        if self.is_lost():
            raise SweepStateError(
                f"{self._what} {self._lost}; this driver writes nothing more\n"
                f"when no other driver is at work, go on with: sweeps resume {shlex.quote(self._what)}"
            )

    @contextmanager
    def beating(self) -> Iterator[Self]:
        """Beats from a thread of its own until the block ends."""
        thread = Thread(target=self._keep_beating, name="sweeps-heartbeat", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join(self._every_s)

    def _keep_beating(self) -> None:
        while not self._ended.wait(self._every_s) and self._lost is None:
            self._give_sign()

    def _give_sign(self) -> None:
        with self._beating:
            begun = _seconds()
            try:
                self._lost = self._beat() or self._lost
                self._beaten_at = begun
            except OSError as error:
                logger.warning("no sign of life could be given: %s", error)

    def _overdue_s(self) -> float:
        return _seconds() - self._beaten_at


def is_process(pid: int) -> bool:
    """Whether there is a process of that number on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True


def _seconds() -> float:
    # Where there is a clock that also counts while the machine sleeps, as others may take over meanwhile.
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _kernel() -> str:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return ""
