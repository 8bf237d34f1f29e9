"""What a user's own code raises, told with its own line; an interrupt stays an interrupt. Runs no code itself."""

from __future__ import annotations

import sysconfig
import traceback
from types import TracebackType

from trainables.data import DataError

# Where an error comes up is rarely where the user's code went wrong: in these, its own line is further up.
_LIBRARIES = ("<frozen", *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))


class UserDataErrors:
    """Turns what user code raises, SystemExit included, into a DataError that names the cause and the line.

    Parameters
    ----------
    doing : str
        What is done with the user's code, as the start of the message.
    """

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, (Exception, SystemExit)) and not isinstance(error, DataError):
            raise DataError([f"{self._doing} raised {told(error)}"]) from error


def told(error: BaseException) -> str:
    """Type, message and place of an error that is being caught.

    Parameters
    ----------
    error : BaseException
        Its first traceback entry is taken for the one that catches it.

    Returns
    -------
    str
        ``KeyError: 'x' (/home/me/data.py:7)``; the place is the last one outside of installed libraries, and is left
        out where the error came up in none of the called code.
    """
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)[1:]
    users = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]
    return f"{text} ({users[-1].filename}:{users[-1].lineno})" if users else text
