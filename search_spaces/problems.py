"""What is wrong with a search space, all of it at once; it checks nothing itself."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SpaceError(ValueError):
    """A search space, or one domain of it, cannot be used as it was given.

    Parameters
    ----------
    problems : iterable of (str, str)
        Parameter name, empty for a domain that has no name yet, and what is wrong with it.

    Attributes
    ----------
    problems : tuple of (str, str)
        The same, in the order in which they were found.
    """

    problems: tuple[tuple[str, str], ...]

    def __init__(self, problems: Iterable[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(f"{name}: {message}" if name else message for name, message in self.problems)


def refuse(messages: Iterable[str]) -> None:
    """Raise one error for all the problems of a domain that has no name yet.

    Parameters
    ----------
    messages : iterable of str
        What is wrong, possibly nothing; a message given twice is told once.

    Raises
    ------
    SpaceError
        When there is at least one message.
    """
    problems = [("", message) for message in dict.fromkeys(messages)]
    if problems:
        raise SpaceError(problems)


def did_you_mean(given: object, allowed: Iterable[object]) -> str:
    """Name the closest allowed word, as the end of an error message.

    Parameters
    ----------
    given : object
        What was given; compared by its ``str``.
    allowed : iterable of object
        What is allowed.

    Returns
    -------
    str
        ``"; did you mean 'lr'?"``, or the empty string when nothing is close.
    """
    close = difflib.get_close_matches(str(given), [str(word) for word in allowed], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
