"""Checkpoints of trials on an object store: brought there, fetched back, thinned out. Writes and loads none itself."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from trainables import checkpoint
from trainables.checkpoint import CheckpointError
from trainables.remote import RemoteFolder
from trainables.whole import whole_directory


def send(directory: Path, mirror: RemoteFolder) -> None:
    """Writes a checkpoint to a trial's folder in the store; there it is whole once its manifest is.

    Raises
    ------
    StorageError
        The store failed.
    """
    target = mirror / directory.name
    if directory.name in _names(mirror):  # of a trial that began anew
        target.delete_all()
    target.upload(directory)


def keep_only(kept: Collection[str], mirror: RemoteFolder) -> None:
    """Deletes all other checkpoints of a trial's folder in the store.

    Raises
    ------
    StorageError
        The store failed.
    """
    for name in _names(mirror):
        if name not in kept:
            (mirror / name).delete_all()


def fetch_newest(trials: Path, mirror: RemoteFolder | None, trial: int) -> list[str]:
    """Makes the newest checkpoint of a trial that can be trusted what `checkpoint.newest` finds on this machine.

    Nothing is fetched that is here already. What is not in the store is deleted here, as other machines may have gone
    on without it.

    Parameters
    ----------
    trials : Path
        Folder of the trials on this machine.
    mirror : RemoteFolder or None
        The same in the store; None does nothing, since all is here.
    trial : int
        Which.

    Returns
    -------
    list of str
        One message for each newer checkpoint that was passed over.

    Raises
    ------
    StorageError
        The store failed.
    """
    if mirror is None:
        return []
    name = checkpoint.trial_name(trial)
    here, there = trials / name, mirror / name
    passed_over: list[str] = []
    for found in sorted(_names(there), reverse=True):
        try:
            _fetch(here / found, there / found)
        except CheckpointError as error:
            passed_over.append(str(error))
            checkpoint.delete(here / found)
        else:
            _delete_others(here, found)
            return passed_over
    _delete_others(here, "")
    return passed_over


def _fetch(target: Path, source: RemoteFolder) -> None:
    try:
        manifest = source.read_bytes(checkpoint.MANIFEST)
        if _read(target / checkpoint.MANIFEST) != manifest:  # it has the sha256 of every file
            with whole_directory(target, checkpoint.delete) as part:
                source.download(part)
    except FileNotFoundError as error:
        raise CheckpointError(f"{source.uri}: not whole: {error}") from error
    try:
        checkpoint.verify(target)
    except CheckpointError as error:
        raise CheckpointError(f"{source.uri}: {error}") from error


def _read(path: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def _delete_others(folder: Path, kept: str) -> None:
    for directory in folder.glob("checkpoint-*"):
        if directory.name != kept:
            checkpoint.delete(directory)


def _names(folder: RemoteFolder) -> list[str]:
    return [entry.name for entry in folder.entries() if entry.is_folder and entry.name.startswith("checkpoint-")]
