"""A process that hangs ends and leaves its stacks; one that goes on, fails or is killed leaves none."""

from __future__ import annotations

import faulthandler
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from trainables.watchdog import HANG, Watchdog, read_hang

PROGRAM = """
import ctypes, os, signal, sys, threading, time
from pathlib import Path
from trainables.watchdog import Watchdog

watchdog, folder = Watchdog({hang_s}), Path(sys.argv[1])

def train():
{body}

train()
"""


def run_program(body: str, folder: Path, hang_s: float = 0.3) -> int:
    program = PROGRAM.format(body=textwrap.indent(textwrap.dedent(body), "    "), hang_s=hang_s)
    done = subprocess.run([sys.executable, "-c", program, str(folder)], timeout=60, check=False, capture_output=True)
    return done.returncode


def watched(body: str) -> str:
    return "with watchdog.watching(folder, 4):\n" + textwrap.indent(textwrap.dedent(body), "    ")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("while True: pass", "no epoch for 0.3 s after epoch 4"),
        ("time.sleep(99)", "no epoch for 0.3 s after epoch 4"),
        ("lock = threading.Lock(); lock.acquire(); lock.acquire()", "no epoch for 0.3 s after epoch 4"),
        ("ctypes.PyDLL(None).sleep(99)", "no epoch for 0.3 s after epoch 4"),  # native code that keeps Python's lock
        ("while True: print('again')", "no epoch for 0.3 s after epoch 4"),
        ("watchdog.epoch_done(5, 0.01); time.sleep(99)", "no epoch for 0.3 s after epoch 5"),
        ("time.sleep(0.1); watchdog.epoch_done(5, 0.06); time.sleep(99)", "no epoch for 0.6 s after epoch 5"),
    ],
)
def test_whatever_hangs_is_ended_and_says_where_it_was(tmp_path, body, line):
    assert run_program(watched(body), tmp_path / "trial") == 1
    text = read_hang(tmp_path / "trial")
    assert text is not None
    assert text.splitlines()[0].rstrip() == line
    assert " in train" in text


def test_each_hang_is_read_once_and_stays_for_people(tmp_path):
    run_program(watched("while True: pass"), tmp_path)
    text = read_hang(tmp_path)
    assert read_hang(tmp_path) is None
    assert (tmp_path / HANG).read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == [HANG]


def test_a_trial_may_take_long_as_long_as_its_epochs_go_on(tmp_path):
    epochs = "for epoch in range(12):\n    time.sleep(0.1)\n    watchdog.epoch_done(epoch + 1, 0.02)"
    assert run_program(watched(epochs), tmp_path, hang_s=0.6) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("inside", ["pass", "raise ValueError", "sys.exit(1)", "raise KeyboardInterrupt"])
def test_nothing_is_watched_afterwards(tmp_path, inside):
    body = f"try:\n{textwrap.indent(watched(inside), '    ')}\nexcept BaseException:\n    pass\ntime.sleep(0.6)"
    assert run_program(body, tmp_path, hang_s=0.2) == 0
    assert read_hang(tmp_path) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("death", ["os._exit(7)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_process_that_dies_otherwise_has_not_hung(tmp_path, death):
    assert run_program(watched(death), tmp_path, hang_s=60) != 0
    assert read_hang(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_trial_that_never_began_has_not_hung(tmp_path):
    assert read_hang(tmp_path / "trial") is None


def test_patience_follows_the_usual_epoch(tmp_path):
    assert Watchdog(300).limit_s == Watchdog(300, epoch_estimate_s=1).limit_s == 300
    watchdog = Watchdog(300, epoch_estimate_s=50)
    assert watchdog.limit_s == 500
    with watchdog.watching(tmp_path):
        for epoch, epoch_s in enumerate((90, 40, 41)):
            watchdog.epoch_done(epoch, epoch_s)
    assert watchdog.limit_s == 410


def test_the_first_epochs_of_a_trial_may_take_as_long_as_the_slowest_one_before(tmp_path):
    watchdog = Watchdog(300, epoch_estimate_s=50)
    limits = []
    for epoch_s in (40, 90, 1):
        watchdog.new_trial()
        limits.append(watchdog.limit_s)
        with watchdog.watching(tmp_path):
            watchdog.epoch_done(1, epoch_s)
    watchdog.new_trial()
    assert [*limits, watchdog.limit_s] == [500, 500, 900, 900]


def test_a_trial_that_is_still_being_made_gets_a_minute_at_least(tmp_path, monkeypatch):
    limits = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda limit, **given: limits.append(limit))
    for epoch, hang_s in ((None, 2), (0, 2), (None, 300)):
        with Watchdog(hang_s).watching(tmp_path, epoch):
            (watch,) = tmp_path.iterdir()
            said = watch.read_text()
        assert ("while the trial was made" if epoch is None else "after epoch 0") in said
    assert [round(limit) for limit in limits] == [60, 2, 330]


def test_short_epochs_do_not_arm_it_each_time(tmp_path, monkeypatch):
    limits = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda limit, **given: limits.append(limit))
    watchdog = Watchdog(300)
    with watchdog.watching(tmp_path, 0):
        for epoch in range(1000):
            watchdog.epoch_done(epoch, 0.001)
    assert len(limits) == 1
    assert limits[0] >= 300


def test_a_checkpoint_has_a_time_and_a_sentence_of_its_own(tmp_path, monkeypatch):
    limits = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda limit, **given: limits.append(round(limit)))
    for hang_s in (2, 900):
        watchdog = Watchdog(hang_s)
        with watchdog.watching(tmp_path, 0):
            watchdog.epoch_done(1, 0.01)
            watchdog.saving(1)
            (watch,) = tmp_path.iterdir()
            assert watch.read_text().startswith(f"no checkpoint for {max(hang_s, 600)} s after epoch 1 ")
            watchdog.epoch_done(2, 0.01)  # as after a pause
            assert watch.read_text().startswith(f"no epoch for {hang_s} s after epoch 2 ")
    assert limits == [2, 600, 2, 990, 900, 990]
