"""What the output of Ray's launcher tells of a failure: the line that a person would look for. Reads no file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_OF_RAY = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_FAILED = re.compile(r"New status: update-failed")
_NOISE = re.compile(
    r"^Shared connection to|^Connection to .* closed|^Try '|^To see full details|^bash: (cannot set|no job)"
    r"|^Traceback|^click\.exceptions|^\s"  # of Ray's own traceback
)
_HOST = re.compile(r"NodeUpdater: (\S+): (?:Ray start commands|Setup commands|Initialization commands|\S+.*) failed")
_ERROR = re.compile(r"^(?:[\w.]*(?:Error|Exception)\b|error:|Failed)", re.IGNORECASE)


def telling_line(text: str) -> str | None:
    """The last line of the command that failed.

    Parameters
    ----------
    text : str
        Output of `ray up`, or of Ray's autoscaler on the head.

    Returns
    -------
    str or None
        What the failing command wrote last; where none did, the last line that looks like an error; None if the text
        tells of no failure.
    """
    lines = _plain(text)
    failed = [index for index, line in enumerate(lines) if _FAILED.search(line)]
    if failed:
        for line in reversed(lines[: failed[0]]):
            if line and not _OF_RAY.match(line) and not _NOISE.match(line):
                return line
    errors = [line for line in lines if _ERROR.match(line)]
    return errors[-1] if errors else None


def failed_hosts(text: str) -> Mapping[str, str]:
    """Machines whose setup or start failed in what Ray's autoscaler wrote, each with the telling line."""
    lines, found, told = _plain(text), {}, ""
    for line in lines:
        host = _HOST.search(line)
        if host:
            found[host[1]] = told or line
        elif line and not _OF_RAY.match(line) and not _NOISE.match(line):
            told = line
    return found


def recent_failures(status: str) -> Sequence[str]:
    """The failures that `ray status` lists."""
    _, found, after = status.partition("Recent failures:")
    block = re.split(r"\n\s*\n", after, maxsplit=1)[0] if found else ""
    lines = [line.strip() for line in block.splitlines()]
    return [line for line in lines if line and line != "(no failures)"]


def _plain(text: str) -> list[str]:
    return [_COLOUR.sub("", line).rstrip() for line in text.splitlines()]
