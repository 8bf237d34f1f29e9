"""What launching a cluster will do, as a value that prints well. Does none of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from rich.console import RenderableType

from sweeps.cluster_file import ClusterFile, NodeType
from sweeps.output import Answer, columns, fields

DASHBOARD_PORT = 8265
"""Where the Jobs server listens on the head if the file says nothing else."""

_GCS_PORT = 6379


@dataclass(frozen=True)
class Step:
    """A command, and the machines on which it runs: all, the head, the workers or those of one kind."""

    where: str
    command: str


@dataclass(frozen=True)
class Port:
    """A port that is listened on, and who can get at it."""

    port: str
    on: str
    what: str
    open_to: str


@dataclass(frozen=True)
class LaunchPlan:
    """Everything that `up` would do with a cluster.yaml.

    Attributes
    ----------
    name, provider : str
        As in the file.
    hosts : tuple of str
        Machines that the file names, the head first; empty where the provider gives them out.
    node_types : tuple of NodeType
        The kinds of machines.
    nodes_at_start, nodes_at_most : int
        Machines, the head included.
    gpus_at_start, gpus_at_most : float or None
        GPUs on them; None where Ray counts them on the machines.
    setup, start : tuple of Step
        Commands in their order.
    ports : tuple of Port
        What listens where.
    token_file : str
        Where the cluster's token lies on this machine.
    makes_token : bool
        Whether it has to be made first.
    remarks : tuple of str
        What to know beforehand, on storage above all.
    """

    name: str
    provider: str
    hosts: tuple[str, ...]
    node_types: tuple[NodeType, ...]
    nodes_at_start: int
    nodes_at_most: int
    gpus_at_start: float | None
    gpus_at_most: float | None
    setup: tuple[Step, ...]
    start: tuple[Step, ...]
    ports: tuple[Port, ...]
    token_file: str
    makes_token: bool
    remarks: tuple[str, ...]


def make_plan(cluster: ClusterFile) -> LaunchPlan:
    """What `up` would do; of this machine only the token file is looked at."""
    return LaunchPlan(
        name=cluster.name,
        provider=cluster.provider,
        hosts=cluster.hosts,
        node_types=cluster.node_types,
        nodes_at_start=cluster.min_nodes(),
        nodes_at_most=cluster.max_nodes(),
        gpus_at_start=_gpus(cluster.node_types, [kind.min_workers for kind in cluster.node_types]),
        gpus_at_most=_gpus(cluster.node_types, _most_gpus_first(cluster)),
        setup=tuple(_setup_steps(cluster)),
        start=tuple(_start_steps(cluster)),
        ports=tuple(_ports(cluster)),
        token_file=str(cluster.token_file),
        makes_token=not cluster.token_file.exists(),
        remarks=tuple(_remarks(cluster)),
    )


def dashboard_port(cluster: ClusterFile) -> int:
    """Port of the Jobs server on the head's loopback."""
    return _port(cluster, "--dashboard-port", DASHBOARD_PORT)


def plan_answer(plan: LaunchPlan) -> Answer:
    """The whole plan."""
    rows = [_kind_row(kind) for kind in plan.node_types]
    steps = [
        {"where": step.where, "command": step.command, "phase": phase}
        for phase, steps in (("setup", plan.setup), ("start", plan.start))
        for step in steps
    ]
    parts = [
        summary(plan),
        "",
        columns(rows),
        "",
        columns([{"step": number, **step} for number, step in enumerate(steps, start=1)]),
        "",
        columns([asdict(port) for port in plan.ports]),
        *(f"note: {remark}" for remark in plan.remarks),
    ]
    return Answer(asdict(plan), rows, parts)


def summary_answer(plan: LaunchPlan) -> Answer:
    """The plan without its commands and ports."""
    value = {key: found for key, found in asdict(plan).items() if key not in ("setup", "start", "ports")}
    rows = [_kind_row(kind) for kind in plan.node_types]
    notes = (f"note: {remark}" for remark in plan.remarks)
    return Answer(value, rows, [summary(plan), "", columns(rows), *notes])


