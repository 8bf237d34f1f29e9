"""What short jobs say, and a Jobs server that does not answer. A real server is part of the cluster tests."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from sweeps.errors import InfeasibleError
from sweeps.jobs import Jobs, Said

LOG = (
    'INFO -- Runtime env is setting up.\nRunning entrypoint for job a: {x}\nnote: odd\n{\n "sweep": {"a": 1}\n}\nlate\n'
)


def test_an_answer_is_the_json_among_what_ray_and_others_wrote():
    assert Said(0, LOG).value == {"sweep": {"a": 1}}
    assert Said(0, "{not json\n" + LOG).value == {"sweep": {"a": 1}}
    assert Said(4, "error: no sweep\n").value is None


def test_an_error_is_what_was_marked_as_one_else_the_last_line():
    assert Said(4, "INFO -- x\nerror: no sweep\nnoise\n").error == "no sweep"
    assert Said(1, "INFO -- x\nModuleNotFoundError: sweeps\n\n").error == "ModuleNotFoundError: sweeps"
    assert Said(None, "").error == ""


def test_nobody_there_is_said_at_once_and_on_one_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InfeasibleError, match=f"nobody answers at http://127.0.0.1:{port}") as caught:
        Jobs(f"http://127.0.0.1:{port}")
    assert "\n" not in str(caught.value)


class Client:
    """Stands for Ray's client of a server that ends every job at once."""

    _server_ray_version = None

    def __init__(self, address):
        kinds = {"digits-1": 0, "sweeps-ask-old": 0, "sweeps-ask-new": 900, "late-1": 1000}
        self.jobs = {name: job(name, started_s) for name, started_s in kinds.items()}
        self.deleted = []
        type(self).last = self

    def list_jobs(self):
        return list(self.jobs.values())

    def submit_job(self, *, entrypoint, submission_id):
        self.jobs[submission_id] = job(submission_id, 1001)

    def get_job_info(self, name):
        return self.jobs[name]

    def get_job_logs(self, name):
        return "{}\n"

    def delete_job(self, name):
        self.deleted.append(name)


def job(name, started_s):
    times = {"start_time": started_s * 1000, "end_time": (started_s + 1) * 1000}
    said = {"entrypoint": "", "metadata": {}, "runtime_env": {}, "message": "", "driver_exit_code": 0}
    return SimpleNamespace(submission_id=name, status="SUCCEEDED", **times, **said)


def test_a_question_deletes_its_own_job_and_old_ones_but_none_that_another_may_be_reading(monkeypatch):
    monkeypatch.setattr("sweeps.jobs.JobSubmissionClient", Client)
    with socket.create_server(("127.0.0.1", 0)) as server:
        jobs = Jobs(f"http://127.0.0.1:{server.getsockname()[1]}")
    assert jobs.ask(["show"]).exit_code == 0
    old, own = Client.last.deleted
    assert old == "sweeps-ask-old"
    assert own not in ("sweeps-ask-new", "digits-1", "late-1")
