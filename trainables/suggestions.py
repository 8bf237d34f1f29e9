"""The "did you mean" of an error message; it decides nothing and raises nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(given: object, allowed: Iterable[object]) -> str:
    """Name the closest allowed word, as the end of an error message.

    Parameters
    ----------
    given : object
        What was given; compared by its ``str``, without regard to case.
    allowed : iterable of object
        What is allowed.

    Returns
    -------
    str
        ``"; did you mean 'lr'?"``, or the empty string when nothing is close.
    """
    words = {str(word).lower(): str(word) for word in allowed}
    close = difflib.get_close_matches(str(given).lower(), words, n=1)
    return f"; did you mean {words[close[0]]!r}?" if close else ""
