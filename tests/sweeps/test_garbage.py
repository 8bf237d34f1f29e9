"""What gc finds in a sweep's directory, and how it says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from saved_trials import save

from sweeps.config import KeepConfig
from sweeps.errors import SpecError, SweepStateError
from sweeps.garbage import collect, gc_answer, plan_gc
from sweeps.lock import locked
from sweeps.output import Format, as_text, write
from sweeps.retention import Removal, remove
from sweeps.storage import SweepPaths
from trainables.remote import RemoteFolder


@pytest.fixture
def littered(record_sweep):
    """A sweep of four trials, the last of them interrupted, with all that may lie in it."""
    paths = record_sweep(reason="interrupted")
    for trial in range(4):
        for epoch in (1, 2):
            save(paths.trials / f"trial_{trial:05d}", epoch)
    save(paths.trials / "trial_00009", 1)
    (paths.trials / "trial_00000" / ".checkpoint-000003.01.77.part").mkdir()
    (paths.trials / "attempt").write_text("1\n")
    (paths.trials / "mine").mkdir()
    (paths.root / ".trials.parquet.part").write_bytes(b"half")
    (paths.root / ".best.part").mkdir()
    for attempt in (1, 2):
        (paths.ray(attempt) / "trial").mkdir(parents=True)
        (paths.ray(attempt) / "trial" / "result.json").write_text("{}")
    return paths


def found(plan, paths):
    return {str(item.path.relative_to(paths.root)): item.why for item in plan}


def test_everything_that_the_journal_has_superseded_is_found_and_nothing_else(littered, state):
    plan = plan_gc(littered, state, KeepConfig())
    older, unfinished = "older than what checkpoint.keep has", "unfinished by a process that died"
    assert found(plan, littered) == {
        "trials/trial_00000/checkpoint-000001": older,
        "trials/trial_00001/checkpoint-000001": older,
        "trials/trial_00002/checkpoint-000001": older,
        "trials/trial_00009": "a trial that the journal does not know",
        "trials/trial_00000/.checkpoint-000003.01.77.part": unfinished,
        ".trials.parquet.part": unfinished,
        ".best.part": unfinished,
        "ray/attempt-01": "Ray's files of an attempt that has ended",
        "ray/attempt-02": "Ray's files of an attempt that has ended",
    }
    assert all(item.path.exists() for item in plan)
    remove(plan)
    assert not [item.path for item in plan if item.path.exists()]
    assert (littered.trials / "mine").exists()
    assert (littered.trials / "attempt").exists()
    assert plan_gc(littered, state, KeepConfig()) == []


def test_a_sweep_without_anything_superseded_is_left_alone(record_sweep, state):
    paths = record_sweep()
    assert plan_gc(paths, state, KeepConfig()) == []


@pytest.fixture
def specified(littered):
    """The same with a sweep.yaml, which says what to keep."""
    littered.spec.write_text(
        "version: 1\nname: demo\nmetric: {name: valid_acc, goal: maximize}\nparameters: {lr: [0.1, 0.2]}\n"
        "searcher: {name: grid}\ncheckpoint: {keep: {trial_latest: 2}}\n"
    )
    return littered


def test_what_to_keep_stands_in_the_sweep_itself_and_a_dry_run_deletes_nothing(specified):
    planned = collect(specified, is_dry_run=True)
    assert all(item.path.exists() for item in planned)
    assert not [item for item in planned if item.path.name.startswith("checkpoint-")]
    assert collect(specified, is_dry_run=False) == planned
    assert not [item for item in planned if item.path.exists()]


@pytest.mark.parametrize("is_dry_run", [True, False])
def test_nothing_is_deleted_under_a_driver(specified, is_dry_run):
    with locked(specified), pytest.raises(SweepStateError, match="in use"):
        collect(specified, is_dry_run=is_dry_run)
    assert specified.ray(1).exists()


@pytest.mark.parametrize("is_dry_run", [True, False])
def test_what_a_resume_takes_after_the_journal_lost_its_end_is_not_deleted(specified, is_dry_run):
    events = specified.journal / "events.jsonl"
    events.write_bytes(b"".join(events.read_bytes().splitlines(keepends=True)[:4]))
    with pytest.raises(SweepStateError, match=r"events\.jsonl ends at record 4 .*`sweeps resume "):
        collect(specified, is_dry_run=is_dry_run)
    assert (specified.trials / "trial_00003").exists()


def test_a_sweep_on_a_store_is_refused_instead_of_its_working_copy(specified, tmp_path):
    paths = SweepPaths(specified.root, RemoteFolder((tmp_path / "store" / "demo").as_uri()))
    with pytest.raises(SpecError, match="is on an object store"):
        collect(paths, is_dry_run=False)
    assert specified.ray(1).exists()


ROOT = Path("/home/me/results/demo")
REMOVALS = [
    Removal(ROOT / "trials/trial_00000/checkpoint-000001", 1_500_000, "older than what checkpoint.keep has"),
    Removal(ROOT / "ray/attempt-01", 2_048, "Ray's files of an attempt that has ended"),
    Removal(ROOT / "trials/trial_00001/checkpoint-000003", 500_000, "older than what checkpoint.keep has"),
]


@pytest.mark.parametrize("is_dry_run", [True, False])
def test_people_read_how_much_is_freed_and_why(is_dry_run, golden):
    answer = gc_answer(REMOVALS, SweepPaths(ROOT), is_dry_run=is_dry_run)
    golden("gc_dry_run" if is_dry_run else "gc", as_text(answer.parts, 120))


def test_programs_read_every_path():
    answer = gc_answer(REMOVALS, SweepPaths(ROOT), is_dry_run=True)
    value = json.loads(write(answer, Format.JSON, 80))
    assert (value["deleted"], value["bytes"], len(value["removals"])) == (False, 2_002_048, 3)
    assert value["removals"][1] == {"path": "ray/attempt-01", "bytes": 2048, "why": REMOVALS[1].why}
    assert write(answer, Format.CSV, 80).splitlines()[0] == "path,bytes,why"


def test_nothing_to_delete_is_said():
    answer = gc_answer([], SweepPaths(ROOT), is_dry_run=False)
    assert as_text(answer.parts, 120) == "nothing to delete in /home/me/results/demo\n"
    assert answer.value == {"deleted": True, "bytes": 0, "removals": []}
