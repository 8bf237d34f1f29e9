"""TrialFiles: what a trial has saved, by name and size. Reads no file and judges none."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainables import checkpoint

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Saved:
    """A directory in a trial's folder.

    Attributes
    ----------
    path : Path
        Where.
    epoch : int
        Epoch after which it was written; 0 where its name does not say.
    bytes, state_bytes : int
        Its size, and the part of it that only going on needs.
    """

    path: Path
    epoch: int
    bytes: int
    state_bytes: int


@dataclass(frozen=True)
class TrialFiles:
    """What a trial has saved.

    Attributes
    ----------
    checkpoints : tuple of Saved
        The newest first, whole or damaged.
    remains : tuple of Saved
        Checkpoints without a manifest: their deletion was interrupted.
    best : Saved or None
        Best weights without a checkpoint.
    """

    checkpoints: tuple[Saved, ...] = ()
    remains: tuple[Saved, ...] = ()
    best: Saved | None = None

    @classmethod
    def read(cls, folder: Path) -> TrialFiles:
        """Lists a trial's folder, which need not exist."""
        named = (path for path in folder.glob("checkpoint-*") if _CHECKPOINT.fullmatch(path.name))
        every = sorted(named, key=_epoch, reverse=True)
        with_manifest = [path for path in every if (path / checkpoint.MANIFEST).exists()]
        best = folder / checkpoint.BEST
        return cls(
            tuple(map(_saved, with_manifest)),
            tuple(_saved(path) for path in every if path not in with_manifest),
            _saved(best) if best.exists() else None,
        )


def size_bytes(path: Path) -> int:
    """Size of a file, or of all files in a directory; what vanishes meanwhile has none."""
    return sum(_file_bytes(file) for file in ([path] if path.is_file() else _files(path)))


def _saved(path: Path) -> Saved:
    return Saved(path, _epoch(path), size_bytes(path), size_bytes(path / checkpoint.STATE))


def _epoch(path: Path) -> int:
    found = _CHECKPOINT.fullmatch(path.name)
    return int(found[1]) if found else 0


def _files(directory: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(directory):
        yield from (Path(folder, name) for name in names)


def _file_bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
