"""One epoch before a sweep is created: small, and without a trace in the process or in the net."""

from __future__ import annotations

import pickle
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import nets
import numpy as np
import pytest
import torch
from inline_sweeps import plan_of
from skorch.callbacks import Callback

from sweeps.config import ResourcesConfig
from sweeps.errors import SpecError
from sweeps.memory_advice import heavy_configs
from sweeps.packing import suggest_fraction
from sweeps.probe import probe, weigh
from trainables.job import TrialJob
from trainables.measurements import CudaMemory


@pytest.fixture(scope="module")
def job():
    """Of 3000 rows, most of one class."""
    X, y = nets.make_data(3000)
    y[np.flatnonzero(y == 2)[3:]] = 0
    return plan_of({"lr": [0.1]}, data=(X, y), validation={"type": "holdout", "size": 0.4, "stratified": True}).job


def test_two_batches_are_enough_unless_the_whole_epoch_is_wanted(job):
    few = probe(job, [{"batch_size": 50}])
    assert (few.rows, few.max_epochs, few.trial) == (100, 4, 0)
    assert few.epoch_s > 0
    assert probe(job, [{"batch_size": 50, "max_epochs": 9}], whole=True).rows == 1800
    assert probe(job, [{"batch_size": -1}]).rows == 1800
    assert len(job.data.splits[0].train) == 1800


def test_every_class_is_among_the_few_rows(job):
    seen = probe(replace(job, scorers={"n_classes": lambda net, X, y: float(len(np.unique(y)))}), [{"batch_size": 5}])
    assert seen.rows == 10
    assert "valid_n_classes" in seen.metrics
    scored: list[int] = []
    probe(replace(job, scorers={"n": lambda net, X, y: scored.append(len(np.unique(y))) or 0.0}), [{"batch_size": 5}])
    assert set(scored) == {3}


def test_validation_has_more_rows_than_two_batches(job):
    sizes: list[int] = []
    probe(replace(job, scorers={"n": lambda net, X, y: sizes.append(len(y)) or 0.0}), [{"batch_size": 5}])
    assert set(sizes) == {1200}


class Forgets(Callback):
    """Changes the net as a global of its module says, which no checkpoint holds."""

    def __init__(self, by=0.0):
        self.by = by

    def on_epoch_begin(self, net, **kwargs):
        DRAWN.append(self.by)
        with torch.no_grad():
            next(net.module_.parameters()).add_(sum(DRAWN))


DRAWN: list[float] = []


@pytest.mark.parametrize(("by", "max_epochs", "expected"), [(1.0, 4, False), (0.0, 4, True), (1.0, 1, True)])
def test_a_net_that_goes_on_otherwise_from_its_state_is_not_faithful(job, by, max_epochs, expected):
    DRAWN.clear()
    job = replace(job, net=nets.make_net(callbacks=[Forgets(by)]))
    assert probe(job, [{"max_epochs": max_epochs}]).is_faithful is expected


def test_metrics_that_are_not_numbers_do_not_make_a_net_unfaithful(job):
    assert probe(replace(job, scorers={"nan": lambda net, X, y: float("nan")}), [{}]).is_faithful


def test_folds_go_on_alike_too():
    assert probe(plan_of({"lr": [0.1]}, validation={"type": "cv", "n_splits": 3}).job, [{}]).is_faithful


def test_a_net_that_cannot_be_measured_is_known(job):
    with pytest.raises(SpecError, match="one row is too few"):
        probe(replace(job, net=nets.make_net(module=Pairs)), [{}])


class Pairs(nets.Tiny):
    def forward(self, X):
        if len(X) < 2:
            raise ValueError("one row is too few")
        return super().forward(X)


