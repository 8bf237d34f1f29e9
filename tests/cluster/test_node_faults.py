"""Workers, raylets, links and heads that are lost in the middle of a sweep on several machines: nothing else is."""

from __future__ import annotations

import math
import os
import random
import shlex
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from cluster.history import History, Recovery, Tally
from cluster.rays import GCS, RAYLET, Driver, Rays
from cluster.specs import write_spec
from faults.processes import losses

pytestmark = [pytest.mark.cluster, pytest.mark.faults]

IS_FULL = os.environ.get("SWEEPS_CLUSTER") == "full"
N_ROUNDS = 10 if IS_FULL else 1
EPOCH_S, EVERY_S = 0.4, 1.0
# All epochs that may lie between two checkpoints; each that was trained since the last is trained again.
MOST_REDONE = math.ceil(EVERY_S / EPOCH_S)
PATIENCE_S = 150.0
HEAD_LOST_S = 60.0


@pytest.fixture(scope="module")
def rays(make_hosts, tmp_path_factory) -> Rays:
    """A head without CPUs, and two workers with room for three of the four trials that run at once.

    So that of a lost machine's trials one can go on at once elsewhere, and the last needs the machine that joins.
    """
    rays = Rays(make_hosts(3), tmp_path_factory.mktemp("rays"), cpus=3)
    rays.start()
    return rays


def kill_worker(rays: Rays, host: str, pid: int) -> None:
    rays.hosts.kill(host, pid, signal.SIGKILL)


def kill_raylet(rays: Rays, host: str, pid: int) -> None:
    rays.hosts.kill(host, rays.pid_of(host, RAYLET), signal.SIGKILL)


def cut_link(rays: Rays, host: str, pid: int) -> None:
    rays.hosts.cut(host)


FAULTS: dict[str, tuple[Callable[[Rays, str, int], None], str]] = {
    "worker": (kill_worker, "worker_died"),
    "raylet": (kill_raylet, "node_lost"),
    "link": (cut_link, "node_lost"),
}


def kill_gcs(rays: Rays) -> None:
    rays.hosts.kill(rays.head, rays.pid_of(rays.head, GCS), signal.SIGKILL)


def power_off_head(rays: Rays) -> None:
    rays.hosts.power_off(rays.head)


HEAD_FAULTS = {"gcs_server": kill_gcs, "head's power": power_off_head}


@dataclass
class Ordeal:
    """A sweep that runs on a cluster while machines are lost."""

    rays: Rays
    history: History
    driver: Driver
    rng: random.Random

    def await_moment(self) -> None:
        """Returns at a random moment at which trials train."""
        history, soon = self.history, self.history.n_epochs() + self.rng.randint(4, 16)
        self.driver.wait_until(
            lambda: history.n_epochs() >= soon and history.running(), "a moment for a fault", PATIENCE_S
        )
        time.sleep(self.rng.uniform(0, EPOCH_S))  # anywhere within an epoch

    def strike(self, fault: str) -> tuple[str, list[Recovery]]:
        """One fault where trials train; returns that machine, and how the trials got over it once they have."""
        self.await_moment()
        running = self.history.running()
        chosen = running[self.rng.choice(sorted(running))]["placement"]
        act, cause = FAULTS[fault]
        since = time.time()
        act(self.rays, chosen["node"], chosen["pid"])
        keys = ("node", "pid") if fault == "worker" else ("node",)
        hit = [n for n, report in running.items() if all(report["placement"][key] == chosen[key] for key in keys)]
        if fault == "raylet":
            self.driver.wait_until(lambda: self.history.is_noticed(hit, since), f"news of {fault}", PATIENCE_S)
            print(f"{chosen['node']} joined again and was used after {self.check_used(chosen['node']):.1f} s")
        self.driver.wait_until(
            lambda: self.history.has_got_over(hit, since),
            f"the recovery of {hit} on {chosen['node']} from {fault}",
            PATIENCE_S,
        )
        found = self.history.recoveries(since)
        assert {one.cause for one in found} <= {cause}, found
        return chosen["node"], found

    def bring_back(self, host: str) -> str:
        """Lets a machine that was lost join again; returns Ray's new id of it."""
        rays = self.rays
        rays.hosts.heal(host)
        self.driver.wait_until(lambda: not rays.has_raylet(host), f"the end of the raylet that {host} had")
        rays.start_worker(host)
        # One that was lost a moment ago may still be listed, too, under its old id.
        return [node for node, (name, _) in rays.nodes().items() if name == host][-1]

    def check_used(self, host: str) -> float:
        """A machine that joins is used without anybody's doing; returns after how many seconds."""
        used = {event["placement"]["ray_node"] for event in self.history.reports()}
        self.bring_back(host)
        since = time.time()

        def is_used() -> bool:
            later = {e["placement"]["ray_node"] for e in self.history.reports() if e["placement"]["node"] == host}
            return bool(later - used)

        self.driver.wait_until(is_used, f"a trial on {host}, which joined again")
        return time.time() - since


