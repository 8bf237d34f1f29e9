"""Everything that can be known to be wrong is refused at once, before anything is created."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import nets
import numpy as np
import pandas as pd
import pytest
import torch
from inline_sweeps import plan_of
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Checkpoint, LRScheduler
from torch import nn

from search_spaces.domains import Integer
from sweeps.config import ResourcesConfig
from sweeps.errors import InfeasibleError, SpecError
from sweeps.plan import check_machines
from sweeps.ray_session import this_machine
from sweeps.resources import Node
from trainables.data import TrialData

PBT = {"name": "pbt", "perturbation_interval": 2}
X, Y = nets.make_data()


@pytest.fixture(autouse=True)
def nothing_is_created(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


def problems_of(parameters: dict[str, Any], **options: Any) -> dict[str, str]:
    """Where -> message, of a sweep that is refused."""
    with pytest.raises(SpecError) as caught:
        plan_of(parameters, **options)
    return {problem.where: problem.message for problem in caught.value.problems}


def changed(value: float, row: int = 3) -> np.ndarray:
    features = X.copy()
    features[row, 2] = value
    return features


class Raising(nets.Tiny):
    """Its forward pass calls torch with shapes that do not fit."""

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(X, torch.ones(2, 3))  # the line that is named


@pytest.mark.parametrize("compiled", [{}, {"compile": False}, {"compile": [False]}])
def test_options_of_a_compilation_that_never_happens_are_refused(compiled):
    problems = problems_of({"compile__mode": ["default", "reduce-overhead"], **compiled})
    assert problems == {"parameters.compile__mode": "does nothing, since compile is false; add compile: true"}


@pytest.mark.parametrize("compiled", [{"compile": True}, {"compile": [False, True]}])
def test_options_of_a_compilation_that_may_happen_are_known(compiled):
    job = plan_of({"lr": [0.1], "compile__backend": "eager", **compiled}, matmul_precision="high").job
    assert job.matmul_precision == "high"
    plan_of({"lr": [0.1], "compile__backend": "eager"}, net=nets.make_net(compile=True))


def test_a_plan_says_what_will_be_run():
    plan = plan_of({"lr": [0.1, 0.2], "max_epochs": [3, 9]}, scheduler={"name": "asha", "reduction_factor": 3})
    assert (plan.n_trials, plan.max_epochs, plan.job.rungs) == (3, 9, (1, 3))
    assert {"epoch", "train_loss", "valid_loss", "valid_acc"} <= set(plan.probe.metrics)
    assert plan.notes == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("fifo", ()), ("median", ()), ("hyperband", ()), ("asha", (1, 3, 9)), ("pbt", (2, 4, 6, 8, 10))],
)
def test_reports_end_at_the_epochs_at_which_the_scheduler_compares(name, expected):
    scheduler = PBT if name == "pbt" else {"name": name}
    plan = plan_of({"lr": [0.1, 0.2], "max_epochs": 11}, scheduler=scheduler)
    assert plan.job.rungs == expected
    assert (plan.job.report_every_s == 0) is (name in ("median", "hyperband", "pbt"))


def test_a_wrong_metric_lists_those_that_there_are():
    message = problems_of({"lr": [0.1]}, metric="valid_acuracy")["metric.name"]
    assert "'valid_acuracy'" in message
    assert "train_loss, train_s, valid_acc, valid_loss" in message
    assert "did you mean valid_acc" in message


def test_a_metric_of_scikit_learn_brings_its_scorer():
    plan = plan_of({"lr": [0.1]}, metric="valid_f1_macro")
    assert dict(plan.job.scorers) == {"f1_macro": "f1_macro"}
    assert "valid_f1_macro" in plan.probe.metrics


def test_a_scorer_that_is_given_is_not_inferred_again():
    plan = plan_of({"lr": [0.1]}, metric="valid_mine", scorers={"mine": "balanced_accuracy"})
    assert dict(plan.job.scorers) == {"mine": "balanced_accuracy"}


def test_a_parameter_that_the_net_lacks_is_told_with_a_close_one():
    assert "did you mean 'module__nodes'" in problems_of({"module__node": [4, 8]})["parameters.module__node"]


@pytest.mark.parametrize(
    ("features", "targets", "expected"),
    [
        (changed(np.nan), Y, "NaN"),
        (changed(np.inf), Y, "inf"),
        (pd.DataFrame(X).assign(name="text"), Y, "name"),
        (X, np.zeros_like(Y), "class"),
        (X[:-1], Y, "lengths differ"),
        (X[:0], Y[:0], "no rows"),
    ],
    ids=["NaN", "infinity", "object column", "one class", "lengths", "empty"],
)
def test_data_that_cannot_be_trained_on_are_refused(features, targets, expected):
    assert expected in problems_of({"lr": [0.1]}, data=(features, targets))["data"]


@pytest.mark.parametrize("where", ["net", "scoring"])
def test_what_cannot_travel_to_the_workers_is_refused(where):
    lock = threading.Lock()
    if where == "net":
        problems = problems_of({"lr": [0.1]}, net=nets.make_net(callbacks__misbehave__once=lock))
    else:
        problems = problems_of({"lr": [0.1]}, scorers={"mine": lambda net, X, y: float(lock.locked())})
    assert "lock" in problems[where]
    assert "open files" in problems[where]


def test_a_net_on_cuda_needs_a_share_of_a_gpu():
    net = nets.make_net(device="cuda")
    assert "'cuda'" in problems_of({"lr": [0.1]}, net=net)["resources.gpu"]
    rule = {"when": {"lr": 0.1}, "gpu": 0.5}
    plan_of({"lr": [0.1]}, net=net, resources={"rules": [rule]})


def test_pbt_needs_something_to_change():
    parameters = {"module__nodes": [4, 8], "lr": 0.1, "max_epochs": 4}
    assert "add lr" in problems_of(parameters, scheduler=PBT)["scheduler"]
    assert plan_of({**parameters, "lr": [0.1, 0.2]}, scheduler=PBT).n_trials == 3


@pytest.mark.parametrize("callbacks", [[LRScheduler()], [("schedule", LRScheduler())], [LRScheduler]])
def test_pbt_and_a_schedule_of_the_learning_rate_are_refused_together(callbacks):
    net = nets.make_net(callbacks=callbacks)
    assert "LRScheduler" in problems_of({"lr": [0.1, 0.2]}, net=net, scheduler=PBT)["scheduler"]
    plan_of({"lr": 0.1, "batch_size": [16, 32]}, net=net, scheduler=PBT)


def test_a_net_that_raises_is_told_with_its_error_and_its_own_line():
    message = problems_of({"lr": [0.1, 0.2]}, net=nets.make_net(module=Raising))["net"]
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    line = next(number for number, text in enumerate(lines, start=1) if text.endswith("# the line that is named"))
    assert "RuntimeError: mat1 and mat2" in message
    assert f"{__file__}:{line}" in message


def test_a_bad_draw_alone_is_no_fault_of_the_net():
    plan = plan_of({"module__nodes": {"distribution": "grid", "values": [0, 4, 8]}}, searcher={"name": "grid"})
    assert plan.probe.trial == 1


def test_all_problems_are_told_at_once():
    problems = problems_of(
        {"module__node": [4], "max_epochs": [0, 4]},
        net=nets.make_net(device="cuda", callbacks__misbehave__once=threading.Lock()),
        data=(changed(np.nan), Y),
        scheduler=PBT,
    )
    assert set(problems) == {
        "parameters.module__node", "parameters.max_epochs", "data", "net", "resources.gpu", "scheduler",
    }  # fmt: skip


@pytest.mark.parametrize("epochs", [[0], [2.5], ["many"], [True], {"min": 0, "max": 4}, {"min": 1.0, "max": 4.0}])
def test_epochs_are_whole_numbers_from_one(epochs):
    assert "whole numbers from 1" in problems_of({"max_epochs": epochs})["parameters.max_epochs"]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"lr": [0.1]}, 4),
        ({"max_epochs": 7}, 7),
        ({"max_epochs": [2, 9, 3]}, 9),
        ({"max_epochs": Integer(2, 9)}, 9),
        # Left out of the other half of the configs, which train as long as the net says.
        ({"lr": [0.1, 0.2], "max_epochs": {"values": [2], "when": {"lr": 0.1}}}, 4),
    ],
)
def test_the_longest_trial_sets_the_most_epochs(parameters, expected):
    assert plan_of(parameters).max_epochs == expected


@pytest.mark.parametrize("name", ["asha", "median"])
def test_a_grace_period_that_no_trial_outlives_is_refused(name):
    problems = problems_of({"lr": [0.1]}, scheduler={"name": name, "grace_period": 5})
    assert "max_epochs 4" in problems["scheduler.grace_period"]
    plan_of({"lr": [0.1]}, scheduler={"name": name, "grace_period": 4})


def test_casts_fewer_trials_and_an_odd_goal_are_noted():
    data = (X.astype("float64"), Y.astype("int32"))
    notes = plan_of({"lr": [0.1, 0.2]}, data=data, metric="valid_loss", goal="maximize").notes
    assert any("float64" in note for note in notes)
    assert any("there are only 2 distinct configs" in note for note in notes)
    assert any("valid_loss is maximized" in note for note in notes)


def test_data_that_were_made_before_are_taken_as_they_are():
    data = TrialData.make(X, Y, target="classifier", validation={"type": "holdout", "size": 0.5})
    assert plan_of({"lr": [0.1]}, data=data).job.data is data


@pytest.mark.parametrize(
    ("net", "targets", "metric"),
    [
        (NeuralNetRegressor, X[:, :3], "valid_r2"),
        (NeuralNetBinaryClassifier, (Y[:, None] > 0).astype("float32").repeat(3, 1)[:, 0], "valid_loss"),
    ],
)
def test_other_kinds_of_nets_are_planned_too(net, targets, metric):
    class OneOutput(nets.Tiny):
        def forward(self, X: torch.Tensor) -> torch.Tensor:
            return super().forward(X)[:, 0]

    module = OneOutput if net is NeuralNetBinaryClassifier else nets.Tiny
    assert (
        metric in plan_of({"lr": [0.01]}, net=net(module, max_epochs=2), data=(X, targets), metric=metric).probe.metrics
    )


def test_resources_that_no_machine_has_are_infeasible():
    whole = plan_of({"lr": [0.1]}).config
    config = whole.model_copy(update={"resources": ResourcesConfig(cpu=2, gpu=3)})
    check_machines(config, [Node(2, 0), Node(8, 4)])
    with pytest.raises(InfeasibleError, match="2 CPU and 3 GPU"):
        check_machines(config, [Node(8, 0), Node(1, 4)])
    assert this_machine().cpus >= 1


class Forgetful(nn.Module):
    """Keeps a count beside its parameters that no checkpoint has."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(nets.N_FEATURES, nets.N_CLASSES)
        self.calls = 0

    def forward(self, X):
        self.calls += 1
        return self.layer(X) * (1 + 0.1 * self.calls)


