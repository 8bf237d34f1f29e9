"""Where a sweep lies: its paths and manifest, on a disk or a store. The only place that joins a path of a sweep."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sweeps.errors import InfeasibleError, SweepNotFoundError, SweepStateError, did_you_mean
from sweeps.manifest_problems import manifest_problems
from sweeps.working_copy import JOURNAL, LOCK, pull, refresh, working_copies
from sweeps.working_copy import push as push_to_store
from trainables.remote import RemoteFolder, StorageError, is_remote, without_credentials

FORMAT = 1
"""Version of the directory's layout; another one is refused."""

DEFAULT_STORAGE = "./results"

# Folders of a sweep that its working copy has; those of trials are fetched one by one.
_COPIED = (JOURNAL, "best")


@dataclass(frozen=True)
class SweepPaths:
    """The files of one sweep; a value that touches no disk.

    Attributes
    ----------
    root : Path
        The sweep's directory, absolute; the working copy of a sweep on an object store.
    remote : RemoteFolder or None
        The sweep on its object store.
    address : str or None
        Of the Ray cluster that it runs on.
    """

    # More methods than the budget of eight, as each path is one.

    root: Path
    remote: RemoteFolder | None = None
    address: str | None = None

    @classmethod
    def of(cls, storage: str | Path, name: str) -> SweepPaths:
        """The paths of the sweep ``name`` below a storage folder or URI.

        Raises
        ------
        InfeasibleError
            The URI is none, or of a filesystem that pyarrow does not know.
        """
        if is_remote(storage):
            remote = _remote_folder(str(storage))
            return cls(working_copies(remote.uri) / name, remote / name)
        return cls(local_path(storage) / name)

    @property
    def uri(self) -> str:
        """Where the sweep lies, as a URI without credentials."""
        return self.root.as_uri() if self.remote is None else self.remote.uri

    @property
    def location(self) -> str:
        """Its directory, or its URI without credentials: how a person names the sweep."""
        return str(self.root) if self.remote is None else self.remote.uri

    @property
    def resume_command(self) -> str:
        """What to type to go on with the sweep."""
        where = "" if self.address is None else f" --address {shlex.quote(self.address)}"
        return f"sweeps resume {shlex.quote(self.location)}{where}"

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.root.name

    @property
    def spec(self) -> Path:
        """sweep.yaml: the resolved spec, which runs the sweep again."""
        return self.root / "sweep.yaml"

    @property
    def manifest(self) -> Path:
        """manifest.json: what a reader must know before anything else."""
        return self.root / "manifest.json"

    @property
    def journal(self) -> Path:
        """Folder of the journal."""
        return self.root / JOURNAL

    @property
    def remote_journal(self) -> RemoteFolder | None:
        """Folder of the journal on the object store."""
        return None if self.remote is None else self.remote / JOURNAL

    @property
    def lock(self) -> Path:
        """Held by the driver."""
        return self.root / LOCK

    @property
    def holder(self) -> Path:
        """Who holds the lock, or died with it: host and process."""
        return self.root / "lock.json"

    @property
    def stop(self) -> Path:
        """stop.json: a request to its driver to stop."""
        return self.root / "stop.json"

    @property
    def copy_mark(self) -> Path:
        """copied.json: says that the directory was pulled from a cluster."""
        return self.root / "copied.json"

    @property
    def trials(self) -> Path:
        """Folder with one folder of checkpoints a trial."""
        return self.root / "trials"

    @property
    def remote_trials(self) -> RemoteFolder | None:
        """Folder of the trials on the object store."""
        return None if self.remote is None else self.remote / "trials"

    @property
    def best(self) -> Path:
        """Folder of the best net."""
        return self.root / "best"

    @property
    def trials_table(self) -> Path:
        """trials.parquet: one row a trial."""
        return self.root / "trials.parquet"

    @property
    def metrics_table(self) -> Path:
        """metrics.parquet: one row a trial and epoch."""
        return self.root / "metrics.parquet"

    def ray(self, attempt: int) -> Path:
        """Ray's own files of one attempt; may be deleted when it has ended."""
        return self.root / "ray" / f"attempt-{attempt:02d}"


def local_path(storage: str | Path) -> Path:
    """A storage folder, or ``file://`` URI, as an absolute path.

    Raises
    ------
    InfeasibleError
        The URI has too few slashes.
    """
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text := str(storage)):
        return Path(text).expanduser().absolute()
    parts = urlsplit(text)
    if parts.scheme == "file" and parts.netloc not in ("", "localhost"):
        raise InfeasibleError(
            f"storage {text}: a file:// URI has three slashes before an absolute path; give file:///{parts.netloc}"
            f"{parts.path}, or the path itself"
        )
    return Path(unquote(parts.path))


