"""Whole sweeps on a real Ray of this machine, with one CPU, which two trials may share, and two logical GPUs."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import nets
import numpy as np
import pandas as pd
import pytest
import ray
import torch

from sweeps import InfeasibleError, Sweep, SweepResult, SweepStateError, journal
from sweeps.records import TrialStatus
from trainables.data import TrialData
from trainables.tensors import TensorData
from trainables.training import NetTraining
from trainables.trial import trial_seed

pytestmark = pytest.mark.ray

GRID = {"lr": [0.003, 0.03, 0.3], "module__nodes": [4, 8, 16], "max_epochs": 5}
SPACE = {
    "lr": {"distribution": "loguniform", "min": 1e-3, "max": 1.0},
    "optimizer": ["torch.optim:SGD", "torch.optim:Adam"],
    "optimizer__momentum": {"min": 0.0, "max": 0.9, "when": {"optimizer": "torch.optim:SGD"}},
    "module__nodes": {"min": 4, "max": 16},
    "max_epochs": 5,
}
SEARCHERS: dict[str, dict[str, Any]] = {
    "grid": {"name": "grid"},
    "random": {"name": "random", "num_samples": 7},
    "hyperopt": {"name": "hyperopt", "num_samples": 7, "n_startup": 3},
}
SCHEDULERS: dict[str, dict[str, Any]] = {
    "fifo": {"name": "fifo"},
    "asha": {"name": "asha", "reduction_factor": 2},
    "median": {"name": "median", "min_samples": 2},
    "hyperband": {"name": "hyperband"},
    "pbt": {"name": "pbt", "perturbation_interval": 2},
}


@pytest.fixture(scope="module", autouse=True)
def running_ray():
    """One Ray for the module; every sweep uses the Ray that is there."""
    ray.init(address="local", num_cpus=1, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def data():
    return nets.make_data()


@pytest.fixture
def run(tmp_path: Path, data):
    """Runs a sweep of `nets.make_net`; keyword arguments go to `Sweep`."""

    def run_sweep(parameters: dict[str, Any], **options: Any) -> SweepResult:
        name = options.pop("name", "sweep")
        return Sweep(nets.make_net(), data, parameters, name=name, storage=tmp_path, **options).run()

    return run_sweep


def validation_accuracy(result: SweepResult, data) -> float:
    """Accuracy of the best net on the rows that the sweep held out."""
    split = TrialData.make(*data, target="classifier", seed=result.manifest["seed"]).splits[0]
    X, y = data[0][split.valid], data[1][split.valid]
    return float((result.best_net.predict(X) == y).mean())


@pytest.mark.parametrize(("searcher", "scheduler"), list(itertools.product(SEARCHERS, SCHEDULERS)))
def test_every_searcher_runs_with_every_scheduler(run, data, searcher, scheduler):
    space = GRID if searcher == "grid" else SPACE
    result = run(space, searcher=SEARCHERS[searcher], scheduler=SCHEDULERS[scheduler])
    asked = 9 if searcher == "grid" else 7
    assert len(result.trials) == asked
    assert set(result.trials.status) <= {"COMPLETED", "STOPPED"}
    assert result.state.attempts[-1]["reason"] == "complete"
    # Score, epoch, weights and config of the best belong together.
    row = result.state.trials[result.best_trial.trial].rows[result.best_epoch]
    assert row["valid_acc"] == result.best_score == max(record.best_value for record in result.state.trials.values())
    assert validation_accuracy(result, data) == pytest.approx(result.best_score, abs=1e-9)


def test_ashas_decisions_equal_an_independent_replay_of_the_journal(run):
    two_at_once = {"cpu": 0.5}
    result = run(
        SPACE, searcher={"name": "random", "num_samples": 14}, scheduler=SCHEDULERS["asha"], resources=two_at_once
    )
    rungs: dict[int, dict[int, float]] = {1: {}, 2: {}, 4: {}}
    stopped = {}
    for event in journal.read(result.paths.journal):
        if event["type"] != "report":
            continue
        last = event["rows"][-1]
        epoch, value, trial = last["epoch"], last["valid_acc"], event["trial"]
        assert all(row["epoch"] not in rungs for row in event["rows"][:-1]), "a report went past a rung"
        if epoch not in rungs:
            continue
        earlier = list(rungs[epoch].values())
        if earlier and value < np.percentile(earlier, 50):
            stopped[trial] = epoch
        rungs[epoch][trial] = value
    recorded = {t: r.rung for t, r in result.state.trials.items() if r.status is TrialStatus.STOPPED}
    assert stopped == recorded
    assert recorded, "nothing was stopped, so nothing was compared"


def test_same_seed_with_fifo_and_one_trial_at_a_time_gives_the_same_table(run):
    options = {
        "searcher": {"name": "hyperopt", "num_samples": 6, "n_startup": 2},
        "scheduler": "fifo",
        "resources": {"max_concurrent_trials": 1},
    }
    tables = [run(SPACE, name=name, **options).trials for name in ("one", "two")]
    same = [name for name in tables[0] if not name.endswith(("_s", "_ms_p50", "_ms_p95", "_bytes", "pid", "ed"))]
    assert {"score", "best_epoch", "params.lr", "status", "stability"} <= set(same)
    pd.testing.assert_frame_equal(tables[0][same], tables[1][same])


def test_a_trial_that_goes_wrong_ends_with_its_cause_and_the_others_complete(run):
    space = {"callbacks__misbehave__how": ["", "raise", "exit", "nan"], "max_epochs": 5}
    result = run(space, searcher="grid", scheduler="fifo", report_every_s=0.0)
    ends = {r.params["callbacks__misbehave__how"]: (str(r.status), r.cause) for r in result.state.trials.values()}
    assert ends == {
        "": ("COMPLETED", None),
        "raise": ("FAILED", "user"),
        "exit": ("FAILED", "worker_died"),
        "nan": ("DIVERGED", None),
    }
    raised = next(r for r in result.state.trials.values() if r.cause == "user")
    assert raised.error.startswith("ArithmeticError: boom in an epoch")
    assert raised.epoch == 2


def test_a_net_that_refuses_its_parameters_fails_alone(run):
    result = run({"module__nodes": [4, -1, 8]}, searcher="grid", scheduler="fifo")
    assert list(result.trials.status) == ["COMPLETED", "FAILED", "COMPLETED"]
    assert "nodes must be positive" in result.state.trials[1].error


def test_a_trial_whose_worker_died_once_goes_on_from_its_checkpoint_as_if_nothing_had_happened(run, data, tmp_path):
    space = {
        "callbacks__misbehave__how": "exit",
        "callbacks__misbehave__once": str(tmp_path / "died"),
        "max_epochs": 5,
    }
    once = {"name": "random", "num_samples": 1}
    result = run(space, searcher=once, scheduler=SCHEDULERS["asha"], checkpoint={"every_s": 0.0})
    record = result.state.trials[0]
    assert (str(record.status), len(record.failures), record.failures[0]["cause"]) == ("COMPLETED", 1, "worker_died")
    assert sorted(record.rows) == [1, 2, 3, 4, 5]
    undisturbed = NetTraining(
        nets.make_net(max_epochs=5),
        TensorData(TrialData.make(*data, target="classifier", seed=0)),
        {},
        trial_seed(0, 0),
    )
    losses = [undisturbed.run_epoch()["train_loss"] for _ in range(5)]
    assert [record.rows[epoch]["train_loss"] for epoch in range(1, 6)] == losses


def test_warm_workers_are_reused_from_trial_to_trial(run):
    result = run(SPACE, searcher={"name": "random", "num_samples": 12}, scheduler="asha", resources={"cpu": 0.5})
    assert result.trials.pid.nunique() == 2


def test_a_share_of_a_gpu_is_seen_by_its_trial_alone(run):
    rules = [{"when": {"module__nodes": 16}, "gpu": 1}]
    resources = {"cpu": 0.5, "gpu": 0.5, "rules": rules}
    result = run(
        {"module__nodes": [4, 8, 16], "lr": [0.1, 0.2]}, searcher="grid", scheduler="fifo", resources=resources
    )
    assert set(result.trials.gpu) <= {"0", "1"}
    assert set(result.trials.status) == {"COMPLETED"}


def test_trials_without_a_gpu_see_none(run):
    assert set(run({"lr": [0.1, 0.2]}, searcher="grid").trials.gpu) == {""}


def test_the_sweep_ends_when_the_target_is_met_and_keeps_that_net(run, data):
    space = {"lr": {"min": 0.05, "max": 0.3}, "max_epochs": 400}
    stop = {"metric_target": 0.8}
    result = run(space, num_samples=6, scheduler="fifo", stop=stop, report_every_s=0.0)
    assert result.state.attempts[-1]["reason"] == "metric target"
    assert result.best_score >= 0.8
    assert validation_accuracy(result, data) == pytest.approx(result.best_score, abs=1e-9)
    assert "INTERRUPTED" in set(result.trials.status)


def test_the_sweep_ends_when_its_time_is_up(run):
    space = {"lr": {"min": 0.05, "max": 0.3}, "max_epochs": 100_000}
    result = run(space, num_samples=4, scheduler="fifo", stop={"time_budget": "3s"})
    assert result.state.attempts[-1]["reason"] == "time budget"
    assert "INTERRUPTED" in set(result.trials.status)


def test_cross_validation_reports_means_and_the_best_config_is_trained_on_all_rows(run, data):
    result = run({"lr": [0.01, 0.3]}, searcher="grid", scheduler="asha", validation={"type": "cv", "n_splits": 3})
    assert {"valid_acc", "valid_acc_std"} <= set(result.metrics.columns)
    assert (result.best_net.predict(data[0]) == data[1]).mean() > 0.5


def test_a_population_changes_params_and_the_best_keeps_those_it_was_reached_with(run, data):
    space = {"lr": {"distribution": "loguniform", "min": 1e-4, "max": 1.0}, "module__nodes": [8], "max_epochs": 12}
    result = run(space, num_samples=6, scheduler={"name": "pbt", "perturbation_interval": 2})
    events = list(journal.read(result.paths.journal))
    exploits = [event for event in events if event["type"] == "exploit"]
    assert exploits, "nobody took over from anybody"
    assert all(1e-4 <= event["params"]["lr"] <= 1.0 for event in exploits)
    assert validation_accuracy(result, data) == pytest.approx(result.best_score, abs=1e-9)


def test_a_name_in_use_is_refused_and_nothing_is_touched(run, tmp_path):
    run({"lr": [0.1]}, searcher="grid")
    before = sorted(path.name for path in (tmp_path / "sweep").iterdir())
    with pytest.raises(SweepStateError, match="never overwritten"):
        run({"lr": [0.1]}, searcher="grid")
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir()) == before


def test_more_than_any_machine_has_is_refused_before_anything_is_created(run, tmp_path):
    with pytest.raises(InfeasibleError, match="no machine has both"):
        run({"lr": [0.1]}, searcher="grid", resources={"gpu": 1, "cpu": 4096})
    assert not (tmp_path / "sweep").exists()


MODEL = """
from skorch import NeuralNetClassifier
from torch import nn

