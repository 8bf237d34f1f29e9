"""Real drivers and workers on a real Ray that are killed in the middle of their work: nothing acknowledged is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import fault_nets
import pytest
from faults.commands import Command, started
from faults.processes import IS_FULL, check_whole, losses

from sweeps import Sweep, journal

pytestmark = [pytest.mark.faults, pytest.mark.ray]

N_TRIALS, MAX_EPOCHS, N_WORKERS = 6, 6, 2
# Sweeps, and how often the driver of each is killed before one may end; 24 and 1 in all.
N_SWEEPS, N_KILLS = (4, 6) if IS_FULL else (1, 1)
N_WORKER_KILLS = 4 if IS_FULL else 1
GONE_S = 15.0  # in which workers have to follow their driver

SPEC = """
version: 1
name: killed
net: fault_nets:make_net
data: {{type: python, object: "fault_nets:make_data"}}
metric: {{name: valid_loss, goal: minimize}}
parameters:
  lr: {{distribution: loguniform, min: 0.01, max: 1.0}}
  callbacks__paced__sleep_s: 0.2
  callbacks__paced__log: "{log}"
  max_epochs: 6
searcher: {{name: random, num_samples: 6, seed: 3}}
scheduler: {{name: fifo}}
resources: {{max_concurrent_trials: 2}}
report_every_s: 0
checkpoint: {{every_s: 0, min_free_gb: 0}}
"""


@dataclass
class Life:
    """A sweep, and what its drivers went through.

    Attributes
    ----------
    folder : Path
        Holds the sweep and what its nets and drivers say.
    shown : dict
        (trial, epoch) -> train_loss of what was acknowledged when a driver was killed.
    gone_s : list of float
        How long each driver's workers outlived the begin of the next.
    drivers : list of int
        Their processes.
    """

    folder: Path
    shown: dict[tuple[int, int], float] = field(default_factory=dict)
    gone_s: list[float] = field(default_factory=list)
    drivers: list[int] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / "killed"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def write_spec(self) -> Path:
        spec = self.folder / "sweep.yaml"
        spec.write_text(SPEC.format(log=self.log))
        return spec

    def next_driver(self) -> tuple[Path, object, object]:
        """Where the next driver says something, and its verb and its object."""
        said = self.folder / f"driver-{len(self.drivers)}"
        return (said, "resume", self.root) if self.root.exists() else (said, "run", self.write_spec())

    def workers(self) -> set[int]:
        """Every process that began an epoch, but for drivers."""
        return {said["pid"] for said in fault_nets.told(self.log, "begun")} - {*self.drivers}

    def redone(self) -> int:
        """Epochs that workers trained more than once; what a driver trains is its probe."""
        trained = [said for said in fault_nets.told(self.log, "trained") if said["pid"] not in self.drivers]
        different = {(said["lr"], said["epoch"]) for said in trained}
        assert len(different) == N_TRIALS * MAX_EPOCHS
        return len(trained) - len(different)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Life:
    """The sweep when nothing happens."""
    life = Life(tmp_path_factory.mktemp("whole"))
    Sweep.from_yaml(life.write_spec(), [storage_of(life)]).run(backend="inline", progress=False)
    return life


def storage_of(life: Life) -> str:
    return f"storage={json.dumps(str(life.folder))}"


def drive(life: Life, kill_after: int | None, previous: Command | None) -> Command:
    """One driver's life: to its end, or until so many epochs more are acknowledged."""
    said, verb, what = life.next_driver()
    options = ["--storage", life.folder] if verb == "run" else []
    with started(said, verb, what, *options) as command:
        life.drivers.append(command.pid)
        if previous is not None:
            life.gone_s.append(previous.wait_for_ray(GONE_S, life.workers()))
        if kill_after is None:
            assert command.wait() == 0, command.err
        else:
            command.has_epochs(life.root, len(life.shown) + kill_after)
            life.shown |= losses(life.root)
            command.send(signal.SIGKILL)
            command.wait()
            life.shown |= losses(life.root)
        assert life.shown.items() <= losses(life.root).items()
    return command


def check_equal(life: Life, whole: Life) -> None:
    """It came to what it would have come to, to the last bit."""
    check_whole(life.root, N_TRIALS, MAX_EPOCHS)
    assert losses(life.root) == losses(whole.root)
    weights = [(one.root / "best" / "model.safetensors").read_bytes() for one in (life, whole)]
    assert weights[0] == weights[1]
    assert not [*life.root.rglob(".*.part")]


@pytest.mark.parametrize("number", range(N_SWEEPS))
def test_killed_drivers_lose_nothing_that_was_acknowledged_and_change_no_number(number, tmp_path, whole):
    life, rng = Life(tmp_path), random.Random(number)
    command = None
    for _ in range(N_KILLS):
        command = drive(life, rng.randint(2, 5), command)
    drive(life, None, command)
    check_equal(life, whole)
    redone, gone_s = life.redone(), max(life.gone_s)
    print(f"{N_KILLS} kills: {redone} epochs trained again; workers gone {gone_s:.1f} s after the next driver began")
    # Of each worker: one that was trained and not saved, and one that it trained as an orphan.
    assert redone <= N_KILLS * N_WORKERS * 2


def test_killed_workers_are_replaced_and_change_no_number(tmp_path, whole):
    life, killed = Life(tmp_path), set()
    said, verb, what = life.next_driver()
    with started(said, verb, what, "--storage", life.folder) as command:
        while len(killed) < N_WORKER_KILLS:
            command.has_epochs(life.root, 2 + 4 * len(killed))
            trial, pid = newest_worker(life.root, command)
            if trial in killed:
                time.sleep(0.05)
                continue
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.add(trial)
        assert command.wait() == 0, command.err
    check_equal(life, whole)
    failures = [event for event in journal.read(life.root / "journal") if event["type"] == "failure"]
    assert {event["cause"] for event in failures} == {"worker_died"}
    print(f"{len(killed)} workers killed: {len(failures)} trials went on elsewhere")
    assert 1 <= len(failures) <= len(killed)


def newest_worker(root: Path, command: Command) -> tuple[int, int]:
    """The trial that reported last, and the process in which it trains."""
    command.wait_until(lambda: True, "a report")
    last = [event for event in journal.read(root / "journal") if event["type"] == "report"][-1]
    return last["trial"], last["placement"]["pid"]
