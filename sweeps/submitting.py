"""The verbs about sweeps that run as jobs of a cluster: they only translate words of a command line."""

# As in `cli`, verbs import heavy modules themselves.

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.arguments import Output, Overrides, Resume, Spec
from sweeps.errors import InfeasibleError, SweepStateError
from sweeps.output import Format
from sweeps.spec import load_spec
from sweeps.storage import DEFAULT_STORAGE
from sweeps.streams import answer, note

if TYPE_CHECKING:
    from sweeps.cluster_file import ClusterFile
    from sweeps.package import Package
    from sweeps.reached import Reached
    from sweeps.submission import Submission
    from sweeps.submitted import Job

ClusterOption = Annotated[
    Path | None, typer.Option("--cluster", metavar="FILE", help="The cluster.yaml of the cluster.")
]
JobsAddress = Annotated[
    str | None, typer.Option("--address", metavar="URL", help="The cluster's Jobs server: http://HOST:8265.")
]
SubmittedName = Annotated[
    str, typer.Argument(metavar="SWEEP", help="A sweep of the cluster: its name, or where it lies.")
]
WorkingDir = Annotated[
    Path | None,
    typer.Option("--working-dir", metavar="DIR", help="Folder that travels.", show_default="this one, or SPEC's"),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="PATTERN", help="What of it stays here, as in a .gitignore; may be repeated."),
]


def submit(
    spec: Spec,
    *,
    cluster: ClusterOption = None,
    address: JobsAddress = None,
    working_dir: WorkingDir = None,
    excludes: Exclude = None,
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option(help="Name of the sweep, and of its directory.")] = None,
    storage_dir: Annotated[
        str | None, typer.Option("--storage", metavar="DIR", help="Folder or URI that every node reaches.")
    ] = None,
    resume: Resume = "never",
    is_followed: Annotated[
        bool, typer.Option("--follow/--detach", help="Show its log to the end, or return at once.")
    ] = True,
) -> int:
    """Run a sweep as a job of a cluster, which goes on when this machine is off."""
    from sweeps.package import limit_bytes  # pathspec
    from sweeps.reached import growth_of, reached  # pyarrow
    from sweeps.submission import run_submission
    from sweeps.submitted import reference_to, running_job

    chosen = {"name": name, "storage": storage_dir}
    named = [f"{key}={json.dumps(value)}" for key, value in chosen.items() if value is not None]
    config = load_spec(spec, [*(overrides or []), *named], needs=("net", "data"))
    file = _load(cluster)
    package = _package(working_dir or _folder_of(spec), excludes, config.storage)
    words = ["--resume", resume, *(word for override in overrides or [] for word in ("--set", override))]
    words += [word for key, value in chosen.items() if value is not None for word in (f"--{key}", value)]
    submission = run_submission(config, spec, package, words, growth_of(file))
    package.refuse_too_large(limit_bytes(os.environ))
    if file is not None:
        file.require(config.resources)
    with reached(file, address) as there:
        jobs = there.jobs.all()
        of_sweep = [job for job in jobs if job.location == submission.location]
        reference = reference_to(config.name, submission.location, jobs)
        _refuse_running(running_job(of_sweep), reference, there.where)
        if of_sweep and resume == "never":
            there.refuse_existing(submission.location, reference)
        for line in package.lines():
            note(line)
        return _send(there, submission, is_followed)


def status(
    sweep: SubmittedName, cluster: ClusterOption = None, address: JobsAddress = None, output: Output = Format.TABLE
) -> None:
    """Show how a sweep on a cluster stands: its job, its trials, its best score."""
    from sweeps.submitted import status_answer

    with _there(cluster, address) as there:
        shown, why = there.shown(there.jobs_of(sweep)[-1].location)
        jobs = there.jobs_of(sweep)  # again, since it may have ended meanwhile, but can't have begun
        answer(status_answer(jobs, shown, why, time.time()), output)


def logs(
    sweep: SubmittedName,
    cluster: ClusterOption = None,
    address: JobsAddress = None,
    is_followed: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the sweep ends; exit with its code.")
    ] = False,
) -> int:
    """Write what a sweep's jobs on a cluster have written, in their order."""
    with _there(cluster, address) as there:
        *before, last = there.jobs_of(sweep)
        for job in before:
            _write(there.jobs.log(job.id))
        if is_followed:
            return _follow(there, last, sweep)
        _write(there.jobs.log(last.id))
        return 0


