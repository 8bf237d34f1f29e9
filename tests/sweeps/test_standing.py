"""How a recorded sweep stands."""

from __future__ import annotations

import pytest

from sweeps.lock import locked
from sweeps.results import SweepResult
from sweeps.standing import goes_on, n_ended, n_planned, status_of

ALL_FAILED = [
    {"type": "attempt", "attempt": 1, "n_trials": 1, "rungs": []},
    {"type": "trial", "trial": 0, "params": {"lr": 0.1}},
    {"type": "end", "trial": 0, "status": "FAILED", "cause": "user", "error": "ValueError: bad\ntrace"},
]


@pytest.mark.parametrize(
    ("reason", "status"), [("failing", "gave up"), *((same, same) for same in ("complete", "stopped", "interrupted"))]
)
def test_a_status_is_what_the_last_attempt_ended_with(record_sweep, reason, status):
    assert status_of(SweepResult(record_sweep(reason=reason))) == status


@pytest.mark.parametrize(("reason", "status"), [("complete", "failed"), ("stopped", "stopped"), ("failing", "gave up")])
def test_a_complete_sweep_without_a_score_has_failed(record_sweep, reason, status):
    events = [*ALL_FAILED, {"type": "attempt_end", "reason": reason}]
    assert status_of(SweepResult(record_sweep(events=events))) == status


def test_a_sweep_without_an_end_is_running_while_its_driver_lives(record_sweep):
    paths = record_sweep(reason=None)
    assert status_of(SweepResult(paths)) == "interrupted"
    with locked(paths):
        assert status_of(SweepResult(paths)) == "running"
        assert not goes_on(SweepResult(paths))
    assert status_of(SweepResult(paths)) == "interrupted"


def test_only_a_sweep_that_was_cut_off_goes_on(record_sweep):
    assert goes_on(SweepResult(record_sweep("a", reason="stopped")))
    assert not goes_on(SweepResult(record_sweep("b", reason="metric target")))


def test_a_trial_that_was_interrupted_has_not_ended(record_sweep):
    result = SweepResult(record_sweep(reason="interrupted"))
    assert (len(result.state.trials), n_ended(result)) == (4, 3)


def test_as_many_trials_are_planned_as_the_last_attempt_says_else_the_manifest(record_sweep):
    more = [{"type": "attempt", "attempt": number, "n_trials": 10 * number, "rungs": []} for number in (1, 2)]
    assert n_planned(SweepResult(record_sweep("a", events=more))) == 20
    assert n_planned(SweepResult(record_sweep("b", events=[]))) == 6
