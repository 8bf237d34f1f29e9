"""Signals at any moment of a driver's life: it ends soon, says how to go on, and what it leaves can go on."""

from __future__ import annotations

import json
import os
import pkgutil
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import fault_nets
import pytest
from faults.commands import Command, started
from faults.processes import IS_FULL, Driver, check_whole, forked, losses, wait_until

from sweeps import Sweep
from sweeps.results import read_state
from sweeps.session import watched
from sweeps.storage import SweepPaths

pytestmark = pytest.mark.faults

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]
MOST_S = 30.0
N_TRIALS, MAX_EPOCHS = 4, 4
N_MOMENTS = 20 if IS_FULL else 4

SPEC = """
version: 1
name: asked
net: fault_nets:make_net
data: {{type: python, object: "fault_nets:make_data"}}
metric: {{name: valid_loss, goal: minimize}}
parameters:
  lr: {{distribution: loguniform, min: 0.01, max: 1.0}}
  callbacks__paced__sleep_s: {sleep_s}
  callbacks__paced__since: {since}
  callbacks__paced__log: "{log}"
  max_epochs: {max_epochs}
searcher: {{name: random, num_samples: {n_trials}, seed: 3}}
scheduler: {{name: fifo}}
resources: {{max_concurrent_trials: 2}}
report_every_s: 0
checkpoint: {{every_s: 0, min_free_gb: 0}}
"""


def write_spec(folder: Path, sleep_s: float = 0.02, since: int = 1, log: str | Path = "") -> Path:
    """A spec whose epochs take so long: from the third on, say, as the probe trains two."""
    sizes = {"max_epochs": MAX_EPOCHS, "n_trials": N_TRIALS}
    spec = folder / "sweep.yaml"
    spec.write_text(SPEC.format(sleep_s=sleep_s, since=since, log=log, **sizes))
    return spec


def has_begun(log: Path, epoch: int) -> Callable[[], bool]:
    return lambda: epoch in [said["epoch"] for said in fault_nets.told(log, "begun")]


def watched_run(spec: Path, storage: Path) -> int:
    """`sweeps run`, but without Ray."""

    def start(progress: Any) -> None:
        Sweep.from_yaml(spec, [f"storage={json.dumps(str(storage))}"]).run(backend="inline", progress=progress)

    return watched(start, SweepPaths.of(storage, "asked"), False, "all")


def watched_resume(root: Path) -> int:
    """`sweeps resume`, but without Ray."""

    def start(progress: Any) -> None:
        Sweep.resume(root, backend="inline", progress=progress)

    return watched(start, SweepPaths(root), False, "all")


def as_in_a_shell(act: Callable[[], int]) -> Callable[[], int]:
    """With the handlers that a new process has, not those of the test's."""

    def run() -> int:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in NUMBERS[1:]:
            signal.signal(number, signal.SIG_DFL)
        code = act()
        os.write(2, b"" if code else b"came to its end\n")
        return code

    return run


def check_end(driver: Driver | Command, number: int, root: Path) -> None:
    """It ended with the signal's code, and its last line says what to do."""
    assert driver.status == 128 + number, driver.err
    assert "Traceback" not in driver.err
    last = driver.err.strip().splitlines()[-1]
    if root.exists():
        assert last == f"interrupted; go on with: sweeps resume {root}"
    else:
        assert last == "interrupted; nothing was created"
        assert not root.parent.exists() or not list(root.parent.iterdir())


