"""The verb `doctor`: has the nodes of a cluster, or this machine, asked, and says what is wrong. Finds nothing out."""

# As in `cli`, what is heavy is imported where it is needed.

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeps.arguments import Output
from sweeps.cluster_file import load_cluster
from sweeps.diagnosis import Finding, NodeReport, Severity, diagnose, missing_nodes
from sweeps.errors import InfeasibleError, SpecError
from sweeps.node_facts import NodeFacts, node_facts
from sweeps.output import Answer, Format, columns, size_text
from sweeps.storage import SweepPaths
from sweeps.storage_probe import marked
from sweeps.streams import answer
from trainables.remote import has_credentials, is_remote, without_credentials

if TYPE_CHECKING:
    from sweeps.jobs import Jobs

_ANSWER_S = 240.0  # of the head: every node may be silent for its whole time, twice


def doctor(
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster (auto, host:6379) or of its Jobs server (http://...).")
    ] = None,
    cluster: Annotated[Path | None, typer.Option(metavar="FILE", help="A cluster.yaml.")] = None,
    storage_dir: Annotated[
        str | None, typer.Option("--storage", metavar="DIR", help="Folder or URI of sweeps that every node must share.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Look for what would spoil a sweep: on every node of a cluster, or by default on this machine."""
    if address is not None and cluster is not None:
        raise SpecError("give the cluster once: either --cluster FILE, or --address")
    if cluster is not None or (address or "").lower().startswith(("http://", "https://")):
        found = _through_jobs(cluster, address, storage_dir)
    elif address is not None:
        found = _on_cluster(address, storage_dir)
    else:
        found = _this_machine(storage_dir)
    answer(_answer(found), output)
    if errors := [finding for finding in found["findings"] if finding["severity"] == Severity.ERROR]:
        raise InfeasibleError(_text(errors[0]))


def from_laptop(jobs: Jobs, arguments: Sequence[str]) -> dict[str, Any]:
    """Runs the doctor on the head of a cluster.

    Parameters
    ----------
    jobs : Jobs
        The head's Jobs server.
    arguments : sequence of str
        More words for ``sweeps doctor --address auto -o json``.

    Returns
    -------
    dict
        What it answered: ``nodes``, ``findings`` and ``storage``.

    Raises
    ------
    InfeasibleError
        The doctor could not run there.
    """
    said = jobs.ask(["doctor", "--address", "auto", "-o", "json", *arguments], timeout_s=_ANSWER_S)
    value = said.value
    if not isinstance(value, dict) or "nodes" not in value:
        raise InfeasibleError(f"the doctor could not run on the head: {said.error}")
    return value


def _through_jobs(cluster: Path | None, address: str | None, storage: str | None) -> dict[str, Any]:
    file = None if cluster is None else load_cluster(cluster)
    if storage is not None and has_credentials(storage):
        text = f"{without_credentials(storage)}: was given with credentials, which the cluster would keep in clear"
        raise SpecError(f"{text}; leave them out, and give every node its own")
    if storage is not None and not is_remote(storage) and not Path(storage).is_absolute():
        raise SpecError(f"storage {storage} is relative to a folder of each machine; give an absolute path, or a URI")
    from sweeps.reached import reached  # Ray, below

    with reached(file, address) as there:
        found = from_laptop(there.jobs, [] if storage is None else ["--storage", storage])
        living = [node["ip"] for node in found["nodes"]]
        missing = [] if file is None else missing_nodes(file.hosts, living, file.min_nodes())
        note = [_version_note(there.jobs.differs)] if there.jobs.differs else []
        return {**found, "findings": [*map(asdict, missing), *found["findings"], *map(asdict, note)]}


def _version_note(difference: str) -> Finding:
    return Finding(Severity.NOTE, difference, "install that version here where jobs are refused")


def _on_cluster(address: str, storage: str | None) -> dict[str, Any]:
    from sweeps.connection import connected  # Ray
    from sweeps.nodes import survey  # Ray

    with connected(address):
        seen = survey(storage, asks_torch=True)
    return _found(seen.reports, seen.storage, seen.storage_problem)


def _this_machine(storage: str | None) -> dict[str, Any]:
    folders = {} if storage is None or is_remote(storage) else {"storage": str(SweepPaths.of(storage, "s").root.parent)}
    facts = NodeFacts(**node_facts(folders, asks_torch=True))
    problem = None if storage is None else _storage_problem(storage)
    sees = None if storage is None or problem else True
    report = NodeReport("", "", socket.gethostname(), is_here=True, facts=facts, sees_storage=sees)
    return _found([report], None if storage is None else without_credentials(storage), problem)


def _storage_problem(storage: str) -> str | None:
    try:
        with marked(storage):
            return None
    except InfeasibleError as error:
        return str(error)


def _found(reports: Sequence[NodeReport], storage: str | None, problem: str | None) -> dict[str, Any]:
    findings = diagnose(reports, storage, problem)
    return {"storage": storage, "nodes": list(map(asdict, reports)), "findings": list(map(asdict, findings))}


def _answer(found: Mapping[str, Any]) -> Answer:
    rows = list(map(_row, found["nodes"]))
    lines = [f"{finding['severity']}: {_text(finding)}" for finding in found["findings"]]
    return Answer(dict(found), rows, [columns(rows), "", *(lines or ["all is well"])])


def _text(finding: Mapping[str, Any]) -> str:
    return f"{finding['cause']}: {finding['remedy']}"


def _row(node: Mapping[str, Any]) -> dict[str, Any]:
    facts = node["facts"] or {}
    packages, ahead = facts.get("packages", {}), node["clock_ahead_s"]
    return {
        "node": node["host"],
        "ip": node["ip"],
        "id": node["node_id"][:6],
        "python": facts.get("python"),
        **{name: packages.get(name) for name in ("ray", "torch", "skorch", "skorch-sweeps")},
        "gpus": None if node["gpus"] is None else f"{node['gpus']:g}",
        "cards": ", ".join(_cards(facts)) or None,
        "storage": _storage_word(node),
        "free": ", ".join(f"{use} {size_text(disk['free'])}" for use, disk in facts.get("disks", {}).items()) or None,
        "shm": None if facts.get("shm_bytes") is None else size_text(facts["shm_bytes"]),
        "files": facts.get("open_files"),
        "clock_s": None if ahead is None else f"{ahead:+.2f}",
    }


def _cards(facts: Mapping[str, Any]) -> Iterator[str]:
    for card in facts.get("cards") or ():
        yield f"{card['name']} {size_text(card['memory_bytes'])}"


def _storage_word(node: Mapping[str, Any]) -> str:
    if node["silence"]:
        return "no answer"
    if node["sees_storage"] is None:
        return "not tried"
    if node["storage_problem"]:
        return "cannot be written"
    if not node["sees_storage"]:
        return "another one"
    return "shared" if node["node_id"] else "writable"
