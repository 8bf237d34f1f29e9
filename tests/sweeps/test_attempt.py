"""One run of a sweep's driver: why it ends early, what it says then, and that the next one goes on from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nets
import pandas as pd
import pytest
import ray
from inline_sweeps import Told, extend, resume, run, sweep_of

from sweeps import InfeasibleError, NoTrialSucceededError, Sweep, SweepResult, SweepStateError, hold, lock
from sweeps.records import SweepState
from sweeps.storage import SweepPaths

FOUR = {"lr": [0.1, 0.2, 0.3, 0.4], "max_epochs": 3}


def statuses(result: SweepResult) -> list[str]:
    return [str(record.status) for record in result.state.trials.values()]


def reason(root: Path) -> Any:
    return SweepResult.load(root).state.attempts[-1].get("reason")


def test_the_first_trials_failing_alike_end_the_sweep_and_it_goes_on_once_it_is_mended(tmp_path):
    space = {"callbacks__misbehave__how": ["raise"], "lr": {"min": 0.1, "max": 0.5}, "max_epochs": 4}
    broken = {"num_samples": 6, "failure": {"give_up_after": 3}}
    with pytest.raises(NoTrialSucceededError) as caught:
        run(tmp_path, space, **broken)
    said = str(caught.value)
    assert said.count("ArithmeticError: boom in an epoch") == 1
    assert "the first 3 trials all failed alike" in said
    assert said.endswith(f"sweeps resume {tmp_path / 'sweep'} --retry-failed")
    assert statuses(SweepResult.load(tmp_path / "sweep")) == ["FAILED"] * 3
    assert reason(tmp_path / "sweep") == "failing"
    mended = nets.make_net(callbacks=[("misbehave", nets.Mended())])
    with pytest.raises(SweepStateError, match="not those that sweep began with"):
        resume(tmp_path / "sweep", mended, retry_failed=True)
    result = resume(tmp_path / "sweep", mended, retry_failed=True, accept_changes=True)
    assert statuses(result) == ["COMPLETED"] * 6
    assert [record.cause for record in result.state.trials.values()] == [None] * 6
    assert result.best_score is not None


def test_failures_that_some_trials_escape_end_no_sweep(tmp_path):
    space = {"callbacks__misbehave__how": ["", "raise"], "lr": [0.1, 0.2, 0.3], "max_epochs": 3}
    result = run(tmp_path, space, searcher="grid", failure={"give_up_after": 3})
    assert statuses(result) == ["COMPLETED"] * 3 + ["FAILED"] * 3
    assert result.state.attempts[-1]["reason"] == "complete"


def test_without_being_asked_to_failed_trials_are_left_alone(tmp_path):
    space = {"callbacks__misbehave__how": ["raise", ""], "max_epochs": 3}
    run(tmp_path, space, searcher="grid")
    told = Told()
    result = resume(tmp_path / "sweep", progress=told)
    assert told.lines[-1].endswith("is complete: nothing is left to do; `sweeps extend` gives it more")
    assert len(result.state.trials[0].failures) == 2


def test_resuming_a_complete_sweep_does_nothing_and_starts_no_ray(tmp_path, monkeypatch):
    first = run(tmp_path, FOUR, searcher="grid")
    before = {path: path.stat().st_mtime_ns for path in first.paths.root.rglob("*") if path.is_file()}

    def start(*args: Any, **options: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", start)
    told = Told()
    result = Sweep.resume(first.paths.root, net=nets.make_net(), data=nets.make_data(), progress=told)
    assert told.lines[-1] == f"{first.paths.root} is complete: nothing is left to do; `sweeps extend` gives it more"
    assert len(result.state.attempts) == 1
    after = {path: path.stat().st_mtime_ns for path in first.paths.root.rglob("*") if path.is_file()}
    assert {path: time for path, time in after.items() if path.name not in ("lock", "lock.json")} == {
        path: time for path, time in before.items() if path.name not in ("lock", "lock.json")
    }


class Stops:
    """Asks a sweep to stop as another process does, once so many epochs are recorded."""

    def __init__(self, paths: SweepPaths, epochs: int, *, now: bool) -> None:
        self.paths, self.epochs, self.now = paths, epochs, now

    def __call__(self, state: SweepState) -> None:
        if state.epochs == self.epochs:
            lock.ask_to_stop(self.paths, now=self.now)


@pytest.fixture
def impatient(monkeypatch):
    """Lets a driver look for requests in every turn."""
    monkeypatch.setattr("sweeps.attempt.every", lambda seconds, rule: rule)


@pytest.mark.parametrize(
    ("now", "expected"),
    [(False, ["COMPLETED", "COMPLETED"]), (True, ["INTERRUPTED", "INTERRUPTED"])],
    ids=["drain", "now"],
)
def test_a_sweep_that_is_asked_to_stop_stops_without_an_error_and_goes_on_later(now, expected, tmp_path, impatient):
    paths = SweepPaths.of(tmp_path, "sweep")
    sweep = sweep_of(tmp_path, FOUR, searcher="grid", resources={"max_concurrent_trials": 2})
    result = sweep.run(backend="inline", progress=Told(Stops(paths, 2, now=now)))
    assert statuses(result) == expected
    assert result.state.attempts[-1]["reason"] == "stopped"
    again = resume(paths.root)
    assert statuses(again) == ["COMPLETED"] * 4
    assert again.state.attempts[-1]["reason"] == "complete"
    whole = run(tmp_path, FOUR, searcher="grid", name="whole")
    assert [record.best_value for record in again.state.trials.values()] == [
        record.best_value for record in whole.state.trials.values()
    ]


class StopsEarly(Told):
    """Asks to stop while net and data are still being checked."""

    def __init__(self, paths: SweepPaths, *, now: bool) -> None:
        super().__init__()
        self.paths, self.now = paths, now

    def tell(self, line: str) -> None:
        if line.startswith("checking net"):
            lock.ask_to_stop(self.paths, now=self.now)


@pytest.mark.parametrize("now", [False, True])
def test_whoever_asks_before_the_first_trial_is_heard_too_and_only_once(now, tmp_path, impatient):
    paths = SweepPaths.of(tmp_path, "sweep")
    sweep_of(tmp_path, FOUR, searcher="grid").run(backend="inline", progress=Told(Stops(paths, 2, now=True)))
    again = resume(paths.root, progress=StopsEarly(paths, now=now))
    assert again.state.attempts[-1]["reason"] == "stopped"
    assert again.state.epochs == 2
    assert statuses(resume(paths.root)) == ["COMPLETED"] * 4


def test_a_sweep_that_was_asked_to_drain_with_its_last_trials_is_complete(tmp_path, impatient):
    paths = SweepPaths.of(tmp_path, "sweep")
    sweep = sweep_of(tmp_path, FOUR, searcher="grid", resources={"max_concurrent_trials": 4})
    result = sweep.run(backend="inline", progress=Told(Stops(paths, 4, now=False)))
    assert (statuses(result), reason(paths.root)) == (["COMPLETED"] * 4, "complete")


def test_tables_that_could_not_be_written_are_written_by_the_next_attempt(tmp_path, monkeypatch):
    first = run(tmp_path, FOUR, searcher={"name": "grid", "num_samples": 2})

    def fail(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("sweeps.attempt.write_tables", fail)
        with pytest.raises(InfeasibleError, match="No space left on device\nmend it and go on with: sweeps resume"):
            extend(first.paths.root, num_samples=1)
    assert len(pd.read_parquet(first.paths.trials_table)) == 2
    result = resume(first.paths.root)
    assert len(pd.read_parquet(first.paths.trials_table)) == 3
    assert statuses(result) == ["COMPLETED"] * 3


def test_a_disk_that_gets_full_pauses_the_sweep_and_room_lets_it_go_on(tmp_path, impatient, monkeypatch):
    problem: list[str] = []
    monkeypatch.setattr("sweeps.attempt.free_space_problem", lambda *args: problem[0] if problem else None)

    def fill(state: SweepState) -> None:
        problem[:] = ["0.1 GB are free"] if state.epochs >= 4 else []

    with pytest.raises(InfeasibleError, match=r"paused: 0\.1 GB are free\ngo on with: sweeps resume"):
        sweep_of(tmp_path, FOUR, searcher="grid").run(backend="inline", progress=Told(fill))
    assert reason(tmp_path / "sweep") == "disk full"
    problem.clear()
    assert statuses(resume(tmp_path / "sweep")) == ["COMPLETED"] * 4


def test_a_driver_whose_sweep_another_took_over_writes_no_more(tmp_path, monkeypatch):
    paths = SweepPaths(tmp_path / "sweep")
    written: list[bytes] = []
    seconds = hold._seconds

    def lose(state: SweepState) -> None:
        if state.epochs >= 4 and not written:
            written.append((paths.journal / "events.jsonl").read_bytes())
            paths.holder.write_text("another driver")
            monkeypatch.setattr(hold, "_seconds", lambda: seconds() + 20)  # as after a pause, in which no heart beat

    with pytest.raises(SweepStateError, match=r"was taken over by another driver(?s:.*)sweeps resume "):
        sweep_of(tmp_path, FOUR, searcher="grid").run(backend="inline", progress=Told(lose))
    assert (paths.journal / "events.jsonl").read_bytes() == written[0]
    assert reason(tmp_path / "sweep") is None
    assert not (tmp_path / "sweep" / "trials.parquet").exists()
    assert statuses(resume(tmp_path / "sweep")) == ["COMPLETED"] * 4


class OnAllRows:
    """Lets a training on all rows raise."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __call__(self, *given: Any, **more: Any) -> None:
        raise self.error("not on all rows")


