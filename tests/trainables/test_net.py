"""NetTrainable in this process, without Ray: what every trainable must do, and what it does at the CUDA boundary."""

from __future__ import annotations

import copy
import faulthandler
import os
import pickle
import signal
import socket
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nets
import pytest
import torch

from trainables import checkpoint
from trainables.data import TrialData
from trainables.job import PackedJob, TrialJob
from trainables.net import PARCEL, NetTrainable
from trainables.objective import Objective
from trainables.trial import TrialRun


@pytest.fixture
def job(tmp_path: Path) -> TrialJob:
    data = TrialData.make(*nets.make_data(), target="classifier")
    (tmp_path / "trials").mkdir()
    return TrialJob(nets.make_net(), data, Objective("valid_acc", maximize=True), tmp_path / "trials", rungs=(1, 2))


@pytest.fixture
def make(job: TrialJob):
    """Makes a trainable as `tune.with_parameters` does, with a share of a machine."""

    def make_trainable(params: dict[str, Any], trial: int = 0, resources: dict[str, float] | None = None, job=job):
        class Bound(NetTrainable):
            trial_resources = SimpleNamespace(required_resources=resources or {"CPU": 1})

            def setup(self, config: dict[str, Any]) -> None:
                super().setup(config, job=PackedJob.pack(job, []))

        return Bound({"trial": trial, "params": params})

    return make_trainable


def report_of(trainable: NetTrainable) -> dict[str, Any]:
    return trainable.step()[PARCEL].content


def reports_of(trainable: NetTrainable) -> list[dict[str, Any]]:
    reports = [report_of(trainable)]
    while not reports[-1]["done"]:
        reports.append(report_of(trainable))
    return reports


def losses_of(reports: list[dict[str, Any]]) -> list[float]:
    return [row["train_loss"] for report in reports for row in report["rows"]]


def test_it_reports_each_epoch_once_and_stops_at_every_rung(make):
    reports = reports_of(make({"max_epochs": 4}))
    assert [report["epoch"] for report in reports] == [1, 2, 4]
    assert [row["epoch"] for report in reports for row in report["rows"]] == [1, 2, 3, 4]
    assert reports[-1]["ended"] == "completed"
    assert reports[-1]["valid_acc"] == reports[-1]["rows"][-1]["valid_acc"]


def test_tune_is_told_what_it_asks_for_and_gets_the_report_in_one_piece(make):
    told = make({"max_epochs": 1}).train()
    report = pickle.loads(pickle.dumps(told.pop(PARCEL))).content
    assert told == {"epoch": 1, "valid_acc": report["rows"][0]["valid_acc"], "done": True, "training_iteration": 1}
    assert report["ended"] == "completed"
    assert (report["hostname"], report["pid"]) == (socket.gethostname(), os.getpid())
    assert report["gpu"] == os.environ.get("CUDA_VISIBLE_DEVICES")


def test_it_saves_loads_and_goes_on_as_if_never_interrupted(make, job, tmp_path):
    whole = losses_of(reports_of(make({"max_epochs": 4}, trial=1)))
    first = make({"max_epochs": 4}, trial=1, job=_elsewhere(job, tmp_path / "a"))
    begun = losses_of([report_of(first), report_of(first)])
    (tmp_path / "paused").mkdir()
    first.save_checkpoint(str(tmp_path / "paused"))
    second = make({"max_epochs": 4}, trial=1, job=_elsewhere(job, tmp_path / "b"))
    second.load_checkpoint(str(tmp_path / "paused"))
    assert begun + losses_of(reports_of(second)) == whole


def test_a_reset_leaves_nothing_of_the_trial_before(make, job, tmp_path):
    elsewhere = _elsewhere(job, tmp_path / "elsewhere")
    fresh = losses_of(reports_of(make({"max_epochs": 3, "lr": 0.05}, trial=7, job=elsewhere)))
    warm = make({"max_epochs": 4, "lr": 10.0, "module__nodes": 3, "callbacks__misbehave__how": "nan"}, trial=3)
    reports_of(warm)
    assert warm.reset_config({"trial": 8, "params": {"max_epochs": 3, "lr": 0.05}})
    other_seed = losses_of(reports_of(warm))
    assert warm.reset_config({"trial": 7, "params": {"max_epochs": 3, "lr": 0.05}})
    after = losses_of(reports_of(warm))
    assert after == fresh != other_seed


def test_it_leaves_its_config_alone(make):
    params = {"max_epochs": 2, "lr": 0.1}
    trainable = make(params)
    given = copy.deepcopy(trainable.config)
    reports_of(trainable)
    assert trainable.config == given
    assert params == {"max_epochs": 2, "lr": 0.1}


def test_a_diverged_trial_ends_with_a_finite_worst_value(make):
    last = reports_of(make({"max_epochs": 4, "callbacks__misbehave__how": "nan"}))[-1]
    assert last["ended"] == "diverged"
    assert last["valid_acc"] == Objective("valid_acc", maximize=True).worst


