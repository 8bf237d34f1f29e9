"""A cluster's head is asked whether it is there, and a sweep that no machine can run does not wait for ever."""

from __future__ import annotations

import socket
import threading

import pytest

from sweeps import cluster_watch
from sweeps.cluster_watch import HeadWatch, deserted, headless
from sweeps.config import ResourcesConfig
from sweeps.records import SweepState, TrialRecord, TrialStatus
from sweeps.resources import Node
from sweeps.stop_rules import DESERTED, HEADLESS
from trainables.objective import Objective


@pytest.fixture
def hasty(monkeypatch):
    """Makes everything that takes seconds take hundredths."""
    monkeypatch.setattr(cluster_watch, "_EVERY_S", 0.02)
    monkeypatch.setattr(cluster_watch, "HEAD_LOST_S", 0.1)
    monkeypatch.setattr(cluster_watch, "_PATIENCE_S", 0.2)


@pytest.fixture
def head():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def address_of(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


def state_of(*records: TrialRecord) -> SweepState:
    state = SweepState(Objective("valid_acc", True))
    state.trials = {record.trial: record for record in records}
    return state


def wait_for(condition) -> None:
    pause = threading.Event()
    assert any(condition() or pause.wait(0.01) for _ in range(1000))


def test_a_head_that_answers_is_not_lost(hasty, head):
    given_up = threading.Event()
    with HeadWatch(address_of(head), given_up.set).watching() as watch:
        assert watch.answers()
        assert not given_up.wait(0.5)
        assert not watch.is_lost()
        assert headless(watch)() is None


def test_a_head_that_is_gone_is_lost_and_a_driver_that_does_not_end_is_given_up(hasty, head):
    given_up = threading.Event()
    with HeadWatch(address_of(head), given_up.set).watching() as watch:
        head.close()
        wait_for(watch.is_lost)
        assert headless(watch)() == HEADLESS
        assert not watch.answers()
        assert given_up.wait(10)


def test_a_driver_that_ends_in_time_is_not_given_up(hasty, head):
    given_up = threading.Event()
    with HeadWatch(address_of(head), given_up.set).watching() as watch:
        head.close()
        wait_for(watch.is_lost)
    assert not given_up.wait(0.5)


def test_an_address_with_brackets_is_one_of_ipv6(hasty):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        assert HeadWatch(f"[::1]:{server.getsockname()[1]}", lambda: None).answers()


@pytest.mark.parametrize(
    ("gpu", "nodes", "expected"),
    [
        (0.5, [Node(8, 1)], None),
        (0.5, [Node(8, 0)], DESERTED),
        (0.5, [], DESERTED),
        (0.5, None, None),  # nobody can tell
        (0, [Node(0, 0), Node(1, 0)], None),
    ],
)
def test_a_sweep_that_no_machine_can_run_ends_after_a_while(gpu, nodes, expected):
    open_trial, ended = TrialRecord(0, {}), TrialRecord(1, {}, TrialStatus.COMPLETED)
    rule = deserted(ResourcesConfig(gpu=gpu), state_of(open_trial, ended), lambda: nodes, 0.05)
    assert rule() is None
    assert threading.Event().wait(0.06) is False
    assert rule() == expected


def test_only_open_trials_count_and_a_machine_that_comes_back_starts_the_clock_anew():
    rules = [{"when": {"lr": 1.0}, "gpu": 1.0}]
    small, large = TrialRecord(0, {"lr": 0.5}), TrialRecord(1, {"lr": 1.0})
    nodes = [Node(4, 0)]
    rule = deserted(ResourcesConfig(rules=rules), state_of(small, large), lambda: nodes, 0.05)
    pause = threading.Event()
    assert [rule(), pause.wait(0.06), rule()] == [None, False, None]
    small.status = TrialStatus.COMPLETED
    pause.wait(0.06)
    assert rule() is None
    nodes.append(Node(4, 1))
    pause.wait(0.06)
    assert rule() is None
    nodes.pop()
    pause.wait(0.06)
    assert rule() is None
    pause.wait(0.06)
    assert rule() == DESERTED


def test_a_sweep_without_open_trials_never_waits_for_machines():
    rule = deserted(ResourcesConfig(), state_of(TrialRecord(0, {}, TrialStatus.STOPPED)), list, 0.01)
    assert rule() is None
    threading.Event().wait(0.02)
    assert rule() is None
