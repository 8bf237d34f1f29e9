"""The job that runs a sweep, as a value: what it holds, what it refuses, what a person is told."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from sweeps.errors import InfeasibleError, SpecError
from sweeps.package import make_package
from sweeps.spec import load_spec
from sweeps.submission import location_of, resume_submission, run_submission
from sweeps.submitted import Job

SPEC = """version: 1
name: demo
net: model:make_net
data: {type: npz, path: rows.npz}
metric: {name: valid_acc, goal: maximize}
parameters: {lr: {min: 0.1, max: 1.0}}
searcher: {name: random, num_samples: 2}
storage: /shared/sweeps
"""


@pytest.fixture
def project(tmp_path):
    """A folder with a spec, its module and its data."""
    root = tmp_path / "project"
    (root / "specs").mkdir(parents=True)
    (root / "specs" / "sweep.yaml").write_text(SPEC)
    (root / "specs" / "rows.npz").write_bytes(b"rows")
    (root / "specs" / "model.py").write_text("")
    return root


def submission(project, *overrides, words=("--resume", "never"), excludes=(), growth=None):
    spec = project / "specs" / "sweep.yaml"
    return run_submission(load_spec(spec, overrides), spec, make_package(project, excludes), words, growth)


def test_a_job_is_the_supervisor_in_place_of_its_shell(project):
    made = submission(project, words=["--resume", "auto", "--set", "name=a b"])
    assert shlex.split(made.entrypoint) == [
        *("exec", "python", "-m", "sweeps.supervisor", "run", "specs/sweep.yaml", "--address", "auto"),
        *("--resume", "auto", "--set", "name=a b"),
    ]
    assert made.runtime_env["working_dir"] == str(project)
    assert made.metadata == {"sweep": "demo", "storage": "/shared/sweeps", "location": "/shared/sweeps/demo"}


def test_ray_leaves_a_driver_time_to_save_and_knows_what_may_come(project):
    growth = [{"cpus": 8.0, "gpus": 4.0, "count": 2}]
    environment = submission(project, growth=growth).runtime_env["env_vars"]
    assert float(environment["RAY_JOB_STOP_WAIT_TIME_S"]) == 30
    assert json.loads(environment["SWEEPS_NODE_TYPES"]) == growth
    assert "OMP_NUM_THREADS" not in environment
    assert "SWEEPS_NODE_TYPES" not in submission(project).runtime_env["env_vars"]


@pytest.mark.parametrize("storage", ["./results", "results", "~/results", "../up"])
def test_a_storage_that_each_node_would_have_for_itself_is_refused(project, storage):
    with pytest.raises(InfeasibleError, match="every node must reach the same"):
        submission(project, f"storage={storage}")


def test_credentials_never_reach_the_cluster_nor_the_message(project):
    with pytest.raises(SpecError, match="credentials") as caught:
        submission(project, "storage=s3://AKIA:hush@bucket/sweeps?region=eu-west-1")
    assert "hush" not in str(caught.value)
    with pytest.raises(SpecError, match="credentials") as caught:
        submission(project, "storage=s3://bucket/sweeps?secret_key=hush")
    assert "hush" not in str(caught.value)
    with pytest.raises(SpecError, match=r"data\.path: .*credentials") as caught:
        submission(project, 'data={type: parquet, path: "s3://AKIA:hush@bucket/rows.parquet", target: y}')
    assert "hush" not in str(caught.value)


def test_a_uri_without_credentials_is_taken_as_it_is(project):
    uri = "s3://bucket/sweeps?endpoint_override=127.0.0.1%3A9000&scheme=http"
    made = submission(project, f"storage={json.dumps(uri)}")
    assert made.storage == uri
    assert made.location == "s3://bucket/sweeps/demo?endpoint_override=127.0.0.1:9000&scheme=http"


@pytest.mark.parametrize(
    ("override", "excludes", "said"),
    [
        ("data.path=missing.npz", (), "data.path: .*no such file"),
        ("data.path=../../rows.npz", (), "lies outside the working directory"),
        ("seed=1", ("*.npz",), r"kept from travelling by \.gitignore"),
        ("seed=1", ("*.yaml",), r"sweep\.yaml: is kept from travelling"),
    ],
)
def test_what_a_trial_reads_must_travel(project, override, excludes, said):
    (project.parent / "rows.npz").write_bytes(b"rows")
    with pytest.raises(SpecError, match=f"(?s){said}"):
        submission(project, override, excludes=excludes)


def test_data_at_an_absolute_path_are_the_nodes_own(project):
    assert submission(project, "data.path=/datasets/rows.npz", excludes=["*.npz"])


def test_a_resume_takes_the_folder_and_the_machines_of_the_job_before(project):
    environment = {"SWEEPS_NODE_TYPES": "[]", "OTHER": "1"}
    metadata = {"sweep": "demo", "storage": "/shared", "location": "/shared/demo"}
    job = Job(
        "demo-1", "FAILED", metadata=metadata, runtime_env={"working_dir": "gcs://a.zip", "env_vars": environment}
    )
    made = resume_submission(job, ["--retry-failed"], None)
    assert made.runtime_env["working_dir"] == "gcs://a.zip"
    assert made.runtime_env["env_vars"]["SWEEPS_NODE_TYPES"] == "[]"
    assert "OTHER" not in made.runtime_env["env_vars"]
    assert made.entrypoint.endswith("sweeps.supervisor resume /shared/demo --address auto --retry-failed")
    assert made.metadata == metadata
    assert resume_submission(job, [], make_package(project)).runtime_env["working_dir"] == str(project)


def test_a_person_is_told_every_next_command(project):
    lines = submission(project).lines("demo-1", "--cluster cluster.yaml", "demo")
    assert "job:     demo-1" in lines
    for verb in ("logs demo", "status demo", "stop demo", "resume demo", "pull demo"):
        assert any(f"sweeps {verb} --cluster cluster.yaml" in line for line in lines)


def test_a_location_is_that_of_the_sweep_on_a_node(tmp_path):
    assert location_of("/shared", "demo") == "/shared/demo"
    assert location_of("file:///shared/a%20b", "demo") == "/shared/a b/demo"
    assert location_of("gs://bucket/x/", "demo") == "gs://bucket/x/demo"


def test_a_spec_is_found_in_its_folder_however_both_are_named(project, monkeypatch):
    (project.parent / "b").mkdir()
    (project.parent / "link").symlink_to(project)
    monkeypatch.chdir(project.parent / "b")
    up = Path("..", "project", "specs", "sweep.yaml")
    config = load_spec(up)
    plain = project / "specs" / "sweep.yaml"
    for spec, folder in [(up, project), (plain, project.parent / "link"), (plain, Path("..", "project"))]:
        made = run_submission(config, spec, make_package(folder), [])
        assert "run specs/sweep.yaml --address" in made.entrypoint


def test_what_lies_below_a_link_to_a_folder_travels_by_its_name(project):
    (project.parent / "rows").mkdir()
    (project.parent / "rows" / "a.npz").write_bytes(b"rows")
    (project / "specs" / "linked").symlink_to(project.parent / "rows")
    assert submission(project, "data.path=linked/a.npz")
    with pytest.raises(SpecError, match="lies outside"):
        submission(project, "data.path=../../rows/a.npz")
