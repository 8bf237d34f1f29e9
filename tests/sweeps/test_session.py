"""The exit code of a run, where it depends on what an earlier process left."""

from __future__ import annotations

import signal

import pytest

from sweeps.session import watched

COMPLETE = [
    {"type": "attempt", "attempt": 1, "n_trials": 1, "rungs": []},
    {"type": "trial", "trial": 0, "params": {"lr": 0.1}},
    {"type": "end", "trial": 0, "status": "COMPLETED"},
]


@pytest.mark.parametrize(("reason", "code"), [("complete", 0), ("interrupted", 128 + signal.SIGTERM)])
def test_a_signal_that_an_earlier_process_caught_is_no_word_on_a_complete_sweep(reason, code, record_sweep, capsys):
    end = {"type": "attempt_end", "reason": reason, "signal": int(signal.SIGTERM)}
    paths = record_sweep(events=[*COMPLETE, end])
    assert watched(lambda progress: None, paths, True, "none") == code
    assert ("interrupted" in capsys.readouterr().err) == bool(code)


def test_a_signal_that_comes_while_the_result_is_shown_counts(record_sweep, monkeypatch):
    paths = record_sweep(events=[*COMPLETE, {"type": "attempt_end", "reason": "complete"}])
    shown = monkeypatch.setattr
    shown("sweeps.session.failure_lines", lambda state: signal.raise_signal(signal.SIGTERM) or [])
    assert watched(lambda progress: None, paths, True, "none") == 128 + signal.SIGTERM
