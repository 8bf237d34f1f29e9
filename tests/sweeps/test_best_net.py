"""The best net on disk: its own epoch's weights, and a HOWTO that works when it is pasted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import nets
import numpy as np
import pytest
import torch
from inline_sweeps import plan_of, run_inline
from ruamel.yaml import YAML
from safetensors.torch import load_file
from skorch.callbacks import Callback, EarlyStopping, LRScheduler

from sweeps.best_net import load_best_net, write_best
from sweeps.errors import SpecError, SweepStateError
from sweeps.results import SweepResult
from trainables.data import TrialData

TESTS = Path(nets.__file__).parent
X, Y = nets.make_data()


def howto_of(paths, tmp_path) -> np.ndarray:
    """What the HOWTO's code predicts in a process of its own, which has skorch but not this project."""
    (code,) = re.findall(r"```python\n(.*?)```", (paths.best / "HOWTO.md").read_text(), re.DOTALL)
    np.save(tmp_path / "X.npy", X)
    code = f"import sys; sys.modules['sweeps'] = None\n{code}\nimport numpy\n"
    code += f"print(net.predict(numpy.load({str(tmp_path / 'X.npy')!r})).tolist())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A sweep in which the best epoch is not the last: from epoch 3 on, the weights are not numbers."""
    parameters = {
        "lr": [0.00001, 0.01],
        "optimizer": [torch.optim.Adam],
        "optimizer__betas": [[0.8, 0.99]],
        "callbacks__misbehave__how": "nan",
        "callbacks__misbehave__at": 3,
    }
    plan = plan_of(parameters, searcher={"name": "grid"})
    return *run_inline(plan, tmp_path_factory.mktemp("best"), "nets:make_net", [TESTS]), plan


def test_weights_params_and_history_are_those_of_the_best_epoch(made):
    paths, state, _ = made
    assert state.best.best_epoch == 2
    assert state.best.epoch == 3
    weights = load_file(paths.best / "model.safetensors")
    assert all(torch.isfinite(value).all() for value in weights.values())
    assert dict(YAML(typ="safe").load(paths.best / "params.yaml")) == state.best.best_params
    history = json.loads((paths.best / "history.json").read_text(), parse_constant=lambda text: 1 / 0)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[1]["valid_acc"] == state.best.best_value
    assert history[2]["train_loss"] is None
    assert sorted(path.name for path in paths.best.iterdir()) == [
        "HOWTO.md", "history.json", "model.safetensors", "params.yaml", "trial.json",
    ]  # fmt: skip


def test_the_howto_works_when_it_is_pasted_where_this_project_is_not_installed(made, tmp_path):
    paths, state, _ = made
    predicted = howto_of(paths, tmp_path)
    split = TrialData.make(X, Y, target="classifier").splits[0]
    assert (predicted[split.valid] == Y[split.valid]).mean() == pytest.approx(state.best.best_value)
    assert np.array_equal(predicted, SweepResult.load(paths.root).best_net.predict(X))


def test_the_howto_of_a_net_that_is_no_function_clones_it(tmp_path, monkeypatch):
    (tmp_path / "ready.py").write_text("import nets\nnet = nets.make_net()\n")
    monkeypatch.syspath_prepend(tmp_path)
    plan = plan_of({"lr": [0.1], "max_epochs": 1})
    paths, _ = run_inline(plan, tmp_path / "results", "ready:net", [tmp_path, TESTS])
    assert len(howto_of(paths, tmp_path)) == len(X)