def check_resumable(root: Path, spec: Path, whole: dict[tuple[int, int], float]) -> None:
    """What was acknowledged stays, and the rest comes to what it would have been."""
    before = losses(root)
    if root.exists():
        Sweep.resume(root, backend="inline", progress=False)
    else:
        watched_run(spec, root.parent)
    check_whole(root, N_TRIALS, MAX_EPOCHS)
    assert losses(root) == whole
    assert before.items() <= whole.items()
    assert (root / "trials.parquet").exists()
    assert (root / "best").is_dir()


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> Path:
    return write_spec(tmp_path_factory.mktemp("spec"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, spec) -> tuple[dict[tuple[int, int], float], float]:
    """What the sweep comes to when nothing happens, and how many seconds that takes."""
    storage = tmp_path_factory.mktemp("whole")
    watched_run(spec, tmp_path_factory.mktemp("first"))  # so that all is imported
    with forked(storage / "driver", as_in_a_shell(partial(watched_run, spec, storage))) as driver:
        driver.let_go()
        assert driver.wait() == 0, driver.err
    return losses(storage / "asked"), driver.took_s


def signalled(folder: Path, act: Callable[[], int], number: int, after_s: float) -> tuple[Driver, float]:
    """A driver that got a signal so many seconds after its first line, and how many more it took to its end."""
    with forked(folder, as_in_a_shell(act)) as driver:
        driver.let_go()
        wait_until(lambda: driver.err, "its first line")
        time.sleep(after_s)
        driver.send(number)
        sent = time.monotonic()
        driver.wait()
    return driver, time.monotonic() - sent


# Where a signal may come -> what is about to be called then for the first time.
PLACES = {
    "while the probe trains": "fault_nets.Paced.on_epoch_begin",
    "before the directory is there": "sweeps.prepared.create",
    "before the lock is taken": "sweeps.prepared.taken",
    "before the attempt is recorded": "sweeps.attempt.Claim.take",
    "before the tables are written": "sweeps.attempt.write_tables",
    "before the best net is written": "sweeps.attempt.write_best",
    "before the result is shown": "sweeps.session.summary",
}


def sending(place: str, number: int, act: Callable[[], int]) -> Callable[[], int]:
    """Sends the driver a signal when the function at ``place`` is called for the first time."""
    owner, _, name = place.rpartition(".")
    real, calls = getattr(pkgutil.resolve_name(owner), name), []

    def first(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        if len(calls) == 1:
            os.kill(os.getpid(), number)
        return real(*args, **kwargs)

    def run() -> int:
        with mock.patch(place, first):
            return act()

    return run


def test_a_signal_at_any_moment_ends_a_run_which_then_can_go_on(tmp_path, spec, whole):
    check_moments(tmp_path, spec, whole, lambda root: partial(watched_run, spec, root.parent), 1)


def test_a_signal_at_any_moment_ends_a_resume_which_then_can_go_on(tmp_path, spec, whole):
    interrupted = tmp_path / "interrupted"
    with forked(tmp_path / "driver", as_in_a_shell(partial(watched_run, spec, interrupted))) as driver:
        driver.let_go()
        wait_until(lambda: len(losses(interrupted / "asked")) > 2, "the third epoch")
        driver.send(signal.SIGKILL)
        driver.wait()

    def copied(root: Path) -> Callable[[], int]:
        shutil.copytree(interrupted / "asked", root)
        return partial(watched_resume, root)

    check_moments(tmp_path, spec, whole, copied, 2)


def check_moments(tmp_path: Path, spec: Path, whole: Any, make: Callable[[Path], Callable[[], int]], seed: int) -> None:
    rng, took_s = random.Random(seed), []
    for number in range(3 * N_MOMENTS):
        root, what, after_s = tmp_path / f"{number}" / "asked", NUMBERS[len(took_s) % 4], rng.uniform(0.0, whole[1])
        driver, left_s = signalled(tmp_path / f"said-{number}", make(root), what, after_s)
        if driver.status == 0 or driver.err.endswith("came to its end\n"):
            continue  # too late
        check_end(driver, what, root)
        check_resumable(root, spec, whole[0])
        took_s.append(left_s)
        if len(took_s) == N_MOMENTS:
            break
    assert len(took_s) == N_MOMENTS
    assert max(took_s) < MOST_S
    print(f"{len(took_s)} of {N_MOMENTS} ended as they should, within {max(took_s):.2f} s of the signal")


@pytest.mark.parametrize("place", PLACES)
def test_a_signal_at_an_awkward_moment_is_not_lost(place, tmp_path, spec, whole):
    number = NUMBERS[list(PLACES).index(place) % 4]
    root = tmp_path / "storage" / "asked"
    act = sending(PLACES[place], number, partial(watched_run, spec, root.parent))
    with forked(tmp_path / "driver", as_in_a_shell(act)) as driver:
        driver.let_go()
        driver.wait()
    check_end(driver, number, root)
    check_resumable(root, spec, whole[0])


@pytest.mark.parametrize("number", NUMBERS)
def test_the_same_signal_again_ends_a_sweep_in_the_middle_of_an_epoch(number, tmp_path):
    root = tmp_path / "storage" / "asked"
    log = tmp_path / "log"
    slow = partial(watched_run, write_spec(tmp_path, 20.0, 3, log), root.parent)
    with forked(tmp_path / "driver", as_in_a_shell(slow)) as driver:
        driver.let_go()
        wait_until(has_begun(log, 3), "a slow epoch")
        driver.send(number)
        wait_until(lambda: "stopping" in driver.err, "the notice")
        assert not driver.has_ended()
        driver.send(number)
        driver.wait(5.0)
    check_end(driver, number, root)
    assert read_state(SweepPaths(root)).unfinished


def test_a_signal_that_is_ignored_stays_so(tmp_path, spec, whole):
    """As SIGHUP is under nohup."""

    def act() -> int:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return watched_run(spec, tmp_path / "storage")

    with forked(tmp_path / "driver", as_in_a_shell(act)) as driver:
        driver.let_go()
        wait_until(lambda: losses(tmp_path / "storage" / "asked"), "the first epoch")
        driver.send(signal.SIGHUP)
        assert driver.wait() == 0, driver.err
    assert losses(tmp_path / "storage" / "asked") == whole[0]


@pytest.mark.ray
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT] if IS_FULL else [signal.SIGTERM])
def test_epochs_of_a_minute_hold_up_no_signal_and_leave_no_process_of_ray(number, tmp_path):
    root, log = tmp_path / "asked", tmp_path / "log"
    spec = write_spec(tmp_path, 60.0, 3, log)
    with started(tmp_path / "driver", "run", spec, "--storage", tmp_path) as command:
        command.wait_until(lambda: len(losses(root)) >= 2 and has_begun(log, 3)(), "a slow epoch")
        sent = command.send(number)
        command.wait()
        took_s = time.monotonic() - sent
        left_s = command.wait_for_ray(20.0)
    check_end(command, number, root)
    assert took_s < MOST_S
    assert len(command.ray) >= 4
    before = losses(root)
    assert read_state(SweepPaths(root)).unfinished
    print(f"signal {number} in an epoch of a minute: ended after {took_s:.1f} s, Ray's processes {left_s:.1f} s later")
    assert losses(root) == before


