"""What a cluster's jobs say of a sweep."""

from __future__ import annotations

import json

import pytest

from sweeps.errors import SweepNotFoundError, SweepStateError
from sweeps.output import Format, write
from sweeps.submitted import Job, jobs_of, next_id, reference_to, running_job, standing, status_answer

WHERE = "--cluster cluster.yaml"


def job(name, number=1, status="RUNNING", storage="/shared", **more):
    metadata = {"sweep": name, "storage": storage, "location": f"{storage}/{name}"}
    return Job(f"{name}-{number}", status, metadata=metadata, **{"started_s": float(number), **more})


def shown(status, *trials):
    rows = [{"trial": trial, "status": how, "score": score, "epoch": 3} for trial, (how, score) in enumerate(trials)]
    return {"sweep": {"status": status, "n_trials": 6, "metric": "valid_loss", "goal": "minimize"}, "trials": rows}


def test_jobs_are_found_by_name_or_place_in_their_order():
    every = [job("demo", 2), Job("ask", "RUNNING"), job("other"), job("demo", 1, "FAILED")]
    assert [found.id for found in jobs_of("demo", every, WHERE)] == ["demo-1", "demo-2"]
    assert [found.id for found in jobs_of("/shared/other", every, WHERE)] == ["other-1"]


def test_an_unknown_sweep_is_told_what_there_is_and_how_to_go_on_after_a_new_head():
    with pytest.raises(SweepNotFoundError, match=r"it knows demo \(did you mean demo") as caught:
        jobs_of("demmo", [job("demo")], WHERE)
    assert f"sweeps submit SPEC --resume auto {WHERE}" in str(caught.value)
    with pytest.raises(SweepNotFoundError, match="it knows none"):
        jobs_of("demo", [], WHERE)


def test_two_sweeps_of_one_name_are_told_apart_by_their_place():
    every = [job("demo"), job("demo", 2, storage="s3://bucket")]
    with pytest.raises(SweepStateError, match=r"/shared/demo, s3://bucket/demo"):
        jobs_of("demo", every, WHERE)
    assert [found.id for found in jobs_of("s3://bucket/demo", every, WHERE)] == ["demo-2"]


def test_the_next_job_has_the_next_number():
    assert next_id("demo", []) == "demo-1"
    assert next_id("demo", [job("demo", 9), job("demo", 10), job("demo-x", 70), Job("demo-old", "FAILED")]) == "demo-11"


def test_the_job_at_work_is_the_one_that_has_not_ended():
    assert running_job([job("demo", 1, "FAILED"), job("demo", 2, "PENDING")]).id == "demo-2"
    assert running_job([job("demo", 1, "STOPPED"), job("demo", 2, "SUCCEEDED")]) is None


@pytest.mark.parametrize(
    ("status", "said", "seen"),
    [
        ("RUNNING", None, "starting"),
        ("FAILED", None, "never began"),
        ("RUNNING", "running", "running"),
        ("RUNNING", "interrupted", "restarting"),
        ("RUNNING", "stopped", "starting"),
        ("RUNNING", "complete", "ending"),
        ("FAILED", "running", "running"),
        ("FAILED", "interrupted", "interrupted"),
        ("SUCCEEDED", "complete", "complete"),
    ],
)
def test_a_sweep_stands_as_job_and_journal_say_together(status, said, seen):
    assert standing(job("demo", status=status), said and shown(said)) == seen


def test_the_answer_has_counts_and_the_best_by_the_goal():
    found = shown("running", ("COMPLETED", 0.5), ("STOPPED", 0.2), ("RUNNING", None))
    value = json.loads(write(status_answer([job("demo")], found, "", 100.0), Format.JSON, 80))
    assert value["best"] == {"trial": 1, "valid_loss": 0.2, "epoch": 3}
    assert (value["ended"], value["n_trials"], value["counts"]["stopped"]) == (2, 6, 1)


def test_a_job_that_never_began_says_why():
    failed = job("demo", status="FAILED", exit_code=2, message="failed\nimporting\nerror: X: has NaN\n")
    text = write(status_answer([failed], None, "no sweep there", 100.0), Format.TABLE, 200)
    assert "never began" in text
    assert "X: has NaN" in text
    assert "no sweep there" not in text


def test_a_driver_without_a_job_is_told_of():
    text = write(status_answer([job("demo", status="FAILED")], shown("running"), "", 9.0), Format.TABLE, 200)
    assert "nobody starts it again" in text


def test_exit_codes_of_signals_are_those_of_a_shell():
    assert job("demo", status="FAILED", exit_code=-9).code == 137
    assert job("demo", status="STOPPED").code == 143
    assert job("demo", status="FAILED").code is None


def test_a_name_is_enough_where_one_sweep_has_it():
    first = Job("demo-1", "RUNNING", metadata={"sweep": "demo", "location": "/a/demo"})
    assert reference_to("demo", "/a/demo", [first]) == "demo"
    assert reference_to("demo", "/b/demo", [first]) == "/b/demo"