@pytest.mark.parametrize("validation", [{"type": "holdout"}, {"type": "cv", "n_splits": 2}])
def test_every_module_and_a_criterion_that_learns_come_back_trained(tmp_path, validation):
    plan = plan_of({"lr": [0.3]}, net=nets.make_headed_net(), validation=validation)
    paths, _ = run_inline(plan, tmp_path / "results", "nets:make_headed_net", [TESTS])
    assert {path.name for path in paths.best.glob("*.safetensors")} == {
        "model.safetensors", "model.head.safetensors", "model.criterion.safetensors",
    }  # fmt: skip
    one, other = (SweepResult.load(paths.root).best_net for _ in range(2))
    assert np.array_equal(one.predict_proba(X), other.predict_proba(X))
    assert torch.equal(one.head_.weight, load_file(paths.best / "model.head.safetensors")["weight"])
    assert torch.equal(one.criterion_.scale, load_file(paths.best / "model.criterion.safetensors")["scale"])
    assert np.array_equal(howto_of(paths, tmp_path), one.predict(X))


def test_weights_of_a_module_that_are_not_there_are_not_left_random(tmp_path):
    net = nets.make_headed_net()
    paths, _ = run_inline(plan_of({"lr": [0.3], "max_epochs": 1}, net=net), tmp_path)
    (paths.best / "model.head.safetensors").unlink()
    with pytest.raises(SweepStateError, match=r"model\.head\.safetensors: missing, so the net's head_ would"):
        _ = SweepResult.load(paths.root, net=net).best_net


@pytest.mark.parametrize("validation", [{"type": "holdout"}, {"type": "cv", "n_splits": 2}])
@pytest.mark.parametrize("where", ["parameters", "net"])
def test_the_best_net_of_a_compiled_trial_needs_no_compiler(tmp_path, monkeypatch, validation, where):
    compiled = {"compile": True, "compile__backend": "eager"}
    net = nets.make_net(**(compiled if where == "net" else {}))
    parameters = {"lr": [0.1], "max_epochs": 1} | (compiled if where == "parameters" else {})
    paths, state = run_inline(plan_of(parameters, net=net, validation=validation), tmp_path, "nets:make_net", [TESTS])
    assert state.best.best_params == parameters | {"lr": 0.1}
    assert "layers.0.weight" in load_file(paths.best / "model.safetensors")
    assert "    compile=False,\n" in (paths.best / "HOWTO.md").read_text()
    monkeypatch.setattr(torch, "compile", None)
    best = SweepResult.load(paths.root, net=net).best_net
    assert np.array_equal(howto_of(paths, tmp_path), best.predict(X))


def test_the_net_that_is_trained_on_all_rows_multiplies_as_its_trial_did(tmp_path):
    class Precise(nets.Tiny):
        def forward(self, X):
            seen.add(torch.get_float32_matmul_precision())
            return super().forward(X)

    seen = set()
    validation = {"type": "cv", "n_splits": 2}
    plan = plan_of({"lr": [0.1]}, net=nets.make_net(module=Precise), matmul_precision="high", validation=validation)
    paths, state = run_inline(plan, tmp_path)
    assert torch.get_float32_matmul_precision() == "highest"
    seen.clear()
    write_best(paths, SweepResult.load(paths.root).manifest, plan, state.best)
    assert seen == {"high"}


class Recorder(Callback):
    """Notes the device and the epochs that each training is told it will have."""

    seen: ClassVar[list[tuple[str, int]]] = []

    def on_train_begin(self, net, **kwargs):
        self.seen.append((net.device, net.max_epochs))


