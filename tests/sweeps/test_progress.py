"""What a terminal shows while a sweep runs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sweeps.output import as_text
from sweeps.progress import Progress, as_line, as_panel
from sweeps.records import SweepState, TrialRecord, TrialStatus
from sweeps.snapshot import snapshot
from trainables.objective import Objective


class Clock:
    """Time that passes when told."""

    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def lines():
    """A console that is no terminal, and what was written to it."""
    return Console(file=io.StringIO(), width=200, force_terminal=False)


def written(console):
    return console.file.getvalue().splitlines()


def test_the_line_and_the_panel_read_well(state, golden):
    found = snapshot(state, 6, [1, 3], 75.0)
    golden("progress_line", as_line(found) + "\n")
    golden("progress_panel", as_text([as_panel(found)], 100))


def test_a_failure_that_is_retried_is_told_at_once(lines):
    state = SweepState(Objective("valid_acc"))
    failure = {"cause": "user", "error": "RuntimeError: boom", "epoch": 0}
    state.trials[0] = TrialRecord(0, {}, TrialStatus.RUNNING, failures=[failure])
    state.trials[1] = TrialRecord(1, {}, TrialStatus.RUNNING)
    found = snapshot(state, 6, [], 0.0)
    assert as_line(found).startswith("0/6 trials ended (1 running, 1 retrying) | ")
    assert " | 1 retried: RuntimeError: boom | " in as_line(found)
    assert "retried   1 (user): RuntimeError: boom" in as_text([as_panel(found)], 100)


def test_the_panel_is_as_wide_in_every_frame_and_no_wider_than_the_console(state):
    empty = SweepState(Objective("valid_acc"))
    for width, wanted in ((200, 78), (50, 50)):
        frames = [as_text([as_panel(snapshot(known, 6, [], 75.0))], width) for known in (empty, state)]
        assert {len(line) for frame in frames for line in frame.splitlines()} == {wanted}


def test_before_the_first_epoch_the_view_says_what_is_going_on(golden):
    state = SweepState(Objective("valid_loss"))
    state.trials[0] = TrialRecord(0, {})
    found = snapshot(state, 6, [1, 3], 0.0)
    golden("progress_start", as_line(found) + "\n" + as_text([as_panel(found)], 100))


def test_lines_are_rare_and_the_last_state_is_always_shown(state, lines):
    clock = Clock()
    with Progress(lines, clock) as progress:
        for _ in range(100):
            progress(state)
        assert len(written(lines)) == 1
        clock.now_s = 4.9
        progress(state)
        assert len(written(lines)) == 1
        clock.now_s = 5.1
        progress(state)
        assert len(written(lines)) == 2
    assert len(written(lines)) == 3


def test_a_new_best_is_told_before_its_time(state, lines):
    clock = Clock()
    with Progress(lines, clock) as progress:
        progress(state)
        state.best.best_value = 0.95
        progress(state)
        assert len(written(lines)) == 1
        clock.now_s = 1.1
        progress(state)
        assert "best valid_acc 0.95 " in written(lines)[1]


def test_a_resume_shows_no_time_left_until_it_has_trained_an_epoch(state, lines):
    state.apply({**state.attempts[0], "attempt": 2})
    clock = Clock()
    with Progress(lines, clock) as progress:
        for now_s in (0.0, 60.0):
            clock.now_s = now_s
            progress(state)
        report = {"rows": [{"epoch": 2, "valid_acc": 0.1}], "costs": {}, "placement": {}}
        state.apply({"type": "report", "trial": 3, **report})
        clock.now_s = 70.0
        progress(state)
    assert ["left" in line for line in written(lines)] == [False, False, True, True]


def test_nothing_is_shown_before_there_is_a_trial(lines):
    with Progress(lines) as progress:
        progress(SweepState(Objective("valid_acc")))
    assert written(lines) == []


def test_what_is_told_is_shown_as_it_is(lines):
    Progress(lines).tell("note: [red]X[/red] was cast")
    assert written(lines) == ["note: [red]X[/red] was cast"]


def test_counting_thousands_of_trials_takes_a_small_share_of_the_time(state, lines):
    class Slow(Clock):
        def __call__(self):
            self.now_s += 1.0  # every look at the clock, so that drawing takes a second and more
            return self.now_s

    with Progress(lines, Slow()) as progress:
        for _ in range(15):
            progress(state)
    assert len(written(lines)) == 2


def test_a_terminal_is_drawn_in_place(state):
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    clock = Clock()
    with Progress(console, clock) as progress:
        progress(state)
        progress(state)
        assert console.file.getvalue().count("3/6 ended") == 1
        clock.now_s = 0.3
        progress(state)
        assert console.file.getvalue().count("3/6 ended") == 2
        assert "\x1b[1A" in console.file.getvalue()  # up, to draw over what was there


def test_a_quiet_console_shows_nothing(state):
    console = Console(file=io.StringIO(), force_terminal=True, quiet=True)
    with Progress(console) as progress:
        progress.tell("starting")
        progress(state)
    assert console.file.getvalue() == ""
