"""What happens to trials, as records: synced before they are shown, failures tried again or ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from inline_sweeps import plan_of

from sweeps.journal import Journal, create, read
from sweeps.recorder import Recorder
from sweeps.records import SweepState, TrialRecord
from trainables import checkpoint
from trainables.objective import Objective
from trainables.tensors import TensorData
from trainables.trial import TrialRun

MOST = Objective("valid_acc", maximize=True)
DIED = "The actor died unexpectedly before finishing this task.\n"
RAISED = 'ray::NetTrainable.train() (pid=1, ip=1)\n  File "net.py", line 3, in forward\nValueError: boom\n'


class Driver:
    """A recorder over a journal on disk, told what an executor would tell it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = SweepState(MOST)
        create(folder / "journal")
        self.journal = Journal(folder / "journal")
        self.shown: list[list[str]] = []
        self.told: list[str] = []
        self.trials = folder / "trials"
        self.recorder = Recorder(self.journal, self.state, self, self.trials, max_failures=2)
        self.again: list[int] = []
        self.recorder.try_again = self.again.append
        self.ended: list[TrialRecord] = []
        self.recorder.on_end = self.ended.append

    def __call__(self, state: SweepState) -> None:
        self.shown.append(self.kinds())

    def tell(self, line: str) -> None:
        self.told.append(line)

    def kinds(self) -> list[str]:
        """Types of the records that a reader would see now."""
        return [event["type"] for event in read(self.folder / "journal")]

    def events(self, kind: str) -> list[dict[str, Any]]:
        self.journal.flush()
        return [event for event in read(self.folder / "journal") if event["type"] == kind]

    def start(self, number: int) -> None:
        self.recorder.announce(number, {"lr": 0.1})
        self.recorder.started(number)

    def report(self, number: int, *epochs: int, **more: Any) -> None:
        result = {
            "rows": [{"epoch": epoch, "valid_acc": epoch / 10} for epoch in epochs],
            "notes": [], "costs": {"fit_s": 1.0}, "checkpoint": None, "hostname": "n", "pid": 7, "gpu": None,
            "ray_node": None, "resumed_at": None, **more,
        }  # fmt: skip
        self.recorder.reported(number, result)


@pytest.fixture
def driver(tmp_path: Path):
    made = Driver(tmp_path)
    yield made
    made.journal.close()
    assert repr(SweepState.replay(MOST, read(tmp_path / "journal")).trials) == repr(made.state.trials)


def test_records_are_on_disk_before_they_are_shown_and_a_new_trial_before_it_trains(driver):
    driver.start(0)
    driver.report(0, 1, 2)
    assert driver.kinds() == ["trial"]
    driver.recorder.sync()
    assert driver.shown == [["trial", "start", "report"]]


def test_nothing_is_shown_that_a_store_still_collects(driver, monkeypatch):
    driver.start(0)
    monkeypatch.setattr(driver.journal, "flush", lambda **options: False)
    driver.recorder.sync()
    assert driver.shown == []


def test_only_what_was_decided_of_a_trial_is_urgent_and_only_until_it_is_safe(driver, monkeypatch):
    driver.start(0)
    driver.report(0, 1)
    assert not driver.recorder.is_urgent
    urgent = []
    for happens in (
        lambda: driver.recorder.exploit(0, 3, {"lr": 0.7}) or driver.report(0, 2),
        lambda: driver.recorder.failed(0, DIED),
        lambda: driver.recorder.ended(0, {"ended": None, "epoch": 2}),
    ):
        happens()
        urgent.append(driver.recorder.is_urgent)
        driver.recorder.sync()
        urgent.append(driver.recorder.is_urgent)
    assert urgent == [True, False] * 3
    with monkeypatch.context() as collecting:
        collecting.setattr(driver.journal, "flush", lambda **options: False)
        driver.recorder.failed(0, DIED)
        driver.recorder.sync()
        assert driver.recorder.is_urgent


def test_epochs_that_come_again_from_a_checkpoint_are_recorded_once(driver):
    driver.start(0)
    driver.report(0, 1, 2)
    driver.report(0, 2, 3)
    assert [[row["epoch"] for row in event["rows"]] for event in driver.events("report")] == [[1, 2], [3]]
    assert driver.state.trials[0].placement == {"node": "n", "pid": 7, "gpu": None, "ray_node": None}


def test_an_exploit_is_recorded_after_the_report_that_led_to_it_and_its_epochs_count_again(driver):
    driver.start(0)
    driver.recorder.exploit(0, 3, {"lr": 0.7})
    driver.report(0, 1, 2)
    driver.report(0, 2)
    driver.journal.flush()
    assert driver.kinds() == ["trial", "start", "report", "exploit", "report"]
    assert driver.events("exploit")[0]["donor"] == 3
    assert driver.events("report")[-1]["rows"][0]["epoch"] == 2
    assert driver.state.trials[0].params == {"lr": 0.7}


def test_notes_of_a_trial_are_told_with_its_number(driver):
    driver.start(0)
    driver.report(0, 1, notes=["passed over a checkpoint"])
    assert driver.told == ["note: trial 0: passed over a checkpoint"]


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ({"ended": "completed", "epoch": 2}, ("COMPLETED", None)),
        ({"ended": "diverged", "epoch": 2}, ("DIVERGED", None)),
        ({"ended": None, "epoch": 2}, ("STOPPED", 2)),
    ],
)
def test_an_end_is_the_trials_own_or_the_schedulers_with_its_rung(driver, last, expected):
    driver.start(0)
    driver.report(0, 1, 2)
    driver.recorder.ended(0, last)
    record = driver.state.trials[0]
    assert (record.status, record.rung) == expected
    assert driver.ended == [record]


