"""Asks every living node of a Ray cluster, each within a time limit. What its answers mean `diagnosis` says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps import node_facts, storage_probe
from sweeps.diagnosis import NodeReport, Severity, diagnose
from sweeps.errors import InfeasibleError
from sweeps.node_facts import NodeFacts
from sweeps.storage import SweepPaths
from sweeps.storage_probe import Mark, marked
from trainables.remote import is_remote, without_credentials

_PREFLIGHT_LIMIT_S = 30.0  # a worker's start is part of it
_LIMIT_S = 45.0


@dataclass(frozen=True)
class Survey:
    """What the nodes of a cluster said.

    Attributes
    ----------
    reports : list of NodeReport
        One a living node.
    storage : str or None
        That was tried, as it may be shown.
    storage_problem : str or None
        Why this process cannot use it.
    """

    reports: list[NodeReport]
    storage: str | None = None
    storage_problem: str | None = None


@dataclass(frozen=True)
class _Reply:
    value: Any = None
    silence: str | None = None
    sent: float = 0.0
    received: float = 0.0


def preflight(paths: SweepPaths) -> list[str]:
    """Refuses to run a sweep on nodes that differ or do not share its storage; does nothing where there is one node.

    Parameters
    ----------
    paths : SweepPaths
        The sweep, which need not exist; nothing of it is made.

    Returns
    -------
    list of str
        What is worth knowing, one line each.

    Raises
    ------
    InfeasibleError
        All that is wrong, the most important first.
    """
    if len(_living()) < 2:
        return []
    seen = survey(paths, asks_torch=False, limit_s=_PREFLIGHT_LIMIT_S)
    findings = diagnose(seen.reports, seen.storage, seen.storage_problem)
    if errors := [str(finding) for finding in findings if finding.severity is Severity.ERROR]:
        raise InfeasibleError("\n".join(errors))
    return [str(finding) for finding in findings if finding.severity is Severity.WARNING]


def survey(storage: str | SweepPaths | None, *, asks_torch: bool, limit_s: float = _LIMIT_S) -> Survey:
    """Asks all living nodes of the Ray that this process is connected to.

    Parameters
    ----------
    storage : str, SweepPaths or None
        Of sweeps, or of one sweep: whether every node can write there and sees what the others wrote.
    asks_torch : bool
        Whether torch counts the cards of each node, which takes seconds.
    limit_s : float, default=45
        Seconds until a node counts as silent.
    """
    with _by_value():
        reports, problem = _with_facts(_living(), storage, asks_torch, limit_s), None
        try:
            if storage is not None:
                reports = _with_mark(reports, storage, limit_s)
        except InfeasibleError as error:
            problem = str(error)
        return Survey(_with_clocks(reports, limit_s), _shown(storage), problem)


def _with_mark(reports: list[NodeReport], storage: str | SweepPaths, limit_s: float) -> list[NodeReport]:
    with marked(storage) as mark:
        return _with_storage(reports, mark, limit_s)


@contextmanager
def _by_value() -> Iterator[None]:
    """Sends functions of the asking modules whole, as a node may have others of that name or none."""
    modules = (node_facts, storage_probe)
    for module in modules:
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)  # type: ignore[no-untyped-call]


def _living() -> list[dict[str, Any]]:
    nodes = ray.nodes()  # type: ignore[no-untyped-call]  # Ray leaves it untyped
    return sorted((node for node in nodes if node["Alive"]), key=lambda node: str(node["NodeManagerHostname"]))


def _with_facts(
    nodes: Sequence[dict[str, Any]], storage: str | SweepPaths | None, asks_torch: bool, limit_s: float
) -> list[NodeReport]:
    folder = _local_folder(storage)
    given = {
        # Ray's own folder on a node is known by the socket there: FOLDER/session_.../sockets/raylet.
        node["NodeID"]: {
            "folders": {**folder, "ray": str(Path(node["RayletSocketName"]).parents[2])},
            "asks_torch": asks_torch,
        }
        for node in nodes
    }
    replies = _ask(node_facts.node_facts, given, limit_s)
    here = ray.get_runtime_context().get_node_id()
    return [_report(node, replies[node["NodeID"]], here) for node in nodes]


def _report(node: dict[str, Any], reply: _Reply, here: str) -> NodeReport:
    resources = node["Resources"]
    return NodeReport(
        node_id=node["NodeID"],
        ip=node["NodeManagerAddress"],
        host=node["NodeManagerHostname"],
        is_here=node["NodeID"] == here,
        gpus=resources.get("GPU", 0),
        object_store_bytes=int(resources.get("object_store_memory", 0)),
        facts=None if reply.silence else NodeFacts(**reply.value),
        silence=reply.silence,
    )


def _with_storage(reports: Sequence[NodeReport], mark: Mark, limit_s: float) -> list[NodeReport]:
    asked = [report.node_id for report in reports if not report.silence]
    if isinstance(mark.folder, Path):
        missing = None if mark.missing is None else str(mark.missing)
        place = {"folder": str(mark.folder), "missing": missing, "content": mark.content}
        replies = _ask(storage_probe.answer_on_disk, {name: {**place, "name": name} for name in asked}, limit_s)
    else:
        there = {"folder": mark.folder, "content": mark.content}
        replies = _ask(storage_probe.answer_in_store, {name: {**there, "name": name} for name in asked}, limit_s)
    seen = mark.seen_from(asked)
    return [
        _with_reply(report, replies[report.node_id], report.node_id in seen) if report.node_id in replies else report
        for report in reports
    ]


def _with_reply(report: NodeReport, reply: _Reply, is_seen: bool) -> NodeReport:
    if reply.silence:
        return replace(report, silence=reply.silence)
    problem, is_same = reply.value["problem"], reply.value["is_same"]
    return replace(report, storage_problem=problem, sees_storage=is_same and (is_seen or problem is not None))


def _with_clocks(reports: Sequence[NodeReport], limit_s: float) -> list[NodeReport]:
    asked = [report.node_id for report in reports if not report.silence]
    replies = _ask(node_facts.clock, {name: {} for name in asked}, limit_s)  # by workers that have started
    ahead = {
        name: reply.value - (reply.sent + reply.received) / 2 for name, reply in replies.items() if not reply.silence
    }
    return [replace(report, clock_ahead_s=ahead.get(report.node_id)) for report in reports]


def _ask(function: Callable[..., Any], given: Mapping[str, Mapping[str, Any]], limit_s: float) -> dict[str, _Reply]:
    """Runs a function once on each of some nodes, by id, each with arguments of its own, all at the same time."""
    task = ray.remote(function)
    sent = time.time()
    references = {
        task.options(
            num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)
        ).remote(**arguments): node_id
        for node_id, arguments in given.items()
    }
    replies = {node_id: _Reply(silence=f"waited {limit_s:g} s") for node_id in given}
    waiting, until = list(references), time.monotonic() + limit_s
    while waiting and (left := until - time.monotonic()) > 0:
        ready, waiting = ray.wait(waiting, timeout=left)
        replies |= {references[reference]: _reply(reference, sent) for reference in ready}
    for reference in waiting:
        ray.cancel(reference, force=True)
    return replies


def _reply(reference: Any, sent: float) -> _Reply:
    received = time.time()
    try:
        return _Reply(ray.get(reference), None, sent, received)
    except RayError as error:
        return _Reply(silence=_last_line(error))


def _last_line(error: RayError) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _local_folder(storage: str | SweepPaths | None) -> dict[str, str]:
    if isinstance(storage, str):
        storage = None if is_remote(storage) else SweepPaths.of(storage, "sweep")
    return {} if storage is None or storage.remote else {"storage": str(storage.root.parent)}


def _shown(storage: str | SweepPaths | None) -> str | None:
    if isinstance(storage, SweepPaths):
        return str(storage.root.parent) if storage.remote is None else storage.location
    return None if storage is None else without_credentials(storage) if is_remote(storage) else storage
