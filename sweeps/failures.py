"""Why a trial failed, and whether it deserves another try. Pure: reads an error's text, decides by records."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COUNTED = frozenset({"user", "disk", "storage", "hang"})
"""Causes whose tries ``failure.max_failures`` limits; the rules of the others are their own."""

# So often a trial is started again after what its machine did to it without that it came any further.
_PATIENCE = {"node_lost": 3, "worker_died": 1}
_TRACE_LINES = 40
_STACKS_LINES = 200

# In this order: Ray reports a lost node and a worker that its memory monitor ended as an actor's death, and a net's own
# error in the creation of its actor as one, too. Looked for in what is said, not in the code lines of a traceback.
_SIGNS = (
    (
        "oom",
        re.compile(
            r"OutOfMemoryError|MemoryError\b|out of memory|running low on memory|NODE_OUT_OF_MEMORY"
            r"|DefaultCPUAllocator|CU\w+_STATUS_ALLOC_FAILED|Cannot allocate memory|bad_alloc",
            re.IGNORECASE,
        ),
    ),
    (
        "disk",
        re.compile(
            r"No space left on device|Disk quota exceeded|OutOfDiskError|PytorchStreamWriter failed writing",
            re.IGNORECASE,
        ),
    ),
    ("storage", re.compile(r"\bStorageError\b")),
    ("user", re.compile(r"RayTaskError|ray::\S+\(\)|error raised in its creation task|Traceback \(most recent call")),
    (
        "node_lost",
        re.compile(
            r"node has died|node was (terminated|preempted|forcibly preempted)|died by preemption"
            r"|node (it was running on )?is dead|raylet died|NodeDiedError"
            # Of a machine that went down this comes first: Ray waits a second for the news of a death.
            r"|actor .*is (temporarily )?unavailable",
            re.IGNORECASE,
        ),
    ),
    (
        "worker_died",
        re.compile(r"(actor|worker)\b.* died|Worker (unexpectedly exits|exits unexpectedly)", re.IGNORECASE),
    ),
)
_SAID = {
    "worker_died": "the worker process died: it was killed, exited by itself or crashed in native code",
    "node_lost": "the machine that the trial ran on was lost or cannot be reached",
}
# What `trainables.trial` adds to an exception, and what Ray's memory monitor says.
_NOTE = re.compile(r"^sweeps: epoch (\d+), peak_memory_bytes (\d+)$")
_MONITORED = re.compile(r"memory used=([\d.]+) ?GB")
_CHANGING = re.compile(r"0x[0-9a-f]+|[-+]?\d+(\.\d+)?(e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Failure:
    """What went wrong.

    Attributes
    ----------
    cause : str
        ``user`` (the net or its data raised), ``oom``, ``disk``, ``storage`` (the object store failed), ``hang``,
        ``worker_died`` (its process, on a machine that lives) or ``node_lost`` (or out of reach).
    error : str
        One line: the error's type and message.
    trace : str
        The last lines of its traceback; the stacks of all threads where it hung.
    epoch : int or None
        Epochs that were complete before it; None where nobody could say, as of a dead worker.
    peak_memory_bytes : float or None
        Most memory that the trial had taken, where that is known.
    """

    cause: str
    error: str
    trace: str
    epoch: int | None = None
    peak_memory_bytes: float | None = None


def read_failure(text: str, stacks: str | None = None) -> Failure:
    """Finds out what went wrong from the text that Ray, or Python, has of a failed trial.

    Parameters
    ----------
    text : str
        A traceback, or Ray's description of a dead worker.
    stacks : str, optional
        What `trainables.watchdog.read_hang` found: it, and nothing else, killed the worker.
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("Failure # ")]
    notes = [found for line in lines if (found := _NOTE.match(line))]
    lines = [line for line in lines if not _NOTE.match(line)]
    said = "\n".join(line for line in lines if not line[0].isspace())
    cause = next((name for name, sign in _SIGNS if sign.search(said)), "user")
    if stacks and cause in ("worker_died", "node_lost"):
        return _hang(stacks)
    reached, peak = (int(notes[-1][1]), float(notes[-1][2])) if notes else (None, None)
    monitored = _MONITORED.search(text) if cause == "oom" else None
    if monitored and peak is None:
        peak = float(monitored[1]) * 2**30
    return Failure(cause, _SAID.get(cause) or _headline(lines), "\n".join(lines[-_TRACE_LINES:]), reached, peak)


def deserves_retry(failure: Failure, earlier: Sequence[Mapping[str, Any]], max_failures: int) -> bool:
    """Whether to start a failed trial again from its checkpoint.

    What the machine does to a trial costs it nothing as long as the trial gets further: with a dead worker each time,
    with a lost node at least once in four times. What the net itself raised gets another try, as it may have been
    chance, unless it came twice at the same epoch. A need for memory would only come again, and a trial that hangs is
    not waited for more than twice.

    Parameters
    ----------
    failure : Failure
        The new failure; its epoch is known.
    earlier : sequence of mapping
        The trial's failures so far: ``cause``, ``error``, ``epoch``.
    max_failures : int
        Most restarts of one trial after failures whose cause is `COUNTED`.
    """
    same = [known for known in earlier if known["cause"] == failure.cause]
    if failure.cause in _PATIENCE:
        without_progress = [known for known in same if known["epoch"] >= (failure.epoch or 0)]
        return len(without_progress) < _PATIENCE[failure.cause]
    if failure.cause not in COUNTED or sum(known["cause"] in COUNTED for known in earlier) >= max_failures:
        return False
    if failure.cause == "user":
        this = likeness(failure.cause, failure.error), failure.epoch
        return all((likeness(known["cause"], known["error"]), known["epoch"]) != this for known in same)
    return failure.cause != "hang" or not same


def likeness(cause: str, error: str) -> tuple[str, str]:
    """What two failures share when they are alike: the cause and the error's first line without what changes in it.

    Numbers and addresses, which differ from config to config, count as equal.
    """
    return cause, _CHANGING.sub("#", error.partition("\n")[0])


def alike(failures: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all failures (``cause``, ``error``) are the same one; False for none."""
    return len({likeness(failure["cause"], failure["error"]) for failure in failures}) == 1


def _hang(stacks: str) -> Failure:
    first, *rest = stacks.splitlines()
    error = f"{first.rstrip()}: the process was ended"
    found = re.search(r"after epoch (\d+)", first)
    return Failure("hang", error, "\n".join(rest[-_STACKS_LINES:]), int(found[1]) if found else None)


def _headline(lines: Sequence[str]) -> str:
    if lines and "creation task" in lines[0] and not any('  File "' in line for line in lines):
        return lines[-1].strip()  # Ray cut out its own frames, and there were no others
    # A traceback's last frame is followed by indented code and then by the error.
    frames = [index for index, line in enumerate(lines) if line.startswith('  File "')]
    flush = [line for line in lines[frames[-1] + 1 if frames else 0 :] if not line[0].isspace()]
    return next(iter([*flush, *lines[-1:]]), "unknown error").strip()
