"""A cluster as this machine reaches it: by its cluster.yaml through a tunnel, or at the address of its Jobs server."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sweeps.errors import InfeasibleError, SpecError, SweepNotFoundError, SweepStateError
from sweeps.launch_plan import dashboard_port
from sweeps.pulled import LEFT_THERE, copy_sweep, place
from sweeps.storage import SweepPaths, find
from sweeps.submitted import Job, jobs_of
from trainables.remote import is_remote

if TYPE_CHECKING:
    from sweeps.cluster_file import ClusterFile
    from sweeps.jobs import Jobs


@dataclass(frozen=True)
class Reached:
    """A cluster whose Jobs server answered.

    Attributes
    ----------
    jobs : Jobs
        The server.
    file : ClusterFile or None
        Its cluster.yaml, where the cluster was named by that.
    where : str
        How a command line names it.
    """

    jobs: Jobs
    file: ClusterFile | None
    where: str

    def jobs_of(self, sweep: str) -> list[Job]:
        """The jobs of one sweep, in order; raises as `sweeps.submitted.jobs_of`."""
        return jobs_of(sweep, self.jobs.all(), self.where)

    def shown(self, location: str) -> tuple[dict[str, Any] | None, str]:
        """What ``sweeps show -o json`` says of a sweep, or None and why there is nothing.

        By a short job on the head, since a folder of the same path on this machine may be another one.

        Raises
        ------
        InfeasibleError
            The head did not answer, or could not read the storage.
        """
        said = self.jobs.ask(["show", location, "-o", "json"])
        if said.exit_code == 0 and isinstance(value := said.value, dict):
            return value, ""
        if said.exit_code in (SweepNotFoundError.exit_code, SweepStateError.exit_code):
            return None, said.error
        raise InfeasibleError(f"the head could not read {location}: {said.error}")

    def refuse_existing(self, location: str, reference: str) -> None:
        """Raises SweepStateError where a sweep lies that is not to be gone on with."""
        shown, _ = self.shown(location)
        if shown is not None:
            raise SweepStateError(
                f"{location} exists already: go on with `sweeps resume {shlex.quote(reference)} {self.where}`, or "
                "submit with --resume auto, or under another --name"
            )

    def place_of(self, sweep: str) -> tuple[str, str, bool]:
        """Name and location of a sweep, and whether none of its jobs is at work; of a place no job need be known.

        Raises as `jobs_of`.
        """
        try:
            job = self.jobs_of(sweep)[-1]
        except SweepNotFoundError:
            if not (is_remote(sweep) or sweep.startswith("/")):
                raise
            return sweep.partition("?")[0].rstrip("/").rpartition("/")[2], sweep, True
        return job.sweep, job.location, job.is_over

    def pull(self, name: str, location: str, folder: Path) -> SweepPaths:
        """Copies what a sweep found, without checkpoints, to a folder here; raises as `sweeps.pulled.place`."""
        target = folder / name
        if is_remote(location):
            return _pull_from_store(location, target)
        if self.file is None and Path(location).is_dir():
            return place(target, lambda beside: copy_sweep(find(location).root, beside))
        if self.file is None:
            raise InfeasibleError(
                f"{location} is a folder of the cluster that this machine does not have, and the Jobs server sends no "
                f"files; name the cluster by its file (--cluster FILE), mount the folder here, or copy it: rsync -a "
                f"--exclude trials --exclude ray HEAD:{shlex.quote(location)} {shlex.quote(str(folder))}"
            )
        cluster = self.file
        from sweeps.tunnel import fetch  # nothing that is needed elsewhere

        def bring(beside: Path) -> None:
            fetch(cluster, location, beside, LEFT_THERE)
            # The mark of how much was recorded may be newer than the records that came with it: those once more.
            fetch(cluster, location, beside, (*LEFT_THERE, "acknowledged.json"))

        return place(target, bring)

    def stop(self, sweep: str, *, now: bool) -> str:
        """Asks a sweep's driver to stop, by the sweep's own way; returns what was said.

        Raises
        ------
        SweepStateError
            No driver of it runs, or it is just being started.
        InfeasibleError
            The head could not pass it on.
        """
        job = self.jobs_of(sweep)[-1]  # whose driver may outlive it
        said = self.jobs.ask(["stop", job.location, *(["--now"] if now else [])])
        if said.exit_code == 0:
            return said.log.rstrip().splitlines()[-1]
        if said.exit_code not in (SweepNotFoundError.exit_code, SweepStateError.exit_code):
            raise InfeasibleError(f"the head could not ask {job.location} to stop: {said.error}")
        if job.is_over:
            raise SweepStateError(said.error)
        if not now:
            raise SweepStateError(
                f"{job.id} runs, but its driver does not yet ({said.error}); try again, or with --now"
            )
        self.jobs.stop(job.id)
        return f"ended {job.id}, whose driver was not at work yet"


@contextmanager
def reached(cluster: ClusterFile | None, address: str | None) -> Iterator[Reached]:
    """Reaches a cluster while the context lasts.

    Parameters
    ----------
    cluster : ClusterFile or None
        Its file.
    address : str or None
        URL of its Jobs server; exactly one of both is given.

    Raises
    ------
    SpecError
        None or both are given, or the address is no URL.
    InfeasibleError
        It does not answer, or not to this machine's token, or Ray's Jobs client is not installed.
    """
    if (cluster is None) == (address is None):
        raise SpecError("give the cluster: either --cluster FILE, or --address http://HOST:8265")
    if cluster is None:
        url = _url(str(address))
        yield Reached(_connect(url), None, f"--address {shlex.quote(url)}")
        return
    from sweeps.tunnel import tunnel  # nothing that is needed elsewhere

    # Read by Ray when it is imported.
    os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(cluster.token_file)})
    os.environ.pop("RAY_AUTH_TOKEN", None)  # Ray prefers it to the file
    with tunnel(cluster, dashboard_port(cluster)) as url:
        yield Reached(_connected(url, cluster), cluster, f"--cluster {shlex.quote(str(cluster.path))}")


def growth_of(cluster: ClusterFile | None) -> list[Mapping[str, float]] | None:
    """What machines a cluster may add, or None where its file does not say."""
    return None if cluster is None else list(cluster.growth())


def _url(address: str) -> str:
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        host.encode("idna")  # as whatever connects does
        is_known = parts.scheme in ("http", "https") and host and parts.port != 0
    except ValueError:  # which UnicodeError is
        is_known = False
    if not is_known:
        raise SpecError(f"--address {address}: a Jobs server has a URL; give http://HOST:8265, or --cluster FILE")
    return parts.geturl()  # its scheme in lower case, as Ray wants it


def _pull_from_store(location: str, target: Path) -> SweepPaths:
    try:
        return place(target, lambda beside: copy_sweep(find(location).root, beside))
    except InfeasibleError as error:
        raise InfeasibleError(
            f"{error}; this machine reads the store itself, with its own credentials and not with the cluster's: give "
            "it some that may read there (AWS_ACCESS_KEY_ID and the like)"
        ) from error


def _connected(url: str, cluster: ClusterFile) -> Jobs:
    try:
        return _connect(url)
    except InfeasibleError as error:
        if not str(error).startswith("no connection"):
            raise
        file = shlex.quote(str(cluster.path))
        raise InfeasibleError(
            f"Ray does not run on the head of {file}, or not with its Jobs server; `sweeps cluster status {file}` "
            f"looks, `sweeps cluster up {file}` starts it"
        ) from error


def _connect(url: str) -> Jobs:
    try:
        module = import_module("sweeps.jobs")  # Ray
    except ImportError as error:
        raise InfeasibleError(
            f"what talks to a cluster is not installed ({error}); pip install 'skorch-sweeps[cluster]'"
        ) from error
    found: Jobs = module.Jobs(url)
    return found
