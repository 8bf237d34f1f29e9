"""A directory that is written beside its place and then takes it: whole or absent. Knows nothing of what is in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trainables.claim import Claim


@contextmanager
def whole_directory(directory: Path, delete: Callable[[Path], None], claim: Claim | None = None) -> Iterator[Path]:
    """A directory to write into, which takes the place of ``directory`` if all goes well and vanishes if not.

    Parameters
    ----------
    directory : Path
        Need not exist, nor the folders above it.
    delete : callable
        Called with ``directory`` where it exists, right before it is replaced.
    claim : Claim, optional
        Checked before that.

    Yields
    ------
    Path
        Beside ``directory``, hidden, named after this process and attempt.
    """
    owner = f"{os.getpid()}" if claim is None else f"{claim.attempt:02d}.{os.getpid()}"
    part = directory.with_name(f".{directory.name}.{owner}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        for path in [*part.iterdir(), part]:
            _flush(path)
        is_replaced = directory.exists()
        if claim is not None:
            claim.check()
        if is_replaced:
            delete(directory)
        os.replace(part, directory)  # fails if another attempt wrote one since the check, as that is not empty
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _flush(directory.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
