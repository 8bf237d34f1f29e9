"""cluster.yaml, a file of Ray's own launcher, as a value: read strictly, every problem at once. Starts nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

from sweeps.cluster_checks import DEFAULT_MAX_WORKERS, TOKEN_MOUNT, cluster_problems
from sweeps.config import ResourcesConfig
from sweeps.errors import InfeasibleError, Problem, SpecError
from sweeps.resources import Node, all_shares, infeasible
from sweeps.yaml_document import parse_yaml

MAX_FILE_BYTES = 1_000_000
"""Size above which a file cannot be a cluster.yaml."""


@dataclass(frozen=True)
class NodeType:
    """One kind of machine.

    Attributes
    ----------
    name : str
        As in the file; with provider `local` head or worker.
    cpus, gpus : float or None
        What the file says of one machine; None leaves it to Ray, which counts on the machine.
    min_workers, max_workers : int
        How many of them there are besides the head.
    is_head : bool
        Whether the head is of this kind.
    """

    name: str
    cpus: float | None
    gpus: float | None
    min_workers: int
    max_workers: int
    is_head: bool


@dataclass(frozen=True)
class ClusterFile:
    """A cluster.yaml that holds what it must.

    Attributes
    ----------
    path : Path
        The file.
    data : mapping
        What it says, as plain data.
    node_types : tuple of NodeType
        Every kind of machine; with provider `local` the head, then the workers.
    """

    # More methods than the budget of eight, as each is one thing that the file says.

    path: Path
    data: Mapping[str, Any]
    node_types: tuple[NodeType, ...]

    @property
    def name(self) -> str:
        """The cluster's name."""
        return str(self.data["cluster_name"])

    @property
    def provider(self) -> str:
        """Ray's name of who gives the machines: `local`, `aws`, `gcp`, ..."""
        return str(self.data["provider"]["type"])

    @property
    def head_ip(self) -> str | None:
        """Address of the head; None where the provider gives it out."""
        ip: str | None = self.data["provider"].get("head_ip")
        return ip

    @property
    def worker_ips(self) -> tuple[str, ...]:
        """Addresses of the workers; empty where the provider gives them out."""
        return tuple(self.data["provider"].get("worker_ips", ()))

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every address that the file names, the head's first."""
        return () if self.head_ip is None else (self.head_ip, *self.worker_ips)

    @property
    def ssh_user(self) -> str:
        """Who logs in on the machines."""
        return str(self.data.get("auth", {}).get("ssh_user", "ubuntu"))

    @property
    def ssh_key(self) -> Path | None:
        """Private key that opens the machines; None where Ray makes one, or ssh knows which to use."""
        given = self.data.get("auth", {}).get("ssh_private_key")
        return None if given is None else Path(given).expanduser()

    @property
    def ssh_proxy_command(self) -> str | None:
        """Command through which ssh connects, for machines behind another."""
        command: str | None = self.data.get("auth", {}).get("ssh_proxy_command")
        return command

    @property
    def token_file(self) -> Path:
        """The file with the cluster's token on this machine."""
        mounts: Mapping[str, str] = self.data["file_mounts"]
        return next(Path(here).expanduser() for there, here in mounts.items() if there.endswith(TOKEN_MOUNT))

    def commands(self, key: str) -> tuple[str, ...]:
        """The commands below a key, such as `setup_commands`; empty where the file has none."""
        return tuple(self.data.get(key, ()))

    def min_nodes(self) -> int:
        """Machines that are there from the beginning, the head included."""
        return 1 + sum(kind.min_workers for kind in self.node_types)

    def max_nodes(self) -> int:
        """Most machines at once, the head included."""
        return 1 + min(_max_workers(self.data), sum(kind.max_workers for kind in self.node_types))

    def growth(self) -> list[dict[str, float]]:
        """What machines a provider may add: `{"cpus", "gpus", "count"}` for every kind whose numbers are known.

        Together they are no more than `max_workers`; of each kind there is one before there are two, those with most
        GPUs first. With provider `local` none, since its machines are there already.
        """
        if self.provider == "local":
            return []
        known = [kind for kind in self.node_types if kind.cpus is not None and kind.gpus is not None]
        known.sort(key=lambda kind: -(kind.gpus or 0))
        most = max((kind.max_workers for kind in known), default=0)
        turns = (kind for turn in range(most) for kind in known if kind.max_workers > turn)
        counts = Counter(islice(turns, _max_workers(self.data)))
        return [{"cpus": kind.cpus or 0, "gpus": kind.gpus or 0, "count": n} for kind, n in counts.items()]

    def require(self, resources: ResourcesConfig) -> None:
        """Refuses a sweep whose trials fit no kind of machine.

        Parameters
        ----------
        resources : ResourcesConfig
            What trials ask for.

        Raises
        ------
        InfeasibleError
            A trial could never start. What the file does not say counts as enough.
        """
        kinds = [kind for kind in self.node_types if kind.is_head or kind.max_workers]
        nodes = [Node(_or_enough(kind.cpus), _or_enough(kind.gpus)) for kind in kinds]
        if not infeasible(resources, nodes):
            return
        asked = ", ".join(f"{share.cpu:g} CPU and {share.gpu:g} GPU" for share in dict.fromkeys(all_shares(resources)))
        there = "; ".join(f"{kind.name}: {_count(kind.cpus)} CPU, {_count(kind.gpus)} GPU" for kind in kinds)
        raise InfeasibleError(
            f"a trial asks for {asked}, but no single machine of {self.path} has that ({there}); "
            "lower resources.cpu or resources.gpu, or add a kind of machine"
        )