def test_what_a_failed_epoch_leaves_behind_is_not_saved(make, job):
    trainable = make({"max_epochs": 4, "callbacks__misbehave__how": "raise"})
    with pytest.raises(ArithmeticError, match="boom"):
        reports_of(trainable)
    trainable.cleanup()
    found, _ = checkpoint.newest(job.trials / checkpoint.trial_name(0))
    assert found is not None
    assert found.name == checkpoint.directory_name(2)


def test_a_net_cannot_end_the_process_by_an_exception(make):
    trainable = make({"callbacks__misbehave__how": "sys.exit", "callbacks__misbehave__at": 2})
    with pytest.raises(RuntimeError, match=r"the net raised SystemExit\(3\), which would end its process") as caught:
        reports_of(trainable)
    assert "sweeps: epoch 1," in "".join(traceback.format_exception(caught.value))


def test_a_person_who_interrupts_a_worker_ends_no_process_in_silence(make, monkeypatch):
    trainable = make({})
    monkeypatch.setattr(TrialRun, "step", lambda run: signal.raise_signal(signal.SIGINT))
    with pytest.raises(RuntimeError, match=r"the net raised KeyboardInterrupt\(\), which would end its process"):
        trainable.step()


def test_every_step_is_watched_and_nothing_between_them(make, job, monkeypatch):
    armed = []
    monkeypatch.setattr(
        faulthandler, "dump_traceback_later", lambda limit, **given: armed.append((limit, given["exit"]))
    )
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", armed.clear)
    seen = []
    made = TrialRun.__init__
    monkeypatch.setattr(TrialRun, "__init__", lambda *given, **more: seen.append([*armed]) or made(*given, **more))
    trainable = make(
        {"callbacks__misbehave__how": "raise", "callbacks__misbehave__at": 2},
        job=_elsewhere(job, job.trials, hang_s=300.0, epoch_estimate_s=100.0),
    )
    trainable.step()
    assert seen == [[(1030, True)]]
    assert armed == []
    with pytest.raises(ArithmeticError):
        trainable.step()
    assert armed == []
    assert not list(job.trials.glob("*/.*"))


def test_a_trial_that_is_stopped_from_outside_saves_what_it_reached(make, job):
    slow = _elsewhere(job, job.trials, rungs=(), report_every_s=0.0)
    trainable = make({"max_epochs": 50}, job=slow)
    for _ in range(3):
        trainable.step()
    trainable.cleanup()
    found, _ = checkpoint.newest(job.trials / checkpoint.trial_name(0))
    assert [row["epoch"] for row in checkpoint.read_log(found)] == [1, 2, 3]


def test_whatever_saves_is_watched_with_the_time_of_a_checkpoint(make, job, tmp_path, monkeypatch):
    armed, seen = [], []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda limit, **given: armed.append(round(limit)))
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", armed.clear)
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *given, **more: seen.append(armed[-1:]) or save(*given, **more))
    trainable = make({"max_epochs": 9}, job=_elsewhere(job, job.trials, rungs=(1,), report_every_s=0.0, hang_s=2.0))
    trainable.step()
    trainable.step()
    (tmp_path / "paused").mkdir()
    trainable.save_checkpoint(str(tmp_path / "paused"))
    trainable.cleanup()
    assert seen == [[600], [600], [600]]
    assert armed == []


def test_a_share_of_a_gpu_caps_the_allocator_and_moves_the_net(make, monkeypatch):
    capped, devices = [], []
    monkeypatch.setattr(TrialJob, "on_device", lambda job, device: devices.append(device) or job)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", capped.append)
    make({}, resources={"CPU": 1, "GPU": 0.25})
    assert (capped, devices) == ([0.25], ["cuda"])


def test_logical_gpus_of_a_machine_without_cuda_train_on_the_cpu(make):
    trainable = make({"max_epochs": 1}, resources={"CPU": 1, "GPU": 0.5})
    assert reports_of(trainable)[-1]["ended"] == "completed"


def test_torch_uses_the_cpus_of_the_trial(make):
    make({}, resources={"CPU": 2})
    assert torch.get_num_threads() == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_a_trial_trains_on_the_card_within_its_share(make):
    trainable = make({"max_epochs": 2}, resources={"CPU": 1, "GPU": 0.1})
    report = reports_of(trainable)[-1]
    total = torch.cuda.get_device_properties(0).total_memory
    assert 0 < report["costs"]["peak_memory_bytes"] < 0.1 * total
    with pytest.raises(torch.cuda.OutOfMemoryError):
        torch.empty(int(0.2 * total), dtype=torch.uint8, device="cuda")


def _elsewhere(job: TrialJob, trials: Path, **changes: Any) -> TrialJob:
    trials.mkdir(exist_ok=True)
    return TrialJob(**{**vars(job), "trials": trials, **changes})


def test_a_machine_that_does_not_have_the_storage_is_named(make, job, tmp_path):
    elsewhere = TrialJob(**{**vars(job), "trials": tmp_path / "not-mounted" / "trials"})
    with pytest.raises(RuntimeError, match=r"not-mounted/trials is not on .*mount it there, or use an object store"):
        make({"max_epochs": 1}, job=elsewhere)
