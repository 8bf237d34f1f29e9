"""What of a manifest a reader may rely on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from inline_sweeps import plan_of
from manifests import manifest

from sweeps.manifest import make_manifest
from sweeps.manifest_problems import manifest_problems


def made(parameters):
    plan = plan_of(parameters)
    return make_manifest(replace(plan, job=replace(plan.job, trials=plan.job.trials.absolute())), "nets:make_net", [])


def test_whatever_a_run_writes_is_right():
    found = made({"criterion__weight": [None, torch.ones(3)], "lr": [0.1, 0.2]})
    assert manifest_problems(found) == []
    assert manifest_problems({**found, "more": 1}) == []
    assert manifest_problems({key: value for key, value in found.items() if key != "net_description"}) == []


@pytest.mark.parametrize("key", [key for key in manifest() if key not in ("seed", "data")])
def test_a_value_of_another_kind_or_none_is_a_problem_of_its_key(key):
    assert [problem.partition(":")[0] for problem in manifest_problems(manifest(**{key: {"a": 7}}))] == [key]
    lacking = manifest()
    del lacking[key]
    assert manifest_problems(lacking) == [f"{key}: missing"]


def test_net_and_data_may_be_of_an_earlier_release_but_not_of_another_kind():
    assert manifest_problems(manifest(net_description=[1])) == ["net_description: '[1]' is not a mapping to texts"]
    data = {"rows": True, "splits": -1, "fingerprint": "f00"}
    assert [problem.partition(":")[0] for problem in manifest_problems(manifest(data=data))] == [
        "data.rows",
        "data.splits",
    ]
    assert manifest_problems(manifest(data=[])) == ["data: '[]' is not a mapping"]
