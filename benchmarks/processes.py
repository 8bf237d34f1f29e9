"""Runs one process to its end and says what it and all that it started cost. Knows nothing of what it runs."""

from __future__ import annotations

import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

# A look costs some milliseconds of one core, so it is taken rarely: shorter peaks of memory are missed.
LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class Run:
    """What a process did.

    Attributes
    ----------
    output, errors : str
        What it printed.
    code : int or None
        Its exit code; None when it was ended for taking too long.
    wall_s : float
        From its start to its end.
    cpu_s : float
        Of it and of everything that it started.
    peak_memory_bytes : int
        Of all of them together; memory that several share counts once (the sum of proportional set sizes).
    """

    output: str
    errors: str
    code: int | None
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int


def run(command: Sequence[str], *, timeout_s: float, environment: Mapping[str, str]) -> Run:
    """Runs a command; ends it and all that it started after ``timeout_s`` seconds."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        before, began = _waited_cpu_s(), time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=environment, start_new_session=True)
        tree = _Tree(psutil.Process(process.pid))
        code = _wait(process, tree, began + timeout_s)
        wall_s = time.monotonic() - began
        tree.end()
        process.wait()
        cpu_s = max(tree.cpu_s, _waited_cpu_s() - before)
        output.seek(0)
        errors.seek(0)
        return Run(output.read(), errors.read(), code, wall_s, cpu_s, tree.peak_memory_bytes)


def _wait(process: subprocess.Popen[bytes], tree: _Tree, deadline: float) -> int | None:
    while (left := deadline - time.monotonic()) > 0:
        try:
            return process.wait(timeout=min(LOOK_EVERY_S, left))
        except subprocess.TimeoutExpired:
            tree.look()
    return None


@dataclass
class _Tree:
    """A process and its descendants, as far as looks now and then show them."""

    root: psutil.Process
    peak_memory_bytes: int = 0
    _cpu_s: dict[psutil.Process, float] = field(default_factory=dict)

    @property
    def cpu_s(self) -> float:
        """CPU of all that were ever seen, each up to the last look at it."""
        return sum(self._cpu_s.values())

    def look(self) -> None:
        memory = 0
        for process in self._alive():
            try:
                times = process.cpu_times()
                self._cpu_s[process] = times.user + times.system
                memory += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue  # ended meanwhile
        self.peak_memory_bytes = max(self.peak_memory_bytes, memory)

    def end(self) -> None:
        """Ends what is left of it."""
        left = [process for process in self._cpu_s if process.is_running()]
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)

    def _alive(self) -> set[psutil.Process]:
        """Those that are descendants now, and those that once were and whose parent has died."""
        found = {process for process in self._cpu_s if process.is_running()}
        with suppress(psutil.NoSuchProcess):
            found |= {self.root, *self.root.children(recursive=True)}
        return found


def _waited_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
