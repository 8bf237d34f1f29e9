"""What a cluster knows of the sweeps that were submitted to it: its jobs, by the sweep they belong to. Asks nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sweeps.errors import SweepNotFoundError, SweepStateError, did_you_mean
from sweeps.output import Answer, brief, duration, fields

_OVER = ("SUCCEEDED", "FAILED", "STOPPED")
# What the Jobs server ends a job of itself with is SIGTERM.
_STOPPED_CODE = 143


@dataclass(frozen=True)
class Job:
    """One job of a cluster.

    Attributes
    ----------
    id : str
        As the Jobs server names it.
    status : str
        PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
    exit_code : int or None
        Of its process, when that ended by itself.
    entrypoint : str
        The command line.
    metadata : mapping of str to str
        Of a sweep: ``sweep``, ``storage`` and ``location``.
    runtime_env : mapping
        With its ``working_dir``, a ``gcs://`` URI.
    message : str
        What the server says of its end.
    started_s, ended_s : float or None
        Seconds since 1970, by the head's clock.
    """

    id: str
    status: str
    exit_code: int | None = None
    entrypoint: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    started_s: float | None = None
    ended_s: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether its process has ended."""
        return self.status in _OVER

    @property
    def sweep(self) -> str:
        """The name of its sweep; empty where it has none."""
        return self.metadata.get("sweep", "")

    @property
    def location(self) -> str:
        """Where its sweep lies, as a node of the cluster says it."""
        return self.metadata.get("location", "")

    @property
    def code(self) -> int | None:
        """The exit code of its sweep; 128 + N after signal N, None where its process never ran."""
        if self.status == "STOPPED":
            return _STOPPED_CODE
        return self.exit_code if self.exit_code is None or self.exit_code >= 0 else 128 - self.exit_code


def jobs_of(reference: str, jobs: Sequence[Job], where: str) -> list[Job]:
    """The jobs of one sweep, in the order in which they began.

    Parameters
    ----------
    reference : str
        The sweep's name or location.
    jobs : sequence of Job
        All of the cluster.
    where : str
        How a command line names the cluster: ``--cluster cluster.yaml``.

    Raises
    ------
    SweepNotFoundError
        No job belongs to such a sweep.
    SweepStateError
        Sweeps in several places have the name.
    """
    ours = [job for job in jobs if job.sweep]
    found = [job for job in ours if reference in (job.sweep, job.location)]
    if not found:
        names = sorted({job.sweep for job in ours})
        known = f"it knows {', '.join(names)}" if names else "it knows none"
        guess = did_you_mean(reference, names, "")
        raise SweepNotFoundError(
            f"no sweep {reference!r} was submitted to this cluster; {known}{guess and f' ({guess})'}. A new "
            f"head forgets the jobs of the one before: go on with `sweeps submit SPEC --resume auto {where}`, with the "
            "same --name, --storage and --set; `sweeps pull` takes the sweep's folder or URI, too"
        )
    if len(places := sorted({job.location for job in found})) > 1:
        raise SweepStateError(f"several sweeps are named {reference!r}; give one of these: {', '.join(places)}")
    return sorted(found, key=lambda job: job.started_s or float("inf"))


def reference_to(sweep: str, location: str, jobs: Sequence[Job]) -> str:
    """What a command line calls a sweep: its name, or its location where several of a cluster's have that name."""
    return location if any(job.sweep == sweep and job.location != location for job in jobs) else sweep


def running_job(jobs: Sequence[Job]) -> Job | None:
    """The job at work, or about to be."""
    return next((job for job in reversed(jobs) if not job.is_over), None)


def next_id(name: str, jobs: Sequence[Job]) -> str:
    """The id of a sweep's next job, ``NAME-1`` for the first; two who take the same are told apart by the server."""
    numbers = [job.id.removeprefix(f"{name}-") for job in jobs if job.id.startswith(f"{name}-")]
    return f"{name}-{max((int(number) for number in numbers if number.isdecimal()), default=0) + 1}"


def status_answer(jobs: Sequence[Job], shown: Mapping[str, Any] | None, why: str, now: float) -> Answer:
    """How a submitted sweep stands: the state of its last job, and what the sweep itself says.

    Parameters
    ----------
    jobs : sequence of Job
        Those of the sweep, in order.
    shown : mapping or None
        What ``sweeps show -o json`` says of it; None where there is nothing yet.
    why : str
        Why there is nothing.
    now : float
        Seconds since 1970.
    """
    last = jobs[-1]
    head = {"sweep": last.sweep, "status": standing(last, shown), "location": last.location}
    value: dict[str, Any] = head | {"job": _job_value(last), "jobs": len(jobs)}
    told = head | {"job": _job_text(last, now)}
    if shown is None:
        value["problem"] = _failure(last) or why if last.is_over else None
        told |= {"said": str(value["problem"])} if value["problem"] else {}
    else:
        progress = _progress(shown)
        value |= progress
        told |= {"trials": f"{progress['ended']}/{progress['n_trials']} ended: {brief(progress['counts'])}"}
        if progress["best"] is not None:
            told["best"] = brief(progress["best"])
        if last.is_over and head["status"] == "running":
            told["note"] = "the job has ended, but a driver is at work; nobody starts it again should it be killed"
    return Answer(value, [value], [fields(told)])


def standing(job: Job, shown: Mapping[str, Any] | None) -> str:
    """A sweep's status, seen from its last job and from its journal together.

    As `sweeps.standing.status_of` says, and ``starting`` or ``restarting`` where the job lives and no driver does.
    """
    said = None if shown is None else str(shown["sweep"]["status"])
    if said is None:
        return "starting" if not job.is_over else "never began"
    if said != "running" and not job.is_over:
        return "restarting" if said == "interrupted" else "starting" if said != "complete" else "ending"
    return said


def _progress(shown: Mapping[str, Any]) -> dict[str, Any]:
    sweep, trials = shown["sweep"], shown["trials"]
    counts = Counter(trial["status"] for trial in trials)
    unfinished = ("RUNNING", "PENDING", "INTERRUPTED")
    scored = [trial for trial in trials if trial["score"] is not None]
    turn = max if sweep["goal"] == "maximize" else min
    best = turn(scored, key=lambda trial: float(trial["score"])) if scored else None
    return {
        "n_trials": sweep["n_trials"],
        "ended": sum(count for status, count in counts.items() if status not in unfinished),
        "counts": {status.lower(): count for status, count in counts.items()},
        "best": best and {"trial": best["trial"], sweep["metric"]: best["score"], "epoch": best["epoch"]},
    }


def _failure(job: Job) -> str:
    """The errors that a job ended with, by what the server keeps of its log."""
    lines = job.message.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    return "\n".join(errors) or (lines[0] if lines and job.exit_code is None else "")


def _job_value(job: Job) -> dict[str, Any]:
    times = {"started": job.started_s, "ended": job.ended_s}
    known = {name: value and datetime.fromtimestamp(value, UTC) for name, value in times.items()}
    return {"id": job.id, "status": job.status, "exit_code": job.exit_code, **known}


def _job_text(job: Job, now: float) -> str:
    code = "" if job.exit_code is None else f", exit code {job.exit_code}"
    lasted = "" if job.started_s is None else f", {duration(max(0.0, (job.ended_s or now) - job.started_s))}"
    return f"{job.id}, {job.status.lower()}{code}{lasted}"
