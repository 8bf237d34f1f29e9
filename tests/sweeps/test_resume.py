"""Sweeps that were killed or interrupted, resumed in other processes on a real Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sweeps import SweepResult, journal

pytestmark = pytest.mark.ray

SPEC = """
version: 1
name: {name}
net: nets:make_net
data: {{type: python, object: "nets:make_data"}}
metric: {{name: valid_acc, goal: maximize}}
parameters:
  lr: {{distribution: loguniform, min: 0.01, max: 1.0}}
  module__nodes: {{min: 4, max: 16}}
  callbacks__misbehave__how: sleep
  callbacks__misbehave__at: [2, 3, 4]
  max_epochs: 6
searcher: {{name: random, num_samples: 8, seed: 3}}
scheduler: {scheduler}
report_every_s: 0
checkpoint: {{every_s: 0}}
"""


def write_spec(folder: Path, name: str, scheduler: str) -> Path:
    spec = folder / f"{name}.yaml"
    spec.write_text(SPEC.format(name=name, scheduler=scheduler))
    return spec


def start(*arguments: object) -> subprocess.Popen[str]:
    """Starts the command line in a process of its own, with the tests' nets importable."""
    command = [sys.executable, "-m", "sweeps", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(*arguments: object) -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=180)
    return process.returncode, out, err


def wait_for_epochs(root: Path, epochs: int, process: subprocess.Popen[str]) -> None:
    """Returns once the journal has acknowledged so many epochs."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (root / "journal").is_dir() and len(acknowledged(root)) >= epochs:
            return
        time.sleep(0.02)
    raise AssertionError(f"the sweep came to no {epochs} epochs: {process.communicate()}")


def acknowledged(root: Path) -> dict[tuple[int, int], float]:
    """(trial, epoch) -> train_loss of every epoch in the journal."""
    reports = (event for event in journal.read(root / "journal") if event["type"] == "report")
    return {(event["trial"], row["epoch"]): row["train_loss"] for event in reports for row in event["rows"]}


def decisions(root: Path) -> dict[int, int]:
    """Trial -> rung of every stop in the journal."""
    ends = (event for event in journal.read(root / "journal") if event["type"] == "end")
    return {event["trial"]: event["rung"] for event in ends if event["status"] == "STOPPED"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> SweepResult:
    """The sweep of the tests, never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    code, _, err = finish("run", write_spec(folder, "whole", "{name: fifo}"), "--storage", folder, "-q")
    assert code == 0, err
    return SweepResult.load("whole", storage=folder)


def test_a_killed_driver_loses_nothing_that_was_acknowledged_and_changes_no_number(tmp_path, whole):
    root = tmp_path / "killed"
    process = start("run", write_spec(tmp_path, "killed", "{name: fifo}"), "--storage", tmp_path, "-q")
    wait_for_epochs(root, 7, process)
    process.kill()
    process.communicate()
    before = acknowledged(root)
    code, _, err = finish("resume", root, "-q")
    assert code == 0, err
    after = acknowledged(root)
    assert {key: after[key] for key in before} == before
    assert after == acknowledged(whole.paths.root)
    result = SweepResult.load(root)
    assert list(result.trials.status) == ["COMPLETED"] * 8
    assert (result.best_trial.trial, result.best_epoch) == (whole.best_trial.trial, whole.best_epoch)
    weights, expected = result.best_net.module_.state_dict(), whole.best_net.module_.state_dict()
    assert all(np.array_equal(weights[key], expected[key]) for key in expected)


def test_a_signal_ends_the_sweep_resumable_and_says_how(tmp_path):
    root = tmp_path / "asked"
    scheduler = "{name: asha, reduction_factor: 2}"
    process = start("run", write_spec(tmp_path, "asked", scheduler), "--storage", tmp_path, "-q")
    wait_for_epochs(root, 5, process)
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert err.strip().splitlines()[-1].endswith(f"sweeps resume {root}")
    stopped = decisions(root)
    code, out, err = finish("resume", root, "-q")
    assert code == 0, err
    assert "best" in out
    result = SweepResult.load(root)
    assert set(result.trials.status) <= {"COMPLETED", "STOPPED"}
    assert len(result.trials) == 8
    assert {trial: decisions(root)[trial] for trial in stopped} == stopped


def test_a_sweep_whose_journal_is_gone_is_not_started_over(tmp_path, whole):
    root = tmp_path / "copy"
    subprocess.run(["cp", "-r", whole.paths.root, root], check=True)
    (root / "journal" / "events.jsonl").unlink()
    code, _, err = finish("resume", root)
    assert code == 4
    assert "events.jsonl" in err
    assert not (root / "journal" / "events.jsonl").exists()


def test_other_data_are_refused(tmp_path, whole):
    root = tmp_path / "other"
    subprocess.run(["cp", "-r", whole.paths.root, root], check=True)
    spec = (root / "sweep.yaml").read_text()
    (root / "sweep.yaml").write_text(spec.replace("nets:make_data", "nets:make_other_data"))
    code, _, err = finish("resume", root, "-q")
    assert code == 4
    assert 'data.object: "nets:make_data" -> "nets:make_other_data"' in err
