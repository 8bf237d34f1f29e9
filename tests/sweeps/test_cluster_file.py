"""cluster.yaml as a value, and what is refused in one."""

from __future__ import annotations

import os

import pytest
from cluster_files import CLOUD, LOCAL, write_cluster

from sweeps.cluster_file import NodeType, load_cluster
from sweeps.config import ResourcesConfig
from sweeps.errors import InfeasibleError, SpecError


def refused(path):
    with pytest.raises(SpecError) as caught:
        load_cluster(path)
    return str(caught.value)


def test_named_hosts_are_a_head_and_workers(tmp_path):
    cluster = load_cluster(write_cluster(tmp_path))
    assert (cluster.name, cluster.provider, cluster.ssh_user) == ("lab", "local", "me")
    assert cluster.hosts == ("192.0.2.1", "192.0.2.2", "192.0.2.3")
    assert cluster.ssh_key == tmp_path / "key"
    assert cluster.token_file == tmp_path / "token"
    assert cluster.node_types == (NodeType("head", 1, 0, 0, 0, True), NodeType("worker", 4, 4, 2, 2, False))
    assert (cluster.min_nodes(), cluster.max_nodes()) == (3, 3)
    assert cluster.growth() == []  # they are there already


def test_counts_that_the_file_does_not_give_are_left_to_ray(tmp_path):
    cluster = load_cluster(write_cluster(tmp_path, LOCAL, (" --num-cpus=4 --num-gpus=4", "")))
    assert cluster.node_types[1] == NodeType("worker", None, None, 2, 2, False)
    cluster.require(ResourcesConfig(cpu=64, gpu=16))


def test_the_most_nodes_are_bounded_by_both_limits(tmp_path):
    assert load_cluster(write_cluster(tmp_path, CLOUD)).max_nodes() == 9
    cluster = load_cluster(write_cluster(tmp_path, CLOUD, ("max_workers: 8", "max_workers: 3")))
    assert (cluster.min_nodes(), cluster.max_nodes()) == (2, 4)
    assert cluster.growth() == [{"cpus": 96, "gpus": 8, "count": 2}, {"cpus": 48, "gpus": 4, "count": 1}]


def test_a_sweep_that_fits_no_machine_is_refused(tmp_path):
    cluster = load_cluster(write_cluster(tmp_path, CLOUD))
    cluster.require(ResourcesConfig(cpu=96, gpu=8))
    with pytest.raises(InfeasibleError, match=r"1 CPU and 16 GPU.*gpu8: 96 CPU, 8 GPU"):
        cluster.require(ResourcesConfig(gpu=16))


def test_a_head_without_cpus_holds_no_trial_though_it_is_there(tmp_path):
    cluster = load_cluster(write_cluster(tmp_path, LOCAL, ("--num-gpus=4", "--num-gpus=0")))
    with pytest.raises(InfeasibleError):
        cluster.require(ResourcesConfig(gpu=0.5))


