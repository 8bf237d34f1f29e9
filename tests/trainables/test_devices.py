"""What a trial's process may see of the GPUs, and which of them it claims, at the border to CUDA."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from trainables.devices import VISIBLE, claim, release, see_only


@pytest.fixture
def cuda(monkeypatch):
    """Makes a CUDA of so many devices; returns the fractions at which its allocator is capped."""

    def make(devices: int) -> list[float]:
        capped: list[float] = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: devices > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
        monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", capped.append)
        return capped

    return make


@contextmanager
def environment_of_its_own() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize("before", [None, "0", "0,1"])
def test_without_a_share_no_gpu_is_seen_whatever_ray_has_set(monkeypatch, before):
    monkeypatch.delenv(VISIBLE, raising=False)
    if before is not None:
        monkeypatch.setenv(VISIBLE, before)
    with environment_of_its_own():
        see_only(0)
        assert os.environ[VISIBLE] == ""


def test_with_a_share_what_ray_has_set_stays(monkeypatch):
    monkeypatch.setenv(VISIBLE, "3")
    see_only(0.25)
    assert os.environ[VISIBLE] == "3"


@pytest.mark.parametrize("value", ["1", "true"])
def test_a_ray_that_gives_every_trial_every_gpu_is_refused(monkeypatch, value):
    monkeypatch.setenv("RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES", value)
    with pytest.raises(RuntimeError, match="unset it and start Ray anew"):
        see_only(0.5)


@pytest.mark.parametrize("value", ["0", "false", ""])
def test_a_ray_that_was_told_to_do_as_usual_is_fine(monkeypatch, value):
    monkeypatch.setenv("RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES", value)
    see_only(1)


@pytest.mark.parametrize(("gpu", "caps"), [(0.25, [0.25]), (0.1666, [0.1666]), (1, []), (1.0, [])])
def test_a_share_below_one_is_a_cap(cuda, gpu, caps):
    capped = cuda(1)
    assert (claim(gpu, "cpu"), capped) == ("cuda", caps)


@pytest.mark.parametrize("own", ["cpu", "cuda:3", torch.device("cuda", 1), None])
def test_a_share_decides_the_device_whatever_the_nets_own_is(cuda, own):
    cuda(1)
    assert claim(0.5, own) == "cuda"


def test_of_several_gpus_all_are_seen_and_none_is_capped(cuda):
    capped = cuda(2)
    assert (claim(2, "cuda"), capped) == ("cuda", [])


@pytest.mark.parametrize("found", [1, 3])
def test_another_number_of_gpus_than_was_asked_for_is_refused(cuda, monkeypatch, found):
    cuda(found)
    monkeypatch.setenv(VISIBLE, "0,1")
    with pytest.raises(RuntimeError, match=rf"gets 2 GPUs, but CUDA finds {found} \(CUDA_VISIBLE_DEVICES=0,1\)"):
        claim(2, "cuda")


@pytest.mark.parametrize("gpu", [0.5, 1, 2])
def test_logical_gpus_of_a_machine_without_cuda_train_on_the_cpu(cuda, gpu):
    capped = cuda(0)
    assert (claim(gpu, "cuda"), capped) == ("cpu", [])


@pytest.mark.parametrize("own", ["cpu", None, torch.device("cpu")])
def test_without_a_share_a_net_keeps_its_device(cuda, own):
    cuda(4)
    assert claim(0, own) is None


@pytest.mark.parametrize("own", ["cuda", "cuda:1", torch.device("cuda")])
def test_a_net_on_a_gpu_of_which_its_trial_has_no_share_is_told_so(cuda, own):
    cuda(0)
    with pytest.raises(RuntimeError, match="gets no share of a GPU and sees none; give it one"):
        claim(0, own)


class Kept:
    """Holds itself, as a net and its callbacks may hold each other."""

    def __init__(self) -> None:
        self.itself = self


def test_what_an_ended_trial_left_is_collected_before_the_cache_is_emptied(monkeypatch):
    seen = weakref.ref(Kept())
    alive = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(seen() is not None))
    release()
    assert alive == [False]


def test_a_process_without_cuda_pays_nothing_for_it(monkeypatch):
    collected = []
    monkeypatch.setattr(gc, "collect", lambda: collected.append(1))
    release()
    assert not collected
