"""Who may write to a sweep: one driver at a time, what happens when it dies or seems to, how it is asked to stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeps import hold, lock
from sweeps.creation import create
from sweeps.errors import InfeasibleError, SweepStateError
from sweeps.hold import STALE_S, Hold, Holder
from sweeps.lock import ask_to_stop, asked_to_stop, clear_stop, holder, is_held, locked
from sweeps.storage import SweepPaths, write_text

HOLD = """
import sys
from pathlib import Path
from sweeps.lock import locked
from sweeps.storage import SweepPaths
with locked(SweepPaths(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def paths(tmp_path: Path) -> SweepPaths:
    made = SweepPaths.of(tmp_path / "results", "digits")
    create(made, {"name": "digits", "metric": "valid_acc"}, "name: digits\n")
    return made


@pytest.fixture
def other(paths: SweepPaths):
    """Another process that holds the sweep."""
    command = [sys.executable, "-c", HOLD, str(paths.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def leave(paths: SweepPaths, age_s: float, **said) -> None:
    """What a driver of another machine left, or is renewing."""
    known = {"host": "elsewhere", "pid": 1, "started": 1e9, "kernel": "other"}
    write_text(paths.holder, json.dumps(known | said))
    written = time.time() - age_s
    os.utime(paths.holder, (written, written))


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_second_driver_is_refused_at_once_with_host_process_and_age_of_the_first(paths, other):
    begun = time.monotonic()
    first = rf"process {other.pid} on {socket.gethostname()} \(since "
    with pytest.raises(SweepStateError, match=first) as caught, locked(paths):
        pass
    assert time.monotonic() - begun < 2
    assert "last sign of life" in str(caught.value)
    assert f"sweeps stop {paths.root}" in str(caught.value)
    assert holder(paths).pid == other.pid
    assert is_held(paths)


def test_a_driver_that_was_killed_has_let_go_and_the_next_one_says_whom_it_followed(paths, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert not is_held(paths)
    with locked(paths) as held:
        assert f"took over from process {other.pid} " in held.notes[0]
        assert holder(paths).pid == os.getpid()
        with pytest.raises(SweepStateError, match=str(os.getpid())), locked(paths):
            pass
    with locked(paths) as held:
        assert held.notes == ()


def test_a_driver_that_has_ended_holds_nothing_though_its_process_lives(paths):
    with locked(paths):
        pass
    assert not is_held(paths)
    with pytest.raises(KeyError), locked(paths):
        raise KeyError
    assert not is_held(paths)
    with locked(paths) as held:
        assert not held.is_lost()


def test_a_holder_of_another_machine_is_judged_by_its_last_sign_of_life(paths):
    leave(paths, age_s=STALE_S / 2)
    assert "process 1 on elsewhere (since 2001-09-09" in str(holder(paths))
    leave(paths, age_s=STALE_S + 1)
    assert not is_held(paths)


def test_where_locks_do_not_work_between_machines_the_heartbeat_keeps_a_second_driver_out(paths):
    leave(paths, age_s=STALE_S / 2)
    with pytest.raises(SweepStateError, match=r"process 1 on elsewhere .*do not work between machines"), locked(paths):
        pass
    assert json.loads(paths.holder.read_text())["host"] == "elsewhere"
    leave(paths, age_s=STALE_S + 5)
    with locked(paths) as held:
        assert "took over from process 1 on elsewhere" in held.notes[0]


def test_ages_are_by_the_file_systems_clock_and_not_by_this_machines(paths, monkeypatch):
    monkeypatch.setattr(lock, "_file_system_time", lambda folder: time.time() + 1000)
    leave(paths, age_s=-990)  # a server whose clock is ahead
    with pytest.raises(SweepStateError, match="last sign of life 10 s ago"), locked(paths):
        pass
    monkeypatch.undo()
    assert lock._file_system_time(paths.root) == pytest.approx(time.time(), abs=5)
    assert sorted(path.name for path in paths.root.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "elsewhere"}'])
def test_a_holder_that_cannot_be_read_holds_nothing(paths, text):
    paths.holder.write_text(text)
    assert not is_held(paths)
    with locked(paths):
        assert is_held(paths)


def test_a_driver_of_another_user_is_at_work(paths, monkeypatch):
    def kill(pid: int, number: int) -> None:
        raise PermissionError

    leave(paths, age_s=1000, host=socket.gethostname())
    monkeypatch.setattr(os, "kill", kill)
    assert is_held(paths)


def test_the_heart_beats_while_the_sweep_is_held(paths, monkeypatch):
    monkeypatch.setattr(lock, "_EVERY_S", 0.02)
    with locked(paths):
        os.utime(paths.holder, (0, 0))
        wait_for(lambda: paths.holder.stat().st_mtime > time.time() - 60)


@pytest.mark.parametrize("change", [lambda paths: paths.holder.unlink(), lambda paths: leave(paths, age_s=0)])
def test_a_driver_whose_sweep_was_deleted_or_taken_over_learns_of_it(paths, monkeypatch, change):
    monkeypatch.setattr(lock, "_EVERY_S", 0.02)
    with locked(paths) as held:
        assert not held.is_lost()
        change(paths)
        wait_for(held.is_lost)
    assert not paths.holder.exists() or json.loads(paths.holder.read_text())["host"] == "elsewhere"


def test_after_a_pause_the_heart_beats_before_anything_is_written(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(hold, "_seconds", lambda: clock[0])
    answers = [True, False]
    held = Hold(lambda: answers.pop(0), every_s=5.0)
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
    def fail() -> bool:
        raise OSError("store is down")

    clock = [0.0]
    monkeypatch.setattr(hold, "_seconds", lambda: clock[0])
    held = Hold(fail, every_s=5.0)
    clock[0] = STALE_S - 1
    assert not held.is_lost()
    clock[0] = STALE_S + 1
    assert held.is_lost()


def test_a_folder_that_cannot_be_locked_is_infeasible(tmp_path):
    with pytest.raises(InfeasibleError, match="cannot be locked"), locked(SweepPaths(Path("/proc/nope"))):
        pass


def test_a_holder_says_the_same_after_it_was_written():
    me = Holder.myself()
    assert Holder.read(me.to_json(), 0.0) == me
    assert Holder.read(me.to_json(), 0.0).is_dead in (False, None)
    assert Holder(me.host, 2**22 + 1, 0.0, me.kernel).is_dead in (True, None)
    assert Holder("elsewhere", me.pid, 0.0, "other kernel").is_dead is None


def test_a_request_to_stop_is_seen_until_a_driver_begins(paths):
    assert asked_to_stop(paths) is None
    ask_to_stop(paths)
    assert asked_to_stop(paths) == "drain"
    ask_to_stop(paths, now=True)
    assert asked_to_stop(paths) == "now"
    for _ in range(2):
        clear_stop(paths)
        assert asked_to_stop(paths) is None
