"""What Tune tells is passed on, and what Tune pickles holds neither journal nor records; no Ray is started here."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from ray.tune.experiment import Trial

from sweeps.stop_rules import StopRules
from sweeps.tuning import TuneRecorder, TuneStopper
from trainables.net import PARCEL, Parcel

REPORT = {"ended": "completed", "epoch": 2, "rows": [{"epoch": epoch} for epoch in range(500)]}


class Calls:
    """Stands for a recorder and keeps what it is told."""

    is_urgent = False

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.ballast = bytes(10_000)

    def __getattr__(self, name: str) -> Any:
        return lambda *told: self.seen.append((name, *told))


class Failed(Trial):
    """A trial that left an error in a file."""

    error_file = ""


def trial_of(number: int, kind: type[Trial] = Trial) -> Any:
    trial = kind("any", config={"trial": number, "params": {"lr": 0.1}}, stub=True)
    trial.update_last_result({"epoch": 2, "done": True, "training_iteration": 2, PARCEL: Parcel(REPORT)})
    return trial


@pytest.fixture
def calls():
    return Calls()


def test_every_event_reaches_the_recorder_under_our_number(calls, tmp_path):
    callback: Any = TuneRecorder(calls)
    (tmp_path / "error.txt").write_bytes(b"ValueError: b\xf6se\n")
    result = {"epoch": 1, PARCEL: Parcel(REPORT)}
    callback.on_trial_start(0, [], trial_of(3))
    callback.on_trial_result(0, [], trial_of(3), result)
    callback.on_trial_complete(0, [], trial_of(3))
    failed = trial_of(4, Failed)
    failed.error_file = str(tmp_path / "error.txt")
    callback.on_trial_error(0, [], failed)
    callback.on_step_end(0, [])
    assert [call[:2] for call in calls.seen] == [
        ("started", 3), ("reported", 3), ("ended", 3), ("failed", 4), ("sync",),
    ]  # fmt: skip
    assert calls.seen[1][2] is REPORT
    assert calls.seen[2][2] is REPORT
    assert "ValueError: b" in calls.seen[3][2]


def test_of_a_trial_that_has_ended_tune_keeps_little_beside_how_it_ended(calls):
    trial = trial_of(3)
    before = len(pickle.dumps(trial.run_metadata))
    TuneRecorder(calls).on_trial_complete(0, [], trial)
    assert len(pickle.dumps(trial.run_metadata)) < before / 2
    assert {key: trial.last_result[key] for key in ("epoch", "done", "training_iteration")} == {
        "epoch": 2, "done": True, "training_iteration": 2,
    }  # fmt: skip
    assert calls.seen[0][2] is REPORT


def test_a_trial_that_never_reported_ends_without_a_report(calls):
    trial: Any = Trial("any", config={"trial": 3, "params": {}}, stub=True)
    TuneRecorder(calls).on_trial_complete(0, [], trial)
    assert calls.seen == [("ended", 3, None)]


def test_reports_are_synced_together_and_what_is_urgent_at_once(calls, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("sweeps.tuning.time.monotonic", lambda: now[0])
    callback: Any = TuneRecorder(calls)

    def syncs_after(seconds: float) -> int:
        now[0] += seconds
        calls.seen.clear()
        callback.on_step_end(0, [])
        return len(calls.seen)

    assert [syncs_after(0.0), syncs_after(0.01), syncs_after(0.011), syncs_after(0.001)] == [1, 0, 1, 0]
    calls.is_urgent = True
    assert syncs_after(0.001) == 1
    calls.is_urgent = False
    assert syncs_after(0.001) == 0


def test_the_rules_end_the_whole_sweep_and_no_single_trial():
    answers = iter([None, "enough"])
    rules = StopRules([lambda: next(answers)])
    stopper = TuneStopper(rules)
    assert [stopper.stop_all(), stopper.stop_all()] == [False, True]
    assert rules.reason == "enough"
    assert stopper("any trial", {}) is False


def test_tune_stores_neither_the_journal_nor_the_records(calls):
    assert len(pickle.dumps(TuneRecorder(calls))) < 200
    assert len(pickle.dumps(TuneStopper(StopRules([])))) < 200
