"""Package: the files of a folder that travel to a cluster with a job. Only lists them; Ray zips and sends them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pathspec import PathSpec

from sweeps.errors import Problem, SpecError
from sweeps.output import size_text

ALWAYS_EXCLUDED = (".git", ".venv*", "venv", "__pycache__", "*.pyc", "/results")
"""Patterns, as in a .gitignore, of what no job needs; ``results`` is where sweeps of this machine lie by default."""

SECRETS = (".env", ".env.*", "*.pem", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".aws", ".ssh")
"""Patterns of what is likely to hold keys: stays here too, which a person is told."""

_IGNORE_FILES = (".gitignore", ".rayignore")
# Ray: a job's package is one message to the head, whose size is bounded; `ray._private.runtime_env.packaging`.
_NO_GITIGNORE = "RAY_RUNTIME_ENV_IGNORE_GITIGNORE"
_LIMIT_VARIABLE = "RAY_max_grpc_message_size"
_LIMIT_BYTES = 512 * 1024**2
_LARGE_BYTES = 10 * 10**6
_SHOWN = 5
# Of a zip: what it says of a file beside its content and twice its name.
_ENTRY_BYTES = 150

_Matcher = Callable[[Path], bool]


@dataclass(frozen=True)
class Package:
    """What travels with a job.

    Attributes
    ----------
    folder : Path
        The working directory, absolute.
    excludes : tuple of str
        Patterns of what stays here, beside what its .gitignore and .rayignore files name.
    sizes : mapping of str to int
        Bytes of each file, by its path in the folder with slashes.
    withheld : tuple of str
        What stays here only because it looks like `SECRETS`, by name.
    """

    folder: Path
    excludes: tuple[str, ...]
    sizes: Mapping[str, int]
    withheld: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of all files; Ray's zip compresses nothing."""
        return sum(self.sizes.values())

    def lines(self) -> list[str]:
        """Says to a person what travels, and what looks like a secret; from 10 MB on also the largest files."""
        count = f"{len(self.sizes)} file{'' if len(self.sizes) == 1 else 's'}"
        told = [f"package: {count}, {size_text(self.size_bytes)}, from {self.folder}"]
        if self.withheld:
            more = f" and {len(self.withheld) - _SHOWN} more" if len(self.withheld) > _SHOWN else ""
            names = f"{', '.join(self.withheld[:_SHOWN])}{more}"
            told.append(f"note: stays here, since it may hold secrets: {names} (--exclude '!NAME' takes one along)")
        return told + (self._largest() if self.size_bytes > _LARGE_BYTES else [])

    def refuse_too_large(self, limit_bytes: int = _LIMIT_BYTES) -> None:
        """Refuses a package that Ray would not take, before it is zipped.

        Parameters
        ----------
        limit_bytes : int, default=512 MiB
            As `limit_bytes` says.

        Raises
        ------
        SpecError
            The message names the largest files.
        """
        zipped = self.size_bytes + sum(_ENTRY_BYTES + 2 * len(name.encode()) for name in self.sizes)
        if zipped < limit_bytes:
            return
        said = (
            f"--working-dir {self.folder}: its {len(self.sizes)} files have {size_text(self.size_bytes)}, but Ray "
            f"takes less than {size_text(limit_bytes)} with a job; leave out what trials do not read "
            "(--exclude PATTERN, .gitignore or .rayignore), and put data where every node reads them"
        )
        raise SpecError(Problem("\n".join([said, *self._largest()])))

    def _largest(self) -> list[str]:
        largest = sorted(self.sizes.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
        return [f"  {size_text(size)}  {name}" for name, size in largest]


def make_package(
    folder: Path, excludes: Sequence[str] = (), environment: Mapping[str, str] = MappingProxyType({})
) -> Package:
    """Finds what Ray would zip of a folder.

    Parameters
    ----------
    folder : Path
        The working directory; links in its path are resolved.
    excludes : sequence of str
        Patterns, as in a .gitignore, beside those that are always excluded; ``!NAME`` takes one of those along.
    environment : mapping of str to str, default={}
        This process's: Ray may be told to leave out more (RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES), or to take no
        notice of .gitignore (RAY_RUNTIME_ENV_IGNORE_GITIGNORE=1).

    Raises
    ------
    SpecError
        There is no such folder, nothing is left of it, something in it cannot be read, or it never ends.
    """
    root = folder.expanduser().resolve()
    if not root.is_dir():
        raise SpecError(f"--working-dir {folder}: no such folder; give the one that the sweep's modules lie in")
    of_ray = [
        pattern.strip() for pattern in environment.get("RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES", "").split(",")
    ]
    named = [name for name in _IGNORE_FILES if name != ".gitignore" or environment.get(_NO_GITIGNORE) != "1"]
    matchers = [_matcher(root, [*ALWAYS_EXCLUDED, *excludes, *filter(None, of_ray)])]
    walk = _Walk(named, _matcher(root, [*SECRETS, *excludes]), [])
    try:
        sizes = {path.relative_to(root).as_posix(): path.stat().st_size for path in walk.files(root, matchers)}
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"--working-dir {folder}: cannot be read: {error}; exclude it (--exclude PATTERN)") from error
    if not sizes:
        raise SpecError(f"--working-dir {folder}: no file is left in it: .gitignore, .rayignore or --exclude name all")
    withheld = tuple(sorted(path.relative_to(root).as_posix() for path in walk.withheld))
    return Package(root, (*ALWAYS_EXCLUDED, *SECRETS, *excludes), dict(sorted(sizes.items())), withheld)


def limit_bytes(environment: Mapping[str, str]) -> int:
    """How large a package Ray takes, in bytes: RAY_max_grpc_message_size of this process, by default 512 MiB."""
    given = environment.get(_LIMIT_VARIABLE, "")
    return int(given) if given.isdecimal() else _LIMIT_BYTES


@dataclass(frozen=True)
class _Walk:
    """Finds files as Ray does: each folder's ignore files count for all that is below it."""

    named: Sequence[str]
    is_secret: _Matcher
    withheld: list[Path]

    def files(self, path: Path, matchers: Sequence[_Matcher], above: Sequence[Path] = ()) -> Iterator[Path]:
        found = [path / name for name in self.named] if path.is_dir() else []
        own = [_matcher(path, file.read_text().splitlines()) for file in found if file.is_file()]
        here = [*matchers, *own]
        if any(matches(path) for matches in here):
            return
        if self.is_secret(path):
            self.withheld.append(path)
        elif path.is_file():
            yield path
        elif path.is_dir():
            real = path.resolve()
            if real in above:  # Ray would go round for ever
                raise SpecError(f"{path}: links to a folder that it lies in itself; exclude it (--exclude PATTERN)")
            for below in path.iterdir():
                yield from self.files(below, here, [*above, real])


def _matcher(folder: Path, patterns: Sequence[str]) -> _Matcher:
    # Ray's own copy of pathspec knows these patterns by the name gitwildmatch.
    spec = PathSpec.from_lines("gitignore", patterns)
    return lambda path: spec.match_file(path.relative_to(folder).as_posix())
