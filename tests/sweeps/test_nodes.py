"""Asking the nodes of a cluster: each answers for itself, a lost one is named in time, and nothing is left behind."""

from __future__ import annotations

import os

import pytest
import ray
from ray.cluster_utils import Cluster

from sweeps.connection import connected
from sweeps.errors import InfeasibleError
from sweeps.nodes import preflight, survey
from sweeps.storage import SweepPaths

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.slow]
STORE = 80 * 2**20


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of this machine, the second with a GPU that is none."""
    os.makedirs("/tmp/ray", exist_ok=True)
    head = {"num_cpus": 1, "num_gpus": 0, "include_dashboard": False, "object_store_memory": STORE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=STORE)
    ray.init(cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_every_node_answers_and_sees_the_storage(cluster, tmp_path):
    seen = survey(str(tmp_path), asks_torch=False)
    assert len({report.node_id for report in seen.reports}) == 2
    assert [report.is_here for report in seen.reports].count(True) == 1
    assert sorted(report.gpus for report in seen.reports) == [0, 1]
    for report in seen.reports:
        assert report.silence is None
        assert (report.sees_storage, report.storage_problem) == (True, None)
        assert report.facts.cards is None
        assert abs(report.clock_ahead_s) < 1
        assert report.facts.disks["storage"]["folder"] == str(tmp_path)
    assert not list(tmp_path.iterdir())


def test_preflight_of_equal_nodes_makes_nothing(cluster, tmp_path):
    notes = preflight(SweepPaths.of(tmp_path / "results", "demo"))
    assert all("RAY_AUTH_MODE" in note or "chmod 600" in note for note in notes)  # as on this machine
    assert not list(tmp_path.iterdir())


def test_preflight_refuses_a_storage_that_cannot_be_written(cluster, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InfeasibleError, match="cannot be written"):
        preflight(SweepPaths.of(tmp_path / "file", "demo"))


def test_a_node_that_does_not_answer_in_time_is_named(cluster):
    seen = survey(None, asks_torch=True, limit_s=0.01)
    assert [report.silence for report in seen.reports] == ["waited 0.01 s"] * 2


def test_nobody_at_an_address_is_said_at_once():
    with pytest.raises(InfeasibleError, match=r"no Ray cluster answers at 127\.0\.0\.1:9"), connected("127.0.0.1:9"):
        pass
