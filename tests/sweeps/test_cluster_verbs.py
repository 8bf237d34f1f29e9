"""The verbs about a cluster.yaml: what goes where, and the exit codes."""

from __future__ import annotations

import json

import pytest
import yaml
from cluster_files import CLOUD, LOCAL, write_cluster

from sweeps.cli import main


@pytest.fixture(autouse=True)
def no_programs(monkeypatch, tmp_path):
    """Nothing that asks no machine may want to; what does ask fails at once."""
    (tmp_path / "bin").mkdir()
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text("#!/bin/bash\necho 'ssh: connect to host: No route to host' >&2\nexit 255\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))


def test_validate_says_what_would_start(tmp_path, capsys):
    assert main(["cluster", "validate", str(write_cluster(tmp_path)), "-o", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["nodes_at_start"], said["gpus_at_most"]) == (3, 8)


def test_validate_refuses_with_2_and_one_line_for_each_problem(tmp_path, capsys):
    path = write_cluster(tmp_path, LOCAL, ("--head ", ""), ("me,", "me, shh: 1,"))
    assert main(["cluster", "validate", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert [line.split(": ")[0] for line in said.err.splitlines()] == ["error", "error"]


def test_render_writes_yaml_with_the_defaults(tmp_path, capsys):
    assert main(["cluster", "render", str(write_cluster(tmp_path, CLOUD))]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["available_node_types"]["gpu8"]["min_workers"] == 0


def test_a_dry_run_prints_the_plan_and_does_nothing(tmp_path, capsys):
    path = write_cluster(tmp_path)
    assert main(["cluster", "up", str(path), "--dry-run", "-o", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [step["where"] for step in said["start"]] == ["head", "head", "workers", "workers"]
    assert main(["cluster", "down", str(path), "--dry-run"]) == 0
    assert "192.0.2.3" in capsys.readouterr().out
    assert not (tmp_path / "token").exists()


@pytest.mark.parametrize("verb", ["up", "status", "down"])
def test_hosts_that_cannot_be_reached_are_5(tmp_path, capsys, verb):
    assert main(["cluster", verb, str(write_cluster(tmp_path))]) == 5
    said = capsys.readouterr()
    assert said.out == ""
    assert "192.0.2.1 cannot be reached by ssh" in said.err
