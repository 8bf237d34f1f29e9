"""Parameters, searcher, scheduler and resource rules must fit together before a sweep may start."""

from __future__ import annotations

import pytest

from sweeps.config import ResourcesConfig, SchedulerConfig
from sweeps.space_checks import space_problems


def told(parameters, **sections):
    return [str(problem) for problem in space_problems({"parameters": parameters, **sections})]


def test_sections_that_are_wrong_or_missing_are_left_to_the_config():
    assert told({"lr": 0.1}, searcher=5, scheduler=None, resources={"rules": [3, {}]}) == []
    assert space_problems(None) == space_problems({"parameters": []}) == []


def test_a_grid_over_a_continuous_parameter_names_it():
    (problem,) = told({"lr": {"min": 0.1, "max": 0.2}, "n": [1, 2]}, searcher={"name": "grid"})
    assert problem.startswith("parameters.lr: a grid cannot walk")


@pytest.mark.parametrize(("values", "num_samples", "fits"), [(100, None, True), (101, None, False), (101, 50, True)])
def test_a_grid_of_more_than_ten_thousand_points_must_be_asked_for(values, num_samples, fits):
    parameters = {"a": list(range(100)), "b": list(range(values))}
    problems = told(parameters, searcher={"name": "grid", "num_samples": num_samples})
    assert problems == [] if fits else "searcher: the grid has 10100 configs" in problems[0]


@pytest.mark.parametrize(
    ("max_epochs", "scheduler", "fits"),
    [
        (5, {"name": "asha", "grace_period": 6}, False),
        (6, {"name": "asha", "grace_period": 6}, True),
        ([2, 9], {"name": "asha", "grace_period": 6}, True),
        ([2, 5], {"name": "median", "grace_period": 6}, False),
        (5, {"name": "asha"}, True),
        (5, SchedulerConfig(name="asha", grace_period=6), False),
        ("5", {"name": "asha", "grace_period": 6}, True),
        (5, {"name": "fifo", "grace_period": 6}, True),
    ],
)
def test_a_grace_period_beyond_every_trial_is_refused(max_epochs, scheduler, fits):
    problems = told({"max_epochs": max_epochs}, scheduler=scheduler)
    assert problems == [] if fits else problems[0].startswith("scheduler.grace_period: 6 epochs, but")


@pytest.mark.parametrize(
    ("when", "fits"),
    [({"n": 2}, True), ({"n": [1, 2]}, True), ({"n": 3}, False), ({"m": 1}, False), ({"n": {"minimum": 1}}, False)],
)
def test_a_resource_rule_must_be_able_to_match(when, fits):
    resources = ResourcesConfig.model_validate({"rules": [{"when": when, "gpu": 1}]})
    problems = told({"n": [1, 2]}, resources=resources)
    assert problems == [] if fits else problems[0].startswith("resources.rules.0: when: ")
