"""Drivers that reach for the same sweep at the same moment: one gets it, and what it writes stays whole."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from faults.processes import IS_FULL, Driver, check_whole, forked, losses, race, wait_until

from sweeps import Sweep, lock
from sweeps.garbage import collect
from sweeps.results import read_state
from sweeps.storage import SweepPaths

pytestmark = pytest.mark.faults

N_TRIALS, MAX_EPOCHS = 3, 4
# How many of each: 50 races of two resumes, or a sample of them.
N_RACES = 50 if IS_FULL else 3
N_OTHER = 10 if IS_FULL else 1
MOST_S = 5.0  # that the loser may take

SPEC = """
version: 1
name: raced
net: fault_nets:make_net
data: {type: python, object: "fault_nets:make_data"}
metric: {name: valid_loss, goal: minimize}
parameters:
  lr: {distribution: loguniform, min: 0.01, max: 1.0}
  callbacks__paced__sleep_s: 0.02
searcher: {name: random, num_samples: 3, seed: 3}
scheduler: {name: fifo}
report_every_s: 0
checkpoint: {every_s: 0, min_free_gb: 0}
"""


def run(spec: Path, storage: Path) -> None:
    Sweep.from_yaml(spec, [f"storage={json.dumps(str(storage))}"]).run(backend="inline", progress=False)


def resume(root: Path) -> None:
    Sweep.resume(root, backend="inline", progress=False)


def extend(root: Path) -> None:
    Sweep.extend(root, num_samples=1, backend="inline", progress=False)


def has_epochs(root: Path, epochs: int) -> Callable[[], bool]:
    return lambda: len(losses(root)) >= epochs


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "sweep.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, spec) -> Path:
    """A sweep whose driver was killed; its name still stands at the lock."""
    storage = tmp_path_factory.mktemp("interrupted")
    with forked(storage / "driver", partial(run, spec, storage)) as driver:
        driver.let_go()
        wait_until(has_epochs(storage / "raced", 2), "the second epoch")
        driver.send(signal.SIGKILL)
        assert driver.wait() == -signal.SIGKILL
    assert (storage / "raced" / "lock.json").exists()
    return storage / "raced"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, spec) -> dict[tuple[int, int], float]:
    """What the sweep comes to when nothing happens."""
    storage = tmp_path_factory.mktemp("whole")
    run(spec, storage)
    return losses(storage / "raced")


@pytest.fixture
def copy(interrupted, tmp_path) -> Callable[[int], Path]:
    """Makes a copy of the interrupted sweep for each race."""
    return lambda number: Path(shutil.copytree(interrupted, tmp_path / f"{number}" / "raced"))


def one_winner(drivers: dict[str, Driver]) -> tuple[str, Driver]:
    """The name of the one that came to its end, and the other, which was refused in time."""
    codes = {name: driver.status for name, driver in drivers.items()}
    assert sorted(codes.values()) == [0, 4], (codes, [driver.err for driver in drivers.values()])
    winner = next(name for name, code in codes.items() if code == 0)
    loser = next(driver for name, driver in drivers.items() if name != winner)
    assert loser.took_s < MOST_S
    return winner, loser


def check_names(loser: Driver, holder: Driver) -> None:
    assert f"in use by process {holder.pid} on {socket.gethostname()} " in loser.err


def test_of_two_resumes_one_goes_on_and_the_other_is_told_who_does(copy, tmp_path, whole):
    slowest = 0.0
    for number in range(N_RACES):
        root = copy(number)
        acts = {"one": partial(resume, root), "two": partial(resume, root)}
        drivers = race(tmp_path / f"{number}" / "drivers", acts, random.Random(number))
        winner, loser = one_winner(drivers)
        check_names(loser, drivers[winner])
        check_whole(root, N_TRIALS, MAX_EPOCHS)
        assert losses(root) == whole
        assert len(read_state(SweepPaths(root)).attempts) == 2
        slowest = max(slowest, loser.took_s)
    print(f"{N_RACES} races of two resumes: one winner each; the loser ended within {slowest:.2f} s")


def test_of_two_runs_of_one_name_one_makes_the_sweep(tmp_path, spec, whole):
    for number in range(N_OTHER):
        storage = tmp_path / f"{number}"
        acts = {"one": partial(run, spec, storage), "two": partial(run, spec, storage)}
        _, loser = one_winner(race(tmp_path / f"drivers-{number}", acts, random.Random(number)))
        assert "exists already" in loser.err
        assert losses(storage / "raced") == whole
        assert [path.name for path in storage.iterdir()] == ["raced"]


def test_of_a_resume_and_an_extension_one_goes_on(copy, tmp_path, whole):
    for number in range(N_OTHER):
        root = copy(number)
        acts = {"resume": partial(resume, root), "extend": partial(extend, root)}
        drivers = race(tmp_path / f"{number}" / "drivers", acts, random.Random(number))
        winner, loser = one_winner(drivers)
        check_names(loser, drivers[winner])
        check_whole(root, N_TRIALS + (winner == "extend"), MAX_EPOCHS)
        assert losses(root).items() >= whole.items()


def test_nothing_is_collected_while_a_resume_goes_on_and_all_that_it_needs_stays(copy, tmp_path, whole):
    for number in range(N_OTHER):
        root = copy(number)
        acts = {"resume": partial(resume, root), "gc": partial(collect, SweepPaths(root), is_dry_run=False)}
        drivers = race(tmp_path / f"{number}" / "drivers", acts, random.Random(number))
        assert {driver.status for driver in drivers.values()} <= {0, 4}
        if drivers["resume"].status == 4:  # gc came first
            check_names(drivers["resume"], drivers["gc"])
            resume(root)
        check_whole(root, N_TRIALS, MAX_EPOCHS)
        assert losses(root) == whole


def test_a_request_to_stop_reaches_a_resume_from_the_moment_at_which_it_holds_the_sweep(copy, tmp_path, whole):
    for number in range(N_OTHER):
        root = copy(number)
        with forked(tmp_path / f"{number}" / "driver", partial(resume, root)) as driver:
            driver.let_go()
            wait_until(lambda root=root: lock.holder(SweepPaths(root)), "the holder")
            lock.ask_to_stop(SweepPaths(root), now=True)
            assert driver.wait() == 0, driver.err
        assert read_state(SweepPaths(root)).attempts[-1]["reason"] == "stopped"
        resume(root)
        check_whole(root, N_TRIALS, MAX_EPOCHS)
        assert losses(root) == whole


def test_a_killed_driver_has_let_go_at_once(copy, tmp_path, whole):
    root = copy(0)
    with forked(tmp_path / "first", partial(resume, root)) as first:
        first.let_go()
        wait_until(has_epochs(root, 4), "the fourth epoch")
        first.send(signal.SIGKILL)
        first.wait()
    began = time.monotonic()
    resume(root)
    assert time.monotonic() - began < 10.0  # not after some time without a sign of life
    check_whole(root, N_TRIALS, MAX_EPOCHS)
    assert losses(root) == whole


def test_a_driver_that_was_stopped_and_continues_still_holds_the_sweep(copy, tmp_path, whole):
    root = copy(0)
    with forked(tmp_path / "first", partial(resume, root)) as first:
        first.let_go()
        wait_until(has_epochs(root, 4), "the fourth epoch")
        first.send(signal.SIGSTOP)
        long_ago = time.time() - 10 * lock.STALE_S
        os.utime(root / "lock.json", (long_ago, long_ago))
        before = losses(root)
        with forked(tmp_path / "second", partial(resume, root)) as second:
            second.let_go()
            assert second.wait(MOST_S) == 4
            check_names(second, first)
        assert losses(root) == before
        first.send(signal.SIGCONT)
        assert first.wait() == 0, first.err
    check_whole(root, N_TRIALS, MAX_EPOCHS)
    assert losses(root) == whole