@pytest.mark.parametrize(
    ("text", "change", "said"),
    [
        (LOCAL, ("cluster_name: lab", "cluster_nam: lab"), "cluster.yaml:1: cluster_nam: unknown key; did you mean"),
        (LOCAL, ("cluster_name: lab", "cluster_name: a/b"), "cluster.yaml:1: cluster_name: 'a/b' is no name"),
        (LOCAL, ("type: local, ", ""), "cluster.yaml:2: provider.type: required"),
        (LOCAL, ("type: local", "type: lokal"), "cluster.yaml:2: provider.type: unknown provider lokal; did you mean"),
        (LOCAL, ("head_ip: 192.0.2.1, ", ""), "provider.head_ip: required"),
        (LOCAL, (", worker_ips: [192.0.2.2, 192.0.2.3]", ""), "provider.worker_ips: required"),
        (LOCAL, ("[192.0.2.2, 192.0.2.3]", "[192.0.2.2, 192.0.2.1]"), "provider.worker_ips: names a host twice"),
        (LOCAL, ("worker_ips:", "wrker_ips:"), "cluster.yaml:2: provider.wrker_ips: unknown key; did you mean worker_"),
        (CLOUD, ("region:", "regoin:"), "cluster.yaml:3: provider.regoin: unknown key; did you mean region?"),
        (CLOUD, ("type: aws", "type: gcp, projct_id: x"), "provider.projct_id: unknown key; did you mean project_id?"),
        (CLOUD, ("region:", "head_ip: 192.0.2.1, region:"), "provider.head_ip: unknown key"),
        (LOCAL, ("auth:", "docker: {image: x, container_name: y}\nauth:"), "cluster.yaml:3: docker: not for provider"),
        (LOCAL, ("- ray stop", '- "ray \\0 stop"'), "worker_start_ray_commands.0: no command can hold such a"),
        (LOCAL, ("ssh_user: me, ", ""), "auth.ssh_user: required"),
        (LOCAL, ("KEY", "/no/such/key"), "cluster.yaml:3: auth.ssh_private_key: no such file"),
        (
            LOCAL,
            ("cluster_name: lab", "cluster_name: lab\nmax_workers: 3"),
            "max_workers: is 3, but provider.worker_ip",
        ),
        (LOCAL, ("cluster_name: lab", "cluster_name: lab\nmin_workers: two"), 'min_workers: is "two", but must be a w'),
        (LOCAL, ('{"~/.ray/auth_token": TOKEN}', "{}"), "file_mounts: lacks the cluster's token"),
        (LOCAL, ("KEY", "~nobody-has-this/key"), "auth.ssh_private_key: no such file"),
        (LOCAL, ("TOKEN}", "~nobody-has-this/token}"), "auth_token: no such user on this machine: ~nobody-has-this"),
        (LOCAL, ("TOKEN}", "TOKEN, /there: /no/such/folder}"), "file_mounts./there: no such file or folder"),
        (LOCAL, ("- grep -q", "- (grep -q"), "cluster.yaml:6: setup_commands.0: bash cannot read it"),
        (LOCAL, ("=token'", "=token # of Ray'"), "setup_commands.0: bash cannot read it: unexpected EOF"),
        (LOCAL, (" >> ~/.bashrc", ""), "worker_start_ray_commands.1: starts Ray open to everybody"),
        (LOCAL, ("=token'", "=disabled'"), "head_start_ray_commands.1: starts Ray open to everybody"),
        (LOCAL, ("--head ", ""), "`ray start` without --head"),
        (LOCAL, (" --autoscaling-config=~/ray_bootstrap_config.yaml", ""), "no worker would ever start"),
        (LOCAL, ("--num-cpus=1", "--dashboard-host=0.0.0.0"), "--dashboard-host=0.0.0.0 opens the Jobs server"),
        (CLOUD, ("max_workers: 6, ", "max_worker: 6, "), "gpu4.max_worker: unknown key; did you mean max_workers?"),
        (CLOUD, ("GPU: 8", "GPU: 0.5"), "gpu8.resources.GPU: is 0.5, but must be a whole number"),
        (CLOUD, ("GPU: 8", "GPU: -1"), "gpu8.resources.GPU: is -1, but must be at least 0"),
        (CLOUD, ("min_workers: 1", "min_workers: 7"), "gpu4.min_workers: is 7, more than max_workers (6)"),
        (CLOUD, ("max_workers: 8", "max_workers: 0"), "max_workers: is 0, but the node types' min_workers are 1"),
        (CLOUD, ("head_node_type: head\n", ""), "head_node_type: required"),
        (CLOUD, ("head_node_type: head", "head_node_type: gpu5"), "gpu5 is no node type; did you mean gpu"),
        (CLOUD, ("max_workers: 8", "max_workers: 8\nmin_workers: 2"), "min_workers: Ray ignores it"),
        (
            CLOUD,
            ("[\"pip install 'ray[default]==2.60.0'\"]", "pip install x"),
            'setup_commands: is "pip install x", but',
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, change, said):
    assert said in refused(write_cluster(tmp_path, text, change))


def test_everything_wrong_is_said_at_once_in_the_order_of_the_file(tmp_path):
    changes = [("cluster_name: lab", "cluster_nam: lab"), ("=token'", "=off'"), ("--head ", ""), ("me,", "me, shh: 1,")]
    lines = refused(write_cluster(tmp_path, LOCAL, *changes)).splitlines()
    wheres = [line.split(": ")[1] for line in lines if ".yaml:" in line]
    assert wheres == [
        "cluster_name",
        "cluster_nam",
        "auth.shh",
        *["head_start_ray_commands.1"] * 2,
        "worker_start_ray_commands.1",
    ]


def test_a_key_that_others_may_read_is_refused(tmp_path):
    path = write_cluster(tmp_path)
    os.chmod(tmp_path / "key", 0o644)
    assert "chmod 600" in refused(path)


def test_files_that_are_none_are_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a")
    assert "holds no mapping" in refused(tmp_path / "list.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    assert "bad.yaml:1: not YAML" in refused(tmp_path / "bad.yaml")


START = "RAY_AUTH_MODE=token ray start --address"


@pytest.mark.parametrize(
    "command",
    [
        "A=b RAY_AUTH_MODE=token C='d e' ray start --address",
        "ulimit -n 9; export A=b RAY_AUTH_MODE=token; C=d ~/venv/bin/ray start --address",
        "export RAY_AUTH_MODE='token' && ray start --address",
        "if true; then { export RAY_AUTH_MODE=token; }; fi; ray start --address",
        "bash -lc 'export RAY_AUTH_MODE=token; ray start --address'",
    ],
)
def test_a_start_with_the_token_mode_in_its_environment_passes(tmp_path, command):
    load_cluster(write_cluster(tmp_path, CLOUD, (START, command)))


@pytest.mark.parametrize(
    "command",
    [
        "RAY_AUTH_MODE=token ray stop; ray start --address",
        "echo RAY_AUTH_MODE=token; ray start --address",
        "RAY_AUTH_MODE=token; ray start --address",
        "echo export RAY_AUTH_MODE=token; ray start --address",
        "ray start --address; export RAY_AUTH_MODE=token",
        "export RAY_AUTH_MODE=token; RAY_AUTH_MODE=disabled ray start --address",
        "RAY_AUTH_MODE=tokens ray start --address",
    ],
)
def test_a_start_without_the_token_mode_in_its_environment_is_refused(tmp_path, command):
    said = refused(write_cluster(tmp_path, CLOUD, (START, command)))
    assert "worker_start_ray_commands.0: starts Ray open to everybody" in said


def test_a_mode_that_a_profile_does_not_export_is_none(tmp_path):
    assert "open to everybody" in refused(write_cluster(tmp_path, LOCAL, ("'export RAY_AUTH", "'RAY_AUTH")))
