"""Where a sweep lies: its paths, manifest and lock. The only place that joins a path of a sweep."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from filelock import FileLock, Timeout

from sweeps.errors import InfeasibleError, SweepNotFoundError, SweepStateError, did_you_mean

FORMAT = 1
"""Version of the directory's layout; another one is refused."""

DEFAULT_STORAGE = "./results"


@dataclass(frozen=True)
class SweepPaths:
    """The files of one sweep; a value that touches no disk.

    Attributes
    ----------
    root : Path
        The sweep's directory, absolute.
    """

    # More methods than the budget of eight, as each path is one.

    root: Path

    @classmethod
    def of(cls, storage: str | Path, name: str) -> SweepPaths:
        """The paths of the sweep ``name`` below a storage folder or ``file://`` URI."""
        return cls(local_path(storage) / name)

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
        return self.root / "journal"

    @property
    def lock(self) -> Path:
        """Held by the driver."""
        return self.root / "lock"

    @property
    def holder(self) -> Path:
        """Who holds the lock, or died with it: host and process."""
        return self.root / "lock.json"

    @property
    def trials(self) -> Path:
        """Folder with one folder of checkpoints a trial."""
        return self.root / "trials"

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
    """A storage folder as an absolute path.

    Raises
    ------
    InfeasibleError
        The URI is of a filesystem that this version cannot keep a journal on.
    """
    text = str(storage)
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        return Path(text).expanduser().absolute()
    parts = urlsplit(text)
    if parts.scheme == "file" and parts.netloc not in ("", "localhost"):
        raise InfeasibleError(
            f"storage {text}: a file:// URI has three slashes before an absolute path; give file:///{parts.netloc}"
            f"{parts.path}, or the path itself"
        )
    if parts.scheme != "file":
        raise InfeasibleError(
            f"storage {parts.scheme}://{parts.netloc}{parts.path}: this version stores sweeps on paths and file:// "
            "URIs only; give a local or shared folder"
        )
    return Path(unquote(parts.path))


def find(reference: str | Path, storage: str | Path = DEFAULT_STORAGE) -> SweepPaths:
    """The sweep that a directory, a ``file://`` URI or a name below ``storage`` means.

    Raises
    ------
    SweepNotFoundError
        There is no sweep; the message lists close names.
    """
    candidates = [local_path(reference), local_path(storage) / str(reference)]
    for root in candidates:
        if (root / "manifest.json").is_file():
            return SweepPaths(root)
    if unfinished := next((root for root in candidates if (root / "sweep.yaml").is_file()), None):
        raise SweepStateError(f"{unfinished / 'manifest.json'}: missing, so the sweep in {unfinished} cannot be read")
    names = [paths.name for paths in all_below(storage)]
    hint = did_you_mean(str(reference), names, f"`sweeps ls {storage}` lists the sweeps there")
    raise SweepNotFoundError(f"no sweep {str(reference)!r}, neither as a directory nor by name below {storage}; {hint}")


def all_below(storage: str | Path) -> list[SweepPaths]:
    """Every sweep directly below a storage folder, by name."""
    return [SweepPaths(path.parent) for path in sorted(local_path(storage).glob("[!.]*/manifest.json"))]


def create(paths: SweepPaths, manifest: Mapping[str, Any], spec: str) -> None:
    """Makes a sweep's directory with its spec and manifest: whole, or not at all.

    Raises
    ------
    SweepStateError
        The name is in use; the message tells what to do.
    InfeasibleError
        The storage cannot be written.
    """
    refuse_existing(paths)
    beside = SweepPaths(paths.root.with_name(f".{paths.name}.{uuid4().hex}.part"))
    try:
        beside.trials.mkdir(parents=True)
        write_text(beside.spec, spec)
        write_text(beside.manifest, json.dumps({"format": FORMAT, **manifest}, indent=1, ensure_ascii=False) + "\n")
        os.rename(beside.root, paths.root)
    except OSError as error:
        refuse_existing(paths)  # another driver was faster
        raise InfeasibleError(f"storage {paths.root.parent} cannot be written: {error}") from error
    finally:
        shutil.rmtree(beside.root, ignore_errors=True)


def check_writable(paths: SweepPaths) -> None:
    """Tries whether a sweep's directory could be made; leaves nothing behind.

    Raises
    ------
    InfeasibleError
        The storage, or the nearest folder above it that exists, cannot be written.
    """
    storage = paths.root.parent
    try:
        nearest = next(folder for folder in (storage, *storage.parents) if folder.exists())
        with TemporaryDirectory(prefix=".sweeps-", dir=nearest):
            return
    except OSError as error:
        text = f"storage {storage} cannot be written: {error.strerror or error}; give a folder that can (--storage)"
        raise InfeasibleError(text) from error


def refuse_existing(paths: SweepPaths) -> None:
    """Refuses a place where a sweep, or anything else, lies already.

    Raises
    ------
    SweepStateError
        The message tells what to do.
    """
    if paths.root.exists():
        raise SweepStateError(_in_use(paths))


def _in_use(paths: SweepPaths) -> str:
    return (
        f"{paths.root} exists already, and a sweep is never overwritten: see what it found with "
        f"`sweeps show {paths.root}`, choose another name (--name), or delete the directory"
    )


def read_manifest(paths: SweepPaths) -> dict[str, Any]:
    """The manifest of a sweep.

    Raises
    ------
    SweepStateError
        It cannot be read, or is of another version.
    """
    try:
        manifest = dict(json.loads(paths.manifest.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise SweepStateError(f"{paths.manifest}: cannot be read: {error}") from error
    if manifest.get("format") != FORMAT:
        found = manifest.get("format")
        raise SweepStateError(f"{paths.manifest}: format {found!r} is not known; this version reads format {FORMAT}")
    return manifest


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
def locked(paths: SweepPaths) -> Iterator[None]:
    """Holds the sweep for one driver; a holder that died has let go.

    Raises
    ------
    SweepStateError
        Another process holds it; the message names host and process.
    """
    lock = FileLock(paths.lock, timeout=0)
    holder = paths.holder
    try:
        lock.acquire()
    except Timeout:
        held_by = holder.read_text(encoding="utf-8") if holder.exists() else "an unknown process"
        raise SweepStateError(
            f"{paths.root} is in use by {held_by.strip()}: wait for it, or stop that process"
        ) from None
    try:
        write_text(holder, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}) + "\n")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def is_held(paths: SweepPaths) -> bool:
    """Whether a driver seems to be at work: judged by its process on this machine, believed of any other machine.

    Only looks, since a reader that took the lock could keep a driver from starting.
    """
    try:
        holder = json.loads(paths.holder.read_text(encoding="utf-8"))
        if holder["host"] == socket.gethostname():
            os.kill(holder["pid"], 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    except PermissionError:
        return True  # another user's process
    return True
