"""cluster.yaml files as Ray's launcher takes them."""

from __future__ import annotations

import pytest
import yaml
from cluster_files import CLOUD, LOCAL, write_cluster

from sweeps.cluster_file import load_cluster
from sweeps.errors import SpecError
from sweeps.launch_config import prepared, render


@pytest.mark.parametrize("text", [LOCAL, CLOUD])
def test_what_we_accept_ray_accepts(tmp_path, text):
    cluster = load_cluster(write_cluster(tmp_path, text))
    config = prepared(cluster)
    assert config["cluster_name"] == cluster.name
    assert config["max_workers"] == cluster.max_nodes() - 1
    assert yaml.safe_load(render(cluster)) == config


def test_defaults_are_spelled_out(tmp_path):
    shown = render(load_cluster(write_cluster(tmp_path)))
    assert "rsync_exclude: []" in shown
    assert "min_workers: 2" in shown


def test_what_only_ray_refuses_is_a_problem_in_one_line(tmp_path):
    docker = ("auth:", "docker: {image: rayproject/ray}\nauth:")
    cluster = load_cluster(write_cluster(tmp_path, CLOUD, docker))
    with pytest.raises(SpecError, match=r"cluster.yaml: Ray refuses it: .*container") as caught:
        prepared(cluster)
    assert len(str(caught.value).splitlines()) == 1
