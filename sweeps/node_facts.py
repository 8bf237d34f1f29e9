"""What one machine says of itself: versions, cards, disks, limits, secrets. Knows no Ray and judges nothing."""

# A doctor sends the functions of this module to nodes by value, as a node may have another version of this project or
# none. Hence nothing of the project is imported here, and what crosses the wire is plain data.

from __future__ import annotations

import importlib.metadata
import importlib.util
import ipaddress
import json
import os
import platform
import resource
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

_PACKAGES = ("ray", "torch", "skorch", "skorch-sweeps", "scikit-learn", "hyperopt", "pyarrow", "numpy")
_OURS = ("search_spaces", "sweeps", "trainables")
_DASHBOARD_PORT = 8265
_LISTENS = "0A"  # the kernel's number for that state of a socket
_CARDS_LIMIT_S = 30
_COUNT_CARDS = """
import json, torch
cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
print(json.dumps([{"name": card.name, "memory_bytes": card.total_memory} for card in cards]))
"""


@dataclass(frozen=True)
class NodeFacts:
    """What `node_facts` found on one machine.

    Attributes
    ----------
    host : str
        Its name.
    python : str
        Version of the Python that answered.
    packages : mapping
        Name of a distribution to its version, None where it is not installed. That of skorch-sweeps ends in a hash of
        its source files, as ``0.1.0+1a2b3c4d``.
    source : str or None
        Folder that the project is imported from.
    cards : list of mapping or None
        ``name`` and ``memory_bytes`` of each CUDA device that torch sees; None where torch was not asked.
    cards_problem : str or None
        Why torch could not be asked.
    driver_cards : int
        Cards that NVIDIA's driver knows.
    disks : mapping
        Name of a folder's use to its path and the ``free`` and ``total`` bytes of its disk.
    shm_bytes : int or None
        Size of ``/dev/shm``, None where there is none.
    open_files : int
        Files that a process may have open.
    auth_mode : str
        RAY_AUTH_MODE, empty where it is not set.
    token_file, token_mode : str and int, or None
        The file with Ray's token and its permissions, where there is one.
    dashboard : list of str
        Addresses on which something listens at the dashboard's port.
    """

    host: str
    python: str
    packages: Mapping[str, str | None]
    source: str | None
    cards: list[dict[str, Any]] | None
    cards_problem: str | None
    driver_cards: int
    disks: Mapping[str, Mapping[str, Any]]
    shm_bytes: int | None
    open_files: int
    auth_mode: str
    token_file: str | None
    token_mode: int | None
    dashboard: list[str]


def node_facts(folders: Mapping[str, str], *, asks_torch: bool) -> dict[str, Any]:
    """Looks at the machine that this process runs on.

    Parameters
    ----------
    folders : mapping
        Name of a use to a folder, which need not exist, whose disk is to be looked at.
    asks_torch : bool
        Whether a process is to import torch and count cards, which takes seconds.

    Returns
    -------
    dict
        The fields of `NodeFacts`, as plain data.
    """
    cards, problem = _cards() if asks_torch else (None, None)
    token_file, token_mode = _token()
    source = _source_folder()
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "packages": _versions(source),
        "source": None if source is None else str(source),
        "cards": cards,
        "cards_problem": problem,
        "driver_cards": len(list(Path("/proc/driver/nvidia/gpus").glob("*"))),
        "disks": {use: _disk(Path(folder)) for use, folder in folders.items()},
        "shm_bytes": shutil.disk_usage("/dev/shm").total if Path("/dev/shm").is_dir() else None,
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "auth_mode": os.environ.get("RAY_AUTH_MODE", ""),
        "token_file": token_file,
        "token_mode": token_mode,
        "dashboard": listening_addresses(_DASHBOARD_PORT),
    }


def clock() -> float:
    """Seconds since 1970, by the clock of the machine that this process runs on."""
    return time.time()


def listening_addresses(port: int, tables: Path = Path("/proc/net")) -> list[str]:
    """Addresses of this machine on which a process accepts TCP connections.

    Parameters
    ----------
    port : int
        At which.
    tables : Path
        Folder of the kernel's tables ``tcp`` and ``tcp6``; where it is missing, nothing is found.
    """
    found = set()
    for table in (tables / "tcp", tables / "tcp6"):
        lines = table.read_text().splitlines()[1:] if table.exists() else []
        for _, local, _, state, *_ in map(str.split, lines):
            address, _, number = local.partition(":")
            if state == _LISTENS and int(number, 16) == port:
                found.add(str(_address(address)))
    return sorted(found)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    # Words of 32 bits, each as this machine's processor keeps it.
    words = (struct.pack("=I", int(text[start : start + 8], 16)) for start in range(0, len(text), 8))
    return ipaddress.ip_address(b"".join(words))


def _versions(source: Path | None) -> dict[str, str | None]:
    versions = {name: _version(name) for name in _PACKAGES}
    if source is not None:
        versions["skorch-sweeps"] = f"{versions['skorch-sweeps'] or 'not installed'}+{_source_hash(source)}"
    return versions


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _source_folder() -> Path | None:
    found = importlib.util.find_spec("sweeps")  # imports nothing
    return None if found is None or found.origin is None else Path(found.origin).parent.parent


def _source_hash(source: Path) -> str:
    digest = sha256()
    for path in _source_files(source):
        digest.update(path.relative_to(source).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:8]


def _source_files(source: Path) -> Iterator[Path]:
    for package in _OURS:
        yield from sorted((source / package).rglob("*.py"))


def _cards() -> tuple[list[dict[str, Any]] | None, str | None]:
    # A process of its own, as one that has touched a card holds memory there until it ends.
    command = [sys.executable, "-c", _COUNT_CARDS]
    try:
        done = subprocess.run(command, env=_unhidden(), capture_output=True, text=True, timeout=_CARDS_LIMIT_S)
    except subprocess.TimeoutExpired:
        return None, f"torch took more than {_CARDS_LIMIT_S} s to count the cards"
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return json.loads(done.stdout.splitlines()[-1]), None


def _unhidden() -> dict[str, str]:
    """The environment without what Ray sets in workers that have no share of a GPU."""
    environment = dict(os.environ)
    if not environment.get("CUDA_VISIBLE_DEVICES"):
        environment.pop("CUDA_VISIBLE_DEVICES", None)
        environment.update(_visible_to_parent())
    return environment


def _visible_to_parent() -> dict[str, str]:
    try:
        entries = Path(f"/proc/{os.getppid()}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    pairs = (entry.decode(errors="replace").partition("=") for entry in entries)
    return {name: value for name, _, value in pairs if name == "CUDA_VISIBLE_DEVICES"}


def _disk(folder: Path) -> dict[str, Any]:
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    usage = shutil.disk_usage(nearest)
    return {"folder": str(folder), "free": usage.free, "total": usage.total}


def _token() -> tuple[str | None, int | None]:
    if os.environ.get("RAY_AUTH_TOKEN"):
        return None, None  # Ray looks at no file then
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    try:
        return str(path), path.stat().st_mode & 0o777
    except OSError:
        return None, None
