"""The errors that a caller would catch, one per next move. Plain bad arguments stay `ValueError` and `TypeError`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Problem:
    """One thing wrong in what was given.

    Parameters
    ----------
    message
        What was given, what is allowed, what to do.
    where
        Dotted key (`searcher.num_samples`), or empty where the whole is meant.
    file, line
        Where it stands; lines count from 1. None when it came from Python.
    """

    message: str
    where: str = ""
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = self.file or ""
        if place and self.line is not None:
            place = f"{place}:{self.line}"
        return ": ".join(part for part in (place, self.where, self.message) if part)


class SpecError(ValueError):
    """What was asked for is invalid: mend it and call again. Nothing was created.

    Parameters
    ----------
    *problems
        Everything that is wrong, at once; a bare text stands for a problem without a place.
    """

    exit_code = 2

    def __init__(self, *problems: Problem | str) -> None:
        super().__init__(*problems)
        self.problems = tuple(Problem(item) if isinstance(item, str) else item for item in problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class NoTrialSucceededError(RuntimeError):
    """The sweep ran, but no trial gave a score: look at the trials' causes."""

    exit_code = 3


class SweepNotFoundError(FileNotFoundError):
    """There is no sweep in that place: give another directory, URI or name."""

    exit_code = 4


class SweepStateError(RuntimeError):
    """The sweep is there, but exists already, is locked or has an unusable state: resume, wait or repair."""

    exit_code = 4


class InfeasibleError(RuntimeError):
    """The cluster or the storage cannot do it, or was lost: ask for less, or mend it and resume."""

    exit_code = 5


def did_you_mean(given: str, allowed: Collection[str], otherwise: str | None = None) -> str:
    """Suggest the closest allowed name.

    Parameters
    ----------
    given
        The name that is not allowed.
    allowed
        The names that are.
    otherwise
        What to say when none is close; None lists them all.
    """
    close = get_close_matches(given, allowed, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"allowed: {', '.join(allowed)}" if otherwise is None else otherwise
