"""Sweeps as a run would have recorded them, without running any."""

from __future__ import annotations

import pytest
from manifests import manifest

from sweeps.creation import create
from sweeps.journal import Journal, read
from sweeps.records import SweepState
from sweeps.storage import SweepPaths
from trainables.objective import Objective

PLACEMENT = {"node": "node-1", "pid": 7, "gpu": "", "ray_node": None}
PARAMS = [{"lr": 0.1, "max_epochs": 9}, {"lr": 0.0123456, "max_epochs": 9}, {"lr": 3.0, "max_epochs": 9}]
PARAMS += [{"lr": 0.5, "max_epochs": 9}]
START = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC


def report(trial, epoch, valid_acc):
    row = {"epoch": epoch, "train_loss": 1 / epoch, "valid_acc": valid_acc, "valid_loss": 1 - valid_acc}
    costs = {"n_parameters": 1000 + trial, "fit_s": 0.5 * epoch}
    return {"type": "report", "trial": trial, "rows": [row], "costs": costs, "checkpoint": None, "placement": PLACEMENT}


def end(trial, status, **more):
    return {"type": "end", "trial": trial, "status": status, **more}


def four_trials(reason):
    """One trial completed, one stopped at rung 1, one failed with an error like markup, one that ``reason`` ended."""
    yield {"type": "attempt", "attempt": 1, "n_trials": 6, "rungs": [1, 3]}
    for trial, params in enumerate(PARAMS):
        yield {"type": "trial", "trial": trial, "params": params}
        yield {"type": "start", "trial": trial}
    for epoch, accuracy in enumerate([0.5, 0.8, 0.9, 0.875], start=1):
        yield report(0, epoch, accuracy)
    yield report(1, 1, 0.25)
    yield report(3, 1, float("nan"))
    yield end(0, "COMPLETED")
    yield end(1, "STOPPED", rung=1)
    yield {"type": "failure", "trial": 2, "cause": "oom", "error": "MemoryError: [red]no[/red]", "epoch": 0}
    yield end(2, "FAILED", cause="oom", error="MemoryError: [red]no[/red]\nTraceback ...")
    if reason:
        yield end(3, "INTERRUPTED" if reason == "interrupted" else "DIVERGED")
        yield {"type": "attempt_end", "reason": reason}


@pytest.fixture
def record_sweep(tmp_path):
    """Write a sweep of four trials, or of the events given; returns its paths."""

    def record(name="demo", reason="complete", events=None, storage="results"):
        paths = SweepPaths.of(tmp_path / storage, name)
        paths.root.parent.mkdir(exist_ok=True)
        create(paths, manifest(name=name), "version: 1\n")
        with Journal(paths.journal) as journal:
            for seconds, event in enumerate(four_trials(reason) if events is None else events):
                journal.append({**event, "time": START + seconds})
        return paths

    return record


@pytest.fixture
def state(record_sweep):
    """What the four trials of a sweep that still runs add up to."""
    paths = record_sweep("running", reason=None)
    return SweepState.replay(Objective("valid_acc", maximize=True), read(paths.journal))
