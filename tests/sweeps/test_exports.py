"""Copies of what a sweep found."""

from __future__ import annotations

import csv

import pytest

from sweeps.errors import SpecError, SweepStateError
from sweeps.exports import export_model, export_table
from sweeps.results import SweepResult


@pytest.fixture
def result(record_sweep):
    return SweepResult(record_sweep())


def test_a_table_is_written(result, tmp_path):
    export_table(result, "metrics", "csv", tmp_path / "m.csv")
    with (tmp_path / "m.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3", "4", "1", "1"]


def test_an_ending_that_says_otherwise_is_refused(result, tmp_path):
    with pytest.raises(SpecError, match=r"does not end in \.csv"):
        export_table(result, "trials", "csv", tmp_path / "t.json")


def test_a_place_that_cannot_be_written_is_named(result, tmp_path):
    with pytest.raises(SpecError, match=r"nowhere/t\.json: cannot be written"):
        export_table(result, "trials", "json", tmp_path / "nowhere" / "t.json")


def test_the_copy_of_the_best_net_speaks_of_itself(result, tmp_path):
    result.paths.best.mkdir()
    (result.paths.best / "HOWTO.md").write_text(f"load {result.paths.best}/model.safetensors")
    (result.paths.best / "trial.json").write_text('{"trial": 0, "epoch": 3, "score": 0.9}')
    export_model(result, tmp_path / "copy")
    assert (tmp_path / "copy" / "HOWTO.md").read_text() == f"load {tmp_path}/copy/model.safetensors"


def test_an_existing_folder_is_left_alone(result, tmp_path):
    result.paths.best.mkdir()
    (tmp_path / "copy").mkdir()
    with pytest.raises(SpecError, match="exists already"):
        export_model(result, tmp_path / "copy")


def test_without_a_best_net_there_is_nothing_to_copy(result, tmp_path):
    with pytest.raises(SweepStateError, match="missing"):
        export_model(result, tmp_path / "copy")


def test_the_best_net_of_before_a_better_trial_was_recorded_is_not_copied(result, tmp_path):
    result.paths.best.mkdir()
    (result.paths.best / "HOWTO.md").write_text("")
    (result.paths.best / "trial.json").write_text('{"trial": 0, "epoch": 2, "score": 0.8}')
    with pytest.raises(SweepStateError, match=r"is not of epoch 3 of trial 0, .* `sweeps resume .*` does that"):
        export_model(result, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
