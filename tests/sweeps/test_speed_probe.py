"""Ways to train a config faster are tried for a few epochs; one that fails, or has no time left, is a note."""

from __future__ import annotations

from dataclasses import replace

import nets
import pytest
import torch
from inline_sweeps import plan_of

from sweeps.config import ResourcesConfig
from sweeps.speed_probe import AS_IT_IS, Variant, time_variants, variants
from trainables.job import TrialJob

EAGER = {"compile__backend": "eager"}
NOT_AGAIN = {"compile": True, "compile__disable": True}  # compiled already, so that there is only the config as it is
ON_CPU, ON_GPU = ResourcesConfig(), ResourcesConfig(gpu=1)


def job_of(n_rows=200, **params):
    return plan_of({"lr": [0.1]}, data=nets.make_data(n_rows), net=nets.make_net(**params)).job


class Notes(nets.Tiny):
    """Notes with how many rows and threads, and in which precision, it is trained."""

    rows, threads, precisions = 0, set(), []

    def forward(self, X):
        if not torch.compiler.is_compiling() and self.training:
            Notes.rows += len(X)
            Notes.threads.add(torch.get_num_threads())
            Notes.precisions.append(torch.get_float32_matmul_precision())
        return super().forward(X)


def job_of_notes(n_rows=200, **params):
    job = job_of(n_rows, module=Notes, **params)
    Notes.rows, Notes.threads, Notes.precisions = 0, set(), []
    return job


def test_the_config_as_it_is_and_compiled_report_the_same_metric_after_the_same_epochs():
    plain, compiled = time_variants(job_of(**EAGER), {"lr": 0.3}, ON_CPU, 0.01)
    assert (plain.name, compiled.name) == (AS_IT_IS, "compile")
    assert plain.metric == compiled.metric
    assert plain.epoch_s > 0
    assert compiled.epoch_s > 0
    assert compiled.first_extra_s > plain.first_extra_s >= 0  # compilation
    assert plain.problem == compiled.problem == ""


def test_a_backend_that_fails_is_told_in_one_line():
    def fails(*args):
        raise RuntimeError("no compiler\nand much more")

    plain, compiled = time_variants(job_of(compile__backend=fails), {"lr": 0.1}, ON_CPU, 0.01)
    assert plain.epoch_s > 0
    assert compiled.epoch_s is None
    assert "no compiler" in compiled.problem
    assert "\n" not in compiled.problem


def test_a_config_that_does_not_train_at_all_is_told_too():
    found = time_variants(job_of(**EAGER), {"module__nodes": -1}, ON_CPU, 0.01)
    assert all("nodes must be positive" in timing.problem for timing in found)


def test_what_there_is_no_time_for_is_not_tried():
    found = time_variants(job_of(), {}, ON_CPU, 0.01, budget_s=-1)
    assert [timing.problem for timing in found] == 2 * ["not tried: the time for all of them was over"]


@pytest.mark.parametrize(("batch_size", "n_rows"), [(32, 64), (100, 100), (-1, 80)])
def test_of_epochs_that_take_twenty_seconds_two_are_tried_in_whole_batches(batch_size, n_rows):
    job = job_of_notes(1000)
    (plain,) = time_variants(job, {"batch_size": batch_size, **NOT_AGAIN}, ON_CPU, 20.0)
    assert plain.epoch_s > 0
    assert Notes.rows == 4 * n_rows
    assert len(job.data.splits[0].train) == 800


def test_as_many_threads_as_a_trial_has_are_used():
    outside = torch.get_num_threads()
    time_variants(job_of_notes(), NOT_AGAIN, ResourcesConfig(cpu=3), 0.01)
    assert Notes.threads == {3}
    assert torch.get_num_threads() == outside


def test_only_ways_that_differ_from_the_config_are_tried():
    def names(device, job, **params):
        return [variant.name for variant in variants(job, params, device)]

    job = job_of()
    assert names("cpu", job) == [AS_IT_IS, "compile"]
    assert names("cuda", job) == [AS_IT_IS, "compile", "CUDA graphs", "TF32"]
    assert names("cuda", job, compile=True) == [AS_IT_IS, "CUDA graphs", "TF32"]
    assert names("cuda", job_of(compile=True, compile__mode="reduce-overhead")) == [AS_IT_IS, "TF32"]
    assert names("cuda", replace(job, matmul_precision="high")) == [AS_IT_IS, "compile", "CUDA graphs"]


def test_cuda_graphs_and_tf32_are_params_and_a_precision():
    found = variants(replace(job_of(), matmul_precision="highest"), {}, "cuda")
    assert found[2:] == (
        Variant("CUDA graphs", {"compile": True, "compile__mode": "reduce-overhead"}, "highest"),
        Variant("TF32", {}, "high"),
    )


def test_on_a_card_tf32_is_measured_with_its_precision(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    devices = []
    monkeypatch.setattr(TrialJob, "on_device", lambda job, device: devices.append(device) or job)
    job = job_of_notes(compile__backend="no such backend")
    plain, compiled, graphs, tf32 = time_variants(job, {}, ON_GPU, 0.01)
    assert devices == ["cuda"]
    assert (graphs.name, tf32.name) == ("CUDA graphs", "TF32")
    assert "no such backend" in compiled.problem
    assert "no such backend" in graphs.problem
    assert plain.metric == tf32.metric
    half = len(Notes.precisions) // 2
    assert set(Notes.precisions[:half]) == {"highest"}
    assert set(Notes.precisions[half:]) == {"high"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_every_way_trains_on_a_card():
    job = job_of(20_000)
    found = time_variants(job, {"batch_size": 1024}, ON_GPU, 0.0, budget_s=300.0)
    assert [timing.problem for timing in found] == 4 * [""]
    assert [timing.metric for timing in found] == 4 * [pytest.approx(found[0].metric, abs=0.02)]
    assert torch.get_float32_matmul_precision() == "highest"
