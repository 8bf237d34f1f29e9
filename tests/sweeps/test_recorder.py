"""What Tune does, as records: synced before they are shown, failures tried again or ended, rules of an early end."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from inline_sweeps import plan_of

from sweeps.journal import Journal, read
from sweeps.recorder import Recorder, StopRules
from sweeps.records import SweepState
from trainables.objective import Objective
from trainables.tensors import TensorData
from trainables.trial import TrialRun

MOST = Objective("valid_acc", maximize=True)
DIED = "The actor died unexpectedly before finishing this task.\n"
RAISED = 'ray::NetTrainable.train() (pid=1, ip=1)\n  File "net.py", line 3, in forward\nValueError: boom\n'


class Driver:
    """A recorder over a journal on disk, and the fakes that stand for Tune."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = SweepState(MOST)
        self.journal = Journal(folder / "journal")
        self.shown: list[list[str]] = []
        self.told: list[str] = []
        self.recorder = Recorder(self.journal, self.state, self, 2)
        self.again: list[int] = []
        self.recorder.try_again = self.again.append

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

    def trial(self, number: int, **more: Any) -> Any:
        return SimpleNamespace(config={"trial": number, "params": {}}, last_result={}, **more)

    def start(self, number: int) -> None:
        self.recorder.announce(number, {"lr": 0.1})
        self.recorder.on_trial_start(0, [], self.trial(number))

    def report(self, number: int, *epochs: int, **more: Any) -> None:
        result = {
            "rows": [{"epoch": epoch, "valid_acc": epoch / 10} for epoch in epochs],
            "notes": [], "costs": {"fit_s": 1.0}, "checkpoint": None, "hostname": "n", "pid": 7, "gpu": None,
            "resumed_at": None, **more,
        }  # fmt: skip
        self.recorder.on_trial_result(0, [], self.trial(number), result)

    def fail(self, number: int, text: str) -> None:
        file = self.folder / "error.txt"
        file.write_text(text)
        self.recorder.on_trial_error(0, [], self.trial(number, error_file=str(file)))


@pytest.fixture
def driver(tmp_path: Path):
    made = Driver(tmp_path)
    yield made
    made.journal.close()
    assert repr(SweepState.replay(MOST, read(tmp_path / "journal")).trials) == repr(made.state.trials)


def test_records_are_on_disk_before_they_are_shown(driver):
    driver.start(0)
    driver.report(0, 1, 2)
    assert driver.kinds() == []
    driver.recorder.on_step_end(0, [])
    assert driver.shown == [["trial", "start", "report"]]


def test_epochs_that_come_again_from_a_checkpoint_are_recorded_once(driver):
    driver.start(0)
    driver.report(0, 1, 2)
    driver.report(0, 2, 3)
    assert [[row["epoch"] for row in event["rows"]] for event in driver.events("report")] == [[1, 2], [3]]
    assert driver.state.trials[0].placement == {"node": "n", "pid": 7, "gpu": None}


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
    trial = driver.trial(0)
    trial.last_result = last
    driver.recorder.on_trial_complete(0, [], trial)
    record = driver.state.trials[0]
    assert (record.status, record.rung) == expected


def test_a_trial_that_never_reported_was_interrupted(driver):
    driver.start(0)
    driver.start(1)
    driver.recorder.on_trial_complete(0, [], driver.trial(0))
    driver.report(1, 1)
    driver.recorder.interrupt_rest(driver.folder / "trials")
    assert [record.status for record in driver.state.trials.values()] == ["INTERRUPTED"] * 2
    assert driver.kinds()[-2:] == ["end", "end"]
    driver.recorder.interrupt_rest(driver.folder / "trials")
    assert driver.kinds().count("end") == 2


def test_an_interrupted_trial_gets_the_epochs_that_its_worker_saved_when_it_was_told_to_end(driver):
    trials = driver.folder / "trials"
    job = replace(plan_of({"lr": [0.1], "max_epochs": 4}).job, trials=trials, report_every_s=0.0)
    driver.start(0)
    run = TrialRun(job, TensorData(job.data), {"trial": 0, "params": {"lr": 0.1, "max_epochs": 4}})
    for _ in range(3):
        run.step()
    run.close()
    driver.report(0, 1)
    driver.recorder.interrupt_rest(trials)
    record = driver.state.trials[0]
    assert (record.epoch, record.status, record.checkpoint) == (3, "INTERRUPTED", "checkpoint-000003")
    assert [[row["epoch"] for row in event["rows"]] for event in driver.events("report")] == [[1], [2, 3]]
    assert record.rows[3] == run.training.log[2]


def test_a_dead_worker_is_tried_again_up_to_the_limit_and_each_failure_is_kept(driver):
    driver.start(0)
    for epoch in (1, 2, 3):
        driver.report(0, epoch)
        driver.fail(0, DIED)
    assert driver.again == [0, 0]
    record = driver.state.trials[0]
    assert (record.status, record.cause, [f["epoch"] for f in record.failures]) == ("FAILED", "worker_died", [1, 2, 3])


def test_what_the_net_raised_ends_its_trial_with_the_error_first(driver):
    driver.start(0)
    driver.fail(0, RAISED)
    record = driver.state.trials[0]
    assert (driver.again, record.status, record.cause) == ([], "FAILED", "user")
    assert record.error.splitlines()[0] == "ValueError: boom"
    assert 'File "net.py", line 3' in record.error


def test_a_target_ends_the_sweep_when_it_is_reached(driver):
    rules = StopRules(driver.state, None, 0.3)
    assert not rules.stop_all()
    driver.start(0)
    driver.report(0, 1, 2)
    assert (rules.stop_all(), rules.reason) == (False, None)
    driver.report(0, 3)
    assert (rules.stop_all(), rules.reason) == (True, "metric target")
    assert rules("any trial", {}) is False


def test_a_loss_reaches_its_target_from_above():
    state = SweepState(Objective("valid_loss"))
    rules = StopRules(state, None, 0.3)
    state.apply({"type": "trial", "trial": 0, "params": {}})
    for epoch, loss, expected in ((1, 0.4, False), (2, 0.3, True)):
        rows = [{"epoch": epoch, "valid_loss": loss}]
        state.apply({"type": "report", "trial": 0, "rows": rows, "costs": {}, "placement": {}, "checkpoint": None})
        assert rules.stop_all() is expected


def test_a_time_budget_ends_the_sweep_when_it_is_spent(driver, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    rules = StopRules(driver.state, 60.0, None)
    now[0] = 159.9
    assert not rules.stop_all()
    now[0] = 160.0
    assert (rules.stop_all(), rules.reason) == (True, "time budget")


def test_tune_stores_neither_the_journal_nor_the_records(driver):
    driver.start(0)
    assert len(pickle.dumps(driver.recorder)) < 200
    assert len(pickle.dumps(StopRules(driver.state, 1.0, 1.0))) < 200