def find(reference: str | Path, storage: str | Path = DEFAULT_STORAGE) -> SweepPaths:
    """The sweep that a directory, a URI or a name below ``storage`` means; its working copy is up to date.

    Raises
    ------
    SweepNotFoundError
        There is no sweep; the message lists close names.
    SweepStateError
        Its manifest is missing.
    InfeasibleError
        The storage failed.
    """
    candidates = _candidates(str(reference), storage)
    if found := next((paths for paths in candidates if exists(paths)), None):
        return found
    if unfinished := next((paths for paths in candidates if _is_there(paths.spec, paths)), None):
        raise SweepStateError(f"{unfinished.manifest}: missing, so the sweep in {unfinished.location} cannot be read")
    names = [paths.name for paths in all_below(storage)]
    given, shown = (without_credentials(str(name)) if is_remote(name) else str(name) for name in (reference, storage))
    hint = did_you_mean(str(reference), names, f"`sweeps ls {shown}` lists the sweeps there")
    raise SweepNotFoundError(f"no sweep {given!r}, neither as a directory nor by name below {shown}; {hint}")


def _candidates(reference: str, storage: str | Path) -> list[SweepPaths]:
    if is_remote(reference):
        place, separator, query = reference.partition("?")
        folder, _, name = place.rstrip("/").rpartition("/")
        return [SweepPaths.of(folder + separator + query, name)]
    return [SweepPaths(local_path(reference)), SweepPaths.of(storage, reference)]


def all_below(storage: str | Path) -> list[SweepPaths]:
    """Every sweep directly below a storage folder or URI, by name.

    Raises
    ------
    InfeasibleError
        The storage failed.
    """
    if not is_remote(storage):
        found = [path for mark in ("manifest.json", JOURNAL) for path in local_path(storage).glob(f"[!.]*/{mark}")]
        return [SweepPaths(root) for root in sorted({path.parent for path in found})]
    with store_failures(storage):
        names = [entry.name for entry in _remote_folder(str(storage)).entries() if entry.is_folder]
    return [paths for name in names if exists(paths := SweepPaths.of(storage, name), folders=(JOURNAL,))]


def exists(paths: SweepPaths, *, folders: Collection[str] = _COPIED) -> bool:
    """Whether there is a sweep; its working copy is brought up to date, of its folders those named.

    Raises
    ------
    InfeasibleError
        The storage failed.
    """
    if paths.remote is None:
        return paths.manifest.is_file()
    with store_failures(paths.location):
        return refresh(paths.root, paths.remote, folders)


def bring_up_to_date(paths: SweepPaths) -> None:
    """Makes the working copy what the object store has; for the driver, which holds the sweep."""
    if paths.remote is not None:
        pull(paths.root, paths.remote, _COPIED)


def push(paths: SweepPaths, *written: Path) -> None:
    """Writes files and folders to the object store once the driver has written them to its working copy.

    Raises
    ------
    StorageError
        The store failed.
    """
    if paths.remote is not None:
        push_to_store(paths.root, paths.remote, written)


def read_manifest(paths: SweepPaths) -> dict[str, Any]:
    """The manifest of a sweep.

    Raises
    ------
    SweepStateError
        It cannot be read, is of another version or damaged; the message lists all problems.
    """
    try:
        manifest = json.loads(paths.manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SweepStateError(f"{paths.manifest}: cannot be read: {error}") from error
    if (found := manifest.get("format") if isinstance(manifest, dict) else None) != FORMAT:
        raise SweepStateError(f"{paths.manifest}: format {found!r} is not known; this version reads format {FORMAT}")
    if problems := manifest_problems(manifest):
        raise SweepStateError("\n  ".join([f"{paths.manifest}: damaged; put a whole copy back:", *problems]))
    return dict(manifest)


def recorded_search_path(paths: SweepPaths) -> list[Path]:
    """Folders from which a sweep imported its modules; empty where there is no sweep."""
    return [Path(folder) for folder in read_manifest(paths)["search_path"]] if paths.manifest.is_file() else []


def write_text(path: Path, text: str) -> None:
    """Writes a file that is either whole or as it was."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


@contextmanager
def store_failures(storage: str | Path) -> Iterator[None]:
    """Raises InfeasibleError, naming the storage without its credentials, for what an object store did not do."""
    try:
        yield
    except StorageError as error:
        raise InfeasibleError(f"storage {without_credentials(str(storage))} failed: {error}") from error


def _remote_folder(uri: str) -> RemoteFolder:
    try:
        return RemoteFolder(uri)
    except (ValueError, StorageError) as error:
        known = "a folder, or a URI of a filesystem that pyarrow knows, such as s3://bucket/folder?region=eu-west-1"
        raise InfeasibleError(f"storage {without_credentials(uri)}: {error}; give {known}") from error


def _is_there(path: Path, paths: SweepPaths) -> bool:
    if paths.remote is None:
        return path.is_file()
    with store_failures(paths.location):
        return any(entry.name == path.name for entry in paths.remote.entries())
