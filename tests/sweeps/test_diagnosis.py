"""Findings: what is wrong is named with its nodes, its remedy and its weight, and a healthy cluster has none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sweeps.diagnosis import NodeReport, Severity, diagnose, missing_nodes
from sweeps.node_facts import NodeFacts

PACKAGES = {"ray": "2.60.0", "torch": "2.13.0", "skorch-sweeps": "0.1.0+aaaaaaaa", "numpy": "2.4.6"}
DISK = {"folder": "/tmp/ray", "free": 10**11, "total": 10**12}
FACTS = NodeFacts(
    host="h1",
    python="3.11.7",
    packages=PACKAGES,
    source="/opt/sweeps",
    cards=[],
    cards_problem=None,
    driver_cards=0,
    disks={"ray": DISK},
    shm_bytes=10**10,
    open_files=65536,
    auth_mode="token",
    token_file="/root/.ray/auth_token",
    token_mode=0o600,
    dashboard=["127.0.0.1"],
)
CARD = {"name": "A10G", "memory_bytes": 24 * 10**9}


def node(host="h1", *, report=None, **facts):
    given = {"gpus": 0, "object_store_bytes": 10**9, "sees_storage": True, "clock_ahead_s": 0.1, **(report or {})}
    here = host == "h1"
    return NodeReport(f"id-{host}", f"10.0.0.{host[1:]}", host, here, facts=replace(FACTS, **facts), **given)


def only(reports):
    (finding,) = diagnose(reports, "/data")
    return finding


def test_a_healthy_cluster_has_no_findings():
    assert not diagnose([node("h1"), node("h2"), node("h3")], "/data")


@pytest.mark.parametrize("name", ["ray", "torch", "skorch"])
def test_a_version_that_breaks_sweeps_is_an_error_and_says_who_has_what(name):
    have = {"packages": {**PACKAGES, name: "1.0"}}
    finding = only([node("h1", **have), node("h2", packages={**PACKAGES, name: "9.9"}), node("h3", **have)])
    assert finding.severity is Severity.ERROR
    assert finding.cause == f"{name} differs: 1.0 on h1, h3; 9.9 on h2"
    assert finding.remedy == f"install {name} 1.0 on h2"


def test_other_packages_and_missing_ones_are_warnings():
    finding = only([node("h1"), node("h2", packages={**PACKAGES, "numpy": None})])
    assert finding.severity is Severity.WARNING
    assert "numpy differs: 2.4.6 on h1; not installed on h2" in str(finding)


def test_the_version_of_this_process_is_the_right_one_though_others_are_more():
    others = {"python": "3.12.1"}
    assert only([node("h2", **others), node("h1"), node("h3", **others)]).remedy == "install Python 3.11.7 on h2, h3"


def test_sources_that_differ_are_to_be_copied():
    finding = only([node("h1"), node("h2", packages={**PACKAGES, "skorch-sweeps": "0.1.0+bbbbbbbb"})])
    assert finding.severity is Severity.ERROR
    assert finding.remedy == "put the sources that h1 has in /opt/sweeps on h2"


def test_nodes_of_one_host_are_told_apart():
    twins = [replace(node("h1"), node_id=f"{number}" * 8, is_here=number == 1) for number in (1, 2)]
    twins[1] = replace(twins[1], sees_storage=False)
    assert "h1 (222222) is not the one of this machine (h1 (111111))" in only(twins).cause


def test_a_storage_that_is_another_one_is_an_error_with_all_its_nodes():
    apart = {"sees_storage": False}
    finding = only([node("h1"), node("h2", report=apart), node("h3", report=apart)])
    assert finding.severity is Severity.ERROR
    assert str(finding) == (
        "storage /data on h2, h3 is not the one of this machine (h1): mount it there, or use an object store"
    )


def test_a_storage_without_leave_to_write_is_an_error():
    finding = only([node("h1"), node("h2", report={"storage_problem": "Permission denied"})])
    assert finding.severity is Severity.ERROR
    assert "cannot be used from h2 (Permission denied)" in finding.cause


def test_a_silent_node_comes_first():
    silent = NodeReport("id-h3", "10.0.0.3", "h3", False, silence="waited 30 s")
    found = diagnose([node("h1"), node("h2", report={"sees_storage": False}), silent], "/data")
    assert [finding.cause.split()[0] for finding in found] == ["h3", "storage"]
    assert "10.0.0.3" in found[0].cause


@pytest.mark.parametrize(
    ("gpus", "facts", "severity", "said"),
    [
        (2, {}, Severity.NOTE, "there is no card"),
        (2, {"driver_cards": 2}, Severity.WARNING, "install a build of torch"),
        (2, {"cards": [CARD]}, Severity.ERROR, "--num-gpus=1"),
        (0, {"cards": [CARD]}, Severity.NOTE, "to use them all"),
        (0, {"cards": None, "cards_problem": "no torch"}, Severity.ERROR, "no torch"),
    ],
)
def test_cards_and_gpus_that_disagree(gpus, facts, severity, said):
    finding = only([node("h1", report={"gpus": gpus}, **facts)])
    assert finding.severity is severity
    assert said in str(finding)


def test_as_many_cards_as_gpus_is_well():
    assert not diagnose([node("h1", report={"gpus": 1}, cards=[CARD])])


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"disks": {"ray": {**DISK, "free": 4 * 10**10}}}, "make room"),
        ({"disks": {"storage": {**DISK, "folder": "/data", "free": 10**8}}}, "/data on h1 has 100.0 MB free"),
        ({"shm_bytes": 64 * 10**6}, "--shm-size"),
        ({"open_files": 1024}, "ulimit -n 65536"),
        ({"auth_mode": ""}, "RAY_AUTH_MODE is not set on h1"),
        ({"token_mode": 0o644}, "chmod 600 /root/.ray/auth_token"),
        ({"dashboard": ["0.0.0.0", "127.0.0.1"]}, "listens on 0.0.0.0, where"),
    ],
)
def test_what_may_spoil_a_sweep_is_a_warning(facts, said):
    finding = only([node("h1", **facts)])
    assert finding.severity is Severity.WARNING
    assert said in str(finding)


@pytest.mark.parametrize("dashboard", [["::1"], ["::ffff:127.0.0.1"], ["127.0.0.2"]])
def test_every_loopback_address_is_well(dashboard):
    assert not diagnose([node("h1", dashboard=dashboard)])


def test_no_limit_on_open_files_is_well():
    assert not diagnose([node("h1", open_files=-1)])


@pytest.mark.parametrize(("ahead_s", "said"), [(7.5, "7.5 s ahead of that of h1"), (-3.0, "3.0 s behind that of h1")])
def test_a_skewed_clock_is_a_warning(ahead_s, said):
    finding = only([node("h1"), node("h2", report={"clock_ahead_s": ahead_s})])
    assert finding.severity is Severity.WARNING
    assert said in finding.cause


def test_a_machine_of_the_file_that_is_not_there_is_an_error():
    (finding,) = missing_nodes(["10.0.0.1", "10.0.0.2"], ["10.0.0.1"], 2)
    assert finding.severity is Severity.ERROR
    assert finding.cause.startswith("10.0.0.2 ")


def test_a_storage_that_this_machine_cannot_write_is_an_error():
    (finding,) = diagnose([node("h1")], "/data", "storage /data cannot be written: Read-only; give another")
    assert (finding.severity, finding.remedy) == (Severity.ERROR, "give another")
