"""Submission: a job that runs a sweep on a cluster, as a value to be looked at before it is sent. Sends nothing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from sweeps.config import SweepConfig
from sweeps.errors import InfeasibleError, Problem, SpecError
from sweeps.package import Package
from sweeps.submitted import Job
from trainables.remote import has_credentials, is_remote, without_credentials

_SUPERVISOR = ("python", "-m", "sweeps.supervisor")
_ENVIRONMENT = {
    "RAY_JOB_STOP_WAIT_TIME_S": "30",  # a driver saves its trials meanwhile; Ray kills it after 3 otherwise
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TQDM_PATCH_PRINT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}


@dataclass(frozen=True)
class Submission:
    """One job of one sweep.

    Attributes
    ----------
    sweep : str
        Its name.
    storage, location : str
        Where its storage and the sweep itself lie for every node; no credentials.
    entrypoint : str
        The command line that the head runs.
    runtime_env : mapping
        Ray's: working directory, what of it stays here, environment. Stored in clear, so it holds no secret.
    """

    sweep: str
    storage: str
    location: str
    entrypoint: str
    runtime_env: Mapping[str, Any]

    @property
    def metadata(self) -> dict[str, str]:
        """By which the job is found again; the cluster's memory of the sweep."""
        return {"sweep": self.sweep, "storage": self.storage, "location": self.location}

    def lines(self, job: str, where: str, reference: str) -> list[str]:
        """Says to a person what was submitted and what to type next.

        Parameters
        ----------
        job : str
            The job's id.
        where : str
            How a command line names the cluster: ``--cluster cluster.yaml``.
        reference : str
            How it names the sweep, as `sweeps.submitted.reference_to` says.
        """
        named = f"{shlex.quote(reference)} {where}"
        following = {
            "follow": f"sweeps logs {named} --follow",
            "see": f"sweeps status {named}",
            "stop": f"sweeps stop {named} --now",
            "resume": f"sweeps resume {named}",
            "fetch": f"sweeps pull {named}",
        }
        head = {"sweep": self.sweep, "job": job, "storage": self.storage}
        return [f"{name + ':':<9}{text}" for name, text in (head | following).items()]


def run_submission(
    config: SweepConfig,
    spec: Path,
    package: Package,
    words: Sequence[str],
    growth: Sequence[Mapping[str, float]] | None = None,
) -> Submission:
    """The job that runs a sweep.

    Parameters
    ----------
    config : SweepConfig
        What the spec says, with everything that the command line replaces.
    spec : Path
        The sweep.yaml; it lies in the package.
    package : Package
        What travels.
    words : sequence of str
        More options of ``sweeps run``: ``--resume``, ``--set``, ``--name``, ``--storage``.
    growth : sequence of mapping, optional
        What machines the cluster may add, as `ClusterFile.growth` says.

    Raises
    ------
    SpecError
        The spec or its data do not travel, or its storage or data are named with credentials.
    InfeasibleError
        Its storage is not one that every node reaches.
    """
    if problems := [*_credential_problems(config), *_travel_problems(config, spec, package)]:
        raise SpecError(*problems)
    _refuse_relative(config.storage)
    return Submission(
        sweep=config.name,
        storage=config.storage,
        location=location_of(config.storage, config.name),
        entrypoint=_entrypoint(["run", str(_name_in(spec, package)), "--address", "auto", *words]),
        runtime_env={
            "working_dir": str(package.folder),
            "excludes": list(package.excludes),
            "env_vars": _environment(growth),
        },
    )


