"""How many trials share a GPU: as many as fit with room to spare, and no more than anything else allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.packing import MOST_PER_GPU, needed_bytes, share_problem, suggest_fraction
from sweeps.resources import Node, slots
from sweeps.spec import build_config

GB = 10**9
CARD = 80 * GB
PLENTY = {"cpus": 128, "gpus": 1}


def slots_with(gpu: float, cpus: float, gpus: int) -> int:
    rest = {"name": "a", "metric": {"name": "valid_loss", "goal": "minimize"}, "parameters": {"lr": 0.1}}
    config = build_config(
        {**rest, "searcher": {"name": "random", "num_samples": 99}, "resources": {"cpu": 1, "gpu": gpu}}
    )
    return slots(config.resources, [Node(cpus, gpus)])


@pytest.mark.parametrize(
    ("peak_gb", "context_gb", "gpu", "trials"),
    [
        (20, 0.5, 0.3333, 3),  # 3 x (24 + 0.5) of 80
        (22, 0.5, 0.5, 2),  # 3 x 26.9 is a little too much
        (40, 0.5, 1.0, 1),
        (79, 0.5, 1.0, 1),  # alone it needs no room
    ],
)
def test_memory_allows_so_many_with_a_fifth_of_room_and_their_contexts(peak_gb, context_gb, gpu, trials):
    packing = suggest_fraction(int(peak_gb * GB), int(context_gb * GB), CARD, **PLENTY)
    assert (packing.gpu, packing.trials_per_gpu, packing.limited_by) == (gpu, trials, "gpu_memory")


def test_contexts_count_though_no_cap_does():
    assert suggest_fraction(8 * GB, 0, CARD, **PLENTY).trials_per_gpu == 8
    assert suggest_fraction(8 * GB, 1 * GB, CARD, **PLENTY).trials_per_gpu == 7


@pytest.mark.parametrize(
    ("more", "trials", "limited_by"),
    [
        ({"cpus": 6, "gpus": 2}, 3, "cpus"),
        ({"cpus": 16, "gpus": 1, "cpu": 4}, 4, "cpus"),
        ({"cpus": 0.3, "gpus": 1, "cpu": 0.1}, 3, "cpus"),  # 0.3 / 0.1 is a little less than 3
        ({"cpus": 2, "gpus": 4}, 1, "cpus"),
        (PLENTY | {"trials_in_machine_memory": 5}, 5, "machine_memory"),
        ({"cpus": 128, "gpus": 4, "trials_in_machine_memory": 9}, 2, "machine_memory"),
        (PLENTY | {"most_at_once": 2}, 2, "trials"),
        ({"cpus": 128, "gpus": 2, "most_at_once": 5}, 3, "trials"),
        (PLENTY, MOST_PER_GPU, "most_per_gpu"),
        ({"cpus": MOST_PER_GPU, "gpus": 1}, MOST_PER_GPU, "most_per_gpu"),
    ],
)
def test_a_small_net_is_limited_by_something_else(more, trials, limited_by):
    packing = suggest_fraction(GB // 10, GB // 2, CARD, **more)
    assert (packing.trials_per_gpu, packing.limited_by) == (trials, limited_by)


@given(
    peak=st.integers(1, CARD),
    context=st.integers(CARD // 1000, 2 * GB),
    cpus=st.integers(1, 64),
    gpus=st.integers(1, 8),
)
def test_a_suggestion_runs_as_many_as_it_says_and_is_not_complained_about(peak, context, cpus, gpus):
    packing = suggest_fraction(peak, context, CARD, cpus=cpus, gpus=gpus)
    n = packing.trials_per_gpu
    assert 1 <= n <= MOST_PER_GPU
    assert int(1 / packing.gpu) == n
    assert n * packing.gpu <= 1
    assert slots_with(packing.gpu, 128 * gpus, gpus) == n * gpus
    assert n == 1 or n * needed_bytes(peak, context) <= CARD
    assert share_problem(packing.gpu, peak, context, CARD, packing) is None


@pytest.mark.parametrize(
    ("share", "peak_gb", "says"),
    [
        (0.05, 10, "share of 0.05 caps it at 4.0 GB, but it took 10.0 GB: it would fail; write resources.gpu: 0.1666"),
        (0.0, 10, "gets no share of a GPU"),
        (0.125, 9, "leaves less than 20% of room"),  # 10 GB for it
        (0.25, 17, "leaves less than 20% of room"),  # its cap holds 20.4 GB just so, but not four contexts
        (0.5, 1, "lets only 2 on a GPU, where 8 fit; write resources.gpu: 0.125"),
        (2, 1, "lets only 1 on a GPU, where 8 fit"),
    ],
)
def test_a_share_that_is_too_small_or_too_large_is_told_with_what_to_write(share, peak_gb, says):
    found = (peak_gb * GB, GB // 2, CARD)
    assert says in share_problem(share, *found, suggest_fraction(*found, **PLENTY))


@pytest.mark.parametrize(("share", "peak_gb"), [(0.3333, 20), (0.25, 10), (1, 79), (1, 45), (0.5, 30)])
def test_a_share_that_fits_is_not_complained_about(share, peak_gb):
    found = (peak_gb * GB, GB // 2, CARD)
    assert share_problem(share, *found, suggest_fraction(*found, **PLENTY)) is None


def test_a_small_share_is_no_danger_where_the_cpus_run_few_trials():
    found = (15 * GB, GB // 2, CARD)
    assert share_problem(0.24, *found, suggest_fraction(*found, cpus=2, gpus=1)) is None