@pytest.fixture
def begin(rays, tmp_path, request):
    """Starts a sweep on a host; what it had to say is shown should the test fail."""

    def start(host: str, address: str, seed: int, n_trials: int, max_epochs: int) -> Ordeal:
        rays.ensure(len(rays.hosts.names))
        history = History(tmp_path)
        parts = {
            "resources": {"max_concurrent_trials": 4},
            "failure": {"max_failures": 0},  # of what counts as a trial's own; nothing here does
            "checkpoint": {"every_s": EVERY_S, "min_free_gb": 0},
        }
        spec = write_spec(history, n_trials=n_trials, max_epochs=max_epochs, told={"sleep_s": EPOCH_S}, **parts)
        driver = rays.sweeps(host, tmp_path / "driver", "run", spec, "--address", address)
        return Ordeal(rays, history, driver, random.Random(seed))

    return start


@pytest.mark.parametrize("number", range(N_ROUNDS))
def test_lost_workers_and_machines_cost_some_epochs_and_nothing_else(number, begin, rays, tallies):
    # Long enough that none ends while a worker starts on the machine that joins: it would be used instead of that one.
    n_trials, max_epochs = 8, 40
    ordeal = begin(rays.head, "auto", number, n_trials, max_epochs)
    found: dict[str, list[Recovery]] = {}
    for fault in FAULTS:
        host, found[fault] = ordeal.strike(fault)
    assert ordeal.driver.wait(PATIENCE_S) == 0, ordeal.driver.err
    lost, doubled = ordeal.history.check_whole(n_trials, max_epochs)
    for fault, recoveries in found.items():
        add(tallies[fault], recoveries, lost, doubled)
        # Where the trial had just ended, nothing had to recover.
        assert max((one.redone for one in recoveries), default=0) <= MOST_REDONE
    for one in [*found["raylet"], *found["link"]]:
        assert one.nodes[0] != one.nodes[1]
    rays.hosts.heal(host)


@pytest.mark.parametrize("number", range(N_ROUNDS))
def test_a_driver_that_outlives_the_head_says_how_to_go_on_and_that_comes_to_the_end(number, begin, rays, tallies):
    n_trials, max_epochs = 6, 12
    fault = "head's power" if number % 2 else "gcs_server"
    place = rays.workers[0]  # one that outlives the head
    ordeal = begin(place, rays.address, number, n_trials, max_epochs)
    ordeal.await_moment()
    since = time.time()
    HEAD_FAULTS[fault](rays)
    assert ordeal.driver.wait(HEAD_LOST_S) == 5, ordeal.driver.err
    noticed_s = time.time() - since
    shown, history = losses(ordeal.history.root), ordeal.history
    last = ordeal.driver.err.splitlines()[-1]
    words = shlex.split(last[last.index("sweeps resume") :])
    assert words[:3] == ["sweeps", "resume", str(history.root)]
    rays.restart()
    began = time.time()
    given = words if "--address" in words else [*words, "--address", rays.address]
    resumed = rays.sweeps(place, history.folder / "resumed", *given[1:])
    assert resumed.wait(PATIENCE_S) == 0, resumed.err
    assert shown.items() <= losses(history.root).items()
    lost, doubled = history.check_whole(n_trials, max_epochs)
    redone, running_s = history.redone_since(began)
    assert max(redone) <= MOST_REDONE
    add(tallies[fault], [], lost, doubled)
    tallies[fault].noticed_s.append(noticed_s)
    tallies[fault].running_s.append(running_s)
    tallies[fault].redone.extend(redone)


def add(tally: Tally, recoveries: list[Recovery], lost: int, doubled: int) -> None:
    tally.n += 1
    tally.lost += lost
    tally.duplicated += doubled
    tally.redone += [one.redone for one in recoveries]
    tally.noticed_s += [one.noticed_s for one in recoveries]
    tally.running_s += [one.running_s for one in recoveries]
