"""What one trial gets, whether it fits, and how many fit at once."""

from __future__ import annotations

import pytest

from sweeps.config import ResourcesConfig
from sweeps.resources import Node, Share, all_shares, capacity, infeasible, share_of, slots


def resources(**given) -> ResourcesConfig:
    return ResourcesConfig(**given)


RULES = resources(
    cpu=2,
    gpu=0.25,
    rules=[
        {"when": {"batch_size": [256, 512]}, "gpu": 1.0},
        {"when": {"batch_size": {"min": 128}}, "cpu": 4.0},
    ],
)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"batch_size": 64}, Share(2, 0.25)),
        ({"batch_size": 256}, Share(2, 1)),
        ({"batch_size": 128}, Share(4, 0.25)),
        ({}, Share(2, 0.25)),
    ],
)
def test_the_first_rule_that_matches_counts(params, expected):
    assert share_of(RULES, params) == expected


def test_every_share_that_a_trial_may_get_is_listed():
    assert all_shares(RULES) == [Share(2, 0.25), Share(2, 1), Share(4, 0.25)]


def test_what_fits_some_machine_is_feasible():
    assert infeasible(RULES, [Node(1, 0), Node(2, 1), Node(4, 1)]) == []


def test_each_share_that_fits_no_single_machine_is_named():
    messages = infeasible(RULES, [Node(8, 0), Node(2, 1)])
    assert len(messages) == 1
    assert "4 CPU and 0.25 GPU" in messages[0]
    assert len(infeasible(RULES, [])) == 3


@pytest.mark.parametrize(
    ("given", "nodes", "expected"),
    [
        ({"cpu": 1}, [Node(4, 0)], 4),
        ({"cpu": 3}, [Node(4, 0), Node(8, 0)], 3),
        ({"cpu": 0.07}, [Node(7, 0)], 100),  # 7 / 0.07 is a little less than 100
        ({"cpu": 1, "gpu": 0.4}, [Node(16, 2)], 4),  # a share is never spread over two GPUs
        ({"cpu": 1, "gpu": 0.1}, [Node(16, 1)], 10),
        ({"cpu": 1, "gpu": 2}, [Node(16, 5)], 2),
        ({"cpu": 8, "gpu": 0.25}, [Node(16, 1)], 2),
        ({"cpu": 1, "max_concurrent_trials": 3}, [Node(4, 0)], 3),
        ({"cpu": 1, "max_concurrent_trials": 9}, [Node(4, 0)], 4),
        ({"cpu": 8}, [Node(4, 0)], 1),
    ],
)
def test_as_many_trials_run_at_once_as_whole_shares_fit(given, nodes, expected):
    assert slots(resources(**given), nodes) == expected


@pytest.mark.parametrize(
    ("given", "nodes", "expected"),
    [
        ({"cpu": 1}, [Node(4, 0)], "1 machine with 4 CPU and 0 GPU: 4 trials at once"),
        ({"gpu": 0.5}, [Node(0, 0), Node(8, 4), Node(8, 4)],
         "2 machines with 8 CPU and 4 GPU each: 16 trials at once, as each takes 0.5 GPU"),
        ({"cpu": 4, "gpu": 0.5}, [Node(8, 4)],
         "1 machine with 8 CPU and 4 GPU: 2 trials at once, as each takes 4 CPU; the GPUs would hold 8"),
        ({"max_concurrent_trials": 3}, [Node(4, 0)],
         "1 machine with 4 CPU and 0 GPU: 3 trials at once, as resources.max_concurrent_trials says"),
        ({}, [Node(0, 0)], "no machine yet: 1 trial at once"),
    ],
)  # fmt: skip
def test_what_fits_on_a_cluster_and_what_limits_it_is_said(given, nodes, expected):
    assert capacity(resources(**given), nodes) == expected