@pytest.mark.parametrize("error", [ValueError, OSError, SystemExit])
def test_a_best_config_that_fails_on_all_rows_leaves_all_else_that_was_found(error, tmp_path, monkeypatch):
    told = Told()
    with monkeypatch.context() as patched:
        patched.setattr("sweeps.best_net.NetTraining", OnAllRows(error))
        sweep = sweep_of(tmp_path, FOUR, searcher="grid", validation=2)
        result = sweep.run(backend="inline", progress=told)
    assert (statuses(result), reason(tmp_path / "sweep")) == (["COMPLETED"] * 4, "complete")
    assert (tmp_path / "sweep" / "trials.parquet").exists()
    assert told.lines[-1].startswith("note: best/ was not written: training the params of trial ")
    assert f"on all rows raised {error.__name__}: not on all rows" in told.lines[-1]
    assert resume(tmp_path / "sweep").best_net.initialized_


def test_a_ray_that_is_gone_is_not_taken_for_a_storage_that_failed(tmp_path, monkeypatch):
    def fail(execution: Any) -> None:
        raise ConnectionError("GCS is not there")

    monkeypatch.setattr("sweeps.driver.in_process", fail)
    with pytest.raises(
        InfeasibleError, match="Ray does not answer any more: GCS is not there\ngo on with: sweeps resume"
    ):
        run(tmp_path, FOUR, searcher="grid")


def test_a_checkpoint_that_cannot_be_deleted_ends_no_sweep(tmp_path, monkeypatch):
    def fail(*args: Any) -> None:
        raise OSError(39, "Directory not empty")

    told = Told()
    monkeypatch.setattr("sweeps.retention.remove", fail)
    result = sweep_of(tmp_path, FOUR, searcher="grid").run(backend="inline", progress=told)
    assert (statuses(result), reason(tmp_path / "sweep")) == (["COMPLETED"] * 4, "complete")
    assert len([line for line in told.lines if "`sweeps gc` will find it: [Errno 39]" in line]) == 1
