"""Watchdog: ends the process of a trial that trains or saves no epoch any more, and says where. Retries nothing."""

from __future__ import annotations

import faulthandler
import math
import os
import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HANG = "hang.txt"
"""File in a trial's folder that exists once the trial has hung: where each of its threads was, at the last time."""

# What the watch writes into while it lasts, and faulthandler's own first line, which says that the time was up.
_WATCH = ".watch.part"
_TIME_IS_UP = "Timeout ("
# An epoch may take so many times as long as the trial's usual one.
_PATIENCE = 10
# Arming starts a thread: it is done again once this part of ``hang_s`` is over, and not for each short epoch.
_SLACK = 0.1
_REMEMBERED = 32
# A new process imports and sets up things before its first epoch; on a busy machine that takes a while.
_LEAST_TO_MAKE_S = 60.0
# A checkpoint goes to disks and stores that others use too, and its size has nothing to do with how long epochs take.
_LEAST_TO_SAVE_S = 600.0
_LINE_BYTES = 80


class Watchdog:
    """Ends this process when a trial trains no epoch for ``hang_s`` or ten usual epochs, whichever is longer.

    A checkpoint may take that long too, and ten minutes at least.

    A thread in C keeps the time, so that neither a loop that never gives up Python's lock nor native code that never
    returns can hold it up. The first epochs of a trial are as long as the preflight, or the trials before it in this
    process, have it.

    Parameters
    ----------
    hang_s : float
        Least seconds without an epoch that are too long.
    epoch_estimate_s : float, default=0
        Seconds that an epoch is expected to take.
    """

    def __init__(self, hang_s: float, epoch_estimate_s: float = 0.0) -> None:
        self._hang_s = hang_s
        self._estimate_s = epoch_estimate_s
        self._epochs_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._armed_at = 0.0
        self._file = -1

    @property
    def limit_s(self) -> float:
        """Seconds without an epoch that are too long now."""
        usual_s = statistics.median(self._epochs_s) if self._epochs_s else self._estimate_s
        return max(self._hang_s, _PATIENCE * usual_s)

    def new_trial(self) -> None:
        """Forgets the trial before but for its usual epoch, as another may be slower."""
        if self._epochs_s:
            self._estimate_s = max(self._estimate_s, statistics.median(self._epochs_s))
        self._epochs_s.clear()

    @contextmanager
    def watching(self, folder: Path, epoch: int | None = None) -> Iterator[None]:
        """Watches what is done within; may not be nested.

        Parameters
        ----------
        folder : Path
            The trial's, for the stacks; made if it is missing.
        epoch : int, optional
            Epochs that the trial has trained; None while it is still being made, which takes longer in a new process.
        """
        folder.mkdir(parents=True, exist_ok=True)
        watch = folder / _WATCH
        self._file = os.open(watch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            os.lseek(self._file, _LINE_BYTES, os.SEEK_SET)  # the stacks go behind the first line
            self._arm(epoch)
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            os.close(self._file)
            watch.unlink(missing_ok=True)

    def epoch_done(self, epoch: int, epoch_s: float) -> None:
        """Begins to wait for the next epoch; only within `watching`.

        Parameters
        ----------
        epoch : int
            Epochs that the trial has trained.
        epoch_s : float
            Seconds that the last one took.
        """
        self._epochs_s.append(epoch_s)
        if time.monotonic() - self._armed_at > _SLACK * self._hang_s:
            self._arm(epoch)
        else:
            self._describe(epoch)

    def saving(self, epoch: int) -> None:
        """Begins to wait for a checkpoint, and for whatever else is done before the watch ends; only within `watching`.

        Parameters
        ----------
        epoch : int
            Epochs that the trial has trained.
        """
        limit_s = max(self.limit_s, _LEAST_TO_SAVE_S)
        self._write(f"no checkpoint for {limit_s:.6g} s after epoch {epoch}")
        faulthandler.dump_traceback_later(limit_s, exit=True, file=self._file)
        self._armed_at = -math.inf  # so that an epoch that follows arms it anew

    def _arm(self, epoch: int | None) -> None:
        self._describe(epoch)
        self._armed_at = time.monotonic()
        # The slack on top, so that the last epoch before the next arming has its whole time.
        faulthandler.dump_traceback_later(self._wait_s(epoch) + _SLACK * self._hang_s, exit=True, file=self._file)

    def _describe(self, epoch: int | None) -> None:
        after = "while the trial was made" if epoch is None else f"after epoch {epoch}"
        self._write(f"no epoch for {self._wait_s(epoch):.6g} s {after}")

    def _write(self, line: str) -> None:
        os.pwrite(self._file, f"{line:<{_LINE_BYTES - 1}}\n".encode(), 0)

    def _wait_s(self, epoch: int | None) -> float:
        return self.limit_s if epoch is not None else max(self.limit_s, _LEAST_TO_MAKE_S)


def read_hang(folder: Path) -> str | None:
    """What the watchdog left of a trial whose process it ended; None if it did not.

    Each hang is read once; `HANG` stays for people.

    Parameters
    ----------
    folder : Path
        The trial's; no process trains it now.

    Returns
    -------
    str or None
        A line with the limit and the epochs trained before, then the stacks of all threads.
    """
    watch = folder / _WATCH
    try:
        text = watch.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    if _TIME_IS_UP not in text:
        watch.unlink(missing_ok=True)  # the process died of something else while it was watched
        return None
    os.replace(watch, folder / HANG)
    return text
