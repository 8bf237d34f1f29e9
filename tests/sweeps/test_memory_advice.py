"""Which configs are weighed, and what is said about the memory that the heaviest took."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scipy import stats

from search_spaces.space import SearchSpace
from sweeps.config import ResourcesConfig
from sweeps.memory_advice import advice_texts, advise, heavy_configs
from sweeps.output import as_text, fields
from sweeps.probe import MemoryUse
from sweeps.resources import Node
from trainables.measurements import CudaMemory

GB = 10**9
CUDA = CudaMemory("NVIDIA H100 80GB HBM3", 11 * GB, GB // 2, 80 * GB)
USE = MemoryUse({"lr": 0.1, "batch_size": 512}, 16, 3 * GB, 128 * GB, CUDA)
MACHINE = Node(16, 1)


def advice(use=USE, machine=MACHINE, n_trials=64, **resources):
    return advise(use, ResourcesConfig(**resources), machine, n_trials)


def test_the_largest_batch_size_and_module_meet_every_other_choice_and_draws_stay_as_they_are():
    space = SearchSpace(
        {
            "lr": {"min": 0.01, "max": 0.1},
            "batch_size": [32, 128, 64],
            "iterator_valid__batch_size": {"min": 8, "max": 1024, "distribution": "int_loguniform"},
            "module__nodes": {"min": 4, "max": 300, "q": 7},
            "module__norm": ["batch", "layer"],
            "module__noise": stats.norm(),
            "optimizer": ["torch.optim:SGD", "torch.optim:Adam"],
        }
    )
    configs = heavy_configs(space, 0)
    largest = [config for config in configs if config["module__nodes"] == 294]
    assert len(largest) == 8
    assert {(c["batch_size"], c["iterator_valid__batch_size"]) for c in largest} == {(128, 1024)}
    assert {c["optimizer"] for c in largest} == {"torch.optim:SGD", "torch.optim:Adam"}
    assert {c["module__norm"] for c in largest} == {"batch", "layer"}
    assert all(0.01 <= c["lr"] < 0.1 and abs(c["module__noise"]) < 4 for c in configs)
    assert len(configs) == 16
    assert all(space.contains(config) for config in configs)
    assert heavy_configs(space, 0) == configs


def test_a_condition_that_holds_at_the_upper_ends_only_brings_its_parameter():
    space = SearchSpace(
        {"module__layers": {"min": 1, "max": 99}, "module__last": {"value": 8, "when": {"module__layers": [99]}}}
    )
    assert heavy_configs(space, 0)[0] == {"module__layers": 99, "module__last": 8}


def test_a_space_of_one_config_has_one_to_weigh():
    assert heavy_configs(SearchSpace({"lr": 0.1, "module__nodes": [8], "module__is_wide": [True]}), 0) == [
        {"lr": 0.1, "module__nodes": 8, "module__is_wide": True}
    ]


def test_a_share_is_suggested_from_what_the_card_held():
    gpu = advice(gpu=0.25, cpu=2).gpu
    assert (gpu.peak_reserved_bytes, gpu.context_bytes, gpu.total_bytes) == (11 * GB, GB // 2, 80 * GB)
    assert (gpu.present_gpu, gpu.suggested_gpu, gpu.trials_per_gpu, gpu.limited_by) == (0.25, 0.2, 5, "gpu_memory")
    assert advice(gpu=0.25, cpu=2).notes == ()


@pytest.mark.parametrize(
    ("resources", "more", "trials", "limited_by"),
    [
        ({"cpu": 4}, {}, 4, "cpus"),
        ({"cpu": 1}, {"machine": Node(6, 2)}, 3, "cpus"),
        ({"cpu": 1, "max_concurrent_trials": 3}, {}, 3, "trials"),
        ({"cpu": 1}, {"n_trials": 2}, 2, "trials"),
        ({"cpu": 1}, {"use": replace(USE, machine_bytes=8 * GB)}, 2, "machine_memory"),
        ({"cpu": 1, "rules": [{"when": {"batch_size": 512}, "cpu": 8}]}, {}, 2, "cpus"),
    ],
)
def test_what_else_limits_the_trials_is_taken_from_the_sweep_and_the_machine(resources, more, trials, limited_by):
    gpu = advice(gpu=0.25, **resources, **more).gpu
    assert (gpu.trials_per_gpu, gpu.limited_by) == (trials, limited_by)


def test_a_rules_share_is_the_one_that_is_judged():
    found = advice(gpu=0.5, rules=[{"when": {"batch_size": 512}, "gpu": 0.1}])
    assert found.gpu.present_gpu == 0.1
    assert "share of 0.1 caps it at 8.0 GB, but it took 11.0 GB" in found.notes[0]
    assert "rules" in found.notes[1]


def test_other_processes_on_the_card_are_suspected():
    found = advice(replace(USE, cuda=replace(CUDA, context_bytes=5 * GB), notes=("a note",)), gpu=0.25)
    assert found.notes[0] == "a note"
    assert "5.0 GB of the GPU are in use outside" in found.notes[1]


def test_without_a_gpu_the_share_cannot_be_measured_but_the_machines_memory_can():
    found = advice(replace(USE, cuda=None, machine_bytes=36 * GB), gpu=0.25)
    assert found.gpu is None
    assert found.trials_in_machine_memory == 10
    assert [note for note in found.notes if "no CUDA device here" in note] == list(found.notes)
    assert advice(replace(USE, cuda=None)).notes == ()


def test_advice_reads_well(golden):
    too_small = advice(gpu=0.1, cpu=2)
    on_cpu = advice(replace(USE, cuda=None, n_compared=1), gpu=0.5)
    parts = [part for found in (too_small, on_cpu) for part in (fields(advice_texts(found)), *found.notes, "")]
    golden("memory_advice", as_text(parts, 120))
