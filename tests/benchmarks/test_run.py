"""The runner: what it would run, and in which order."""

from __future__ import annotations

import json

import pytest

from benchmarks import machine
from benchmarks.run import PEERS, Plan, main


def test_each_round_has_every_peer_once_and_begins_with_another():
    plan = Plan(("a", "b", "c"), {24: 2, 256: 1}, 1.0)
    assert [run for run in plan.runs() if run[0] == 24] == [
        (24, 0, "a"), (24, 0, "b"), (24, 0, "c"), (24, 1, "b"), (24, 1, "c"), (24, 1, "a"),
    ]  # fmt: skip
    assert [peer for configs, _, peer in plan.runs() if configs == 256] == ["a", "b", "c"]


def test_a_peer_that_chooses_the_number_of_configs_itself_runs_at_one_size():
    runs = list(Plan(("ours", "dask-hyperband"), {24: 1, 256: 1}, 1.0).runs())
    assert runs == [(24, 0, "ours"), (24, 0, "dask-hyperband"), (256, 0, "ours")]


def test_a_dry_run_says_what_would_run_and_runs_nothing(capsys):
    assert main(["--full", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert all(peer in told for peer in PEERS)
    assert "2 rounds of 256 configs" in told


def test_an_unknown_peer_is_refused_with_those_that_there_are():
    with pytest.raises(SystemExit, match=r"no such peers: optima; there are .*optuna"):
        main(["--peers", "ours,optima", "--dry-run"])


def test_results_become_one_table_for_the_docs_whose_rounds_stay_apart(tmp_path, capsys):
    figures = {"configs": 24, "cpu_s": 1.0, "peak_memory_bytes": 1e9, "epochs": 70, "best_score": 0.7}
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, seconds in zip(paths, (10.0, 20.0), strict=True):
        walls = {"ours": seconds, "other": 30.0}
        runs = [{"peer": peer, "asked": 24, "round": 0, "wall_s": wall_s} | figures for peer, wall_s in walls.items()]
        path.write_text(json.dumps({"runs": runs}))
    assert main(["--markdown", *map(str, paths)]) == 0
    assert "| other | 24 | 30.0 | 2.25 (1.50-3.00) |" in capsys.readouterr().out


def test_a_kind_of_machine_is_a_short_file_name():
    assert (
        machine.kind({"cpu": "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", "cores": 4}) == "intel-xeon-gold-6338-4-cores"
    )
    assert machine.kind({"cpu": "AMD EPYC 9654 96-Core Processor", "cores": 2}) == "amd-epyc-9654-2-cores"
