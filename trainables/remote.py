"""RemoteFolder: a folder of an object store or of any filesystem that pyarrow knows. Knows nothing of its content."""

from __future__ import annotations

import logging
import os
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pyarrow import fs

T = TypeVar("T")

# Six tries with pauses of at most 0.5, 1, 2, 4 and 8 s, of which a random part is waited ("full jitter", see
# https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). A server that hangs costs 3 s a try.
_TRIES = 6
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 8.0
_HANGS_AFTER_S = 3.0
_CONNECT_S = 3.0
_AT_ONCE = 16
# What makes a directory whole: uploaded last, deleted first.
_LAST = "manifest.json"
_SECRETS = ("key", "secret", "token", "password", "credential")
# On these a folder exists by what is in it.
_WITHOUT_FOLDERS = ("s3", "gcs", "abfs")

logger = logging.getLogger(__name__)


class StorageError(OSError):
    """A store did not do what it was asked to, several times; the message names URI, operation and cause."""


@dataclass(frozen=True)
class Entry:
    """One thing in a folder.

    Attributes
    ----------
    name : str
        Relative to the folder, with slashes.
    size : int
        Bytes; 0 for a folder.
    mtime : float
        When it was written, in seconds since 1970 by the store's clock.
    is_folder : bool
        Whether it is a folder.
    """

    name: str
    size: int
    mtime: float
    is_folder: bool


class RemoteFolder:
    """A folder named by a URI. Each operation is tried several times before it fails.

    Can be pickled: it carries its URI and connects again where it arrives. Shown, it has no credentials.

    Parameters
    ----------
    uri : str
        Such as ``s3://bucket/folder?region=eu-west-1``; what stands behind ``?`` is for `pyarrow.fs`.

    Raises
    ------
    ValueError
        pyarrow knows no such filesystem, or not one of the URI's options.
    StorageError
        What pyarrow needs for this filesystem is not installed or does not answer.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._filesystem, self._path = _connect(uri)

    def __truediv__(self, name: str) -> Self:
        other = type(self).__new__(type(self))
        scheme, place, path, query, _ = urlsplit(self._uri)
        other._uri = urlunsplit((scheme, place, f"{path.rstrip('/')}/{name}", query, ""))
        other._filesystem, other._path = self._filesystem, self._join(name)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._uri,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteFolder) and self._uri == other._uri

    def __hash__(self) -> int:
        return hash(self._uri)

    def __repr__(self) -> str:
        return f"RemoteFolder({self.uri!r})"

    @property
    def uri(self) -> str:
        """The URI, without credentials."""
        return without_credentials(self._uri)

    def entries(self, *, recursive: bool = False) -> list[Entry]:
        """What is in the folder, by name; nothing where it does not exist."""
        selector = fs.FileSelector(self._path, allow_not_found=True, recursive=recursive)
        found = self._try("list", "", lambda: self._filesystem.get_file_info(selector))
        start = len(self._path.rstrip("/")) + 1
        return sorted(map(_entry(start), found), key=lambda entry: entry.name)

    def read_bytes(self, name: str) -> bytes:
        """The content of a file.

        Raises
        ------
        FileNotFoundError
            There is none.
        """

        def read() -> bytes:
            with self._filesystem.open_input_stream(self._join(name)) as stream:
                return bytes(stream.read())

        return self._try("read", name, read)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Writes a file; on an object store it appears whole, in place of one that was there."""

        def write() -> None:
            with self._writing(name) as stream:
                stream.write(content)

        self._try("write", name, write)

    def delete(self, *names: str) -> None:
        """Deletes files; one that is not there is none too few."""
        for name in names:
            with suppress(FileNotFoundError):
                self._try("delete", name, partial(self._filesystem.delete_file, self._join(name)))

    def delete_all(self) -> None:
        """Deletes the folder with everything in it, first what makes it whole."""
        self.delete(_LAST)
        with suppress(FileNotFoundError):
            self._try("delete", "", lambda: self._filesystem.delete_dir(self._path))

    def upload(self, directory: Path) -> None:
        """Writes all files of a directory, ``manifest.json`` last: a folder that has one is whole."""
        files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
        for path in sorted(files, key=lambda path: path.name == _LAST):
            self._try("write", path.relative_to(directory).as_posix(), partial(self._send, path, directory))

    def download(self, directory: Path, entries: Iterable[Entry] | None = None) -> None:
        """Reads files into a directory, several at once; each is there whole or not at all, with the store's time.

        Parameters
        ----------
        directory : Path
            Made where it is missing.
        entries : iterable of Entry, optional
            Which; by default all, also those in folders.

        Raises
        ------
        FileNotFoundError
            One was deleted meanwhile.
        """
        wanted = self.entries(recursive=True) if entries is None else entries
        directory.mkdir(parents=True, exist_ok=True)

        def receive(entry: Entry) -> None:
            self._try("read", entry.name, lambda: self._receive(entry, directory / entry.name))

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(receive, (entry for entry in wanted if not entry.is_folder)))

    def _join(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}" if name else self._path

    @contextmanager
    def _writing(self, name: str) -> Iterator[Any]:
        path = self._join(name)
        if self._filesystem.type_name not in _WITHOUT_FOLDERS:
            self._filesystem.create_dir(str(PurePosixPath(path).parent), recursive=True)
        with self._filesystem.open_output_stream(path) as stream:
            yield stream

    def _send(self, path: Path, directory: Path) -> None:
        with path.open("rb") as file, self._writing(path.relative_to(directory).as_posix()) as stream:
            shutil.copyfileobj(file, stream, 1 << 23)

    def _receive(self, entry: Entry, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{os.getpid()}.part")
        with self._filesystem.open_input_stream(self._join(entry.name)) as stream, beside.open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 23)
        os.utime(beside, (entry.mtime, entry.mtime))
        os.replace(beside, target)

    def _try(self, operation: str, name: str, action: Callable[[], T]) -> T:
        started = time.monotonic()
        for number in range(_TRIES):
            try:
                return action()
            except FileNotFoundError as error:
                if operation != "write":  # an answer, no fault
                    raise
                last: OSError = error
                break
            except OSError as error:
                last = error
                logger.debug("%s: %s %s failed: %s", self.uri, operation, name, error)
            if number < _TRIES - 1:
                time.sleep(random.uniform(0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**number)))
        place = (self / name).uri if name else self.uri
        tried = f"tried {number + 1} times in {time.monotonic() - started:.0f} s" if number else "not tried again"
        raise StorageError(f"{place}: cannot {operation}: {_one_line(last)} ({tried})") from last


