"""The simulation: the real driver's parts, made-up workers, virtual time."""

from __future__ import annotations

import pytest

from benchmarks.simulate import MAX_EPOCHS, Scene, simulate


@pytest.fixture(scope="module")
def figures():
    return simulate(Scene(workers=20, trials=60))


def test_every_trial_runs_and_asha_saves_most_of_the_epochs(figures):
    assert figures["trials"] == 60
    assert MAX_EPOCHS + 59 <= figures["epochs"] < 60 * MAX_EPOCHS / 2


def test_few_workers_with_long_epochs_hardly_wait_for_the_driver(figures):
    assert figures["busy"] > 0.9
    assert figures["virtual_s"] > 10 * figures["real_s"]


def test_a_driver_that_is_too_slow_shows_as_workers_that_wait():
    # 20 reports take 2 s of the driver, and an epoch only a tenth of a second.
    assert simulate(Scene(workers=20, trials=40, epoch_s=0.1, tune_s=0.1))["busy"] < 0.2


@pytest.mark.parametrize(("searcher", "scheduler"), [("hyperopt", "asha"), ("grid", "median"), ("random", "fifo")])
def test_any_searcher_runs_with_any_scheduler_that_only_stops(searcher, scheduler):
    found = simulate(Scene(workers=5, trials=40, searcher=searcher, scheduler=scheduler))
    assert found["trials"] == 40
    assert (found["epochs"] == 40 * MAX_EPOCHS) == (scheduler == "fifo")
    assert found["cpu_ms_per_event"] > 0
    assert 0 < found["ms_per_event"] <= found["ms_per_event_p99"]
