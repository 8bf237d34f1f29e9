"""Specs are compared key by key; of a sweep's own, edits that would spoil its records are refused, others told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sweeps.errors import SweepStateError
from sweeps.sources import from_anywhere
from sweeps.spec import build_config, dump_spec, load_spec
from sweeps.spec_changes import refuse_spec_changes, spec_differences, spec_leaves

SPEC = {
    "name": "digits",
    "net": "nets:make_net",
    "data": {"type": "npz", "path": "../data/x.npz"},
    "metric": {"name": "valid_acc", "goal": "maximize"},
    "parameters": {"lr": {"distribution": "loguniform", "min": 1e-4, "max": 0.1}, "batch_size": [32, 64]},
    "searcher": {"name": "random", "num_samples": 8},
}


def stored(spec, tmp_path):
    """What the sweep's directory has of a spec."""
    path = tmp_path / "sweep.yaml"
    path.write_text(dump_spec(from_anywhere(build_config(spec), tmp_path.absolute())))
    return load_spec(path)


def test_the_spec_that_a_sweep_was_made_of_does_not_differ(tmp_path):
    given = build_config(SPEC | {"storage": "/elsewhere"})
    assert spec_differences(given, stored(SPEC, tmp_path)) == []


def test_ranges_from_python_are_those_that_the_sweep_wrote_down(tmp_path):
    spec = SPEC | {"parameters": {"lr": (0.1, 0.2), "batch_size": np.array([32, 64]), "optimizer": [torch.optim.SGD]}}
    assert spec_differences(build_config(spec), stored(spec, tmp_path)) == []


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({"searcher": {"name": "random", "num_samples": 9}}, ["searcher.num_samples: 8 -> 9"]),
        ({"seed": 3}, ["seed: 0 -> 3"]),
        ({"net": "nets:make_headed_net"}, ['net: "nets:make_net" -> "nets:make_headed_net"']),
        ({"data": {"type": "npz", "path": "../data/y.npz"}}, ["data.path: STORED -> ../data/y.npz"]),
        ({"stop": {"time_budget": "1h"}}, ["stop.time_budget: (absent) -> 3600.0"]),
        (
            {"parameters": SPEC["parameters"] | {"batch_size": [32, 128]}},
            ["parameters.batch_size: [32, 64] -> [32, 128]"],
        ),
        (
            {"parameters": {"lr": {"distribution": "loguniform", "min": 1e-4, "max": 1.0}}},
            ["parameters.lr.max: 0.1 -> 1.0", "parameters.batch_size: [32, 64] -> (absent)"],
        ),
    ],
)
def test_each_difference_of_a_spec_is_told_by_its_key(change, lines, tmp_path):
    told = spec_differences(build_config(SPEC | change), stored(SPEC, tmp_path))
    assert [line.replace(f"{tmp_path}/../data/x.npz", "STORED").replace('"STORED"', "STORED") for line in told] == [
        line.replace("../data/y.npz", '"../data/y.npz"') for line in lines
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"seed": 3}, "seed: 0 -> 3"),
        ({"matmul_precision": "high"}, 'matmul_precision: (absent) -> "high"'),
        ({"net": "nets:make_headed_net"}, 'net: "nets:make_net" -> "nets:make_headed_net"'),
        ({"validation": {"type": "holdout", "size": 0.3}}, "validation.size: 0.2 -> 0.3"),
        ({"searcher": {"name": "random", "num_samples": 8, "seed": 5}}, "searcher.seed: 0 -> 5"),
        ({"data": {"type": "npz", "path": "../data/x.npz", "X": "Z"}}, 'data.X: "X" -> "Z"'),
    ],
)
def test_an_edit_after_which_scores_are_not_comparable_must_be_accepted(change, line):
    now, before = spec_leaves(build_config(SPEC | change)), spec_leaves(build_config(SPEC))
    with pytest.raises(SweepStateError, match="--accept-changes") as caught:
        refuse_spec_changes(now, before, accept=False)
    assert f"  {line}\n" in str(caught.value)
    assert refuse_spec_changes(now, before, accept=True) == [f"change accepted: {line}"]


def test_another_metric_or_goal_is_refused_in_any_case():
    now = spec_leaves(build_config(SPEC | {"metric": {"name": "valid_loss", "goal": "minimize"}, "seed": 3}))
    with pytest.raises(SweepStateError) as caught:
        refuse_spec_changes(now, spec_leaves(build_config(SPEC)), accept=True)
    said = str(caught.value)
    assert "metric.name" in said
    assert "metric.goal" in said
    assert "--accept-changes" not in said


def test_other_edits_are_told():
    now = spec_leaves(build_config(SPEC | {"scheduler": {"name": "fifo"}, "stop": {"metric_target": 0.9}}))
    told = refuse_spec_changes(now, spec_leaves(build_config(SPEC)), accept=False)
    assert 'changed: scheduler.name: "asha" -> "fifo"' in told
    assert "changed: stop.metric_target: (absent) -> 0.9" in told


def test_nothing_is_told_of_a_spec_that_is_the_same_but_for_an_absolute_path(tmp_path):
    assert refuse_spec_changes(spec_leaves(stored(SPEC, tmp_path)), spec_leaves(build_config(SPEC)), accept=False) == []


def test_a_file_that_was_submitted_again_has_not_moved():
    def of(path):
        return build_config({**SPEC, "data": {"type": "npz", "path": path}})

    before, after = (of(f"/tmp/ray/working_dir_files/_ray_pkg_{name}/rows.npz") for name in ("1f", "2e"))
    assert spec_differences(after, before) == []
    assert spec_differences(of("/tmp/ray/working_dir_files/_ray_pkg_2e/other.npz"), before)
