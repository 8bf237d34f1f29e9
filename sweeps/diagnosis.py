"""What is wrong with the nodes of a cluster and what to do: findings from what they said. Asks nobody."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import TypeVar

from sweeps.node_facts import NodeFacts
from sweeps.output import size_text

K = TypeVar("K")
V = TypeVar("V")

_SKEWED_S = 2.0
_FEW_FILES = 4096  # Ray's own least number
_FULL = 0.95  # of the disk below Ray's folder, from where Ray stores nothing more there
_LITTLE_BYTES = 10**9  # as checkpoint.min_free_gb is by default
# Of these a difference breaks a sweep or makes its trials differ; of the other packages it may.
_MUST_AGREE = ("ray", "torch", "skorch", "skorch-sweeps")


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or worth knowing.

    Attributes
    ----------
    severity : Severity
        Whether a sweep cannot run, may suffer, or neither.
    cause : str
        What is the matter, and on which nodes.
    remedy : str
        The one thing to do.
    """

    severity: Severity
    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.cause}: {self.remedy}"


@dataclass(frozen=True)
class NodeReport:
    """One node: what Ray says of it, what it says of itself, and what was tried with it.

    Attributes
    ----------
    node_id, ip, host : str
        As Ray knows it; empty, but for the host, where there is no Ray.
    is_here : bool
        Whether this process runs there.
    gpus : float or None
        That Ray hands out; None without a Ray.
    object_store_bytes : int
        That Ray wants in shared memory.
    facts : NodeFacts or None
        What it said.
    silence : str or None
        Why it said nothing.
    sees_storage : bool or None
        Whether it sees the storage of this process; None where that was not tried.
    storage_problem : str or None
        Why it cannot write there.
    clock_ahead_s : float or None
        Of this process's clock.
    """

    node_id: str
    ip: str
    host: str
    is_here: bool
    gpus: float | None = None
    object_store_bytes: int = 0
    facts: NodeFacts | None = None
    silence: str | None = None
    sees_storage: bool | None = None
    storage_problem: str | None = None
    clock_ahead_s: float | None = None


@dataclass(frozen=True)
class _Nodes:
    """The nodes that answered, each under the name that it has in findings."""

    all: Sequence[NodeReport]

    def name(self, node: NodeReport) -> str:
        is_only = Counter(other.host for other in self.all)[node.host] == 1
        return node.host if is_only else f"{node.host} ({node.node_id[:6]})"

    def names(self, nodes: Collection[NodeReport]) -> str:
        return ", ".join(map(self.name, nodes))

    def answered(self) -> Iterator[tuple[NodeReport, NodeFacts]]:
        yield from ((node, node.facts) for node in self.all if node.facts is not None)

    def here(self) -> str:
        return next((self.name(node) for node in self.all if node.is_here), "the driver")


def diagnose(
    reports: Sequence[NodeReport], storage: str | None = None, storage_problem: str | None = None
) -> list[Finding]:
    """Judges what the nodes said.

    Parameters
    ----------
    reports : sequence of NodeReport
        All living nodes.
    storage : str, optional
        That was tried, as it may be shown.
    storage_problem : str, optional
        Why this process cannot use it.

    Returns
    -------
    list of Finding
        The most important one first.
    """
    nodes = _Nodes(reports)
    found = [*_silent(nodes), *_differences(nodes)]
    if storage_problem:
        place, _, remedy = storage_problem.rpartition("; ")
        found.append(Finding(Severity.ERROR, place or storage_problem, remedy if place else "mend the storage"))
    found += [*_storage(nodes, storage), *_cards(nodes), *_room(nodes), *_clocks(nodes), *_security(nodes)]
    return sorted(found, key=lambda finding: list(Severity).index(finding.severity))


def missing_nodes(expected: Collection[str], living: Collection[str], n_nodes: int) -> list[Finding]:
    """Findings for machines of a cluster file that are not in the cluster.

    Parameters
    ----------
    expected, living : collection of str
        Addresses or names of the file, and addresses of the cluster, which may be of another network.
    n_nodes : int
        How many machines there are to be at least; with as many none is missing.
    """
    missing = sorted(host for host in expected if not {host, _address(host)} & set(living))
    missing = missing if len(living) < n_nodes else []
    remedy = "start Ray there again with `sweeps cluster up`, or take it out of the cluster file"
    return [Finding(Severity.ERROR, f"{ip} is in the cluster file but not in the cluster", remedy) for ip in missing]


def _address(host: str) -> str:
    try:
        return socket.gethostbyname(host)
    except OSError:  # only the machines there know the name
        return host


def _silent(nodes: _Nodes) -> Iterator[Finding]:
    for node in nodes.all:
        if node.silence:
            cause = f"{nodes.name(node)} ({node.ip}) gave no answer: {node.silence}"
            yield Finding(Severity.ERROR, cause, "see that the machine and its network are up, or end Ray there")


def _differences(nodes: _Nodes) -> Iterator[Finding]:
    answered = list(nodes.answered())
    pairs = [("Python", node, facts.python) for node, facts in answered]
    pairs += [
        (name, node, version or "not installed") for node, facts in answered for name, version in facts.packages.items()
    ]
    for name, of_name in _grouped((name, (version, node)) for name, node, version in pairs):
        versions = dict(_grouped(of_name))
        if len(versions) > 1:
            yield _difference(nodes, name, versions)