def test_a_trial_that_never_reported_was_interrupted(driver):
    driver.start(0)
    driver.start(1)
    driver.recorder.ended(0, None)
    driver.report(1, 1)
    driver.recorder.interrupt_rest()
    assert [record.status for record in driver.state.trials.values()] == ["INTERRUPTED"] * 2
    assert driver.kinds()[-2:] == ["end", "end"]
    driver.recorder.interrupt_rest()
    assert driver.kinds().count("end") == 2
    assert driver.ended == []


def test_an_interrupted_trial_gets_the_epochs_that_its_worker_saved_when_it_was_told_to_end(driver):
    job = replace(plan_of({"lr": [0.1], "max_epochs": 4}).job, trials=driver.trials, report_every_s=0.0)
    driver.start(0)
    run = TrialRun(job, TensorData(job.data), {"trial": 0, "params": {"lr": 0.1, "max_epochs": 4}})
    for _ in range(3):
        run.step()
    run.close()
    driver.report(0, 1)
    driver.recorder.interrupt_rest()
    record = driver.state.trials[0]
    assert (record.epoch, record.status) == (3, "INTERRUPTED")
    assert record.unjudged == 3
    assert [[row["epoch"] for row in event["rows"]] for event in driver.events("report")] == [[1], [2, 3]]
    assert record.rows[3] == run.training.log[2]


def test_a_dead_worker_is_tried_again_as_long_as_its_trial_gets_further_and_each_failure_is_kept(driver):
    driver.start(0)
    for epoch in (1, 2, 2):
        driver.report(0, epoch)
        driver.recorder.failed(0, DIED)
    assert driver.again == [0, 0]
    record = driver.state.trials[0]
    assert (record.status, record.cause, [f["epoch"] for f in record.failures]) == ("FAILED", "worker_died", [1, 2, 2])
    assert driver.ended == [record]


def test_what_the_net_raised_is_tried_once_more_and_then_ends_its_trial_with_the_error_first(driver):
    driver.start(0)
    driver.recorder.failed(0, RAISED)
    record = driver.state.trials[0]
    assert (driver.again, str(record.status), driver.ended) == ([0], "RUNNING", [])
    driver.recorder.started(0)
    driver.recorder.failed(0, RAISED)
    assert (driver.again, record.status, record.cause) == ([0], "FAILED", "user")
    assert record.error.splitlines()[0] == "ValueError: boom"
    assert 'File "net.py", line 3' in record.error
    assert driver.ended == [record]


def test_a_worker_that_was_ended_since_it_hung_says_where(driver, monkeypatch):
    stacks = "no epoch for 300 s after epoch 1\nThread 1: in forward\n"
    asked = []
    monkeypatch.setattr("sweeps.recorder.read_hang", lambda folder: asked.append(folder) or stacks)
    driver.start(0)
    driver.recorder.failed(0, DIED)
    [failure] = driver.state.trials[0].failures
    assert (failure["cause"], failure["epoch"]) == ("hang", 1)
    assert asked == [driver.trials / checkpoint.trial_name(0)]


def test_the_need_of_a_trial_that_ran_out_of_memory_is_kept(driver):
    driver.start(0)
    note = "sweeps: epoch 4, peak_memory_bytes 5000000000"
    driver.recorder.failed(0, f"Traceback (most recent call last):\nMemoryError: no more\n{note}\n")
    [failure] = driver.events("failure")
    assert (failure["cause"], failure["epoch"], failure["peak_memory_bytes"]) == ("oom", 4, 5e9)
    assert (driver.again, driver.state.trials[0].cause) == ([], "oom")


def rows(*values: float) -> list[dict[str, float]]:
    return [{"epoch": epoch, "valid_acc": value} for epoch, value in enumerate(values, start=1)]


def values(driver: Driver) -> list[float]:
    return [row["valid_acc"] for row in driver.state.trials[0].rows.values()]


def test_a_trial_that_goes_on_from_its_checkpoint_keeps_the_epochs_that_are_recorded_already(driver):
    driver.start(0)
    driver.report(0, rows=rows(0.1, 0.2))
    driver.report(0, rows=rows(0.1, 0.2, 0.3), resumed_at=3)
    assert [row["epoch"] for row in driver.events("report")[-1]["rows"]] == [3]
    assert values(driver) == [0.1, 0.2, 0.3]
    assert driver.told == []


def test_epochs_that_were_trained_again_to_other_values_replace_those_that_their_checkpoint_does_not_have(driver):
    driver.start(0)
    driver.report(0, rows=rows(0.1, 0.9))
    driver.report(0, rows=rows(0.1, 0.2, 0.3), resumed_at=3)
    assert values(driver) == [0.1, 0.2, 0.3]
    assert (driver.state.trials[0].best_epoch, driver.state.best.best_value) == (3, 0.3)


@pytest.mark.parametrize(
    ("resumed_at", "told"),
    [
        (0, "note: trial 0 begins anew, though epoch 2 was recorded: it has no checkpoint"),
        (1, "note: trial 0 goes on from epoch 1, though epoch 2 was recorded: it has no later checkpoint"),
    ],
)
def test_that_a_trial_goes_on_from_an_earlier_epoch_than_the_recorded_one_is_told(driver, resumed_at, told):
    driver.start(0)
    driver.report(0, rows=rows(0.1, 0.2))
    driver.report(0, rows=rows(0.1), resumed_at=resumed_at)
    assert driver.told == [told]
    assert values(driver) == [0.1]