MOMENTS = {
    "importing": lambda command, root: command.wait_until(lambda: "importing" in command.err, "imports"),
    "checking": lambda command, root: command.wait_until(lambda: "checking" in command.err, "the check"),
    "starting Ray": lambda command, root: command.wait_until(lambda: "starting Ray" in command.err, "Ray"),
    "starting workers": lambda command, root: command.wait_until(root.exists, "the sweep"),
    "epochs": lambda command, root: command.has_epochs(root, 5),
    "last epochs": lambda command, root: command.has_epochs(root, N_TRIALS * MAX_EPOCHS),
}


@pytest.mark.ray
@pytest.mark.skipif(not IS_FULL, reason="takes minutes; SWEEPS_FAULTS=full runs it")
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_at_any_moment_of_a_sweep_on_ray(moment, tmp_path, spec, whole):
    root, number = tmp_path / "storage" / "asked", NUMBERS[(list(MOMENTS).index(moment) + 1) % 4]
    with started(tmp_path / "driver", "run", spec, "--storage", root.parent) as command:
        MOMENTS[moment](command, root)
        sent = command.send(number)
        status, took_s = command.wait(), time.monotonic() - sent
        left_s = command.wait_for_ray(20.0)
    print(f"signal {number} while {moment}: {status} after {took_s:.1f} s, Ray's processes {left_s:.1f} s later")
    if moment != "last epochs" or status != 0:  # it may have ended by then
        check_end(command, number, root)
    assert took_s < MOST_S
    check_resumable(root, spec, whole[0])


@pytest.mark.ray
@pytest.mark.skipif(not IS_FULL, reason="takes minutes; SWEEPS_FAULTS=full runs it")
@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_to_the_whole_process_group_leaves_a_sweep_that_can_go_on(number, tmp_path, spec, whole):
    """As a terminal sends it at Ctrl-C or when it is closed."""
    root = tmp_path / "storage" / "asked"
    with started(tmp_path / "driver", "run", spec, "--storage", root.parent) as command:
        command.has_epochs(root, 5)
        sent = time.monotonic()
        os.killpg(command.pid, number)
        command.wait()
        took_s = time.monotonic() - sent
        command.wait_for_ray(20.0)
    print(f"signal {number} to the group: {command.status} after {took_s:.1f} s")
    # SIGTERM ends Ray before the driver could, which then waits in vain and ends itself.
    check_end(command, number, root)
    assert took_s < MOST_S
    check_resumable(root, spec, whole[0])
