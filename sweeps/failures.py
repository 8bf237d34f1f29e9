"""Why a trial failed, and whether it deserves another try. Pure: reads an error's text, decides by records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_TRACE_LINES = 40

# In this order: Ray reports a worker that the system's memory killer ended as a death, and a net's own error in the
# creation of its actor as one, too.
_SIGNS = (
    ("oom", re.compile(r"OutOfMemoryError|out of memory|running low on memory|DefaultCPUAllocator", re.IGNORECASE)),
    ("disk", re.compile(r"No space left on device|Errno 28")),
    ("user", re.compile(r"RayTaskError|ray::\S+\(\)|error raised in its creation task")),
    (
        "worker_died",
        re.compile(r"(actor|worker|node)\b.* died|actor .*is unavailable|Worker unexpectedly exits", re.IGNORECASE),
    ),
)


@dataclass(frozen=True)
class Failure:
    """What went wrong.

    Attributes
    ----------
    cause : str
        ``user`` (the net or its data raised), ``oom``, ``disk`` or ``worker_died``.
    error : str
        One line: the error's type and message.
    trace : str
        The last lines of its traceback.
    """

    cause: str
    error: str
    trace: str


def read_failure(text: str) -> Failure:
    """Finds cause and error in the text that Ray keeps of a failed trial.

    Parameters
    ----------
    text : str
        A traceback, or Ray's description of a dead worker.
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("Failure # ")]
    cause = next((name for name, sign in _SIGNS if sign.search(text)), "user")
    return Failure(cause, _headline(lines, cause), "\n".join(lines[-_TRACE_LINES:]))


def deserves_retry(failure: Failure, epoch: int, earlier: Sequence[dict[str, Any]], max_failures: int) -> bool:
    """Whether to start a failed trial again from its checkpoint.

    A worker's death may be the machine's fault and is tried again; one at the same epoch as before is the trial's own.
    What the net itself raised, or its need for memory, would only come again.

    Parameters
    ----------
    failure : Failure
        The new failure.
    epoch : int
        Epochs acknowledged before it.
    earlier : sequence of dict
        The trial's failures so far: ``cause``, ``error``, ``epoch``.
    max_failures : int
        Most restarts of one trial.
    """
    if failure.cause != "worker_died" or len(earlier) >= max_failures:
        return False
    return not any(known["cause"] == "worker_died" and known["epoch"] == epoch for known in earlier)


def _headline(lines: Sequence[str], cause: str) -> str:
    if cause == "worker_died":
        return "the worker process died: it was killed, exited by itself or crashed in native code"
    if lines and "creation task" in lines[0] and not any('  File "' in line for line in lines):
        return lines[-1].strip()  # Ray cut out its own frames, and there were no others
    # A traceback's last frame is followed by indented code and then by the error.
    frames = [index for index, line in enumerate(lines) if line.startswith('  File "')]
    flush = [line for line in lines[frames[-1] + 1 if frames else 0 :] if not line[0].isspace()]
    return next(iter([*flush, *lines[-1:]]), "unknown error").strip()
