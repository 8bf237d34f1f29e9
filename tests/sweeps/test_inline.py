"""The executor in this process: the same decisions, records and numbers each time, and no error lost."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import ray
import torch
from inline_sweeps import Told, resume, run, sweep_of

from sweeps import InfeasibleError, SpecError, SweepResult, SweepStateError, journal
from sweeps.journal import Journal
from sweeps.recorder import Recorder
from sweeps.records import SweepState
from trainables import checkpoint

SPACE = {
    "lr": {"distribution": "loguniform", "min": 1e-3, "max": 1.0},
    "optimizer": ["torch.optim:SGD", "torch.optim:Adam"],
    "optimizer__momentum": {"min": 0.0, "max": 0.9, "when": {"optimizer": "torch.optim:SGD"}},
    "module__nodes": {"min": 4, "max": 16},
    "max_epochs": 5,
}
ASHA = {"name": "asha", "reduction_factor": 2}
HYPEROPT = {"name": "hyperopt", "num_samples": 6, "n_startup": 3}


def told_events(result: SweepResult) -> list[dict[str, Any]]:
    """The journal without what a clock, a process or a machine's memory says."""
    kept = ("type", "trial", "params", "status", "rung", "checkpoint", "reason", "cause", "epoch")
    events = []
    for event in journal.read(result.paths.journal):
        rows = [(row["epoch"], row["train_loss"], row["valid_acc"]) for row in event.get("rows", [])]
        events.append({key: event[key] for key in kept if key in event} | {"rows": rows})
    return events


def ends(result: SweepResult) -> list[tuple[str, str | None]]:
    return [(str(record.status), record.cause) for record in result.state.trials.values()]


def test_same_seed_with_fifo_gives_the_same_tables_without_any_ray(tmp_path):
    one, two = (run(tmp_path, SPACE, searcher=HYPEROPT, name=name) for name in ("one", "two"))
    same = [name for name in one.trials if not name.endswith(("_s", "_ms_p50", "_ms_p95", "_bytes", "ed"))]
    assert {"score", "best_epoch", "params.lr", "status", "stability"} <= set(same)
    pd.testing.assert_frame_equal(one.trials[same], two.trials[same])
    timeless = [name for name in one.metrics if not name.endswith("_s")]
    pd.testing.assert_frame_equal(one.metrics[timeless], two.metrics[timeless])
    assert not ray.is_initialized()
    assert not one.paths.ray(1).exists()


def test_three_at_once_under_asha_decide_as_a_replay_of_the_journal_does_and_again_the_same(tmp_path):
    options = {"num_samples": 14, "scheduler": ASHA, "resources": {"max_concurrent_trials": 3}}
    one, two = (run(tmp_path, SPACE, name=name, **options) for name in ("one", "two"))
    assert told_events(one) == told_events(two)
    rungs: dict[int, dict[int, float]] = {1: {}, 2: {}, 4: {}}
    stopped, running, most = {}, set(), 0
    for event in journal.read(one.paths.journal):
        if event["type"] == "start":
            running.add(event["trial"])
            most = max(most, len(running))
        if event["type"] == "end":
            running.discard(event["trial"])
        if event["type"] != "report" or (epoch := event["rows"][-1]["epoch"]) not in rungs:
            continue
        value, earlier = event["rows"][-1]["valid_acc"], list(rungs[epoch].values())
        if earlier and value < np.percentile(earlier, 50):
            stopped[event["trial"]] = epoch
        rungs[epoch][event["trial"]] = value
    assert most == 3
    assert stopped
    assert stopped == {t: r.rung for t, r in one.state.trials.items() if r.status == "STOPPED"}


@pytest.mark.parametrize("searcher", [{"name": "grid"}, {"name": "random", "num_samples": 5}, HYPEROPT])
@pytest.mark.parametrize("scheduler", [{"name": "fifo"}, ASHA, {"name": "median", "min_samples": 2}])
def test_every_searcher_runs_with_every_scheduler_that_pauses_nobody(searcher, scheduler, tmp_path):
    space = {"lr": [0.01, 0.1], "module__nodes": [4, 8], "max_epochs": 3} if searcher["name"] == "grid" else SPACE
    result = run(tmp_path, space, searcher=searcher, scheduler=scheduler)
    assert len(result.trials) == {"grid": 4, "random": 5, "hyperopt": 6}[searcher["name"]]
    assert {status for status, _ in ends(result)} <= {"COMPLETED", "STOPPED"}
    assert result.state.attempts[-1]["reason"] == "complete"
    row = result.state.trials[result.best_trial.trial].rows[result.best_epoch]
    assert row["valid_acc"] == result.best_score == max(r.best_value for r in result.state.trials.values())


@pytest.mark.parametrize("scheduler", ["hyperband", "pbt"])
def test_a_scheduler_that_pauses_is_refused_before_anything_is_made(scheduler, tmp_path):
    with pytest.raises(SpecError, match="use one of fifo, asha, median, or backend ray"):
        run(tmp_path, SPACE, scheduler=scheduler)
    assert not list(tmp_path.iterdir())


def test_a_trial_that_goes_wrong_ends_with_its_cause_and_the_others_complete(tmp_path):
    space = {"callbacks__misbehave__how": ["", "raise", "refuse", "nan", "sys.exit", "no memory"], "max_epochs": 4}
    result = run(tmp_path, space, searcher="grid", resources={"max_concurrent_trials": 2})
    assert ends(result) == [
        ("COMPLETED", None),
        ("FAILED", "user"),
        ("FAILED", "user"),
        ("DIVERGED", None),
        ("FAILED", "user"),
        ("FAILED", "oom"),
    ]
    raised = result.state.trials[1]
    assert raised.error.startswith("ArithmeticError: boom in an epoch")
    assert "on_epoch_begin" in raised.error
    assert raised.epoch == 2
    assert result.state.attempts[-1]["reason"] == "complete"


