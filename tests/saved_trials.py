"""Folders of trials as workers leave them, without any training: small checkpoints that verify, and damaged ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from trainables import checkpoint


def save(folder: Path, epoch: int, *, best_epoch: int = 1) -> Path:
    """A checkpoint that verifies, with a best net of its own content."""
    contents = {
        checkpoint.STATE: b"state" * 100,
        checkpoint.LOG: b"[]",
        "best.module.safetensors": b"best %d" % best_epoch,
    }
    return _write(folder / checkpoint.directory_name(epoch), contents, epoch, best_epoch)


def save_best(folder: Path, epoch: int, *, best_epoch: int = 1) -> Path:
    """What is left of a checkpoint that is not needed any more."""
    contents = {checkpoint.LOG: b"[]", "best.module.safetensors": b"best %d" % best_epoch}
    return _write(folder / checkpoint.BEST, contents, epoch, best_epoch)


def damage(directory: Path) -> None:
    """Flips a bit of a checkpoint."""
    (directory / checkpoint.STATE).write_bytes(b"damage")


def half_delete(directory: Path) -> None:
    """Leaves of a checkpoint what a deletion that was interrupted leaves."""
    (directory / checkpoint.MANIFEST).unlink()


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def _write(directory: Path, contents: dict[str, bytes], epoch: int, best_epoch: int) -> Path:
    directory.mkdir(parents=True)
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    files = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    }
    manifest = {"format": checkpoint.FORMAT, "epoch": epoch, "best_epoch": best_epoch, "torch": "2", "files": files}
    (directory / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    return directory
