"""What the command line says on stderr: notes, errors and bugs. Decides no exit code."""

from __future__ import annotations

import traceback
from types import TracebackType

import typer


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