def is_remote(storage: str | Path) -> bool:
    """Whether a storage is named by a URI other than ``file://``."""
    scheme, separator, _ = str(storage).partition("://")
    return bool(separator) and scheme.isascii() and scheme[:1].isalpha() and scheme != "file"


def without_credentials(uri: str) -> str:
    """A URI as it may be shown and stored: no user and password, no option that looks like a secret."""
    scheme, place, path, query, _ = urlsplit(uri)
    options = [(key, value) for key, value in parse_qsl(query) if not any(word in key.lower() for word in _SECRETS)]
    return urlunsplit((scheme, place.rpartition("@")[2], path, urlencode(options, safe=":/"), ""))


def has_credentials(uri: str) -> bool:
    """Whether a URI says more than `without_credentials` would show; a path has none."""
    if not is_remote(uri):
        return False
    _, place, _, query, _ = urlsplit(uri)
    return "@" in place or any(word in key.lower() for key, _ in parse_qsl(query) for word in _SECRETS)


def _connect(uri: str) -> tuple[fs.FileSystem, str]:
    try:
        filesystem, path = fs.FileSystem.from_uri(uri)
    except ValueError as error:  # says the whole URI
        raise ValueError(str(error).replace(uri, without_credentials(uri))) from None
    except OSError as error:
        raise StorageError(f"{without_credentials(uri)}: cannot connect: {_one_line(error)}") from error
    if isinstance(filesystem, fs.S3FileSystem):
        # A URI cannot say these: one request for a small file in place of three, timeouts, and one try at a time,
        # where the SDK's own ten would make a server that hangs cost 100 s before ours begin.
        _, (options,) = filesystem.__reduce__()
        options |= {"allow_delayed_open": True, "request_timeout": _HANGS_AFTER_S, "connect_timeout": _CONNECT_S}
        filesystem = fs.S3FileSystem(**options, retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1))
    return filesystem, path


def _entry(start: int) -> Callable[[fs.FileInfo], Entry]:
    def entry(info: fs.FileInfo) -> Entry:
        is_folder = info.type == fs.FileType.Directory
        mtime = 0.0 if info.mtime_ns is None else info.mtime_ns / 1e9
        return Entry(info.path[start:], 0 if is_folder else info.size, mtime, is_folder)

    return entry


def _one_line(error: OSError) -> str:
    return str(error).splitlines()[0][:500] if str(error) else type(error).__name__