class Linear(nn.Module):
    def __init__(self, bias=True):
        super().__init__()
        self.layer = nn.Linear(8, 3, bias=bias)
    def forward(self, X):
        return self.layer(X)

def make_net():
    return NeuralNetClassifier(Linear, criterion=nn.CrossEntropyLoss, max_epochs=2)
"""
SPEC = """
version: 1
name: beside
net: {module}:make_net
data: {{type: npz, path: rows.npz}}
metric: {{name: valid_acc, goal: maximize}}
parameters: {{lr: [0.1, 0.2]}}
searcher: {{name: grid}}
scheduler: {{name: fifo}}
"""


def test_modules_and_data_beside_the_spec_are_found_also_from_its_copy_in_the_results(tmp_path, data):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "linear_beside.py").write_text(MODEL)
    np.savez(folder / "rows.npz", X=data[0], y=data[1])
    (folder / "sweep.yaml").write_text(SPEC.format(module="linear_beside"))
    stored = f"storage={tmp_path}"
    first = Sweep.from_yaml(folder / "sweep.yaml", [stored]).run()
    again = Sweep.from_yaml(first.paths.spec, [stored, "name=again"]).run()
    assert list(first.trials.status) == list(again.trials.status) == ["COMPLETED", "COMPLETED"]
    assert first.best_score == again.best_score


def test_the_process_keeps_its_own_random_numbers(run):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run({"lr": [0.1]}, searcher="grid")
    assert torch.equal(torch.rand(3), expected)
