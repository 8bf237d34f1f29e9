"""Where a sweep stands."""

from __future__ import annotations

import pytest

from sweeps.records import SweepState, TrialRecord, TrialStatus
from sweeps.snapshot import RETRYING, FailureCount, snapshot
from trainables.objective import Objective


def test_a_snapshot_counts(state):
    found = snapshot(state, 6, [1, 3], 10.0)
    assert found.counts == {
        TrialStatus.RUNNING: 1,
        TrialStatus.COMPLETED: 1,
        TrialStatus.STOPPED: 1,
        TrialStatus.FAILED: 1,
    }
    assert found.n_ended == 3
    assert found.epochs == 6
    assert [(rung.epoch, rung.reached, rung.stopped) for rung in found.rungs] == [(1, 3, 1), (3, 1, 0)]
    assert (found.best.trial, found.best.epoch, found.best.score) == (0, 3, 0.9)


def test_the_rest_is_expected_to_be_like_what_has_ended(state):
    # Three trials ended after 4 + 1 + 0 epochs, one of the other three has trained one: 3 * 5/3 - 1 epochs are left.
    assert snapshot(state, 6, [], 12.0).eta_s == pytest.approx(4 * 12.0 / 6)


def test_epochs_of_earlier_attempts_say_nothing_of_the_pace(state):
    assert snapshot(state, 6, [], 12.0, epochs_before=4).eta_s == pytest.approx(4 * 12.0 / 2)
    assert snapshot(state, 6, [], 12.0, epochs_before=6).eta_s is None


def test_nothing_is_expected_before_a_trial_has_ended_or_when_all_have(state):
    assert snapshot(SweepState(Objective("valid_acc")), 6, [], 12.0).eta_s is None
    assert snapshot(state, 3, [], 12.0).eta_s is None


def test_a_trial_that_was_interrupted_has_not_ended(state):
    before = snapshot(state, 6, [], 12.0)
    state.apply({"type": "end", "trial": 3, "status": "INTERRUPTED", "time": 1.0})
    after = snapshot(state, 6, [], 12.0)
    assert after.counts[TrialStatus.INTERRUPTED] == 1
    assert before.n_ended == after.n_ended == 3
    assert after.eta_s is None  # nothing goes on
    state.trials[4] = TrialRecord(4, {}, TrialStatus.RUNNING)
    assert snapshot(state, 6, [], 12.0).eta_s == before.eta_s


def test_a_trial_that_failed_is_retrying_until_it_comes_further_and_stays_told_of():
    state = SweepState(Objective("valid_acc"))
    failure = {"cause": "user", "error": "RuntimeError: boom", "epoch": 1}
    record = TrialRecord(0, {}, TrialStatus.RUNNING, rows={1: {"epoch": 1.0}}, failures=[failure])
    state.trials[0] = record
    found = snapshot(state, 2, [], 0.0)
    assert (found.counts, found.n_ended) == ({RETRYING: 1}, 0)
    assert found.retries == (FailureCount("user", 1, "RuntimeError: boom"),)
    assert found.failures == ()
    record.rows = {1: {"epoch": 1.0}, 2: {"epoch": 2.0}}
    found = snapshot(state, 2, [], 0.0)
    assert found.counts == {TrialStatus.RUNNING: 1}
    assert found.retries == (FailureCount("user", 1, "RuntimeError: boom"),)
    record.status, record.cause, record.error = TrialStatus.FAILED, "oom", "MemoryError: no\ntrace"
    found = snapshot(state, 2, [], 0.0)
    assert found.retries == ()
    assert found.failures == (FailureCount("oom", 1, "MemoryError: no"),)