def resume_submission(
    job: Job, words: Sequence[str], package: Package | None, growth: Sequence[Mapping[str, float]] | None = None
) -> Submission:
    """The job that goes on with a sweep.

    Parameters
    ----------
    job : Job
        Its last one.
    words : sequence of str
        More options of ``sweeps resume``.
    package : Package or None
        What travels; None takes what the last job had.
    growth : sequence of mapping, optional
        As for `run_submission`; None keeps what the last job was told.
    """
    before = dict(job.runtime_env.get("env_vars") or {})
    known = {name: text for name, text in before.items() if name == "SWEEPS_NODE_TYPES"}
    runtime_env: dict[str, Any] = {"env_vars": known | _environment(growth)}
    if package is not None:
        runtime_env |= {"working_dir": str(package.folder), "excludes": list(package.excludes)}
    elif "working_dir" in job.runtime_env:
        runtime_env["working_dir"] = job.runtime_env["working_dir"]
    entrypoint = _entrypoint(["resume", job.location, "--address", "auto", *words])
    return Submission(job.sweep, job.metadata.get("storage", ""), job.location, entrypoint, runtime_env)


def location_of(storage: str, name: str) -> str:
    """Where a sweep lies in a storage, as `SweepPaths.location` says it on a node; touches no store."""
    if is_remote(storage):
        place, mark, query = without_credentials(storage).partition("?")
        return f"{place.rstrip('/')}/{name}{mark}{query}"
    path = unquote(urlsplit(storage).path) if storage.startswith("file://") else storage
    return str(PurePosixPath(path) / name)


def _entrypoint(words: Sequence[str]) -> str:
    # In place of the shell, or the shell would be what Ray waits for and ends.
    return f"exec {shlex.join([*_SUPERVISOR, *words])}"


def _environment(growth: Sequence[Mapping[str, float]] | None) -> dict[str, str]:
    return _ENVIRONMENT | ({} if growth is None else {"SWEEPS_NODE_TYPES": json.dumps([dict(one) for one in growth])})


def _credential_problems(config: SweepConfig) -> list[Problem]:
    given = {"storage": config.storage, "data.path": str(getattr(config.data, "path", ""))}
    said = (
        "was given with credentials, which the cluster would keep in clear beside the job; leave them out, "
        "and give every node its own (an instance's role, or AWS_ACCESS_KEY_ID and the like where Ray is started)"
    )
    return [Problem(f"{without_credentials(uri)}: {said}", key) for key, uri in given.items() if has_credentials(uri)]


def _travel_problems(config: SweepConfig, spec: Path, package: Package) -> list[Problem]:
    found = [] if _name_in(spec, package) else [Problem(_left_behind(spec, package), file=str(spec))]
    path = str(getattr(config.data, "path", ""))
    if path and "://" not in path and not Path(path).is_absolute():
        data = spec.absolute().parent / path
        if not _name_in(data, package):
            found.append(Problem(_left_behind(data, package), "data.path"))
    return found


def _name_in(path: Path, package: Package) -> str | None:
    """By what name a file travels, or something in a folder; None where it does not.

    What lies below a link to a folder travels by the link's name, while the link of a whole path is none of the name:
    so it is looked for with ever fewer of its folders resolved.
    """
    absolute = path.absolute()
    for above in (absolute, *absolute.parents):
        below = absolute.relative_to(above)
        if ".." in below.parts:
            return None
        whole = above.resolve() / below
        name = whole.relative_to(package.folder).as_posix() if whole.is_relative_to(package.folder) else ""
        if name and any(one == name or one.startswith(f"{name}/") for one in package.sizes):
            return name
    return None


def _left_behind(path: Path, package: Package) -> str:
    if not path.exists():
        return f"{path}: no such file"
    if not path.resolve().is_relative_to(package.folder):
        why = f"lies outside the working directory {package.folder}"
        return f"{path}: {why}, so it does not travel; give --working-dir, or a path that every node reads"
    return f"{path}: is kept from travelling by .gitignore, .rayignore or --exclude; let it, or give an absolute path"


def _refuse_relative(storage: str) -> None:
    if is_remote(storage) or storage.startswith("file:///") or storage.startswith("/"):
        return
    raise InfeasibleError(
        f"storage {storage}: is relative to a folder of each machine, but every node must reach the same; give an "
        "absolute path that all of them share, or a URI such as s3://bucket/sweeps (--storage)"
    )