def _difference(nodes: _Nodes, name: str, versions: dict[str, list[NodeReport]]) -> Finding:
    severity = Severity.ERROR if name in ("Python", *_MUST_AGREE) else Severity.WARNING
    cause = f"{name} differs: " + "; ".join(
        f"{version} on {nodes.names(having)}" for version, having in versions.items()
    )
    right = max(versions, key=lambda version: (any(node.is_here for node in versions[version]), len(versions[version])))
    others = nodes.names([node for version, having in versions.items() if version != right for node in having])
    number, _, hashed = right.partition("+")
    if name != "skorch-sweeps":
        return Finding(severity, cause, f"install {name} {right} on {others}")
    if len({version.partition("+")[0] for version in versions}) > 1 or not hashed:
        return Finding(severity, cause, f"install skorch-sweeps {number} on {others}, from the same sources")
    model = versions[right][0]
    source = model.facts.source if model.facts else None
    return Finding(severity, cause, f"put the sources that {nodes.name(model)} has in {source} on {others}")


def _storage(nodes: _Nodes, storage: str | None) -> Iterator[Finding]:
    if others := [node for node in nodes.all if node.sees_storage is False]:
        cause = f"storage {storage} on {nodes.names(others)} is not the one of this machine ({nodes.here()})"
        yield Finding(Severity.ERROR, cause, "mount it there, or use an object store")
    for problem, refused in _grouped((node.storage_problem, node) for node in nodes.all if node.storage_problem):
        cause = f"storage {storage} cannot be used from {nodes.names(refused)} ({problem})"
        yield Finding(Severity.ERROR, cause, "let the user that Ray runs as write there")


def _cards(nodes: _Nodes) -> Iterator[Finding]:
    for node, facts in nodes.answered():
        name, torch = nodes.name(node), facts.packages.get("torch")
        if facts.cards_problem:
            cause = f"torch {torch} cannot count the cards of {name} ({facts.cards_problem})"
            yield Finding(Severity.ERROR, cause, "install torch again there")
        if facts.cards is None:
            continue
        seen, gpus = len(facts.cards), node.gpus
        if facts.driver_cards and not seen:
            cause = f"{name} has {facts.driver_cards} cards, but torch {torch} sees none of them"
            yield Finding(Severity.WARNING, cause, "install a build of torch for its driver's CUDA version")
        elif gpus and not seen:
            cause = f"Ray hands out {gpus:g} GPUs on {name}, but there is no card"
            yield Finding(Severity.NOTE, cause, "trials there train on the CPU")
        elif gpus is not None and gpus > seen:
            cause = f"Ray hands out {gpus:g} GPUs on {name}, but torch sees {seen}"
            yield Finding(Severity.ERROR, cause, f"start Ray there with --num-gpus={seen}")
        elif gpus is not None and gpus < seen:
            cause = f"torch sees {seen} cards on {name}, but Ray hands out {gpus:g}"
            yield Finding(Severity.NOTE, cause, f"start Ray there with --num-gpus={seen} to use them all")


def _room(nodes: _Nodes) -> Iterator[Finding]:
    for node, facts in nodes.answered():
        name = nodes.name(node)
        for use, disk in facts.disks.items():
            free, is_full = disk["free"], use == "ray" and disk["free"] < (1 - _FULL) * disk["total"]
            if free < _LITTLE_BYTES or is_full:
                cause = f"{disk['folder']} on {name} has {size_text(free)} free of {size_text(disk['total'])}"
                yield Finding(Severity.WARNING, cause, "make room there")
        if facts.shm_bytes is not None and facts.shm_bytes < node.object_store_bytes:
            cause = f"/dev/shm on {name} has {size_text(facts.shm_bytes)}, less than Ray's object store of "
            remedy = "start Ray there with a smaller --object-store-memory, or a container with a larger --shm-size"
            yield Finding(Severity.WARNING, cause + size_text(node.object_store_bytes), remedy)
        if 0 <= facts.open_files < _FEW_FILES:
            cause = f"a process on {name} may have only {facts.open_files} files open"
            yield Finding(Severity.WARNING, cause, "run `ulimit -n 65536` there before `ray start`")


def _clocks(nodes: _Nodes) -> Iterator[Finding]:
    for node in nodes.all:
        if node.clock_ahead_s is not None and abs(node.clock_ahead_s) > _SKEWED_S:
            way = "ahead of" if node.clock_ahead_s > 0 else "behind"
            cause = f"the clock of {nodes.name(node)} is {abs(node.clock_ahead_s):.1f} s {way} that of {nodes.here()}"
            yield Finding(Severity.WARNING, cause, "have an NTP client set it, as logs are hard to read otherwise")


def _security(nodes: _Nodes) -> Iterator[Finding]:
    is_cluster = any(node.node_id for node in nodes.all)
    for node, facts in nodes.answered():
        name = nodes.name(node)
        if is_cluster and facts.auth_mode != "token":
            cause = (
                f"RAY_AUTH_MODE is {facts.auth_mode or 'not set'} on {name}, so who reaches Ray's ports may run code"
            )
            yield Finding(Severity.WARNING, cause, "start every process of Ray with RAY_AUTH_MODE=token")
        if facts.token_mode is not None and facts.token_mode & 0o077:
            cause = f"{facts.token_file} on {name} can be read by other users (mode {facts.token_mode:04o})"
            yield Finding(Severity.WARNING, cause, f"chmod 600 {facts.token_file}")
        open_to = [address for address in facts.dashboard if not _is_loopback(address)]
        if open_to:
            cause = f"the dashboard of {name} listens on {', '.join(open_to)}, where others may reach it and run code"
            yield Finding(Severity.WARNING, cause, "start the head with --dashboard-host=127.0.0.1")


def _grouped(pairs: Iterable[tuple[K, V]]) -> list[tuple[K, list[V]]]:
    """Values by key, both in the order in which they came."""
    groups: dict[K, list[V]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return list(groups.items())


def _is_loopback(address: str) -> bool:
    found = ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
