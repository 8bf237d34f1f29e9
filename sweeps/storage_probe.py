"""Whether several machines see one storage: marks that one leaves and others find. Judges nothing, leaves nothing."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sweeps.errors import InfeasibleError
from sweeps.storage import SweepPaths
from trainables.remote import RemoteFolder, StorageError, without_credentials

_DRIVER = "driver"
_PATIENCE_S = 1.0  # a network filesystem may show a new file to another machine a moment later


@dataclass(frozen=True)
class Mark:
    """What another machine has to find, and where it leaves its own mark.

    Attributes
    ----------
    shown : str
        The storage, as it may be shown.
    folder : Path or RemoteFolder
        Of the marks.
    missing : Path or None
        The storage's folder, where this machine has none yet.
    content : str
        Random, the same in every mark.
    """

    shown: str
    folder: Path | RemoteFolder
    missing: Path | None
    content: str

    def seen_from(self, names: Iterable[str]) -> set[str]:
        """Which machines' marks can be read here.

        Raises
        ------
        InfeasibleError
            The object store failed.
        """
        return {name for name in names if self._read(name) == self.content}

    def _read(self, name: str) -> str | None:
        try:
            if isinstance(self.folder, Path):
                return (self.folder / name).read_text()
            return self.folder.read_bytes(name).decode(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InfeasibleError(f"storage {self.shown} cannot be read: {error}") from error


@contextmanager
def marked(storage: str | Path | SweepPaths) -> Iterator[Mark]:
    """Leaves a mark in a storage, for as long as the block lasts.

    Parameters
    ----------
    storage : str, Path or SweepPaths
        Of sweeps, or of one sweep, which need not exist. A folder that does not exist is not made: the nearest one
        above it bears the mark. An object store may keep an empty entry for the folder itself.

    Yields
    ------
    Mark
        What other machines are to find.

    Raises
    ------
    InfeasibleError
        It cannot be written from this machine.
    """
    content = uuid4().hex
    name = f".sweeps-probe-{content[:8]}"
    if isinstance(storage, SweepPaths):
        shown, folder, remote = storage.location, storage.root.parent, storage.remote and storage.remote / name
    else:
        paths = SweepPaths.of(storage, name)
        shown, folder, remote = without_credentials(str(storage)), paths.root.parent, paths.remote
    if remote is not None:
        with _in_store(remote, Mark(shown, remote, None, content)) as mark:
            yield mark
        return
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    with _on_disk(Mark(str(folder), nearest / name, None if folder.exists() else folder, content)) as mark:
        yield mark


def answer_on_disk(folder: str, missing: str | None, content: str, name: str) -> dict[str, Any]:
    """Finds the mark and leaves one; runs on another machine, which needs nothing of this project for it.

    Parameters
    ----------
    folder, missing, content : str
        As in `Mark`.
    name : str
        Of the own mark.

    Returns
    -------
    dict
        ``is_same``, whether the mark was found; ``problem``, why none could be left, or None.
    """
    first = os.path.join(folder, _DRIVER)
    until = time.monotonic() + _PATIENCE_S
    while not os.path.exists(first) and time.monotonic() < until:
        time.sleep(0.1)
    try:
        with open(first) as file:
            is_same = file.read() == content
        if not is_same or (missing is not None and os.path.exists(missing)):
            return {"is_same": False, "problem": None}
        with open(os.path.join(folder, name), "w") as file:
            file.write(content)
    except FileNotFoundError:
        return {"is_same": False, "problem": None}
    except OSError as error:
        return {"is_same": True, "problem": error.strerror or str(error)}
    return {"is_same": True, "problem": None}


def answer_in_store(folder: RemoteFolder, content: str, name: str) -> dict[str, Any]:
    """Finds the mark and leaves one, as `answer_on_disk` does, in a folder of an object store."""
    try:
        is_same = folder.read_bytes(_DRIVER).decode(errors="replace") == content
        folder.write_bytes(name, content.encode())
    except FileNotFoundError:
        return {"is_same": False, "problem": None}
    except OSError as error:
        return {"is_same": True, "problem": str(error)}
    return {"is_same": is_same, "problem": None}


@contextmanager
def _on_disk(mark: Mark) -> Iterator[Mark]:
    folder = Path(str(mark.folder))
    try:
        folder.mkdir()
        (folder / _DRIVER).write_text(mark.content)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        text = f"storage {mark.shown} cannot be written: {error.strerror or error}; give a folder that can (--storage)"
        raise InfeasibleError(text) from error
    try:
        yield mark
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _in_store(folder: RemoteFolder, mark: Mark) -> Iterator[Mark]:
    try:
        folder.write_bytes(_DRIVER, mark.content.encode())
    except StorageError as error:
        raise InfeasibleError(f"storage {mark.shown} failed: {error}") from error
    try:
        yield mark
    finally:
        with suppress(StorageError):  # what is wrong with the store was said, or the block did not get so far
            folder.delete_all()
