"""The Jobs server of a Ray cluster: submits jobs, tells of them, ends them. Does not know what they run."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp  # Ray's Jobs client has none of its names without it
import ray
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from sweeps.errors import InfeasibleError, SweepStateError
from sweeps.submission import Submission
from sweeps.submitted import Job

_CONNECT_S = 10.0
_EVERY_S = 0.3
_ANSWER_S = 120.0
_END_S = 30.0
# Far longer than whoever asked takes to read what a job said.
_READ_S = 600.0
_ASKING = "sweeps-ask-"
# Over the address that it is given, Ray's client prefers these.
_ADDRESSES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
_FORBIDDEN = ("401", "403")


@dataclass(frozen=True)
class Said:
    """What a short job on the head said.

    Attributes
    ----------
    exit_code : int or None
        None where it could not be started.
    log : str
        Its stdout and stderr, and what Ray wrote before.
    """

    exit_code: int | None
    log: str

    @property
    def value(self) -> Any:
        """The JSON object in it, or None."""
        lines = self.log.splitlines(keepends=True)
        starts = (number for number, line in enumerate(lines) if line.startswith("{"))
        for start in starts:
            try:
                return json.JSONDecoder().raw_decode("".join(lines[start:]))[0]
            except ValueError:
                continue
        return None

    @property
    def error(self) -> str:
        """The errors in it as a person would read them; else its last line."""
        lines = [line for line in self.log.splitlines() if line.strip()]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return "\n".join(errors or lines[-1:])


class Jobs:
    """A Jobs server that answered.

    Parameters
    ----------
    address : str
        Its URL, such as ``http://127.0.0.1:8265``.

    Attributes
    ----------
    differs : str or None
        What to tell of the cluster's version of Ray where it is another than this machine's.

    Raises
    ------
    InfeasibleError
        Nobody answers there, or not to this machine's token.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        _refuse_silence(address)
        with self._answering(), _without(_ADDRESSES):
            self._client = JobSubmissionClient(address)
            there = self._client._server_ray_version  # which it asks for anyway, and tells in no other way
        is_same = there in (None, ray.__version__)
        self.differs = None if is_same else f"the cluster has Ray {there}, this machine Ray {ray.__version__}"

    def all(self) -> list[Job]:
        """Every job that was submitted, in no order."""
        with self._answering():
            return [_job(details) for details in self._client.list_jobs() if details.submission_id]

    def get(self, job: str) -> Job:
        """One job as it is now."""
        with self._answering():
            return _job(self._client.get_job_info(job))

    def submit(self, submission: Submission, job: str) -> None:
        """Sends a working directory, where the cluster does not have it yet, and starts a job.

        Raises
        ------
        SweepStateError
            There is a job of this id.
        InfeasibleError
            The server could not take it.
        """
        try:
            with self._answering(), _quiet_ray():
                self._client.submit_job(
                    entrypoint=submission.entrypoint,
                    submission_id=job,
                    runtime_env=dict(submission.runtime_env),
                    metadata=submission.metadata,
                )
        except InfeasibleError as error:
            if f"{job} already exists" in str(error) or "already been used" in str(error):
                raise SweepStateError(f"{job} was submitted by somebody else at this moment; see that one") from error
            raise

    def log(self, job: str) -> str:
        """What a job has written so far."""
        with self._answering():
            return str(self._client.get_job_logs(job))

    def follow(self, job: str, write: Callable[[str], None]) -> Job:
        """Passes on what a job writes until it ends; returns the job as it ended.

        Raises
        ------
        InfeasibleError
            The connection was lost; the job is not.
        """

        async def tail() -> None:
            async for lines in self._client.tail_job_logs(job):
                write(lines)

        with self._answering(), _quiet_ray():
            asyncio.run(tail())
        return self._wait(job, _END_S)

    def stop(self, job: str) -> None:
        """Has the server end a job: it sends SIGTERM, and kills what is left after RAY_JOB_STOP_WAIT_TIME_S."""
        with self._answering():
            self._client.stop_job(job)

    def ask(self, arguments: Sequence[str], *, timeout_s: float = _ANSWER_S) -> Said:
        """Runs ``python -m sweeps ARGUMENTS`` on the head and waits for it; its job is deleted afterwards.

        Parameters
        ----------
        arguments : sequence of str
            Of the command line; stored in clear.
        timeout_s : float, default=120
            Longest time to wait.

        Raises
        ------
        InfeasibleError
            It took longer.
        """
        for left in _unread(self.all()):  # one deleted right at its end, Ray's monitor of it may write down again
            self._forget(left)
        job = f"{_ASKING}{uuid4().hex[:12]}"
        with self._answering():
            self._client.submit_job(entrypoint=_command(arguments), submission_id=job)
        try:
            found = self._wait(job, timeout_s)
            if not found.is_over:
                self.stop(job)
                self._wait(job, _END_S)
                raise InfeasibleError(f"the head did not answer `sweeps {arguments[0]}` within {timeout_s:g} s")
            log = self.log(job) if found.exit_code is not None else found.message
            return Said(found.exit_code, log)
        finally:
            self._forget(job)

    def has_package(self, uri: str) -> bool:
        """Whether the cluster still has a working directory; Ray deletes one some time after its last job."""
        with self._answering():
            return bool(self._client._package_exists(uri))  # the public way is to submit and see the job fail

    def _wait(self, job: str, timeout_s: float) -> Job:
        deadline = time.monotonic() + timeout_s
        while not (found := self.get(job)).is_over and time.monotonic() < deadline:
            time.sleep(_EVERY_S)
        return found

    def _forget(self, job: str) -> None:
        try:
            self._client.delete_job(job)
        except (OSError, RuntimeError):  # it is in nobody's way
            return

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except AuthenticationError as error:
            raise InfeasibleError(_about_token(self._address)) from error
        except (RuntimeError, ValueError) as error:
            text = _one_line(error)
            if any(f"status code {code}" in text for code in _FORBIDDEN) or "oken" in text:
                raise InfeasibleError(f"{_about_token(self._address)} ({text})") from error
            raise InfeasibleError(f"the Jobs server at {self._address} refused: {text}") from error
        except (OSError, aiohttp.ClientError) as error:  # requests' own are OSErrors
            said = f"no connection to the Jobs server at {self._address}: {_one_line(error)}"
            raise InfeasibleError(f"{said}; what was submitted goes on without it") from error


