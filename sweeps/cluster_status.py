"""What a cluster's head says of its nodes, and what is missing. Changes nothing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from sweeps.cluster_file import ClusterFile
from sweeps.errors import InfeasibleError
from sweeps.launch_log import failed_hosts, recent_failures, telling_line
from sweeps.output import Answer, columns, fields
from sweeps.ray_command import run_ray
from sweeps.tunnel import on_head

_MARK = "node-report:"  # begins the line of the report, among what shells write
_ANSWER_S = 60


@dataclass(frozen=True)
class LiveNode:
    """A machine that is part of the cluster, with its CPUs and GPUs and how many trials and others hold."""

    ip: str
    is_head: bool
    cpus: float
    gpus: float
    cpus_used: float
    gpus_used: float


@dataclass(frozen=True)
class ClusterStatus:
    """A cluster as its head sees it.

    Attributes
    ----------
    name : str
        As in the file.
    ray : str
        Version of Ray on the head.
    nodes : tuple of LiveNode
        Those that live, the head first.
    missing : tuple of str
        Machines that should be there from the beginning, by address where the file names them.
    failures : tuple of str
        What Ray's autoscaler tells of machines that could not be started.
    """

    name: str
    ray: str
    nodes: tuple[LiveNode, ...]
    missing: tuple[str, ...]
    failures: tuple[str, ...]


def ask_head(cluster: ClusterFile) -> ClusterStatus:
    """Asks the head.

    Parameters
    ----------
    cluster : ClusterFile
        Which cluster.

    Raises
    ------
    InfeasibleError
        The head cannot be reached, refuses the key or has no Ray that answers.
    """
    script = files("sweeps").joinpath("node_report.py").read_text()
    command = f"RAY_AUTH_MODE=token python -c {shlex.quote(script)} {_MARK}"
    try:
        text = _output(cluster, command)
    except InfeasibleError as error:
        hint = f"sweeps cluster up {shlex.quote(str(cluster.path))} starts it"
        raise InfeasibleError(f"the head of {cluster.name} does not answer: {error}; {hint}") from error
    return read_report(cluster, text)


def read_report(cluster: ClusterFile, text: str) -> ClusterStatus:
    """What the head wrote, as a value.

    Parameters
    ----------
    cluster : ClusterFile
        What should be there.
    text : str
        Output of `node_report`, among other lines.

    Raises
    ------
    InfeasibleError
        It is not there.
    """
    lines = [line for line in text.splitlines() if line.startswith(_MARK)]
    if not lines:
        reason = telling_line(text) or "it wrote nothing"
        raise InfeasibleError(f"the head of {cluster.name} cannot tell of its nodes: {reason}")
    report = json.loads(lines[-1].removeprefix(_MARK))
    nodes = sorted(map(_node, report["nodes"]), key=lambda node: (not node.is_head, node.ip))
    missing = _missing(cluster, nodes)
    failed = {host: why for host, why in failed_hosts(report["log"]).items() if not cluster.hosts or host in missing}
    failures = [*recent_failures(report["status"]), *(f"{host}: {why}" for host, why in failed.items())]
    return ClusterStatus(cluster.name, report["ray"], tuple(nodes), missing, tuple(failures))


def status_answer(status: ClusterStatus) -> Answer:
    """The nodes, and what is wrong with them."""
    rows = [
        {
            "node": node.ip,
            "role": "head" if node.is_head else "worker",
            "CPUs": node.cpus,
            "CPUs used": node.cpus_used,
            "GPUs": node.gpus,
            "GPUs used": node.gpus_used,
        }
        for node in status.nodes
    ]
    general = {"cluster": f"{status.name} (Ray {status.ray})", "nodes": len(status.nodes)}
    notes = [f"missing: {node}" for node in status.missing] + [f"failed: {line}" for line in status.failures]
    return Answer(asdict(status), rows, [fields(general), "", columns(rows), *notes])


def _output(cluster: ClusterFile, command: str) -> str:
    if cluster.head_ip is not None:
        return on_head(cluster, command, _ANSWER_S)
    ended = run_ray(cluster, "exec", command, "--disable-usage-stats", timeout_s=_ANSWER_S)
    if ended.code:
        raise InfeasibleError(telling_line(ended.text) or f"see {ended.log}")
    return ended.text


def _node(found: Mapping[str, Any]) -> LiveNode:
    total, free = found["total"], found["free"]
    used = {key: round(total[key] - free[key], 4) for key in total}  # shares of a GPU do not add up exactly
    return LiveNode(found["ip"], found["is_head"], total["CPU"], total["GPU"], used["CPU"], used["GPU"])


def _missing(cluster: ClusterFile, nodes: list[LiveNode]) -> tuple[str, ...]:
    n_missing = cluster.min_nodes() - len(nodes)
    if n_missing <= 0:
        return ()
    there = {node.ip for node in nodes}
    named = tuple(ip for ip in cluster.worker_ips if ip not in there)
    return named or (f"{n_missing} of {cluster.min_nodes()}",)
