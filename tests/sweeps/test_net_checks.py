"""Nets that their trials' GPUs cannot train, or not all of them, are refused before anything is created."""

from __future__ import annotations

from typing import Any

import nets
import pytest
import torch
from inline_sweeps import plan_of
from skorch import NeuralNetClassifier
from torch import nn

from search_spaces.space import SearchSpace
from sweeps import Sweep
from sweeps.config import SweepConfig
from sweeps.errors import SpecError
from sweeps.net_checks import net_problems

SOME_ON_CPU = {"rules": [{"when": {"module__nodes": 16}, "gpu": 0.5}]}


class Parallel(nn.DataParallel):
    """`nets.Tiny` on all of its trial's GPUs."""

    def __init__(self, nodes: int = 8) -> None:
        super().__init__(nets.Tiny(nodes))


class Within(nn.Module):
    """A module of which a part is parallel."""

    def __init__(self, nodes: int = 8) -> None:
        super().__init__()
        self.body = Parallel(nodes)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.body(X)
        return logits


class AccelerateMixin:
    """Stands for skorch's, which needs a library of its own."""


class Accelerated(AccelerateMixin, NeuralNetClassifier):
    """A net of several processes."""


def parallel(**sizes: Any) -> nn.Module:
    return nn.DataParallel(nets.Tiny(**sizes))


def problems_of(parameters: dict[str, Any], net: NeuralNetClassifier, **resources: Any) -> dict[str, str]:
    """Where -> message, of what stands between a net and a sweep."""
    options = {"net": "nets:make_net", "data": {"type": "python", "object": "nets:make_data"}, "version": 1}
    config = SweepConfig.model_validate(
        {**options, "metric": {"name": "valid_acc", "goal": "maximize"}, "parameters": parameters, "name": "sweep",
         "searcher": {"name": "random", "num_samples": 3}, "resources": resources}
    )  # fmt: skip
    return {problem.where: problem.message for problem in net_problems(config, net, SearchSpace(parameters))}


@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda")])
def test_a_net_on_a_gpu_needs_a_share_of_one(device):
    net = nets.make_net(device=device)
    problems = problems_of({"lr": [0.1]}, net)
    assert str(device) in problems["resources.gpu"]
    assert "its trials would see no GPU" in problems["resources.gpu"]
    assert problems_of({"lr": [0.1]}, net, gpu=0.5) == {}


def test_a_net_on_a_gpu_needs_one_in_every_trial():
    net = nets.make_net(device="cuda")
    problems = problems_of({"module__nodes": [8, 16]}, net, **SOME_ON_CPU)
    assert "some of its trials would see no GPU" in problems["resources.gpu"]
    assert problems_of({"module__nodes": [16]}, net, **SOME_ON_CPU) == {}
    assert problems_of({"module__nodes": [8, 16]}, nets.make_net(), **SOME_ON_CPU) == {}


def test_a_device_that_varies_is_seen_too():
    net = nets.make_net()
    assert "'cuda'" in problems_of({"device": ["cpu", "cuda"]}, net)["resources.gpu"]
    rule = {"rules": [{"when": {"device": "cuda"}, "gpu": 0.5}]}
    assert problems_of({"device": ["cpu", "cuda"]}, net, **rule) == {}
    assert "write 'cuda'" in problems_of({"device": ["cuda:1"]}, net, gpu=1)["parameters.device"]


@pytest.mark.parametrize("module", [Parallel, Within, parallel])
def test_a_parallel_module_may_have_several_gpus(module):
    assert problems_of({"module__nodes": [4, 8]}, nets.make_net(module=module, device="cuda"), gpu=2) == {}


@pytest.mark.parametrize("gpu", [0.5, 1])
def test_one_gpu_is_for_every_net(gpu):
    assert problems_of({"module__nodes": [4, 8]}, nets.make_net(), gpu=gpu) == {}


def test_a_net_that_would_leave_gpus_idle_is_refused_with_the_way_out():
    text = problems_of({"module__nodes": [4]}, nets.make_net(device="cuda"), gpu=2)["resources.gpu"]
    assert text.startswith("its trials get 2 GPUs, but the net would train on the first alone")
    assert "torch.nn.DataParallel(MyModule(**sizes))" in text


def test_only_configs_with_several_gpus_are_looked_at():
    rules = [{"when": {"module": "test_net_checks:Parallel"}, "gpu": 4}]
    net = nets.make_net(device="cuda")
    space = {"module": [nets.Tiny, Parallel], "lr": [0.1]}
    [label] = [name for name in SearchSpace(space).objects()["module"] if "Parallel" in name]
    rules[0]["when"] = {"module": label}
    assert problems_of(space, net, gpu=1, rules=rules) == {}
    rules[0]["when"] = {"lr": 0.1}
    assert "gets" not in problems_of(space, net, gpu=1, rules=rules)["resources.gpu"]


def test_a_parallel_net_must_be_on_a_gpu():
    text = problems_of({"lr": [0.1]}, nets.make_net(module=Parallel), gpu=2)["net"]
    assert "the net's device is 'cpu'" in text
    assert "device='cuda'" in text


def test_several_processes_for_one_trial_are_refused():
    net = Accelerated(nets.Tiny, device=None)
    text = problems_of({"lr": [0.1]}, net, gpu=2)["resources.gpu"]
    assert text.startswith("Accelerated uses several GPUs through AccelerateMixin, which needs a process for each")


def test_what_cannot_be_made_is_left_to_those_who_make_it():
    assert problems_of({"module__nodes": [-1]}, nets.make_net(device="cuda"), gpu=2) == {}


def test_looking_at_a_net_draws_no_random_numbers():
    before = torch.get_rng_state()
    problems_of({"module__nodes": [4]}, nets.make_net(device="cuda"), gpu=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_plan_is_refused_for_it():
    with pytest.raises(SpecError, match=r"torch\.nn\.DataParallel"):
        plan_of({"lr": [0.1]}, resources={"gpu": 2})


@pytest.mark.skipif(torch.cuda.is_available(), reason="only without a card does DataParallel work on the CPU")
@pytest.mark.parametrize("validation", [{"type": "holdout", "size": 0.2}, {"type": "cv", "n_splits": 2}])
def test_a_parallel_net_is_trained_kept_and_loaded_like_any_other(tmp_path, validation):
    X, y = nets.make_data()
    net = nets.make_net(module=Parallel)
    result = Sweep(
        net, (X, y), {"module__nodes": [4, 8], "max_epochs": 3}, searcher="grid", storage=tmp_path, name="parallel",
        validation=validation, checkpoint={"every_s": 0.0},
    ).run(backend="inline")  # fmt: skip
    assert set(result.trials.status) == {"COMPLETED"}
    best = result.best_net
    assert isinstance(best.module_, nn.DataParallel)
    alone = nets.make_net(module=nets.Tiny, module__nodes=result.best_params["module__nodes"]).initialize()
    alone.module_.load_state_dict(best.module_.module.state_dict())
    assert (alone.predict(X) == best.predict(X)).all()
    assert (best.predict(X) == y).mean() > 0.4
