"""What a sweep will do, said before."""

from __future__ import annotations

from dataclasses import replace

import nets
import pytest

from search_spaces.space import SearchSpace
from sweeps.memory_advice import GpuAdvice, MemoryAdvice
from sweeps.output import as_text
from sweeps.preview import (
    ExpectedRung,
    Preview,
    domain_text,
    expected_epochs,
    expected_rungs,
    first_configs,
    make_preview,
    place_notes,
    plan_answer,
    preview_answer,
)
from sweeps.probe import Probe
from sweeps.resources import Node
from sweeps.speed_advice import advise_speed
from sweeps.speed_probe import AS_IT_IS, Timing
from sweeps.sweep import Sweep

RUNGS = (ExpectedRung(1, 9), ExpectedRung(3, 3), ExpectedRung(9, 1))
PREVIEW = Preview(
    name="demo",
    searcher="hyperopt",
    scheduler="asha",
    metric="valid_acc",
    goal="maximize",
    n_trials=9,
    max_epochs=9,
    configs=({"lr": 0.1}, {"lr": 0.25, "optimizer": "torch.optim:SGD"}),
    rungs=RUNGS,
    epochs_most=81,
    epochs_expected=21,
    slots=2,
    epoch_s=12.3,
    probed_trial=0,
    expected_s=129.15,
)


def sweep(tmp_path, **more):
    options = {"searcher": "random", "num_samples": 9, "storage": str(tmp_path), "name": "demo"} | more
    parameters = {"lr": {"min": 0.01, "max": 0.1}, "module__nodes": [4, 8], "max_epochs": 9}
    return Sweep(nets.make_net, nets.make_data(), parameters, **options)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return sweep(tmp_path_factory.mktemp("plan")).plan()


def test_one_in_so_many_passes_each_rung():
    assert expected_rungs(9, 3.0, (1, 3), 9) == RUNGS
    assert expected_rungs(9, 3.0, (), 9) == ()


def test_expected_epochs_are_those_of_halving():
    assert expected_epochs(RUNGS) == 9 * 1 + 3 * 2 + 1 * 6


def test_the_time_is_that_of_the_expected_epochs_shared_by_the_slots(plan):
    probe = Probe(("valid_loss",), epoch_s=2.0, rows=80, max_epochs=9, trial=1)
    preview = make_preview(plan, 2, 3, probe)
    assert preview.epochs_most == 81
    assert preview.epochs_expected == 21
    assert preview.expected_s == pytest.approx(21 * 2.0 / 3)
    assert preview.probed_trial == 1


def test_the_first_configs_are_distinct_and_come_again(plan):
    configs = first_configs(plan, 5)
    assert len(configs) == 5
    assert len({str(config) for config in configs}) == 5
    assert first_configs(plan, 5) == configs


def test_hyperopt_promises_only_what_it_draws_before_it_learns(tmp_path):
    plan = sweep(tmp_path, searcher={"name": "hyperopt", "num_samples": 9, "n_startup": 3}, num_samples=None).plan()
    assert len(first_configs(plan, 9)) == 3


def test_a_grid_shows_no_more_than_it_has(tmp_path):
    plan = Sweep(
        nets.make_net, nets.make_data(), {"lr": [0.1, 0.2], "max_epochs": 2}, searcher="grid", storage=tmp_path
    ).plan()
    assert first_configs(plan, 5) == [{"lr": 0.1, "max_epochs": 2}, {"lr": 0.2, "max_epochs": 2}]


def test_a_preview_reads_well(golden):
    golden("preview", as_text(preview_answer(PREVIEW).parts, 120))


def test_what_the_heaviest_config_takes_is_part_of_the_preview(golden):
    gpu = GpuAdvice("NVIDIA A100", 9 * 10**9, 4 * 10**8, 40 * 10**9, 0.5, 0.3333, 3, "gpu_memory")
    params = {"lr": 0.1, "module__nodes": 512}
    memory = MemoryAdvice(params, 16, 3 * 10**9, 128 * 10**9, 35, gpu, ("what to mend",))
    answer = preview_answer(replace(PREVIEW, memory=memory))
    golden("preview_memory", as_text(answer.parts, 120))
    assert answer.value["memory"]["gpu"]["peak_reserved_bytes"] == 9 * 10**9
    assert preview_answer(PREVIEW).value["memory"] is None


def test_what_would_be_faster_is_part_of_the_preview(golden):
    graphs = Timing("CUDA graphs", problem="RuntimeError: no graphs (net.py:3)")
    timings = (Timing(AS_IT_IS, 2.0, 0.25, 0.25, 0.9125), Timing("compile", 1.0, 20.2512, 1.25, 0.9125), graphs)
    space = SearchSpace({"lr": [0.1, 0.2], "batch_size": [32, 64]})
    params = {"lr": 0.1, "batch_size": 64}
    speed = advise_speed(timings, params, space, "valid_acc", n_trials=9, n_epochs=210)
    answer = preview_answer(replace(PREVIEW, speed=speed))
    golden("preview_speed", as_text(answer.parts, 120))
    assert answer.value["speed"]["variants"][1]["first_extra_s"] == 20.2512


def test_a_checked_plan_reads_well(plan, golden):
    answer = plan_answer(plan, ["X: cast from float64 to float32"])
    assert answer.value["ok"] is True
    assert "valid_loss" in answer.value["metrics"]
    golden("validate", as_text(answer.parts, 120))


def test_notes_say_what_would_keep_the_sweep_from_running_here(plan, tmp_path):
    assert place_notes(plan.config, Node(4, 0)) == []
    (tmp_path / "demo").mkdir()
    notes = place_notes(plan.config.model_copy(update={"storage": str(tmp_path)}), Node(0.5, 0))
    assert [note.split()[0] for note in notes] == [str(tmp_path / "demo"), "on"]


@pytest.mark.parametrize(
    ("plain", "text"),
    [
        ([32, 64], "one of 32, 64"),
        (27, "always 27"),
        ({"distribution": "loguniform", "min": 1e-4, "max": 0.1}, "loguniform, min 0.0001, max 0.1"),
        ({"values": [1, 2], "when": {"a": ["x", "y"]}}, "one of 1, 2; only when a is x or y"),
        ({"value": 3, "when": {"a": {"min": 2, "max": 4}}}, "always 3; only when a is at least 2 and at most 4"),
    ],
)
def test_domains_in_words(plain, text):
    assert domain_text(plain) == text
