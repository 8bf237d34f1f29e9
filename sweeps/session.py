"""A run of a sweep as a terminal sees it: progress, then the result, then the exit code. Runs nothing itself."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any, Self

from rich.console import Console

from sweeps.errors import InfeasibleError, NoTrialSucceededError
from sweeps.listing import failure_lines, summary
from sweeps.output import Format
from sweeps.progress import Progress
from sweeps.results import SweepResult
from sweeps.signals import Interrupts, Signals
from sweeps.storage import SweepPaths
from sweeps.streams import WithoutRay, answer, note, report
from trainables.uncollected import uncollected

# Trials of long epochs are given up by Ray after 10 seconds; then tables and best net are written.
_GRACE_S = 22.0


def watched(start: Callable[[Progress], None], paths: SweepPaths, is_quiet: bool, fail_on: str) -> int:
    """Shows a sweep while ``start`` runs it, and what it found.

    Parameters
    ----------
    start : callable
        Runs the sweep and shows it on the progress that it is given.
    paths : SweepPaths
        Where the sweep lies when it has begun.
    is_quiet : bool
        Show no progress.
    fail_on : {"all", "any", "none"}
        When failed trials count as a failure.

    Returns
    -------
    int
        The exit code: 0, 3, or 128 and the number of a signal that asked to stop, also when that came at the end. Then
        the last line on stderr is the command that goes on, or says that nothing was created.
    """
    with _LastResort(paths) as last_resort, Interrupts(last_resort.arm):
        is_interrupted = not _ran_to_its_end(start, is_quiet)
        with Signals(lambda line: None) as signals:  # which has what the interrupts caught
            if is_interrupted and not paths.manifest.exists():
                note("interrupted; nothing was created")
                return 128 + (signals.caught or signal.SIGINT)
            result = SweepResult(paths)
            last: dict[str, Any] = result.state.attempts[-1] if result.state.attempts else {}
            is_interrupted = is_interrupted or last.get("reason", "interrupted") == "interrupted"
            code = _show(result, "none" if is_interrupted else fail_on)
            # Of one that an earlier process caught, a sweep that this one found complete says nothing any more.
            number = signals.caught or (last.get("signal") if is_interrupted else None)
            if is_interrupted or number:
                note(f"interrupted; go on with: {paths.resume_command}")
                return 128 + (number or signal.SIGINT)
            return code


class _OwnProcess(Progress):
    """Progress of a command line, which may end its process."""

    def give_up(self, text: str) -> None:
        """Ends the process; the journal is whole at any moment."""
        lines = "".join(f"error: {line}\n" for line in text.splitlines())
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"\n{lines}".encode())
        os._exit(InfeasibleError.exit_code)


class _LastResort:
    """Ends the process some time after a signal, should what runs not come to its end by itself.

    A Ray that was killed by the same signal, a store that does not answer or a long epoch in this process could hold
    it; the journal is whole at any moment.
    """

    def __init__(self, paths: SweepPaths) -> None:
        self._paths = paths
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def arm(self, number: int) -> None:
        """Begins to count, in a thread of its own."""
        self._timer = threading.Timer(_GRACE_S, self._end, [number])
        self._timer.daemon = True
        self._timer.start()

    def _end(self, number: int) -> None:
        is_there = self._paths.manifest.exists()
        said = f"go on with: {self._paths.resume_command}" if is_there else "nothing was created"
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"\ninterrupted; {said}\n".encode())
        os._exit(128 + number)


def _ran_to_its_end(start: Callable[[Progress], None], is_quiet: bool) -> bool:
    try:
        with redirect_stdout(WithoutRay(sys.stderr)), _OwnProcess(Console(stderr=True, quiet=is_quiet)) as progress:
            progress.tell("importing torch, skorch and Ray")
            with uncollected():
                import_module("sweeps.sweep")
            start(progress)
    except KeyboardInterrupt:
        return False
    return True


def _show(result: SweepResult, fail_on: str) -> int:
    failures = failure_lines(result.state)
    for line in failures:
        note(line)
    answer(summary(result), Format.TABLE)
    is_stopped = bool(result.state.attempts) and result.state.attempts[-1].get("reason") == "stopped"
    if is_stopped:
        note(f"stopped on request; go on with: {result.paths.resume_command}")
    if fail_on == "any" and failures:
        report("some trials failed, and --fail-on is any")
        return NoTrialSucceededError.exit_code
    if fail_on != "none" and not is_stopped:
        result.best_trial  # noqa: B018  # raises where there is none
    return 0
