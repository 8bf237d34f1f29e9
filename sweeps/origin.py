"""How another machine gets this very installation: what to copy and what pip installs there; does neither itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import Distribution, distributions, version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sweeps.errors import Problem, SpecError

_NAME = "skorch-sweeps"
_WITH_CLUSTER = f"{_NAME}[cluster]"
_SOURCE = f"~/{_NAME}"
# All that pip needs of the source, so that neither results nor an environment beside them is read and copied.
_PARTS = ("constraints.txt", "LICENSE", "pyproject.toml", "README.md", "search_spaces", "sweeps", "trainables")


@dataclass(frozen=True)
class Origin:
    """Where an installation came from, as another machine needs it.

    Parameters
    ----------
    arguments
        Of `pip install`, quoted for a shell.
    mounts
        Files and folders of this machine, by where they must lie on the other one; a leading `~` is its home.
    folder
        From which the mounts come, None without any.
    """

    arguments: str
    mounts: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def identity(self) -> str:
        """A shell command that prints what decides whether an installation is out of date."""
        if f"{_SOURCE}/pyproject.toml" in self.mounts:
            return f"cat {_SOURCE}/pyproject.toml {_SOURCE}/constraints.txt"
        return f"echo {self.arguments}"


def installed_origin() -> Origin:
    """Of this installation.

    Returns
    -------
    Origin
        A folder, wheel or repository that pip was given; else the versions of the package and of all that it requires.

    Raises
    ------
    SpecError
        pip was given a folder or a wheel which is no longer there.
    """
    found = list(distributions(name=_NAME))
    # A folder with a checkout on the search path hides what pip noted down beside the modules.
    noted = next(filter(None, (one.read_text("direct_url.json") for one in found)), None)
    return direct_origin(json.loads(noted)) if noted else index_origin(found[0])


def direct_origin(noted: Mapping[str, Any]) -> Origin:
    """Of a `direct_url.json` (PEP 610).

    Raises
    ------
    SpecError
        It is a folder or a wheel which is no longer there.
    """
    url = noted["url"]
    if "vcs_info" in noted:
        vcs = noted["vcs_info"]
        return Origin(f"'{_WITH_CLUSTER} @ {vcs['vcs']}+{url}@{vcs['commit_id']}'")
    if not url.startswith("file:"):
        return Origin(f"'{_WITH_CLUSTER} @ {url}'")
    path = Path(unquote(urlsplit(url).path))
    if "dir_info" in noted:
        return folder_origin(path)
    if not path.is_file():
        raise _gone(path, "the file that was installed is no longer there")
    return Origin(f'"$HOME/{path.name}[cluster]"', {f"~/{path.name}": str(path)}, path.parent)


def folder_origin(folder: Path) -> Origin:
    """Of a folder with the source, in which the installation stays editable; its constraints give all versions.

    Raises
    ------
    SpecError
        Part of the source is not there.
    """
    missing = [name for name in _PARTS if not (folder / name).exists()]
    if missing:
        raise _gone(folder, f"the source that was installed lacks {', '.join(missing)}")
    mounts = {f"{_SOURCE}/{name}": str(folder / name) for name in _PARTS}
    return Origin(f'-c {_SOURCE}/constraints.txt -e "$HOME/{_WITH_CLUSTER}"', mounts, folder)


def index_origin(package: Distribution) -> Origin:
    """Of a package index: the version of `package`, and of each package that it requires as installed here."""
    own = f"'{_WITH_CLUSTER}=={package.version}'"
    return Origin(" ".join([own, *(f"'{pin}'" for pin in _pins(package.requires or []))]))


def public_version(name: str) -> str:
    """The version of an installed package without a local suffix, which names a build such as `+cpu`."""
    return version(name).partition("+")[0]


def _pins(requirements: Iterable[str]) -> list[str]:
    named: set[str] = set()
    for requirement in requirements:
        what, _, condition = requirement.partition(";")
        match = re.match(r"[\w.-]+(\[[^\]]*\])?", what)
        if match and ("extra" not in condition or re.search(r"extra == .cluster.", condition)):
            named.add(match[0])
    return [f"{name}=={public_version(name.partition('[')[0])}" for name in sorted(named)]


def _gone(path: Path, what: str) -> SpecError:
    return SpecError(Problem(f"{what}; install {_NAME} again from where it is now", file=str(path)))
