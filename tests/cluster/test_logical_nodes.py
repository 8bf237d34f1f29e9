"""Trials that share GPUs on several nodes of one machine: how they are spread, what each sees, and who joins."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq
import pytest
from cluster.history import History
from cluster.specs import write_spec
from cluster.telling_nets import told_by_trials
from faults.commands import Command, started

pytestmark = [pytest.mark.cluster, pytest.mark.ray]

N_TRIALS, MAX_EPOCHS = 24, 4
N_NODES, N_GPUS = 3, 4
STORE_BYTES = 80 * 2**20


@dataclass
class Found:
    """What a sweep left that ran on two nodes, and on a third that joined when they were full.

    Attributes
    ----------
    history : History
        Of the sweep.
    before, at_once : list of dict
        The lines of the trials that waited at the same time: on two nodes, and on three.
    nodes : list of str
        Ray's ids; the last joined.
    used_s : float
        Seconds from when it had joined until trials began on it.
    """

    history: History
    before: list[dict[str, Any]]
    at_once: list[dict[str, Any]]
    nodes: list[str]
    used_s: float

    def trials(self) -> list[dict[str, Any]]:
        """The rows of trials.parquet."""
        return list(pq.read_table(self.history.place.paths.trials_table).to_pylist())


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs and two nodes, all of them processes of this machine."""
    from ray.cluster_utils import Cluster

    os.makedirs("/tmp/ray", exist_ok=True)  # where Cluster leaves its address, whatever the folder of the session is
    head = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def found(cluster, tmp_path_factory) -> Found:
    history = History(tmp_path_factory.mktemp("logical"))
    # Each trial waits in its third epoch for the gate: what runs at once does not depend on anybody's speed.
    gate = history.folder / "gate"
    parts = {"resources": {"cpu": 0.5, "gpu": 0.5}, "checkpoint": {"every_s": 30, "min_free_gb": 0}}
    spec = write_spec(history, n_trials=N_TRIALS, max_epochs=MAX_EPOCHS, told={"gate": str(gate)}, **parts)
    nodes = [join(cluster), join(cluster)]
    with started(history.folder / "driver", "run", spec, "--address", cluster.address) as command:
        before = waiting(history, command, N_TRIALS * 2 // 3)
        nodes.append(join(cluster))
        joined_at = time.monotonic()
        command.wait_until(lambda: on_node(history, nodes[-1]), "a trial on the node that joined")
        used_s = time.monotonic() - joined_at
        at_once = waiting(history, command, N_TRIALS)
        gate.touch()
        assert command.wait() == 0, command.err
    return Found(history, before, at_once, nodes, used_s)


def join(cluster: Any) -> str:
    options = {"num_cpus": 8, "num_gpus": N_GPUS, "object_store_memory": STORE_BYTES}
    return str(cluster.add_node(**options).node_id)


def on_node(history: History, node: str) -> list[dict[str, Any]]:
    return [said for said in told_by_trials(history.log, "begun") if said["ray_node"] == node]


def waiting(history: History, command: Command, n_trials: int) -> list[dict[str, Any]]:
    """Lines of those that wait at the gate, once there are so many."""

    def at_gate() -> list[dict[str, Any]]:
        return [said for said in told_by_trials(history.log, "begun") if said["epoch"] == 3]

    command.wait_until(lambda: len(at_gate()) >= n_trials, f"{n_trials} trials at once")
    return at_gate()


def test_as_many_trials_run_at_once_as_the_gpus_have_shares_two_on_each(found):
    for lines, n_trials in ((found.before, N_TRIALS * 2 // 3), (found.at_once, N_TRIALS)):
        assert len({said["pid"] for said in lines}) == len({said["lr"] for said in lines}) == n_trials
        shares = Counter((said["ray_node"], said["gpu"]) for said in lines)
        assert set(shares.values()) == {2}, shares
    assert {said["ray_node"] for said in found.at_once} == {*found.nodes}


def test_each_trial_sees_the_one_gpu_that_it_shares(found):
    assert {said["gpu"] for said in found.at_once} == {str(number) for number in range(N_GPUS)}
    of_process = {said["pid"]: said["gpu"] for said in found.at_once}
    assert {row["pid"]: row["gpu"] for row in found.trials()} == of_process


def test_the_table_of_trials_says_where_each_ran(found):
    told = {said["lr"]: (said["ray_node"], said["gpu"]) for said in found.at_once}
    assert {row["params.lr"]: (row["ray_node"], row["gpu"]) for row in found.trials()} == told
    assert Counter(row["ray_node"] for row in found.trials()) == dict.fromkeys(found.nodes, N_TRIALS // N_NODES)
    assert len({row["node"] for row in found.trials()}) == 1  # one machine has but one name


def test_a_node_that_joins_takes_trials_at_once_and_nothing_is_lost(found):
    found.history.check_whole(N_TRIALS, MAX_EPOCHS)
    assert not [event for event in found.history.events() if event["type"] == "failure"]
    print(f"the node that joined had trials after {found.used_s:.1f} s")
