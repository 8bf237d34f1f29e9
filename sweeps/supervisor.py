"""The process that a job on a cluster is: it starts the driver of a sweep again when something killed it.

Runs ``python -m sweeps ARGUMENTS`` as its child and ends with its exit code. Knows nothing of sweeps or of Ray, and
imports neither, so that it needs little memory and outlives a driver that had too much.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

_DRIVER = (sys.executable, "-m", "sweeps")
_STOPPING = (signal.SIGINT, signal.SIGTERM)
# Longer than a driver gives itself after a signal, and shorter than RAY_JOB_STOP_WAIT_TIME_S of a submitted sweep.
_GRACE_S = 25.0
_SETTLED_S = 60.0
_MOST_RESTARTS = 3


class Supervisor:
    """Runs a driver until it ends by itself or is stopped.

    A supervisor that is killed itself leaves its driver at work, which goes on to the end of the sweep: there is no
    reason to end it. The cluster then calls the job failed, while the sweep says that it runs and by which process; its
    lock refuses a second driver, and `sweeps stop` reaches the first. Only nobody starts it again.

    Parameters
    ----------
    arguments : sequence of str
        What the driver is started with: ``run SPEC ...`` or ``resume SWEEP ...``.
    command : sequence of str, default=(sys.executable, "-m", "sweeps")
        The driver.
    grace_s : float, default=25
        Seconds between passing a signal on and killing the driver.
    settled_s : float, default=60
        A driver that lived so many seconds before it was killed does not count as a failure in a row.
    tell : callable, optional
        Told a line; by default it is written to stderr.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        command: Sequence[str] = _DRIVER,
        grace_s: float = _GRACE_S,
        settled_s: float = _SETTLED_S,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._arguments = list(arguments)
        self._command = list(command)
        self._grace_s, self._settled_s = grace_s, settled_s
        self._tell = tell or _to_stderr
        self._child: subprocess.Popen[bytes] | None = None
        self._asked_at: float | None = None
        self._is_told = False

    def run(self) -> int:
        """Runs the driver, several times if need be; once, in the main thread.

        Returns
        -------
        int
            The exit code of the last one; 128 + N where signal N killed it.
        """
        # Ray starts jobs with SIGINT blocked, and what is blocked here is so in the driver too.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
        before = {number: signal.signal(number, self._pass_on) for number in _STOPPING}
        try:
            return self._supervise()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _supervise(self) -> int:
        arguments, in_a_row = self._arguments, 0
        while True:
            began = time.monotonic()
            code = self._run_once(arguments)
            if self._asked_at is not None or code >= 0:  # one that ends itself with 130 was asked to
                return _of_shell(code)
            in_a_row = 1 if time.monotonic() - began >= self._settled_s else in_a_row + 1
            if in_a_row > _MOST_RESTARTS:
                self._tell(f"the driver was killed ({_name(code)}) {in_a_row} times in a row; giving up")
                return _of_shell(code)
            self._tell(f"the driver was killed ({_name(code)}); starting it again ({in_a_row} of {_MOST_RESTARTS})")
            arguments = going_on(self._arguments)

    def _run_once(self, arguments: Sequence[str]) -> int:
        self._is_told = False
        self._child = subprocess.Popen(
            [*self._command, *arguments],
            stdin=subprocess.DEVNULL,
            # Ray sends SIGTERM to every process of a job. The driver ignores it, or the SIGINT from here would be a
            # second signal to it, by which it quits without saving.
            preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
        )
        if self._asked_at is not None:  # while it was being started
            self._interrupt(self._child)
        return self._wait(self._child)

    def _wait(self, child: subprocess.Popen[bytes]) -> int:
        while True:
            try:
                return child.wait(0.2)
            except subprocess.TimeoutExpired:
                if self._asked_at is not None and time.monotonic() - self._asked_at > self._grace_s:
                    self._tell(f"the driver did not end within {self._grace_s:g} s; killing it")
                    child.kill()
                    return child.wait()

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            if self._child is not None and self._child.poll() is None:
                self._interrupt(self._child)

    def _interrupt(self, child: subprocess.Popen[bytes]) -> None:
        if not self._is_told:
            self._is_told = True
            child.send_signal(signal.SIGINT)


def going_on(arguments: Sequence[str]) -> list[str]:
    """The arguments of a driver that goes on where one with these was killed: ``run`` gets ``--resume auto``."""
    if arguments[:1] != ["run"]:
        return list(arguments)
    kept = [
        word
        for before, word in zip(["", *arguments], arguments, strict=False)
        if before != "--resume" and word != "--resume" and not word.startswith("--resume=")
    ]
    return [*kept, "--resume", "auto"]


def main() -> int:
    """Supervises the driver that the process's own arguments name."""
    return Supervisor(sys.argv[1:]).run()


def _of_shell(code: int) -> int:
    return code if code >= 0 else 128 - code


def _name(code: int) -> str:
    known = {one.value: one.name for one in signal.Signals}
    return known.get(-code, f"signal {-code}")


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"supervisor: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
