"""Sweeps whose trials each go wrong in another way: each ends with its cause, after as many tries as it deserves.

What only raises is tried in this process; what ends a process or keeps it from going on, on a real Ray.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nets
import pytest
import ray

from sweeps import Sweep, journal
from sweeps.records import SweepState, TrialRecord
from trainables.watchdog import HANG

pytestmark = pytest.mark.faults

HOW, AT = "callbacks__misbehave__how", "callbacks__misbehave__at"
OPTIONS: dict[str, Any] = {"searcher": "grid", "scheduler": "fifo", "report_every_s": 0.0}

# How it goes wrong -> the trial's end, its failures, and what the last error says.
RAISED = {
    "": ("COMPLETED", [], ""),
    "refuse": ("FAILED", ["user"] * 2, "ValueError: a net like this cannot be made"),
    "raise": ("FAILED", ["user"] * 2, "ArithmeticError: boom in an epoch"),
    "nan": ("DIVERGED", [], ""),
    "infinite loss": ("DIVERGED", [], ""),
    "None": ("FAILED", ["user"] * 2, "LookupError: epoch 3 reported 'valid_acc' as None"),
    "text": ("FAILED", ["user"] * 2, "LookupError: epoch 3 reported 'valid_acc' as '0.5', a str"),
    "tensor": ("FAILED", ["user"] * 2, "LookupError: epoch 3 reported 'valid_acc' as tensor(0.5000)"),
    "no metric": ("FAILED", ["user"] * 2, "LookupError: epoch 3 reported no 'valid_acc'"),
    "no cuda memory": ("FAILED", ["oom"], "OutOfMemoryError: CUDA out of memory"),
    "no memory": ("FAILED", ["oom"], "MemoryError"),
    "no numpy memory": ("FAILED", ["oom"], "_ArrayMemoryError: Unable to allocate"),
    "sys.exit": ("FAILED", ["user"] * 2, "SystemExit: 3"),
    "lock": ("FAILED", ["user"] * 2, "cannot be stored"),
    "disk full": ("FAILED", ["disk"] * 4, "OSError: [Errno 28] No space left on device"),
    "interrupt": ("COMPLETED", [], ""),  # skorch's way to end a training
    "sleep": ("COMPLETED", [], ""),
}
ENDED = {
    "": ("COMPLETED", [], ""),
    "exit": ("FAILED", ["worker_died"] * 2, "the worker process died"),
    "segfault": ("FAILED", ["worker_died"] * 2, "the worker process died"),
    "sys.exit": ("FAILED", ["user"] * 2, "RuntimeError: the net raised SystemExit(3)"),
    "wait": ("FAILED", ["hang"] * 2, "s after epoch 0: the process was ended"),
    "loop": ("FAILED", ["hang"] * 2, "s after epoch 2: the process was ended"),
    "print": ("FAILED", ["hang"] * 2, "s after epoch 2: the process was ended"),
    "sleep": ("COMPLETED", [], ""),
}


def sweep_of(hows: Iterable[str], storage: Path, **options: Any) -> Sweep:
    space: dict[str, Any] = {HOW: list(hows), "max_epochs": 4}
    if "wait" in space[HOW]:  # the others go wrong in their third epoch
        space[AT] = {"values": [1], "when": {HOW: "wait"}}
    return Sweep(nets.make_net(), nets.make_data(), space, name="faulty", storage=storage, **OPTIONS, **options)


def ends_of(state: SweepState) -> dict[str, tuple[str, list[str], str]]:
    return {record.params[HOW]: end_of(record) for record in state.trials.values()}


def end_of(record: TrialRecord) -> tuple[str, list[str], str]:
    error = record.failures[-1]["error"] if record.failures else ""
    return str(record.status), [failure["cause"] for failure in record.failures], error


def check(ends: dict[str, tuple[str, list[str], str]], expected: dict[str, tuple[str, list[str], str]]) -> None:
    assert {how: end[:2] for how, end in ends.items()} == {how: end[:2] for how, end in expected.items()}
    assert [(how, end[2]) for how, end in ends.items() if expected[how][2] not in end[2]] == []


@pytest.fixture(scope="module")
def raised(tmp_path_factory):
    return sweep_of(RAISED, tmp_path_factory.mktemp("raised")).run(backend="inline", progress=False)


def test_whatever_a_net_raises_ends_its_trial_alone(raised):
    check(ends_of(raised.state), RAISED)


def test_a_failure_is_recorded_with_the_epoch_before_it_and_a_lack_of_memory_with_its_peak(raised):
    failures: dict[str, list[journal.Event]] = {}
    for event in journal.read(raised.paths.journal):
        if event["type"] == "failure":
            failures.setdefault(raised.state.trials[event["trial"]].params[HOW], []).append(event)
    assert [failure["epoch"] for failure in failures["refuse"]] == [0, 0]
    assert [failure["epoch"] for failure in failures["raise"]] == [2, 2]
    assert [failure["epoch"] for failure in failures["no memory"]] == [2]
    assert failures["no memory"][0]["peak_memory_bytes"] > 1e6


@pytest.mark.ray
def test_whatever_ends_or_holds_up_a_process_ends_its_trial_alone(tmp_path):
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        result = sweep_of(ENDED, tmp_path, failure={"hang_s": 3}, checkpoint={"every_s": 0.0}).run(progress=False)
    finally:
        ray.shutdown()
    check(ends_of(result.state), ENDED)
    hung = {record.params[HOW]: record for record in result.state.trials.values() if record.cause == "hang"}
    assert "in loop" in hung["loop"].error
    assert {path.parent.name for path in tmp_path.rglob(HANG)} == {f"trial_{one.trial:05d}" for one in hung.values()}
