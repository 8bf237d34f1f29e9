"""Launching clusters, with ssh, rsync and Ray's command line replaced by scripts; real hosts are the cluster tests'."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

import pytest
from cluster_files import CLOUD, LOCAL, write_cluster

from sweeps import launcher
from sweeps.cluster_file import load_cluster
from sweeps.cluster_status import ask_head, status_answer
from sweeps.errors import InfeasibleError
from sweeps.launcher import down, make_token, up
from sweeps.output import Format, write
from sweeps.ray_command import run_ray

PYTHON = sys.executable


def report(*ips):
    nodes = [
        {
            "ip": ip,
            "id": ip,
            "is_head": ip.endswith(".1"),
            "total": {"CPU": 4, "GPU": 4},
            "free": {"CPU": 3, "GPU": 3.5},
        }
        for ip in ips
    ]
    return "node-report:" + json.dumps({"ray": "2.60.0", "nodes": nodes, "status": "", "log": ""})


ALL = report("192.0.2.1", "192.0.2.2", "192.0.2.3")


class Machines:
    """The hosts as `ssh` and `ray` show them: what each command writes and whether it fails."""

    def __init__(self, folder):
        self.folder = folder
        self.said = {"ssh": "", "ray": ""}

    def answer(self, program, script):
        path = self.folder / program
        path.write_text(f'#!/bin/bash\necho "{program} $*" >> {self.folder}/asked\n{script}\n')
        path.chmod(0o755)

    @property
    def asked(self):
        return (self.folder / "asked").read_text().splitlines() if (self.folder / "asked").exists() else []

    def ray_verbs(self):
        return [line.split()[3] for line in self.asked if line.startswith("ray ")]


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """Three hosts on which all goes well: ssh works, no Ray runs before, all nodes come."""
    folder = tmp_path / "bin"
    folder.mkdir()
    found = Machines(folder)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    found.answer("ray", "exit 0")
    monkeypatch.setattr(sys, "executable", str(folder / "ray"))
    (folder / "report").write_text(ALL)
    found.answer("ssh", f'case "$*" in *"ray stop"*) echo left:;; *node-report*) cat {folder}/report;; esac')
    return found


@pytest.fixture
def cluster(tmp_path):
    """Three named hosts."""
    return load_cluster(write_cluster(tmp_path))


def test_up_makes_the_token_asks_the_hosts_launches_and_waits(machines, cluster):
    told = []
    status = up(cluster, told.append)
    assert [node.ip for node in status.nodes] == list(cluster.hosts)
    assert machines.ray_verbs() == ["up"]
    assert stat.S_IMODE(cluster.token_file.stat().st_mode) == 0o600
    assert told[0].startswith("made the token")
    assert told[-1].startswith("3 of 3 nodes are there")


def test_nothing_is_launched_where_a_host_refuses_the_key(machines, cluster):
    machines.answer("ssh", 'case "$*" in *192.0.2.3*) echo "me@x: Permission denied (publickey)." >&2; exit 255;; esac')
    with pytest.raises(InfeasibleError, match=r"^192.0.2.3 refused the key .* for user me; give") as caught:
        up(cluster, lambda line: None)
    assert len(str(caught.value).splitlines()) == 1
    assert not machines.ray_verbs()


def test_every_host_that_cannot_be_reached_is_named(machines, cluster):
    machines.answer("ssh", 'echo "ssh: connect to host: Connection timed out" >&2; exit 255')
    with pytest.raises(InfeasibleError) as caught:
        up(cluster, lambda line: None)
    lines = str(caught.value).splitlines()
    assert [line.split()[0] for line in lines] == list(cluster.hosts)
    assert all("cannot be reached by ssh" in line for line in lines)


def test_a_ray_that_runs_already_is_not_ended_by_up(machines, cluster):
    machines.answer("ssh", 'case "$*" in *192.0.2.2*) echo raylet;; esac')
    with pytest.raises(InfeasibleError, match=r"192.0.2.2 runs Ray already \(raylet\)"):
        up(cluster, lambda line: None)
    assert not machines.ray_verbs()


def test_a_launch_that_fails_is_brought_down_and_told_by_its_own_words(machines, cluster):
    machines.answer("ray", '[ "$3" = down ] || { echo "Error: no such option --headd"; exit 1; }')
    with pytest.raises(InfeasibleError, match=r"^ray up failed: Error: no such option --headd"):
        up(cluster, lambda line: None)
    assert machines.ray_verbs() == ["up", "down"]
    assert sum("ray stop --force" in line for line in machines.asked) == 3


def test_nodes_that_do_not_come_are_named_and_the_rest_is_brought_down(machines, cluster):
    (machines.folder / "report").write_text(report("192.0.2.1", "192.0.2.2"))
    with pytest.raises(InfeasibleError, match=r"nodes are missing, 192.0.2.3"):
        up(cluster, lambda line: None, nodes_s=0)
    assert machines.ray_verbs() == ["up", "down"]


def test_ctrl_c_says_what_is_left(machines, cluster, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(launcher, "ask_head", interrupt)
    told = []
    with pytest.raises(KeyboardInterrupt):
        up(cluster, told.append)
    assert told[-1].startswith("interrupted; Ray may run on 192.0.2.1, 192.0.2.2, 192.0.2.3: sweeps cluster down")


def test_down_names_the_host_on_which_ray_is_left(machines, cluster):
    machines.answer("ssh", 'case "$*" in *192.0.2.2*) echo "left:raylet";; *) echo left:;; esac')
    with pytest.raises(InfeasibleError, match=r"^192.0.2.2 still runs raylet"):
        down(cluster, lambda line: None)


def test_down_says_whether_anything_was_running(machines, cluster):
    told = []
    machines.answer("ray", "echo Requested 3 nodes to shut down.")  # as it says of named hosts whatever runs there
    down(cluster, told.append)
    assert told[-1].startswith("nothing of lab was running")
    machines.answer("ssh", 'case "$*" in *192.0.2.2*) echo "ran:raylet "; echo left:;; *) echo left:;; esac')
    down(cluster, told.append)
    assert told[-1].startswith("lab is down")


def test_down_says_whether_a_provider_had_machines(machines, tmp_path):
    told, cloud = [], load_cluster(write_cluster(tmp_path, CLOUD))
    down(cloud, told.append)
    machines.answer("ray", "echo Requested 3 nodes to shut down.")
    down(cloud, told.append)
    assert told[1::2] == ["nothing of cloud was running", "cloud is down"]


def test_every_process_of_ray_that_down_leaves_is_named(machines, cluster):
    # Runs the commands here; the command line that this process shows is that of Ray's log monitor.
    machines.answer("ssh", 'eval "${@: -1}" < /dev/null')
    script = machines.folder / "_private" / "log_monitor.py"
    script.parent.mkdir()
    script.write_text("print(flush=True); input()")
    with subprocess.Popen([PYTHON, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with pytest.raises(InfeasibleError, match=r"192.0.2.1 runs Ray already \(.*log_monitor.py"):
            up(cluster, lambda line: None)
        process.kill()


def test_a_cloud_whose_provider_does_not_answer_is_left_alone(machines, tmp_path):
    cloud = load_cluster(write_cluster(tmp_path, CLOUD))
    machines.answer("ray", "echo 'EndpointConnectionError: no route' >&2; exit 1")
    with pytest.raises(InfeasibleError, match=r"does not say whether cloud has a head: EndpointConn"):
        up(cloud, lambda line: None)
    assert machines.ray_verbs() == ["get-head-ip"]


def test_a_token_that_others_can_read_is_closed_and_an_empty_one_refused(tmp_path):
    path = tmp_path / "there" / "token"
    make_token(path)
    token = path.read_text()
    path.chmod(0o644)
    assert "others could read" in make_token(path)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (token, 0o600)
    path.write_text("\n")
    with pytest.raises(InfeasibleError, match="is empty"):
        make_token(path)


def test_rays_command_gets_the_token_of_the_file_and_no_other(machines, cluster, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    machines.answer("ray", "env")
    ended = run_ray(cluster, "up", timeout_s=60)
    lines = ended.text.splitlines()
    assert f"RAY_AUTH_TOKEN_PATH={cluster.token_file}" in lines
    assert {"RAY_AUTH_MODE=token", "RAY_UP_enable_autoscaler_v2=0"} <= set(lines)
    assert not any(line.startswith("RAY_AUTH_TOKEN=") for line in lines)
    assert ended.log.read_text() == ended.text


def test_a_command_of_ray_that_never_ends_is_ended(machines, cluster):
    machines.answer("ray", "exec sleep 1000")
    assert run_ray(cluster, "up", timeout_s=0.2).code is None


def test_the_status_counts_what_is_in_use_and_what_is_missing(machines, cluster):
    (machines.folder / "report").write_text("Welcome!\n" + report("192.0.2.3", "192.0.2.1"))
    status = ask_head(cluster)
    assert status.missing == ("192.0.2.2",)
    assert [(node.ip, node.cpus_used, node.gpus_used) for node in status.nodes] == [
        ("192.0.2.1", 1, 0.5),
        ("192.0.2.3", 1, 0.5),
    ]
    assert "missing: 192.0.2.2" in write(status_answer(status), Format.TABLE, 100)


def test_a_head_without_ray_does_not_answer(machines, cluster):
    machines.answer("ssh", "echo 'ConnectionError: Could not find any running Ray instance.' >&2; exit 1")
    with pytest.raises(InfeasibleError, match=r"head of lab does not answer: .*Could not find any .*cluster up"):
        ask_head(cluster)


def test_workers_that_may_stay_away_are_not_missing(machines, tmp_path):
    few = load_cluster(write_cluster(tmp_path, LOCAL, ("cluster_name: lab", "cluster_name: lab\nmin_workers: 1")))
    (machines.folder / "report").write_text(report("192.0.2.1", "192.0.2.2"))
    assert ask_head(few).missing == ()
