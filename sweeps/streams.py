"""What the command line writes: answers to stdout; notes, errors and bugs to stderr. Decides no exit code."""

from __future__ import annotations

import shutil
import sys
import traceback
from types import TracebackType

import typer

from sweeps.output import Answer, Format, write

_PIPED_WIDTH = 1_000  # nothing is folded where no terminal shows it


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