def test_a_net_that_does_not_go_on_from_a_checkpoint_as_it_would_have_is_noted():
    net = NeuralNetClassifier(Forgetful, criterion=nn.CrossEntropyLoss, max_epochs=3)
    notes = plan_of({"lr": [0.1]}, net=net).notes
    assert any("trains on differently after a checkpoint" in note for note in notes)
    assert not any("differently" in note for note in plan_of({"lr": [0.1]}).notes)


def test_a_checkpoint_callback_that_all_trials_would_share_is_refused():
    with pytest.raises(SpecError, match="Checkpoint would use the same files in every trial"):
        plan_of({"lr": [0.1]}, net=nets.make_net(callbacks=[Checkpoint()]))


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        ({"name": "asha", "grace_period": 4}, "no rung lies below max_epochs 4"),
        ({"name": "pbt"}, "ends before the first perturbation"),
        ({"name": "median", "min_samples": 5}, "give no median of 5"),
    ],
)
def test_a_scheduler_that_cannot_do_anything_here_is_noted(scheduler, said):
    assert any(said in note for note in plan_of({"lr": [0.1, 0.2]}, scheduler=scheduler).notes)


def test_the_scorer_that_a_metric_of_scikit_learn_means_is_proposed():
    with pytest.raises(SpecError, match="did you mean valid_balanced_accuracy"):
        plan_of({"lr": [0.1]}, metric="balanced_accuracy")


def test_a_scorer_that_fails_is_blamed_and_not_the_net():
    with pytest.raises(SpecError) as caught:
        plan_of({"lr": [0.1]}, metric="valid_f1")
    assert caught.value.problems[0].where == "metric.name"
