"""The verbs about submitted sweeps, with a Jobs server that only remembers."""

from __future__ import annotations

import json

import pytest

from sweeps.cli import main
from sweeps.errors import InfeasibleError
from sweeps.jobs import Said
from sweeps.submitted import Job

AT = ("--address", "http://127.0.0.1:8265")
SPEC = """version: 1
name: demo
net: model:make_net
data: {type: sklearn, name: digits}
metric: {name: valid_acc, goal: maximize}
parameters: {lr: {min: 0.1, max: 1.0}}
searcher: {name: random, num_samples: 2}
"""


class Server:
    """Stands for the Jobs server of a cluster that runs nothing."""

    differs = None
    jobs: dict[str, Job]
    said = Said(0, "asked process 7 to stop\n")
    has = True
    end = 0

    def __init__(self, address):
        pass

    def all(self):
        return list(self.jobs.values())

    def get(self, job):
        return self.jobs[job]

    def submit(self, submission, job):
        options = {"metadata": submission.metadata, "runtime_env": submission.runtime_env}
        self.jobs[job] = Job(
            job, "RUNNING", entrypoint=submission.entrypoint, started_s=float(len(self.jobs)), **options
        )

    def log(self, job):
        return f"log of {job}\n"

    def follow(self, job, write):
        if self.end is None:
            raise KeyboardInterrupt
        write(f"log of {job}\n")
        return Job(job, "SUCCEEDED" if self.end == 0 else "FAILED", self.end)

    def ask(self, arguments):
        return self.said

    def stop(self, job):
        raise NotImplementedError

    def has_package(self, uri):
        return self.has


@pytest.fixture
def server(monkeypatch, tmp_path):
    import sweeps.jobs

    fresh = type("Fresh", (Server,), {"jobs": {}})
    monkeypatch.setattr(sweeps.jobs, "Jobs", fresh)
    (tmp_path / "sweep.yaml").write_text(SPEC)
    (tmp_path / "model.py").write_text("")
    monkeypatch.chdir(tmp_path)
    return fresh


def submit(*words):
    return main(["submit", "sweep.yaml", *AT, "--storage", "/no/such/shared", *words])


def test_a_submit_says_what_travels_and_what_to_type_next(server, capsys):
    assert submit("--detach", "--set", "seed=3") == 0
    captured = capsys.readouterr()
    assert "sweeps pull demo --address http://127.0.0.1:8265" in captured.out
    assert "package: 2 files" in captured.err
    assert server.jobs["demo-1"].entrypoint.endswith("--resume never --set seed=3 --storage /no/such/shared")


@pytest.mark.parametrize(("end", "code"), [(0, 0), (3, 3), (-9, 137), (None, 130)])
def test_following_ends_with_the_drivers_code_and_ctrl_c_only_detaches(server, capsys, end, code):
    server.end = end
    assert submit() == code
    assert ("the sweep goes on" in capsys.readouterr().err) == (end is None)


def test_a_sweep_is_not_submitted_while_it_runs(server, capsys):
    submit("--detach")
    assert submit("--detach") == 4
    assert "sweeps logs demo --address http://127.0.0.1:8265 --follow" in capsys.readouterr().err
    assert len(server.jobs) == 1


def test_a_relative_storage_is_5_and_no_cluster_is_2(server, capsys):
    assert main(["submit", "sweep.yaml", *AT]) == 5
    assert main(["submit", "sweep.yaml", "--storage", "/shared"]) == 2
    assert main(["status", "demo", "--address", "auto"]) == 2
    assert not server.jobs