def test_a_trial_that_failed_by_chance_goes_on_from_its_checkpoint_as_if_nothing_had_happened(tmp_path):
    space = {
        "callbacks__misbehave__how": "raise",
        "callbacks__misbehave__once": str(tmp_path / "seen"),
        "max_epochs": 5,
    }
    result = run(tmp_path, space, searcher="grid", scheduler=ASHA)
    undisturbed = run(tmp_path, {"max_epochs": 5}, searcher="grid", name="undisturbed")
    record = result.state.trials[0]
    assert (str(record.status), [failure["cause"] for failure in record.failures]) == ("COMPLETED", ["user"])
    losses = [row["train_loss"] for row in undisturbed.state.trials[0].rows.values()]
    assert [row["train_loss"] for row in record.rows.values()] == losses


class Refusing(Journal):
    """A disk that fills up amid the sweep."""

    written = 0

    def flush(self, *, force: bool = False) -> bool:
        Refusing.written += 1
        if Refusing.written > 8:
            raise OSError(28, "No space left on device")
        return super().flush(force=force)


def test_a_journal_that_cannot_be_written_ends_the_sweep_and_is_no_trials_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(Refusing, "written", 0)
    with monkeypatch.context() as patched:
        patched.setattr("sweeps.attempt.Journal", Refusing)
        with pytest.raises(InfeasibleError, match="No space left on device\nmend it and go on with: sweeps resume"):
            run(tmp_path, {"lr": [0.1, 0.2], "max_epochs": 4}, searcher="grid")
    kinds = Counter(event["type"] for event in journal.read(tmp_path / "sweep" / "journal"))
    assert kinds["failure"] == 0
    assert {status for status, _ in ends(resume(tmp_path / "sweep"))} == {"COMPLETED"}


@pytest.mark.parametrize("error", [OSError("gone"), SweepStateError("the journal"), ZeroDivisionError("a bug")])
@pytest.mark.parametrize("call", ["started", "reported", "ended", "sync", "announce"])
def test_no_error_of_the_recorder_is_taken_for_a_trials(error, call, tmp_path, monkeypatch):
    def fail(*args: Any) -> None:
        raise error

    monkeypatch.setattr(Recorder, call, fail)
    expected = InfeasibleError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected, match=str(error)):
        run(tmp_path, {"lr": [0.1, 0.2], "max_epochs": 1}, searcher="grid")
    assert "failure" not in {event["type"] for event in journal.read(tmp_path / "sweep" / "journal")}


def interrupt_at(epochs: int) -> Callable[[SweepState], None]:
    """Sends this process a signal once so many epochs are recorded."""

    def interrupt(state: SweepState) -> None:
        if state.epochs == epochs:
            os.kill(os.getpid(), signal.SIGINT)

    return interrupt


def test_a_signal_interrupts_between_two_epochs_and_resuming_changes_no_number(tmp_path):
    space = SPACE | {"max_epochs": 4}

    with pytest.raises(KeyboardInterrupt, match="goes on"):
        sweep_of(tmp_path, space, num_samples=4).run(backend="inline", progress=Told(interrupt_at(6)))
    result = SweepResult.load(tmp_path / "sweep")
    assert result.state.attempts[-1]["reason"] == "interrupted"
    assert result.state.epochs == 6
    whole, resumed = run(tmp_path, space, num_samples=4, name="whole"), resume(tmp_path / "sweep")
    for trial, record in whole.state.trials.items():
        rows = [(row["epoch"], row["train_loss"]) for row in record.rows.values()]
        assert [(row["epoch"], row["train_loss"]) for row in resumed.state.trials[trial].rows.values()] == rows
    assert torch.equal(next(whole.best_net.module_.parameters()), next(resumed.best_net.module_.parameters()))


def test_the_sweep_ends_when_its_target_is_met_and_saves_whoever_still_trains(tmp_path):
    space = {"lr": {"min": 0.05, "max": 0.3}, "max_epochs": 400}
    options = {"num_samples": 6, "stop": {"metric_target": 0.6}, "resources": {"max_concurrent_trials": 3}}
    result = run(tmp_path, space, checkpoint={"every_s": 999}, **options)
    assert result.state.attempts[-1]["reason"] == "metric target"
    assert result.best_score >= 0.6
    assert [status for status, _ in ends(result)] == ["INTERRUPTED"] * 3
    for trial, record in result.state.trials.items():
        found, _ = checkpoint.newest(result.paths.trials / checkpoint.trial_name(trial))
        assert found is not None
        assert found.name == checkpoint.directory_name(record.epoch)


def test_a_trial_that_cannot_be_saved_when_the_sweep_is_interrupted_is_said_to_have_failed(tmp_path):
    space = {"callbacks__misbehave__how": "lock", "callbacks__misbehave__at": 2, "max_epochs": 9}
    with pytest.raises(KeyboardInterrupt):
        sweep_of(tmp_path, space, searcher="grid", checkpoint={"every_s": 999}).run(
            backend="inline", progress=Told(interrupt_at(2))
        )
    result = SweepResult.load(tmp_path / "sweep")
    assert result.state.attempts[-1]["reason"] == "interrupted"
    [failure] = result.state.trials[0].failures
    assert "lock" in failure["error"]


def test_the_process_keeps_its_own_random_numbers(tmp_path: Path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(tmp_path, {"lr": [0.1], "max_epochs": 1}, searcher="grid")
    assert torch.equal(torch.rand(3), expected)