def load_cluster(path: str | Path) -> ClusterFile:
    """Read a cluster.yaml.

    Parameters
    ----------
    path
        The file. Other paths in it begin at the current directory, as for Ray.

    Raises
    ------
    SpecError
        With everything that is wrong: `cluster.yaml:4: provider.type: unknown provider awz; did you mean aws?`.
    """
    path = Path(path)
    try:
        document = parse_yaml(_read(path))
    except SpecError as error:
        raise SpecError(*(replace(problem, file=str(path)) for problem in error.problems)) from None
    found = [*document.problems, *cluster_problems(document.data)]
    if found:
        placed = dict.fromkeys(_placed(problem, path, document.lines) for problem in found)
        raise SpecError(*sorted(placed, key=lambda problem: problem.line or 0))
    return ClusterFile(path, document.data, tuple(_node_types(document.data)))


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SpecError(Problem(f"larger than {MAX_FILE_BYTES} bytes; is this a cluster.yaml?", file=str(path)))
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(Problem("no such file; give the path of a cluster.yaml", file=str(path))) from None
    except UnicodeDecodeError as error:
        raise SpecError(Problem(f"not UTF-8 text (byte {error.start})", file=str(path))) from None
    except OSError as error:
        raise SpecError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from None


def _placed(problem: Problem, path: Path, lines: Mapping[str, int]) -> Problem:
    """The problem with the line of the nearest value that was given."""
    if problem.line is not None:
        return replace(problem, file=str(path))
    where = problem.where
    while where and where not in lines:
        where = where.rpartition(".")[0]
    return replace(problem, file=str(path), line=lines.get(where) if where else None)


def _node_types(data: Mapping[str, Any]) -> Iterator[NodeType]:
    if data["provider"]["type"] == "local":
        yield from _local_types(data)
        return
    for name, kind in data["available_node_types"].items():
        is_head = name == data["head_node_type"]
        most = 0 if is_head else _max_workers(data)  # as Ray fills it in
        amounts = kind["resources"]
        limits = kind.get("min_workers", 0), kind.get("max_workers", most)
        yield NodeType(name, amounts.get("CPU"), amounts.get("GPU"), *limits, is_head)


def _local_types(data: Mapping[str, Any]) -> Iterator[NodeType]:
    n_ips = len(data["provider"]["worker_ips"])
    most = min(_max_workers(data), n_ips)
    yield NodeType("head", *_counts(data["head_start_ray_commands"]), 0, 0, is_head=True)
    counts = _counts(data["worker_start_ray_commands"])
    yield NodeType("worker", *counts, min(data.get("min_workers", n_ips), n_ips), most, is_head=False)


def _counts(commands: Sequence[str]) -> tuple[float | None, float | None]:
    """CPUs and GPUs that the commands tell `ray start`."""
    text = "\n".join(commands)
    found = (re.search(rf"--num-{what}[= ](\d+(?:\.\d+)?)", text) for what in ("cpus", "gpus"))
    cpus, gpus = (None if match is None else float(match[1]) for match in found)
    return cpus, gpus


def _max_workers(data: Mapping[str, Any]) -> int:
    n_ips = len(data["provider"].get("worker_ips", ()))
    return int(data.get("max_workers", n_ips or DEFAULT_MAX_WORKERS))


def _or_enough(count: float | None) -> float:
    return inf if count is None else count


def _count(count: float | None) -> str:
    return "unknown" if count is None else f"{count:g}"
