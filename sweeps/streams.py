"""What the command line writes: answers to stdout; notes, errors and bugs to stderr. Decides no exit code."""

from __future__ import annotations

import io
import shutil
import sys
import traceback
from types import TracebackType
from typing import TextIO

import typer

from sweeps.output import Answer, Format, write

_PIPED_WIDTH = 1_000  # nothing is folded where no terminal shows it


class WithoutRay(io.TextIOBase):
    """Passes text on to a stream, but for what Ray's daemon prints of workers that died: their failures are recorded.

    Parameters
    ----------
    stream : file
        Open for writing text.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_dropping = False

    def write(self, text: str) -> int:
        """Writes, or not; the end of a line that is dropped comes by itself."""
        self._is_dropping = "(raylet" in text or (self._is_dropping and text == "\n")
        return len(text) if self._is_dropping else self._stream.write(text)

    def flush(self) -> None:
        """Flushes the stream."""
        self._stream.flush()


def answer(what: Answer, form: Format) -> None:
    """Writes what a verb found out to stdout, as wide as the terminal."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPED_WIDTH
    typer.echo(write(what, form, width), nl=False)


def note(line: str) -> None:
    """Writes a line for a person to stderr."""
    typer.echo(line, err=True)


def report(text: str) -> None:
    """Writes an error to stderr, each of its lines marked as one."""
    for line in text.splitlines():
        note(f"error: {line}")


def report_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Reports what no error class expects in one line; takes the place of `sys.excepthook`."""
    frame = traceback.extract_tb(trace)[-1]
    report(f"{kind.__name__}: {error} ({frame.filename}:{frame.lineno}); run again with --debug for the traceback")