def summary(plan: LaunchPlan) -> RenderableType:
    """The plan in a few lines."""
    token = f"{plan.token_file} ({'is made first' if plan.makes_token else 'exists'}), sent to every machine"
    values = {
        "cluster": f"{plan.name} (provider {plan.provider})",
        "hosts": ", ".join(plan.hosts),
        "nodes": _range(plan.nodes_at_start, plan.nodes_at_most),
        "GPUs": _range(plan.gpus_at_start, plan.gpus_at_most),
        "token": token,
    }
    return fields({name: value for name, value in values.items() if value})


def _kind_row(kind: NodeType) -> dict[str, str | float]:
    return {
        "node type": kind.name,
        "CPUs": "found by Ray" if kind.cpus is None else kind.cpus,
        "GPUs": "found by Ray" if kind.gpus is None else kind.gpus,
        "at start": kind.min_workers + kind.is_head,
        "at most": kind.max_workers + kind.is_head,
    }


def _range(least: float | None, most: float | None) -> str:
    if least is None or most is None:
        return "found by Ray on the machines"
    return f"{least:g}" if least == most else f"{least:g} at start, {most:g} at most"


def _gpus(kinds: Sequence[NodeType], n_workers: Sequence[int]) -> float | None:
    there = [(kind, n + kind.is_head) for kind, n in zip(kinds, n_workers, strict=True) if n + kind.is_head]
    if any(kind.gpus is None for kind, _ in there):
        return None
    return sum((kind.gpus or 0) * n for kind, n in there)


def _most_gpus_first(cluster: ClusterFile) -> list[int]:
    """Workers of each kind that have the most GPUs together: those beyond the minimum go to the richest kinds."""
    counts = [kind.min_workers for kind in cluster.node_types]
    left = cluster.max_nodes() - 1 - sum(counts)
    for index in sorted(range(len(counts)), key=lambda index: -(cluster.node_types[index].gpus or 0)):
        more = min(left, cluster.node_types[index].max_workers - counts[index])
        counts[index] += more
        left -= more
    return counts


def _setup_steps(cluster: ClusterFile) -> Iterator[Step]:
    yield from (Step("all", command) for command in cluster.commands("initialization_commands"))
    yield from (Step("all", command) for command in cluster.commands("setup_commands"))
    yield from (Step("head", command) for command in cluster.commands("head_setup_commands"))
    yield from (Step("workers", command) for command in cluster.commands("worker_setup_commands"))
    for name, kind in cluster.data.get("available_node_types", {}).items():
        for key in ("initialization_commands", "worker_setup_commands"):
            yield from (Step(f"{name}, instead", command) for command in kind.get(key, ()))


def _start_steps(cluster: ClusterFile) -> Iterator[Step]:
    yield from (Step("head", command) for command in cluster.commands("head_start_ray_commands"))
    yield from (Step("workers", command) for command in cluster.commands("worker_start_ray_commands"))


def _ports(cluster: ClusterFile) -> Iterator[Port]:
    yield Port("22", "all", "ssh", "whoever holds the key; from here to every host" if cluster.hosts else "key holders")
    yield Port(str(_port(cluster, "--port", _GCS_PORT)), "head", "Ray's control store", "token holders on the network")
    yield Port(str(dashboard_port(cluster)), "head", "Jobs server, dashboard", "the head itself; from here through ssh")
    yield Port("others", "all", "Ray among the nodes", "token holders on the network")


def _port(cluster: ClusterFile, flag: str, default: int) -> int:
    text = "\n".join(cluster.commands("head_start_ray_commands"))
    found = re.search(rf"(?<!\S){flag}[= ](\d+)", text)
    return default if found is None else int(found[1])


def _remarks(cluster: ClusterFile) -> Iterator[str]:
    if cluster.provider == "local":
        yield "storage of a sweep must be a folder that every host mounts at the same path, or a URI such as s3://..."
        yield "`ray stop`, as part of up and down, ends every Ray of the user on the hosts, also of other clusters"
    else:
        yield "storage of a sweep must be a URI such as s3://... or gs://...: the machines' disks go with them"
        minutes = cluster.data.get("idle_timeout_minutes", 5)
        yield f"workers beyond the minimum end after {minutes:g} idle minutes; the head costs until `down`"
    if cluster.provider == "aws" and cluster.data["provider"].get("cache_stopped_nodes", True):
        yield "`down` only stops the machines, whose disks go on costing; cache_stopped_nodes: false deletes them"
    yield "beyond token and key, keep the network closed: Ray encrypts nothing unless told to"
