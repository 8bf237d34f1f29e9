"""Rules that end a sweep: the first answer counts, targets and budgets are met exactly, alike failures need a run."""

from __future__ import annotations

from itertools import count

import pytest

from sweeps.records import SweepState, TrialRecord, TrialStatus
from sweeps.stop_rules import FAILING, AllAlike, StopRules, every, metric_target, time_budget, when
from trainables.objective import Objective

MOST = Objective("m", maximize=True)


def test_the_first_rule_that_answers_gives_the_reason_and_no_other_changes_it():
    answers = {"first": None, "second": None}
    rules = StopRules([lambda: answers["first"], lambda: answers["second"]])
    assert (rules.stop_all(), rules.reason) == (False, None)
    answers["second"] = "two"
    assert (rules.stop_all(), rules.reason) == (True, "two")
    answers["first"] = "one"
    assert (rules.stop_all(), rules.reason) == (True, "two")


def test_a_question_is_asked_anew_each_time():
    answers = iter([False, True])
    rule = when(lambda: next(answers), "asked")
    assert [rule(), rule()] == [None, "asked"]


def test_a_costly_rule_is_asked_at_once_and_then_only_so_often(monkeypatch):
    now, asked = [100.0], count(1)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    rule = every(2.0, lambda: str(next(asked)))
    seen = []
    for moment in (100.0, 101.9, 102.0, 103.0, 104.5):
        now[0] = moment
        seen.append(rule())
    assert seen == ["1", None, "2", None, "3"]


def test_a_time_budget_ends_the_sweep_when_it_is_spent(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    budget, none = time_budget(60.0), time_budget(None)
    now[0] = 159.9
    assert budget() is None
    now[0] = 160.0
    assert (budget(), none()) == ("time budget", None)


@pytest.mark.parametrize(
    ("objective", "values", "target"),
    [(Objective("m", maximize=True), [0.1, 0.2, 0.3], 0.3), (Objective("m"), [0.5, 0.4, 0.3], 0.3)],
)
def test_a_target_is_reached_from_its_own_side(objective, values, target):
    state = SweepState(objective)
    rule, never = metric_target(state, target), metric_target(state, None)
    assert rule() is None
    state.apply({"type": "trial", "trial": 0, "params": {}})
    seen = []
    for epoch, value in enumerate(values, start=1):
        usual = {"costs": {}, "placement": {}, "checkpoint": None}
        state.apply({"type": "report", "trial": 0, "rows": [{"epoch": epoch, "m": value}], **usual})
        seen.append(rule())
    assert seen == [None, None, "metric target"]
    assert never() is None


def failed(error: str, cause: str = "user") -> TrialRecord:
    return TrialRecord(0, {}, TrialStatus.FAILED, cause=cause, error=f"{error}\ntrace of its own {error}")


def test_so_many_alike_failures_at_the_beginning_end_the_sweep():
    rule = AllAlike(3, SweepState(MOST))
    for layers in (2, 17):
        rule.note(failed(f"ValueError: bad shape {layers}"))
        assert rule() is None
    rule.note(failed("ValueError: bad shape 5"))
    assert rule() == FAILING
    assert rule() == FAILING


@pytest.mark.parametrize("status", [TrialStatus.COMPLETED, TrialStatus.STOPPED, TrialStatus.DIVERGED])
@pytest.mark.parametrize("place", [0, 1])
def test_one_that_ended_otherwise_shows_that_the_rest_may_succeed(status, place):
    rule = AllAlike(2, SweepState(MOST))
    ends = [failed("E"), failed("E"), failed("E")]
    ends.insert(place, TrialRecord(1, {}, status))
    for record in ends:
        rule.note(record)
        assert rule() is None


@pytest.mark.parametrize("other", [failed("E", "oom"), failed("F")])
def test_failures_that_differ_do_not_end_the_sweep_and_later_ones_cannot(other):
    rule = AllAlike(2, SweepState(MOST))
    for record in (failed("E"), other, failed("F"), failed("F")):
        rule.note(record)
        assert rule() is None


def told(state: SweepState, trial: int, *epochs: int) -> None:
    """A trial that trains has reported ``epochs``."""
    if trial not in state.trials:
        state.apply({"type": "trial", "trial": trial, "params": {}})
        state.apply({"type": "start", "trial": trial, "time": 0.0})
    rows = [{"epoch": epoch, "m": 0.5} for epoch in epochs]
    state.apply({"type": "report", "trial": trial, "rows": rows, "costs": {}, "placement": {}, "checkpoint": None})


def fail(state: SweepState, rule: AllAlike, trial: int, *epochs: int) -> None:
    """A trial reports ``epochs`` and then fails as all others do."""
    told(state, trial, *epochs)
    state.apply({"type": "end", "trial": trial, "status": "FAILED", "cause": "user", "error": "E", "time": 1.0})
    rule.note(state.trials[trial])


def test_one_that_trains_beyond_what_all_others_failed_at_shows_that_the_rest_may_succeed():
    state = SweepState(MOST)
    rule = AllAlike(2, state)
    told(state, 9, 1, 2, 3)
    fail(state, rule, 0, 1, 2)
    fail(state, rule, 1, 1, 2)
    assert rule() is None


def test_one_that_has_come_no_further_than_all_others_failed_at_shows_nothing():
    state = SweepState(MOST)
    rule = AllAlike(2, state)
    told(state, 9, 1, 2)
    fail(state, rule, 0, 1, 2)
    fail(state, rule, 1, 1)
    assert rule() == FAILING


def test_what_an_earlier_attempt_trained_does_not_show_that_this_one_can():
    state = SweepState(MOST)
    told(state, 9, 1, 2, 3)
    rule = AllAlike(2, state)
    told(state, 9)  # it goes on from its checkpoint
    fail(state, rule, 0, 1)
    fail(state, rule, 1, 1)
    assert rule() == FAILING