def _refuse_silence(address: str) -> None:
    """A server behind a firewall would be waited for without end by what Ray uses."""
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_S).close()
    except OSError as error:
        raise InfeasibleError(
            f"nobody answers at {address}: {error.strerror or error}; give the address of the head's Jobs server, "
            "which listens on the head itself only: http://127.0.0.1:8265 through a tunnel, or --cluster FILE"
        ) from error


def _unread(jobs: Sequence[Job]) -> list[str]:
    """The short jobs that nobody waits for any more; by the head's clock, which the newest job tells."""
    times = {job.id: job.ended_s or job.started_s or 0.0 for job in jobs}
    last = max(times.values(), default=0.0)
    asking = [job.id for job in jobs if job.id.startswith(_ASKING) and job.is_over]
    return [job for job in asking if last - times[job] > _READ_S]


def _about_token(address: str) -> str:
    return (
        f"the Jobs server at {address} does not accept this machine's token; set RAY_AUTH_MODE=token, and put the "
        "cluster's token into ~/.ray/auth_token (or name its file in RAY_AUTH_TOKEN_PATH)"
    )


def _command(arguments: Sequence[str]) -> str:
    return f"exec {shlex.join(['python', '-m', 'sweeps', *arguments])}"


def _job(details: Any) -> Job:
    return Job(
        id=details.submission_id,
        status=str(getattr(details.status, "value", details.status)),
        exit_code=details.driver_exit_code,
        entrypoint=details.entrypoint,
        metadata=details.metadata or {},
        runtime_env=details.runtime_env or {},
        message=details.message or "",
        started_s=None if details.start_time is None else details.start_time / 1000,
        ended_s=None if details.end_time is None else details.end_time / 1000,
    )


@contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    taken = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)


@contextmanager
def _quiet_ray() -> Iterator[None]:
    """Keeps Ray from telling of every .gitignore that it reads; what travels, `Package` says."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