def test_the_process_and_the_net_stay_as_they_were(job):
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(7)
    states = random.getstate(), pickle.dumps(np.random.get_state()), torch.get_rng_state().tolist()
    params = repr(job.net.get_params(deep=False))
    probe(job, [{"lr": 0.5, "module__nodes": 3}])
    assert (random.getstate(), pickle.dumps(np.random.get_state()), torch.get_rng_state().tolist()) == states
    assert repr(job.net.get_params(deep=False)) == params
    assert not job.net.initialized_


def test_a_net_on_cuda_is_probed_on_a_machine_without_one(job):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    job = replace(job, net=nets.make_net(device="cuda"))
    assert "valid_acc" in probe(job, [{}]).metrics
    assert job.net.device == "cuda"


def test_the_first_config_that_trains_counts(job):
    configs = [{"module__nodes": 0}, {"module__nodes": -1}, {"module__nodes": 4}]
    assert probe(job, configs).trial == 2


def test_when_all_fail_the_last_error_is_told_with_the_line_of_the_users_code(job):
    with pytest.raises(SpecError) as error:
        probe(job, [{"module__nodes": 0}, {"module__nodes": -1}])
    message = str(error.value)
    assert "none of 2 configs" in message
    assert "the last one, {'module__nodes': -1}, ended with ValueError: nodes must be positive, not -1" in message
    assert re.search(r"nets\.py:\d+", message)


def test_without_configs_the_message_says_so(job):
    with pytest.raises(SpecError, match=r"none of 0 configs .*; there is none"):
        probe(job, [])


def test_an_error_outside_the_users_code_is_told_where_it_came_up(job):
    with pytest.raises(SpecError, match=r"Invalid momentum value.*optim/sgd\.py:\d+"):
        probe(job, [{"optimizer__momentum": -1.0}])


def test_an_interrupt_is_no_failure_of_a_config(job):
    def interrupt(net, X, y):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        probe(replace(job, scorers={"s": interrupt}), [{}, {}])


def test_all_folds_of_a_cross_validation_are_probed():
    job = plan_of({"lr": [0.1]}, validation={"type": "cv", "n_splits": 3}).job
    seen = probe(job, [{"batch_size": 16}])
    assert seen.rows == 3 * 32
    assert "valid_acc_std" in seen.metrics


MIB = 2**20
ON_CPU, ON_GPU = ResourcesConfig(), ResourcesConfig(gpu=0.5)


class Ballast(nets.Tiny):
    """Takes so many MiB, and so many KiB a row, in its first forward pass and gives them back; may fail later on."""

    def __init__(self, mib=0, row_kib=0, most_rows=100_000):
        super().__init__()
        self.mib, self.row_kib, self.most_rows = mib, row_kib, most_rows
        self.rows = 0

    def forward(self, X):
        if not self.rows:
            torch.ones(self.mib * MIB + len(X) * self.row_kib * 1024, dtype=torch.uint8)
        self.rows += len(X) * self.training
        if self.rows > self.most_rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(X)


def test_the_heaviest_of_some_configs_is_weighed(job):
    job = replace(job, net=nets.make_net(module=Ballast))
    configs = [{"module__mib": mib} for mib in (8, 96, 32)]
    use = weigh(job, configs, ON_CPU)
    assert use.params == {"module__mib": 96}
    assert 96 * MIB < use.process_bytes < use.machine_bytes
    assert (use.n_compared, use.cuda, use.notes) == (3, None, ())


def test_batches_are_compared_whole_however_large_they_are():
    job = plan_of({"lr": [0.1]}, data=nets.make_data(12_000), net=nets.make_net(module=Ballast)).job
    configs = [{"batch_size": n, "module__row_kib": 16, "max_epochs": 1} for n in (4096, 8192)]
    assert weigh(job, configs, ON_CPU).params["batch_size"] == 8192