def test_a_status_is_read_on_the_head(server, capsys):
    submit("--detach")
    trials = [{"trial": 0, "status": "COMPLETED", "score": 0.5, "epoch": 2}]
    sweep = {"status": "running", "n_trials": 2, "metric": "valid_acc", "goal": "maximize"}
    server.said = Said(0, f"INFO -- x\n{json.dumps({'sweep': sweep, 'trials': trials})}\n")
    capsys.readouterr()
    assert main(["status", "demo", *AT, "-o", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["status"], value["ended"], value["job"]["id"]) == ("running", 1, "demo-1")
    server.said = Said(4, "error: no sweep there\n")
    assert main(["status", "demo", *AT]) == 0
    assert "starting" in capsys.readouterr().out


def test_a_stop_is_the_sweeps_own(server, capsys):
    submit("--detach")
    assert main(["stop", "demo", "--now", *AT]) == 0
    assert "asked process 7" in capsys.readouterr().out
    server.said = Said(4, "error: is not running\n")
    assert main(["stop", "demo", *AT]) == 4


def test_a_resume_is_a_new_job_with_the_same_folder_or_says_that_it_is_gone(server, capsys):
    submit("--detach")
    assert main(["resume", "demo", *AT]) == 4  # it runs
    server.jobs["demo-1"] = Job(
        "demo-1", "FAILED", 1, "", server.jobs["demo-1"].metadata, {"working_dir": "gcs://a.zip"}
    )
    server.has = False
    assert main(["resume", "demo", *AT]) == 4
    assert "--working-dir DIR" in capsys.readouterr().err
    server.has = True
    assert main(["resume", "demo", "--retry-failed", *AT]) == 0
    assert "resume /no/such/shared/demo --address auto --retry-failed" in server.jobs["demo-2"].entrypoint


def test_logs_are_those_of_all_jobs_and_a_folder_of_the_cluster_needs_its_file(server, capsys):
    submit("--detach")
    capsys.readouterr()
    assert main(["logs", "demo", *AT]) == 0
    assert capsys.readouterr().out == "log of demo-1\n"
    assert main(["pull", "demo", *AT]) == 5
    assert "--cluster FILE" in capsys.readouterr().err
    assert main(["pull", "other", *AT]) == 4


@pytest.mark.parametrize(
    "address",
    ["http://h:99999", "http://127.0.0.1:abc", "https://[::1", "http://a..b:8265", "http://:8265", "HTTP://h:-1"],
)
def test_what_is_no_url_is_2(server, capsys, address):
    for verb in ("status", "resume"):
        assert main([verb, "demo", "--address", address]) == 2
        assert address in capsys.readouterr().err


def test_a_scheme_may_be_in_capitals(server):
    submit("--detach")
    assert main(["resume", "demo", "--address", "HTTP://127.0.0.1:8265"]) == 4  # it runs
    assert main(["logs", "demo", "--address", "HTTP://127.0.0.1:8265"]) == 0


def test_two_sweeps_of_one_name_are_told_apart_by_where_they_lie(server, capsys):
    submit("--detach")
    capsys.readouterr()
    assert main(["submit", "sweep.yaml", *AT, "--storage", "/no/other/shared", "--detach"]) == 0
    told = capsys.readouterr().out
    assert told.count("/no/other/shared/demo --address") == 5


def test_what_lies_beside_is_not_taken_for_what_lies_below(server, tmp_path, monkeypatch, capsys):
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "b")
    assert main(["submit", "../sweep.yaml", *AT, "--storage", "/no/such/shared", "--detach"]) == 0
    assert server.jobs["demo-1"].runtime_env["working_dir"] == str(tmp_path)


def test_a_resume_with_a_new_folder_says_what_travels_and_refuses_too_much(server, monkeypatch, capsys):
    server.jobs["demo-1"] = Job("demo-1", "FAILED", 1, "", {"sweep": "demo", "location": "/no/such/demo"})
    monkeypatch.setenv("RAY_max_grpc_message_size", "100")
    assert main(["resume", "demo", *AT, "--working-dir", "."]) == 2
    assert "demo-2" not in server.jobs
    monkeypatch.delenv("RAY_max_grpc_message_size")
    assert main(["resume", "demo", *AT, "--working-dir", "."]) == 0
    assert "package: 2 files" in capsys.readouterr().err


def test_a_pull_from_a_store_says_whose_credentials_failed(server, monkeypatch, capsys):
    import sweeps.reached

    def refuse(location):
        raise InfeasibleError(f"storage {location} failed: ACCESS_DENIED")

    metadata = {"sweep": "demo", "location": "s3://bucket/demo"}
    server.jobs["demo-1"] = Job("demo-1", "SUCCEEDED", 0, "", metadata)
    monkeypatch.setattr(sweeps.reached, "find", refuse)
    assert main(["pull", "demo", *AT]) == 5
    assert "ACCESS_DENIED; this machine reads the store itself" in capsys.readouterr().err
