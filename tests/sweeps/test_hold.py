"""A right to write, which ends for good when no heart beat for too long, and what a holder says of itself."""

from __future__ import annotations

import pytest

from sweeps import hold
from sweeps.errors import SweepStateError
from sweeps.hold import STALE_S, Hold, Holder


def test_after_a_pause_the_heart_beats_before_anything_is_written(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(hold, "_seconds", lambda: clock[0])
    answers = [None, "was taken over"]
    held = Hold(lambda: answers.pop(0), 5.0, "the sweep")
    clock[0] = 14.0
    assert not held.is_lost()
    assert len(answers) == 2  # cheap as long as no beat is overdue
    clock[0] = 10_000.0
    assert not held.is_lost()
    clock[0] = 20_000.0
    assert held.is_lost()
    clock[0] = 20_001.0
    assert held.is_lost()


def test_a_heart_that_cannot_beat_is_given_up_when_others_would_take_it_for_dead(monkeypatch):
    def fail() -> str | None:
        raise OSError("store is down")

    clock = [0.0]
    monkeypatch.setattr(hold, "_seconds", lambda: clock[0])
    held = Hold(fail, 5.0, "the sweep")
    clock[0] = STALE_S - 1
    held.refuse_lost()
    clock[0] = STALE_S + 1
    for _ in range(2):
        assert held.is_lost()
        with pytest.raises(SweepStateError, match=r"^the sweep could not be reached for 61 s .*another driver may"):
            held.refuse_lost()
        clock[0] = 0.0  # it stays lost


def test_a_holder_says_the_same_after_it_was_written():
    me = Holder.myself()
    assert Holder.read(me.to_json(), 0.0) == me
    assert Holder.read(me.to_json(), 0.0).is_dead in (False, None)
    assert Holder(me.host, 2**22 + 1, 0.0, me.kernel).is_dead in (True, None)
    assert Holder("elsewhere", me.pid, 0.0, "other kernel").is_dead is None
