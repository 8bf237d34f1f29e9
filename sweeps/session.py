"""A run of a sweep as a terminal sees it: progress, then the result, then the exit code. Runs nothing itself."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stdout

from rich.console import Console

from sweeps.errors import NoTrialSucceededError
from sweeps.listing import failure_lines, summary
from sweeps.output import Format
from sweeps.progress import Progress
from sweeps.results import SweepResult
from sweeps.storage import SweepPaths
from sweeps.streams import answer, note, report


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
        The exit code: 0, 3, or 128 and the number of the signal that stopped it.
    """
    try:
        with redirect_stdout(sys.stderr), Progress(Console(stderr=True, quiet=is_quiet)) as progress:
            progress.tell("importing torch, skorch and Ray")
            start(progress)
    except KeyboardInterrupt:
        if not paths.manifest.exists():
            note("interrupted; nothing was created")
            return 128 + signal.SIGINT
    return _finish(SweepResult(paths), fail_on)


def _finish(result: SweepResult, fail_on: str) -> int:
    failures = failure_lines(result.state)
    for line in failures:
        note(line)
    answer(summary(result), Format.TABLE)
    last = result.state.attempts[-1]
    if last.get("reason", "interrupted") == "interrupted":
        note(f"interrupted; go on with: sweeps resume {result.paths.root}")
        return 128 + (last.get("signal") or signal.SIGINT)
    if fail_on == "any" and failures:
        report("some trials failed, and --fail-on is any")
        return NoTrialSucceededError.exit_code
    if fail_on != "none":
        result.best_trial  # noqa: B018  # raises where there is none
    return 0