def test_the_last_training_has_the_schedule_and_the_device_that_the_folds_had(tmp_path, monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    callbacks = [("misbehave", nets.Misbehave("nan", at=3)), Recorder()]
    net = nets.make_net(callbacks=callbacks)
    plan = plan_of({"lr": [0.01], "max_epochs": 4}, net=net, validation={"type": "cv", "n_splits": 2})
    paths, state = run_inline(plan, tmp_path)
    monkeypatch.setattr(Recorder, "seen", [])
    on_gpu = replace(plan, job=replace(plan.job, net=nets.make_net(callbacks=callbacks, device="cuda")))
    write_best(paths, SweepResult.load(paths.root).manifest, on_gpu, state.best)
    assert state.best.best_epoch < 3
    assert Recorder.seen == [("cpu", 4)]
    assert all(torch.isfinite(value).all() for value in load_file(paths.best / "model.safetensors").values())


def test_a_later_best_replaces_an_earlier_one_whole(made, tmp_path):
    _, _, plan = made
    paths, state = run_inline(plan, tmp_path)
    (paths.best / "left over").write_text("")
    manifest = SweepResult.load(paths.root).manifest
    write_best(paths, manifest, plan, state.best)
    assert not (paths.best / "left over").exists()
    assert not list(paths.root.glob(".best*"))


def test_weights_of_another_epoch_are_not_called_the_best(made, tmp_path):
    _, _, plan = made
    paths, state = run_inline(plan, tmp_path, "nets:make_net", [TESTS])
    manifest = SweepResult.load(paths.root).manifest
    with pytest.raises(SweepStateError, match="holds the weights of epoch 2, but trial 1 was best in 1"):
        write_best(paths, manifest, plan, replace(state.best, best_epoch=1))
    with pytest.raises(SweepStateError, match="no usable checkpoint"):
        write_best(paths, manifest, plan, replace(state.best, trial=99))
    assert SweepResult.load(paths.root).best_net.initialized_


@pytest.mark.parametrize(
    "callbacks", [[], [EarlyStopping(patience=2)], [LRScheduler(policy="ReduceLROnPlateau", monitor="valid_loss")]]
)
def test_under_cross_validation_the_best_config_is_trained_once_more_on_all_rows(tmp_path, callbacks):
    plan = plan_of(
        {"lr": [0.3], "max_epochs": 4},
        net=nets.make_net(callbacks=callbacks),
        validation={"type": "cv", "n_splits": 3},
        metric="valid_loss",
    )
    paths, state = run_inline(plan, tmp_path)
    net = SweepResult.load(paths.root, net=plan.job.net).best_net
    assert (net.predict(X) == Y).mean() > 0.6
    assert state.best.best_epoch == 4


def test_an_object_that_cannot_be_imported_is_asked_for_and_never_replaced_by_its_text(tmp_path):
    weight = torch.tensor([1.0, 2.0, 1.0])
    plan = plan_of({"criterion__weight": [weight], "max_epochs": 1})
    paths, _ = run_inline(plan, tmp_path, "nets:make_net", [TESTS])
    with pytest.raises(SpecError, match=r"criterion__weight: was tensor\(\[1., 2., 1.\]\)"):
        _ = SweepResult.load(paths.root).best_net
    net = SweepResult(paths, objects=plan.job.objects).best_net
    assert torch.equal(net.criterion_.weight, weight)
    assert "criterion__weight=...,  # tensor([1., 2., 1.]): put the object" in (paths.best / "HOWTO.md").read_text()


def test_a_class_that_is_gone_is_a_problem_of_its_parameter(tmp_path, monkeypatch):
    (tmp_path / "gone_later.py").write_text("from torch.optim import SGD as Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    plan = plan_of({"optimizer": ["gone_later:Mine"], "max_epochs": 1})
    paths, _ = run_inline(plan, tmp_path / "results", "nets:make_net", [TESTS])
    monkeypatch.delattr(sys.modules["gone_later"], "Mine")
    with pytest.raises(SpecError, match=r"parameters.optimizer: 'gone_later:Mine' cannot be imported"):
        _ = SweepResult.load(paths.root).best_net


def test_a_net_on_a_gpu_is_loaded_where_there_is_none(made):
    paths, state, _ = made
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    manifest = SweepResult.load(paths.root).manifest
    assert load_best_net(paths, manifest, state.best, nets.make_net(device="cuda"), {}).device == "cpu"


def test_a_best_net_of_before_a_better_trial_was_recorded_is_refused(made):
    paths, state, _ = made
    record = replace(state.best, best_epoch=state.best.best_epoch + 1)
    with pytest.raises(SweepStateError, match=r"is not of epoch .* `sweeps resume .*` does that"):
        load_best_net(paths, {}, record, None, {})