def test_configs_that_do_not_train_are_told_and_the_next_heaviest_is_weighed(job):
    job = replace(job, net=nets.make_net(module=Ballast))
    configs = [{"module__mib": 8}, {"module__mib": 96, "module__most_rows": 1000}, {"module__most_rows": 0}]
    use = weigh(job, configs, ON_CPU)
    assert use.params == {"module__mib": 8}
    assert len(use.notes) == 1
    assert use.notes[0].startswith("2 of the configs did not train; the last: OutOfMemoryError: CUDA out of memory (")


def test_when_none_can_be_weighed_the_last_error_is_told(job):
    with pytest.raises(SpecError, match=r"none of 2 configs trains on all rows; .*nodes must be positive, not -1"):
        weigh(job, [{"module__nodes": 0}, {"module__nodes": -1}], ON_CPU)


@pytest.fixture
def card(monkeypatch):
    """A CUDA device on which three trainings in turn take 5, 9 and 7 bytes; what is asked of it is written down."""
    calls, peaks = [], iter([5, 9, 7])

    def fake(name, value):
        monkeypatch.setattr(torch.cuda, name, lambda *args: calls.append(name) or value())

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(TrialJob, "on_device", lambda job, device: calls.append(device) or job)
    for name in ("init", "empty_cache", "reset_peak_memory_stats"):
        fake(name, lambda: None)
    fake("max_memory_allocated", lambda: next(peaks))
    fake("max_memory_reserved", lambda: 20)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 15)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (60, 80))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    return calls


def test_on_a_card_what_the_allocator_reserved_counts_from_an_empty_cache_on(job, card):
    configs = [{"module__nodes": nodes} for nodes in (4, 5, 6)]
    use = weigh(job, configs, ON_GPU)
    assert use.params == {"module__nodes": 5}
    assert use.cuda == CudaMemory("a card", peak_reserved_bytes=20, context_bytes=5, total_bytes=80)
    emptied = ["empty_cache", "reset_peak_memory_stats"]
    assert card == ["cuda", "init", *3 * [*emptied, "max_memory_allocated"], *emptied, "max_memory_reserved"]


def test_a_sweep_whose_trials_get_no_share_of_the_card_is_weighed_without_it(job, card):
    assert weigh(job, [{}], ON_CPU).cuda is None
    assert card == ["cpu"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_as_many_trials_as_suggested_fit_on_the_card():
    """All but one of them are memory that another process holds, as much as they and their contexts take."""
    X, y = nets.make_data(200_000)
    parameters = {"module__nodes": [64, 4096], "batch_size": [4096, 65_536], "optimizer": ["torch.optim:Adam"]}
    plan = plan_of(parameters, data=(X, y), resources={"gpu": 0.5})
    use = weigh(plan.job, heavy_configs(plan.space, 0), plan.config.resources)
    assert (use.params["module__nodes"], use.params["batch_size"]) == (4096, 65_536)
    cuda = use.cuda
    # 65,536 activations of 4096 float32, twice at least: for the layer and its ReLU
    assert 2**31 < cuda.peak_reserved_bytes < cuda.total_bytes
    found = (cuda.peak_reserved_bytes, cuda.context_bytes, cuda.total_bytes)
    packing = suggest_fraction(*found, cpus=64, gpus=1)
    others = (packing.trials_per_gpu - 1) * (cuda.peak_reserved_bytes + cuda.context_bytes)
    torch.cuda.empty_cache()
    with holding(max(0, others - cuda.context_bytes)):  # it has a context of its own
        torch.cuda.set_per_process_memory_fraction(packing.gpu)
        try:
            again = weigh(plan.job, [use.params], plan.config.resources)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
    assert again.notes == ()
    assert again.cuda.peak_reserved_bytes <= packing.gpu * cuda.total_bytes


@contextmanager
def holding(n_bytes: int) -> Iterator[None]:
    """Another process that holds so much of the card."""
    code = (
        f"import torch; held = torch.empty({n_bytes}, dtype=torch.uint8, device='cuda')\n"
        "print('held', flush=True); input()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        yield
    finally:
        other.communicate("\n")
