"""Drivers in processes of their own that a test lets go at the same moment, signals or kills. Judges nothing.

A driver is forked from the test's process, whose imports are done, so that its life takes a second at most.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeps import journal
from sweeps.results import read_state
from sweeps.storage import SweepPaths

IS_FULL = os.environ.get("SWEEPS_FAULTS") == "full"
PATIENCE_S = 60.0

# Errors of the command line, with their exit codes.
_EXIT_CODES = {"SpecError": 2, "NoTrialSucceededError": 3, "SweepStateError": 4, "SweepNotFoundError": 4}


@dataclass
class Driver:
    """A forked process.

    Attributes
    ----------
    pid : int
        Its number.
    folder : Path
        For what it says, in ``stdout`` and ``stderr``.
    began : float
        When it was let go, by `time.monotonic`.
    took_s : float
        From then to its end.
    """

    pid: int
    folder: Path
    gate: int
    began: float = 0.0
    took_s: float = 0.0
    status: int | None = field(default=None)

    @property
    def err(self) -> str:
        path = self.folder / "stderr"
        return path.read_text() if path.exists() else ""

    def let_go(self) -> None:
        self.began = time.monotonic()
        os.write(self.gate, b"go")
        os.close(self.gate)

    def has_ended(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status, self.took_s = os.waitstatus_to_exitcode(status), time.monotonic() - self.began
        return self.status is not None

    def send(self, number: int) -> None:
        """Sends a signal, if it has not ended yet."""
        if not self.has_ended():
            os.kill(self.pid, number)

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Its exit code; minus the number of the signal that ended it."""
        wait_until(self.has_ended, f"the end of driver {self.pid}", patience_s)
        return int(self.status or 0)


@contextmanager
def forked(folder: Path, act: Callable[[], Any]) -> Iterator[Driver]:
    """A driver that waits to be let go; killed at the end if it still lives."""
    folder.mkdir(parents=True)
    entry, gate = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(gate)
        _be(folder, entry, act)
    os.close(entry)
    driver = Driver(pid, folder, gate)
    try:
        yield driver
    finally:
        if not driver.has_ended():
            os.kill(pid, signal.SIGKILL)
            driver.wait()


def race(folder: Path, acts: dict[str, Callable[[], Any]], rng: random.Random) -> dict[str, Driver]:
    """Lets drivers go within some milliseconds, in random order, and waits until all have ended."""
    with ExitStack() as stack:
        drivers = {name: stack.enter_context(forked(folder / name, act)) for name, act in acts.items()}
        for driver in rng.sample(list(drivers.values()), len(drivers)):
            driver.let_go()
            time.sleep(rng.choice([0.0, 0.0, 0.001, 0.01]))
        wait_until(lambda: not [one for one in drivers.values() if not one.has_ended()], "the end of all drivers")
    return drivers


def wait_until(is_true: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {patience_s:.0f} s")
        time.sleep(0.002)


def losses(root: Path) -> dict[tuple[int, int], float]:
    """(trial, epoch) -> train_loss of every epoch that the journal acknowledges."""
    if not (root / "journal").is_dir():
        return {}
    reports = (event for event in journal.read(root / "journal") if event["type"] == "report")
    return {(event["trial"], row["epoch"]): row["train_loss"] for event in reports for row in event["rows"]}


def check_whole(root: Path, n_trials: int, max_epochs: int) -> None:
    """Every record can be read, every trial came to its end, and no epoch is missing."""
    state = read_state(SweepPaths(root))
    assert not state.unfinished
    assert state.attempts[-1]["reason"] == "complete"
    expected = {trial: list(range(1, max_epochs + 1)) for trial in range(n_trials)}
    assert {trial: sorted(record.rows) for trial, record in state.trials.items()} == expected


def _be(folder: Path, entry: int, act: Callable[[], Any]) -> None:
    code = 70
    try:
        for name, number in (("stdout", 1), ("stderr", 2)):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        _own_streams()
        os.read(entry, 2)
        answer = act()
        code = answer if isinstance(answer, int) else 0
    except BaseException as error:
        code = _EXIT_CODES.get(type(error).__name__, 70)
        os.write(2, (traceback.format_exc() if code == 70 else f"{error}\n").encode())
    finally:
        os._exit(code)  # neither pytest's nor anyone else's business at exit


def _own_streams() -> None:
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
