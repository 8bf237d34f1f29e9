"""Copies of what a sweep found, for other programs: its tables as files, its best net as a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from sweeps.errors import SpecError, SweepStateError
from sweeps.results import SweepResult


def export_table(result: SweepResult, what: str, kind: str, target: Path) -> None:
    """Writes a table.

    Parameters
    ----------
    result : SweepResult
        The sweep.
    what : str
        ``trials`` or ``metrics``.
    kind : str
        ``csv``, ``parquet`` or ``json``; the file's ending must be the same.
    target : Path
        The file; one that exists is replaced.

    Raises
    ------
    SpecError
        The ending is another, or the file cannot be written.
    """
    if target.suffix != f".{kind}":
        raise SpecError(f"--file {target}: does not end in .{kind}, as --to {kind} asks")
    try:
        result.export(target, what=what)
    except OSError as error:
        raise SpecError(f"--file {target}: cannot be written: {error.strerror or error}") from error


def export_model(result: SweepResult, target: Path) -> None:
    """Copies the best net; its HOWTO.md then speaks of the copy.

    Parameters
    ----------
    result : SweepResult
        The sweep.
    target : Path
        A folder that does not exist yet.

    Raises
    ------
    SpecError
        The folder exists, or cannot be written.
    SweepStateError
        The sweep has no best net, or one of before a better trial was recorded.
    NoTrialSucceededError
        No trial has a score.
    """
    from sweeps.best_net import refuse_stale  # imports torch

    paths = result.paths
    if not paths.best.is_dir():
        raise SweepStateError(f"{paths.best}: missing: the sweep has not ended, or no trial of it has a score")
    if target.exists():
        raise SpecError(f"--file {target}: exists already; give a new folder")
    refuse_stale(paths, result.best_trial)
    try:
        shutil.copytree(paths.best, target)
        howto = target / "HOWTO.md"
        text = howto.read_text(encoding="utf-8")
        howto.write_text(text.replace(str(paths.best), str(target.absolute())), encoding="utf-8")
    except OSError as error:
        raise SpecError(f"--file {target}: cannot be written: {error.strerror or error}") from error
