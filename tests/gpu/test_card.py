"""What trials do to a card and to each other on it; the same checks on a fake card where there is no real one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import card_nets
import nets
import pytest
import torch
from cards import used_bytes

from sweeps import Sweep, SweepResult

ROOT = Path(__file__).parents[2]
MIB = 2**20
EXAMPLES = {"digits": "make_digits_net", "convnet": "make_convnet"}


@pytest.fixture
def run(card, tmp_path):
    """Runs a grid of `card_nets.make_net` on the card."""

    def run_sweep(parameters: dict[str, Any], net: Any = None, **resources: Any) -> SweepResult:
        sweep = Sweep(
            net or card_nets.make_net(),
            nets.make_data(),
            parameters,
            searcher="grid",
            scheduler="fifo",
            resources={"cpu": 1, "max_concurrent_trials": 2, **resources},
            storage=tmp_path,
            name="sweep",
        )
        return sweep.run()

    return run_sweep


def total_bytes() -> int:
    return int(torch.cuda.get_device_properties(0).total_memory)


def wait_until(condition: Callable[[], bool], limit_s: float = 30.0) -> bool:
    """Whether it comes true in time."""
    ends = time.monotonic() + limit_s
    while not condition() and time.monotonic() < ends:
        time.sleep(0.1)
    return condition()


def statuses(result: SweepResult) -> set[str]:
    return set(result.trials.status)


def test_a_trial_with_a_share_trains_on_one_card_and_sees_no_other(run):
    result = run({"module__nodes": [4, 8, 16]}, gpu=0.5)
    assert statuses(result) == {"COMPLETED"}
    assert set(result.trials.gpu) <= {"0", "1"}
    assert set(result.metrics.devices) == {1}
    assert set(result.metrics.on_card) == {1.0}


def test_a_trial_without_a_share_sees_no_card_even_where_ray_hides_none(run):
    result = run({"module__nodes": [4, 8]}, gpu=0)
    assert statuses(result) == {"COMPLETED"}
    assert set(result.trials.gpu) == {""}
    assert set(result.metrics.devices) == {0}
    assert set(result.metrics.on_card) == {0.0}


def test_a_greedy_trial_fails_alone_and_the_card_is_free_for_the_next(run):
    # Half of the card is free, but no part of a quarter.
    space = {"module__share": [0.0, 0.5, 0.1], "module__wait_s": 0.05, "max_epochs": 6}
    result = run(space, gpu=0.25)
    ends = {r.params["module__share"]: (str(r.status), r.cause) for r in result.state.trials.values()}
    assert ends == {0.0: ("COMPLETED", None), 0.5: ("FAILED", "oom"), 0.1: ("COMPLETED", None)}
    neighbour, greedy, later = (result.state.trials[number] for number in range(3))
    assert "CUDA out of memory" in greedy.error
    assert sorted(neighbour.rows) == [1, 2, 3, 4, 5, 6]
    assert not neighbour.failures
    assert later.costs["peak_memory_bytes"] >= 0.1 * total_bytes()


def test_the_peak_that_is_recorded_is_what_torch_says_and_leaves_nothing_to_the_next(run):
    result = run({"module__take_mib": [160, 16], "max_epochs": 2}, gpu=0.25, max_concurrent_trials=1)
    assert statuses(result) == {"COMPLETED"}
    seen = {}
    for record in result.state.trials.values():
        taken, last = record.params["module__take_mib"] * MIB, record.rows[max(record.rows)]
        assert taken <= last["allocated_bytes"] <= record.costs["peak_memory_bytes"] <= last["reserved_bytes"]
        assert record.costs["peak_memory_bytes"] <= 1.05 * last["allocated_bytes"]
        seen[taken] = last
    assert result.trials.pid.nunique() == 1
    assert seen[16 * MIB]["reserved_bytes"] < 160 * MIB, "the cache of the trial before was kept"


def test_after_many_short_trials_the_card_is_as_before(run, card):
    before = card.baseline_bytes
    result = run({"lr": [0.001 * number for number in range(1, 51)], "max_epochs": 1}, gpu=0.25)
    assert len(result.trials) == 50
    assert statuses(result) == {"COMPLETED"}
    left = {}
    for row in result.metrics.merge(result.trials[["trial", "pid"]], on="trial").itertuples():
        left.setdefault(row.pid, []).append(row.left_bytes)
    assert max(map(len, left.values())) > 1, "no process had a second trial"
    assert all(max(bytes_left) <= 1.02 * min(bytes_left) for bytes_left in left.values())
    assert wait_until(lambda: abs(used_bytes() - before) <= 0.02 * total_bytes())


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs_on_the_card(card, tmp_path, example, monkeypatch):
    monkeypatch.chdir(ROOT)
    changes = [
        f"net=card_nets:{EXAMPLES[example]}", "resources.gpu=0.25", "resources.max_concurrent_trials=2",
        "searcher.num_samples=2", "parameters.max_epochs=3", f"storage={tmp_path}",
    ]  # fmt: skip
    result = Sweep.from_yaml(f"examples/{example}/sweep.yaml", changes).run()
    assert statuses(result) <= {"COMPLETED", "STOPPED"}
    assert set(result.metrics.on_card) == {1.0}
    assert result.best_score > 0.1
    assert all(0 < peak < 0.25 * total_bytes() for peak in result.trials.peak_memory_bytes)


@pytest.mark.gpu
@pytest.mark.ray
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_a_trial_uses_all_of_its_cards(run, card):
    if card.kind == "fake":
        pytest.skip("DataParallel copies between cards, of which the fake has none")
    net = card_nets.make_net(module=card_nets.Parallel, device="cuda")
    result = run({"module__nodes": [64]}, net=net, gpu=2)
    assert statuses(result) == {"COMPLETED"}
    assert set(result.trials.gpu) == {"0,1"}
    assert set(result.metrics.devices) == {2}
