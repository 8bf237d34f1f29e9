"""Who may write to a sweep: one driver at a time, what happens when it dies or seems to, how it is asked to stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

import pytest
from filelock import FileLock

from sweeps import lease, lock
from sweeps.creation import create
from sweeps.errors import InfeasibleError, SweepStateError
from sweeps.hold import STALE_S, Holder
from sweeps.lock import ask_to_stop, asked_to_stop, clear_stop, holder, is_held, locked
from sweeps.storage import SweepPaths, write_text
from sweeps.working_copy import COPYING
from trainables.remote import RemoteFolder

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

    leave(paths, age_s=1000, host=socket.gethostname(), kernel=Holder.myself().kernel)
    monkeypatch.setattr(os, "kill", kill)
    assert is_held(paths)


def test_the_heart_beats_while_the_sweep_is_held(paths, monkeypatch):
    monkeypatch.setattr(lock, "_EVERY_S", 0.02)
    with locked(paths):
        os.utime(paths.holder, (0, 0))
        wait_for(lambda: paths.holder.stat().st_mtime > time.time() - 60)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda paths: shutil.rmtree(paths.root), "lock was deleted or replaced"),
        (lambda paths: paths.lock.unlink(), "lock was deleted or replaced"),
        (lambda paths: write_text(paths.lock, ""), "lock was deleted or replaced"),
        (lambda paths: leave(paths, age_s=0), "was taken over by another driver"),
        (lambda paths: paths.holder.write_bytes(b"\xff"), "was taken over by another driver"),
    ],
)
def test_a_driver_whose_sweep_was_deleted_or_taken_over_learns_of_it(paths, monkeypatch, change, says):
    monkeypatch.setattr(lock, "_EVERY_S", 0.02)
    with locked(paths) as held:
        held.refuse_lost()
        change(paths)
        wait_for(held.is_lost)
        with pytest.raises(SweepStateError, match=rf"^{paths.root} .*{says}(?s:.*)sweeps resume {paths.root}$"):
            held.refuse_lost()


def test_a_driver_whose_name_was_deleted_writes_it_anew_as_it_still_has_the_lock(paths, monkeypatch):
    monkeypatch.setattr(lock, "_EVERY_S", 0.02)
    with locked(paths) as held:
        before = paths.holder.read_bytes()
        paths.holder.unlink()
        wait_for(paths.holder.exists)
        wait_for(lambda: paths.holder.read_bytes() == before)
        held.refuse_lost()
        assert is_held(paths)
    assert not paths.holder.exists()


def test_a_second_driver_is_refused_while_the_first_lives_though_its_lock_was_deleted(paths, other):
    paths.lock.unlink()
    before = paths.holder.read_bytes()
    with pytest.raises(SweepStateError, match=rf"process {other.pid} on .*`lock` was deleted"), locked(paths):
        pass
    assert paths.holder.read_bytes() == before


def test_a_process_number_that_came_round_again_keeps_nobody_out_for_long(paths):
    myself = json.loads(Holder.myself().to_json())
    leave(paths, age_s=0, **myself)  # the first process of a container that started again
    with locked(paths) as held:
        assert "took over from" in held.notes[0]
    leave(paths, age_s=STALE_S + 5, **myself | {"pid": os.getppid()})
    with locked(paths) as held:
        assert "took over from" in held.notes[0]


@pytest.mark.parametrize(("age_s", "is_at_work"), [(0, True), (STALE_S + 1, False)])
@pytest.mark.parametrize("pid", [os.getpid(), 2**22 + 1], ids=["alive", "no process"])
def test_a_number_of_another_kernel_or_container_tells_nothing_though_the_host_has_one_name(
    paths, pid, age_s, is_at_work
):
    leave(paths, age_s, host=socket.gethostname(), pid=pid)
    assert is_held(paths) is is_at_work


@pytest.mark.parametrize("use", [holder, lambda paths: locked(paths).__enter__()])
def test_a_folder_in_the_place_of_the_holders_name_is_named(paths, use):
    paths.holder.mkdir()
    with pytest.raises(SweepStateError, match=rf"{paths.holder}: is a directory.*delete it"):
        use(paths)


@pytest.mark.parametrize("use", [asked_to_stop, ask_to_stop, clear_stop, lambda paths: locked(paths).__enter__()])
def test_a_folder_in_the_place_of_a_request_is_named(paths, use):
    paths.stop.mkdir()
    with pytest.raises(SweepStateError, match=rf"{paths.stop}: is a directory.*delete it"):
        use(paths)


@pytest.fixture
def on_store(tmp_path: Path) -> SweepPaths:
    made = SweepPaths(tmp_path / "copies" / "digits", RemoteFolder((tmp_path / "store" / "digits").as_uri()))
    create(made, {"name": "digits", "metric": "valid_acc"}, "name: digits\n")
    return made


def test_on_a_store_a_second_driver_of_this_machine_is_refused_at_once_though_the_lease_of_the_first_ran_out(
    on_store, monkeypatch
):
    monkeypatch.setattr(lease, "STALE_S", -1.0)  # as the first sleeps
    with FileLock(on_store.lock):
        begun = time.monotonic()
        with pytest.raises(SweepStateError, match="is in use by another process of this machine"), locked(on_store):
            pass
        assert time.monotonic() - begun < 2
    with locked(on_store) as held:
        held.refuse_lost()


def test_on_a_store_a_driver_waits_for_readers_that_bring_the_copy_up_to_date(on_store):
    copying = FileLock(on_store.root / COPYING, thread_local=False)
    reading = FileLock(on_store.lock, thread_local=False)
    copying.acquire()
    reading.acquire()

    def let_go() -> None:
        reading.release()
        copying.release()

    Timer(0.2, let_go).start()
    with locked(on_store) as held:
        assert not reading.is_locked
        held.refuse_lost()


def test_a_folder_that_cannot_be_locked_is_infeasible(tmp_path):
    with pytest.raises(InfeasibleError, match="cannot be locked"), locked(SweepPaths(Path("/proc/nope"))):
        pass


def test_a_request_to_stop_is_seen_until_a_driver_begins(paths):
    assert asked_to_stop(paths) is None
    ask_to_stop(paths)
    assert asked_to_stop(paths) == "drain"
    ask_to_stop(paths, now=True)
    assert asked_to_stop(paths) == "now"
    for _ in range(2):
        clear_stop(paths)
        assert asked_to_stop(paths) is None
