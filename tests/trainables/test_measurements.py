import math
import os
import pathlib
import resource
import sys
import time
import types

import numpy as np
import pytest
import torch
from torch import nn

from trainables.measurements import (
    CudaMemory,
    PeakMemory,
    count_parameters,
    cuda_memory,
    inference_speed,
    machine_memory_bytes,
    stability,
)

MIB = 2**20


class Calls:
    """A forward that remembers how many rows it was called with, and takes its time."""

    def __init__(self, pause_s=0.0):
        self.rows, self.pause_s = [], pause_s

    def __call__(self, rows):
        self.rows.append(len(rows))
        end = time.perf_counter() + self.pause_s
        while time.perf_counter() < end:
            pass


@pytest.fixture
def cuda(monkeypatch):
    """The functions of torch.cuda that are used, each call written down."""
    calls = []

    def fake(name, value=None):
        monkeypatch.setattr(torch.cuda, name, lambda *args: calls.append((name, *args)) or value)

    fake("is_initialized", True)
    fake("synchronize")
    fake("reset_peak_memory_stats")
    fake("max_memory_allocated", 123)
    return calls


def test_parameters_count_frozen_ones_and_shared_ones_once():
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.BatchNorm1d(4))
    module[0].requires_grad_(False)
    module.append(module[1])
    assert count_parameters(module) == (3 * 4 + 4) + (4 * 4 + 4) + 2 * 4


def test_peak_memory_of_the_process_sees_what_came_and_went():
    memory = PeakMemory()
    memory.reset()
    before = memory.read()
    held = np.ones(64 * MIB, dtype=np.uint8)
    del held
    assert memory.read() - before > 48 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak")
def test_reset_forgets_an_earlier_peak():
    memory = PeakMemory()
    held = np.ones(64 * MIB, dtype=np.uint8)
    high = memory.read()
    del held
    if not memory.reset():
        pytest.skip("this kernel does not let the process reset its peak")
    assert high - memory.read() > 32 * MIB


@pytest.mark.parametrize(("platform", "unit_bytes"), [("darwin", 1), ("freebsd14", 1024)])
def test_other_systems_give_the_peak_since_the_start_in_bytes(monkeypatch, platform, unit_bytes):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: types.SimpleNamespace(ru_maxrss=5000))
    assert PeakMemory().reset() is False
    assert PeakMemory().read() == 5000 * unit_bytes


def test_a_kernel_that_knows_no_peak_falls_back_to_that_since_the_start(monkeypatch):
    def refuse(self, text):
        raise PermissionError(str(self))

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(pathlib.Path, "write_text", refuse)
    monkeypatch.setattr(pathlib.Path, "read_text", lambda self: "VmRSS:\t 1 kB\n")
    monkeypatch.setattr(resource, "getrusage", lambda who: types.SimpleNamespace(ru_maxrss=5000))
    assert PeakMemory().reset() is False
    assert PeakMemory().read() == 5000 * 1024


def test_peak_memory_on_cuda_is_that_of_the_nets_device(cuda):
    memory = PeakMemory("cuda:1")
    assert memory.reset() is True
    assert memory.read() == 123
    device = torch.device("cuda:1")
    assert cuda == [("reset_peak_memory_stats", device), ("max_memory_allocated", device)]


def test_speed_makes_at_most_fifty_calls_with_one_row_after_a_warm_up():
    calls = Calls()
    inference_speed(calls, np.zeros((1, 2)), np.zeros((8, 2)), budget_s=10)
    assert calls.rows == [1] * 51 + [8, 8]


def test_speed_of_a_slow_net_is_measured_with_five_calls_and_one_large_one():
    calls = Calls(pause_s=0.005)
    speed = inference_speed(calls, np.zeros((1, 2)), np.zeros((8, 2)), budget_s=0.001)
    assert calls.rows == [1] * 6 + [8]
    assert 5 <= speed["predict_ms_p50"] <= speed["predict_ms_p95"]
    assert 0 < speed["predict_rows_per_s"] <= 8 / 0.005


def test_speed_counts_the_rows_of_dicts():
    speed = inference_speed(lambda rows: None, {"x": np.zeros((1, 2))}, {"x": np.zeros((1000, 2))})
    assert set(speed) == {"predict_ms_p50", "predict_ms_p95", "predict_rows_per_s"}
    assert speed["predict_rows_per_s"] > 1000


def test_speed_counts_the_rows_of_a_batch_by_its_inputs():
    seen = []
    batch = (np.zeros((1000, 2)), np.zeros(1))
    assert inference_speed(seen.append, batch, batch)["predict_rows_per_s"] > 1000
    assert seen[0] is batch


def test_speed_waits_for_cuda_before_and_after_each_call(cuda):
    inference_speed(lambda rows: cuda.append("forward"), np.zeros((1, 2)), np.zeros((8, 2)))
    order = [call if call == "forward" else call[0] for call in cuda if call != ("is_initialized",)]
    assert order == ["synchronize", "forward", "synchronize"] * (len(order) // 3)


def test_stability_is_the_spread_of_the_last_epochs_only():
    assert stability([9.0, 9.0, 1.0, 2.0, 3.0], last=3) == pytest.approx(np.std([1, 2, 3]))
    assert stability([0.5]) == 0.0
    assert stability([0.1, math.nan, 0.3, math.inf]) == pytest.approx(0.1)
    assert math.isnan(stability([math.nan]))
    assert math.isnan(stability([]))


def test_what_a_card_holds_is_told_apart_by_who_holds_it(monkeypatch):
    held = {"mem_get_info": (70, 80), "memory_reserved": 4, "max_memory_reserved": 7, "get_device_name": "a card"}
    for name, value in held.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert cuda_memory() == CudaMemory("a card", peak_reserved_bytes=7, context_bytes=6, total_bytes=80)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, None),
        ({"memory.max": "max"}, None),
        ({"memory.max": f"{MIB}"}, MIB),
        ({"memory.limit_in_bytes": f"{2 * MIB}"}, 2 * MIB),
        ({"memory.limit_in_bytes": f"{2**63 - 4096}"}, None),
    ],
)
def test_the_machines_memory_is_that_of_its_container(monkeypatch, limits, expected):
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(pathlib.Path, "is_file", lambda path: path.name in limits)
    monkeypatch.setattr(pathlib.Path, "read_text", lambda path: f"{limits[path.name]}\n")
    assert machine_memory_bytes() == (expected or physical)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_reports_its_peak_and_its_speed():
    memory = PeakMemory("cuda")
    memory.reset()
    before = memory.read()
    held = torch.empty(64 * MIB, dtype=torch.uint8, device="cuda")
    del held
    assert memory.read() - before >= 64 * MIB
    seen = cuda_memory("cuda")
    assert 64 * MIB <= seen.peak_reserved_bytes < seen.total_bytes
    assert 0 < seen.context_bytes < seen.total_bytes
    memory.reset()
    assert memory.read() - before < 64 * MIB
    module = nn.Linear(64, 64).cuda()
    speed = inference_speed(module, torch.zeros(1, 64, device="cuda"), torch.zeros(4096, 64, device="cuda"))
    assert all(value > 0 for value in speed.values())