def pull(
    sweep: SubmittedName,
    cluster: ClusterOption = None,
    address: JobsAddress = None,
    folder: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder of the sweeps here.")] = Path(
        DEFAULT_STORAGE
    ),
) -> None:
    """Copy what a sweep on a cluster has found to this machine, without its checkpoints."""
    with _there(cluster, address) as there:
        name, location, is_over = there.place_of(sweep)
        paths = there.pull(name, location, folder)
    if not is_over:
        note("the sweep goes on; pull again for what it finds from now on. Of the copy it seems interrupted")
    typer.echo(str(paths.root))
    note(f"next: sweeps show {shlex.quote(str(paths.root))}")


def stop_submitted(sweep: str, cluster: Path | None, address: str | None, *, now: bool) -> None:
    """Asks a sweep that runs as a job to stop, and says what was done."""
    with _there(cluster, address) as there:
        typer.echo(there.stop(sweep, now=now))


def resume_submitted(
    sweep: str, cluster: Path | None, address: str | None, words: Sequence[str], working_dir: Path | None
) -> int:
    """Submits a job that goes on with a sweep of a cluster, and follows it; returns its exit code."""
    from sweeps.package import limit_bytes  # pathspec
    from sweeps.reached import growth_of
    from sweeps.submission import resume_submission
    from sweeps.submitted import running_job

    with _there(cluster, address) as there:
        jobs = there.jobs_of(sweep)
        _refuse_running(running_job(jobs), sweep, there.where)
        package = None if working_dir is None else _package(working_dir, None, jobs[-1].metadata.get("storage", ""))
        if package is not None:
            package.refuse_too_large(limit_bytes(os.environ))
        submission = resume_submission(jobs[-1], words, package, growth_of(there.file))
        uri = str(submission.runtime_env.get("working_dir", ""))
        if uri.startswith("gcs://") and not there.jobs.has_package(uri):
            raise SweepStateError(
                f"the cluster no longer has the folder that was submitted with {jobs[-1].id}; give it once more with "
                f"--working-dir DIR, or go on with `sweeps submit SPEC --resume auto {there.where}`"
            )
        for line in package.lines() if package is not None else []:
            note(line)
        return _send(there, submission, is_followed=True)


@contextmanager
def _there(cluster: Path | None, address: str | None) -> Iterator[Reached]:
    from sweeps.reached import reached  # pyarrow

    with reached(_load(cluster), address) as there:
        if there.jobs.differs:
            note(f"note: {there.jobs.differs}")
        yield there


def _load(cluster: Path | None) -> ClusterFile | None:
    if cluster is None:
        return None
    from sweeps.cluster_file import load_cluster  # jsonschema

    return load_cluster(cluster)


def _folder_of(spec: Path) -> Path:
    here, there = Path.cwd(), spec.absolute().parent
    there = there.resolve() if ".." in there.parts else there
    return here if there.is_relative_to(here) else there


def _package(folder: Path, excludes: Sequence[str] | None, storage: str) -> Package:
    from sweeps.package import make_package  # pathspec

    root, place = folder.expanduser().resolve(), Path(storage).resolve()
    inside = Path(storage).is_absolute() and place.is_relative_to(root) and place != root
    own = [f"/{place.relative_to(root).as_posix()}"] if inside else []
    return make_package(root, [*(excludes or []), *own], os.environ)


def _refuse_running(job: Job | None, reference: str, where: str) -> None:
    if job is not None:
        named = f"{shlex.quote(reference)} {where}"
        raise SweepStateError(
            f"{job.sweep} runs already, as job {job.id}: follow it with `sweeps logs {named} --follow`, or stop it by "
            f"`sweeps stop {named} --now`"
        )


def _send(there: Reached, submission: Submission, is_followed: bool) -> int:
    from sweeps.submitted import next_id, reference_to

    jobs = there.jobs.all()
    job, reference = next_id(submission.sweep, jobs), reference_to(submission.sweep, submission.location, jobs)
    there.jobs.submit(submission, job)
    for line in submission.lines(job, there.where, reference):
        typer.echo(line)
    return _follow(there, there.jobs.get(job), reference) if is_followed else 0


def _follow(there: Reached, job: Job, reference: str) -> int:
    named = f"{shlex.quote(reference)} {there.where}"
    try:
        ended = there.jobs.follow(job.id, _write)
    except KeyboardInterrupt:
        note(f"\ndetached; the sweep goes on. See it again with: sweeps logs {named} --follow")
        return 128 + signal.SIGINT
    if ended.code is None:
        said = ended.message if ended.is_over else "its log has ended, but it has not"
        raise InfeasibleError(f"job {job.id} {ended.status.lower()} without an exit code: {said}")
    if ended.code > 128:
        note(f"job {job.id} was ended by a signal; how the sweep stands: sweeps status {named}")
    return ended.code


def _write(text: str) -> None:
    typer.echo(text, nl=False)
