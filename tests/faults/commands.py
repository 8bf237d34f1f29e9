"""The command line in processes of their own, with Ray's processes below them. Judges nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from faults.processes import losses, wait_until

PATIENCE_S = 240.0


class Command:
    """A command of the command line, in a process group of its own.

    Parameters
    ----------
    folder : Path
        For what it says.
    arguments : object
        Its words.
    """

    def __init__(self, folder: Path, *arguments: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "stdout", folder / "stderr"
        command = [sys.executable, "-m", "sweeps", *map(str, arguments)]
        with self._out.open("w") as out, self._err.open("w") as err:
            self._process = subprocess.Popen(command, stdout=out, stderr=err, process_group=0)
        self.pid = self._process.pid
        self.ray: set[int] = set()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def status(self) -> int | None:
        return self._process.poll()

    def has_epochs(self, root: Path, epochs: int) -> None:
        """Returns once the journal acknowledges so many."""
        self.wait_until(lambda: len(losses(root)) >= epochs, f"{epochs} epochs")

    def wait_until(self, is_true: Any, what: str) -> None:
        wait_until(lambda: self.status is not None or is_true(), what, PATIENCE_S)
        if self.status is not None and not is_true():
            raise AssertionError(f"it ended with {self.status} before {what}:\n{self.err}")
        self.ray |= set(children_of(self.pid))

    def send(self, number: int) -> float:
        """Sends it a signal; returns when, by `time.monotonic`."""
        self.ray |= set(children_of(self.pid))
        os.kill(self.pid, number)
        return time.monotonic()

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        return self._process.wait(patience_s)

    def wait_for_ray(self, patience_s: float, only: Collection[int] | None = None) -> float:
        """Returns after how many seconds none of its Ray's processes, or of some of them, was left."""
        began, watched = time.monotonic(), self.ray if only is None else self.ray & {*only}
        wait_until(lambda: not [pid for pid in watched if is_alive(pid)], "the end of Ray's processes", patience_s)
        return time.monotonic() - began


@contextmanager
def started(folder: Path, *arguments: object) -> Iterator[Command]:
    """A command that is killed at the end if it still runs."""
    command = Command(folder, *arguments)
    try:
        yield command
    finally:
        for pid in [command.pid] if command.status is None else []:
            os.kill(pid, signal.SIGKILL)
            command.wait()


def children_of(pid: int) -> list[int]:
    """Every process below a process, by /proc."""
    below: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = status.read_text().rpartition(")")[2].split()
            below.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found, todo = [], [pid]
    while todo:
        children = below.get(todo.pop(), [])
        found += children
        todo += children
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
