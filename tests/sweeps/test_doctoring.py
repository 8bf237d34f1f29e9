"""The verb doctor: this machine without a Ray, a head through its Jobs server, and exit codes."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from sweeps.cli import main
from sweeps.doctoring import from_laptop
from sweeps.errors import InfeasibleError


def doctor(capfd, *words):
    code = main(["doctor", *words])
    said = capfd.readouterr()
    return code, said.out, said.err


@pytest.fixture
def no_token(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))


def test_this_machine_is_looked_at_without_a_ray(capfd, tmp_path, no_token):
    code, out, _ = doctor(capfd, "--storage", str(tmp_path), "-o", "json")
    found = json.loads(out)
    assert code == 0
    (node,) = found["nodes"]
    assert (node["sees_storage"], node["gpus"], node["silence"]) == (True, None, None)
    assert isinstance(node["facts"]["cards"], list)
    assert not list(tmp_path.glob(".sweeps-*"))


def test_a_storage_that_cannot_be_written_is_the_error_after_the_table(capfd, tmp_path, no_token):
    (tmp_path / "file").write_text("")
    code, out, err = doctor(capfd, "--storage", str(tmp_path / "file"))
    assert code == 5
    assert out.startswith("node")
    assert err.startswith(f"error: storage {tmp_path / 'file'} cannot be written")


def test_a_cluster_is_given_once(capfd, tmp_path):
    code, _, err = doctor(capfd, "--address", "auto", "--cluster", str(tmp_path / "cluster.yaml"))
    assert code == 2
    assert "--cluster FILE" in err


def test_nobody_at_an_address_is_one_line(capfd):
    code, out, err = doctor(capfd, "--address", "127.0.0.1:9")
    assert (code, out) == (5, "")
    assert len(err.splitlines()) == 1


def asked(value, error=""):
    return SimpleNamespace(ask=lambda words, timeout_s: SimpleNamespace(value=value, error=error, exit_code=1))


def test_what_the_head_found_is_passed_on_though_its_doctor_failed():
    found = {"nodes": [], "findings": [{"severity": "error"}], "storage": None}
    assert from_laptop(asked(found), []) == found


def test_a_head_where_the_doctor_cannot_run_says_why():
    with pytest.raises(InfeasibleError, match="on the head: No module named sweeps"):
        from_laptop(asked(None, "No module named sweeps"), [])
