"""The figures of trials that share a GPU: only the time in which all of them train counts."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest
import torch
from skorch.history import History

from benchmarks.gpu import HEADINGS, Clock, Measured, Rate, cells, main, rate, write


def test_one_trial_counts_all_but_its_first_epoch():
    assert rate([[10.0, 11.0, 12.0, 14.0]]) == Rate(epochs_per_s=0.75, per_trial=0.75, window_s=4.0)


def test_only_the_time_in_which_all_train_counts():
    early, late = [0.0, 1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 8.0]
    # From 2 to 4 s: two epochs of the early one, one of the late one.
    assert rate([early, late]) == Rate(epochs_per_s=1.5, per_trial=0.75, window_s=2.0)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([], "less than two epochs"),
        ([[1.0, 2.0], [1.5]], "less than two epochs"),
        ([[1.0, 2.0], [3.0, 4.0]], "at no time did all trials train"),
        ([[1.0, 2.0], [2.0, 4.0]], "at no time did all trials train"),
    ],
)
def test_too_short_a_training_gives_no_figure(times, message):
    with pytest.raises(ValueError, match=message):
        rate(times)


FOUND = [
    Measured("MLP", 1, Rate(2.0, 2.0, 10.0), 600_000_000, 50_000_000),
    Measured("MLP", 4, Rate(6.0, 1.5, 10.0), 2_400_000_000, 50_000_000),
    Measured("ConvNet", 4, Rate(1.0, 0.25, 10.0), 3_000_000_000, 90_000_000),
    Measured("ConvNet", 16, None, 3_000_000_000, 0, "2 failed: OutOfMemoryError: CUDA out of memory"),
]


def test_rates_are_told_beside_those_of_one_trial_alone():
    lines = cells(FOUND)
    assert lines[0] == ("MLP", "1", "2.00", "2.00", "1.00", "600", "50")
    assert lines[1] == ("MLP", "4", "6.00", "1.50", "3.00", "2400", "50")
    assert lines[2][4] == "-"
    assert lines[3][2] == "2 failed: OutOfMemoryError: CUDA out of memory"
    assert {len(line) for line in lines} == {len(HEADINGS)}


def test_results_are_written_as_json_and_as_a_table(tmp_path):
    path = write(FOUND, "NVIDIA H100 80GB HBM3", tmp_path / "new")
    assert path.name == "gpu-nvidia-h100-80gb-hbm3.json"
    content = json.loads(path.read_text())
    assert content["device"] == "NVIDIA H100 80GB HBM3"
    assert content["measured"][1]["rate"] == {"epochs_per_s": 6.0, "per_trial": 1.5, "window_s": 10.0}
    assert path.with_suffix(".md").read_text().count("\n") == 2 + len(FOUND)


@pytest.mark.parametrize(("trials", "seconds", "ends"), [(1, -1.0, True), (2, -1.0, False), (1, 999.0, False)])
def test_a_trial_ends_some_seconds_after_the_last_one_has_begun(tmp_path, trials, seconds, ends):
    changes = []
    net = SimpleNamespace(history=History(), set_params=lambda **given: changes.append(given))
    clock = Clock(str(tmp_path), trials, seconds, driver=0)
    clock.on_train_begin(net)
    net.history.new_epoch()
    clock.on_epoch_end(net)
    assert changes == ([{"max_epochs": 1}] if ends else [])
    assert net.history[-1]["ended_at"] > 0


def test_the_probe_of_the_driver_is_no_trial(tmp_path):
    Clock(str(tmp_path), 1, 1.0, driver=os.getpid()).on_train_begin(None)
    assert not list(tmp_path.iterdir())


def test_without_a_card_it_refuses_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"^benchmarks\.gpu: PyTorch .* finds no CUDA device here"):
        main(["--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
