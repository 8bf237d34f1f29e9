"""A sweep on a cluster that begins without a machine for trials: they come, are used, and go. Ray's fake provider."""

from __future__ import annotations

import json
import os
import time

import pytest
from cluster.history import History
from cluster.rays import Rays
from cluster.specs import write_spec

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.ray,
    pytest.mark.skipif(os.environ.get("SWEEPS_CLUSTER") != "full", reason="only with SWEEPS_CLUSTER=full"),
]

N_TRIALS, MAX_EPOCHS = 6, 6
NODE = {"cpus": 8, "gpus": 4, "count": 2}
PATIENCE_S = 120.0
COMMANDS = ["initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray"]


def autoscaling(address: str) -> str:
    """What the autoscaler is told: machines of one kind, none of them before it is needed."""
    resources = {"CPU": NODE["cpus"], "GPU": NODE["gpus"], "object_store_memory": 80 * 2**20}
    provider = {"type": "fake_multinode", "use_node_id_as_ip": True, "disable_node_updaters": True}
    return json.dumps(
        {
            "cluster_name": "fake",
            "max_workers": NODE["count"],
            "upscaling_speed": 10.0,
            "idle_timeout_minutes": 0.15,
            "provider": provider | {"disable_launch_config_check": True, "gcs_address": address},
            "available_node_types": {
                "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
                "gpus": {"resources": resources, "node_config": {}, "min_workers": 0, "max_workers": NODE["count"]},
            },
            "head_node_type": "ray.head.default",
            **{name: {} for name in ("auth", "docker", "file_mounts")},
            **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
            "file_mounts_sync_continuously": False,
            **{f"{name}_commands": [] for name in COMMANDS},
        }
    )


@pytest.fixture
def rays(make_hosts, tmp_path) -> Rays:
    """A head alone, on a host of its own, so that the machines of the autoscaler are nobody else's."""
    hosts = make_hosts(1)
    rays = Rays(hosts, tmp_path / "rays", cpus=0)
    config = tmp_path / "autoscaling.json"
    config.write_text(autoscaling(rays.address))
    rays.head_options = (*rays.head_options, f"--autoscaling-config={config}")
    rays.head_env = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_enable_autoscaler_v2": "0"}
    rays.start_head()
    rays.wait_for(1)
    return rays


def test_machines_come_for_the_trials_of_a_sweep_and_go_after_it(rays, tmp_path):
    history, told = History(tmp_path), {"sleep_s": 0.5}
    parts = {"resources": {"cpu": 1, "gpu": 1}, "checkpoint": {"every_s": 1, "min_free_gb": 0}}
    spec = write_spec(history, n_trials=N_TRIALS, max_epochs=MAX_EPOCHS, told=told, **parts)
    began, env = time.time(), {"SWEEPS_NODE_TYPES": json.dumps([NODE])}
    driver = rays.sweeps(rays.head, tmp_path / "driver", "run", spec, "--address", "auto", env=env)
    assert driver.wait(PATIENCE_S) == 0, driver.err
    ended = time.monotonic()
    history.check_whole(N_TRIALS, MAX_EPOCHS)
    used = {event["placement"]["ray_node"] for event in history.reports()}
    assert len(used) == NODE["count"]  # one has room for four of the six
    came_s = history.reports()[0]["time"] - began
    rays.wait_for(1)
    print(f"first report after {came_s:.0f} s, machines gone {time.monotonic() - ended:.0f} s after the end")
    assert not [event for event in history.events() if event["type"] == "failure"]
