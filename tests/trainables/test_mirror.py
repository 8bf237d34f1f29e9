"""Checkpoints on a store: a trial goes on from them on a machine that has never seen it."""

from __future__ import annotations

from dataclasses import replace

import nets
import pytest
import torch

from trainables import checkpoint
from trainables.claim import Claim
from trainables.data import TrialData
from trainables.job import TrialJob
from trainables.mirror import fetch_newest, keep_only, send
from trainables.objective import Objective
from trainables.remote import RemoteFolder, StorageError
from trainables.tensors import TensorData
from trainables.trial import TrialRun


@pytest.fixture(scope="module")
def data():
    X, y = nets.make_data(120)
    return TrialData.make(X, y, target="classifier")


@pytest.fixture
def mirror(tmp_path):
    return RemoteFolder((tmp_path / "store" / "trials").as_uri())


@pytest.fixture
def job(data, tmp_path, mirror):
    """Reports and saves every epoch."""
    net = nets.make_net(max_epochs=6)
    times = {"report_every_s": 0.0, "checkpoint_every_s": 0.0}
    return TrialJob(net=net, data=data, objective=Objective(), trials=tmp_path / "a", mirror=mirror, **times)


@pytest.fixture
def elsewhere(job, tmp_path):
    """The job on another machine."""
    return replace(job, trials=tmp_path / "b")


def start(job):
    return TrialRun(job, TensorData(job.data), {"trial": 4, "params": {}})


def steps(run, number):
    return [run.step() for _ in range(number)]


def stored(mirror):
    return [entry.name for entry in (mirror / "trial_00004").entries()]


def test_a_trial_goes_on_elsewhere_from_its_newest_checkpoint_as_if_nothing_had_happened(job, elsewhere, data):
    steps(start(job), 3)
    run = start(elsewhere)
    reports = steps(run, 4)
    assert reports[0]["resumed_at"] == 3
    assert reports[-1]["ended"] == "completed"
    alone = start(replace(job, trials=job.trials.with_name("c"), mirror=None))
    steps(alone, 6)
    states = run.training.net.module_.state_dict(), alone.training.net.module_.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_the_store_keeps_as_many_as_the_machine(job, mirror):
    steps(start(job), 4)
    assert stored(mirror) == ["checkpoint-000003", "checkpoint-000004"]


@pytest.mark.parametrize("damage", ["state.pt", "manifest.json"])
def test_a_damaged_checkpoint_is_passed_over_with_a_note(job, elsewhere, mirror, damage):
    steps(start(job), 3)
    newest = mirror / "trial_00004" / "checkpoint-000003"
    newest.delete(damage)
    run = start(elsewhere)
    report = run.step()
    assert report["resumed_at"] == 2
    assert newest.uri in report["notes"][0]


def test_the_store_decides_and_not_what_a_machine_happens_to_have(job, elsewhere, mirror):
    steps(start(job), 2)
    steps(start(elsewhere), 3)  # goes on to epoch 4
    assert start(job).step()["resumed_at"] == 4
    (mirror / "trial_00004").delete_all()
    assert not start(job).step()["resumed_at"]


def test_nothing_is_fetched_twice(job, mirror, monkeypatch):
    steps(start(job), 2)
    monkeypatch.setattr(RemoteFolder, "download", None)
    assert fetch_newest(job.trials, mirror, 4) == []
    found, _ = checkpoint.newest(job.trials / "trial_00004")
    assert found is not None
    assert found.name == "checkpoint-000002"


def test_a_trial_without_a_store_needs_no_fetching(job):
    assert fetch_newest(job.trials, None, 4) == []


def test_a_checkpoint_of_the_same_epoch_takes_the_place_of_another(job, mirror, tmp_path):
    folder = mirror / "trial_00004"
    for content in (1, 2):
        directory = tmp_path / str(content) / "checkpoint-000001"
        checkpoint.save({"value": content}, directory, epoch=1)
        (directory / "extra").write_text("")
        send(directory, folder)
        (directory / "extra").unlink()
        fetch_newest(job.trials, mirror, 4)
        assert checkpoint.load(job.trials / "trial_00004" / "checkpoint-000001") == {"value": content}
    keep_only([], folder)
    assert stored(mirror) == []


def test_a_checkpoint_that_the_store_does_not_take_is_an_error_of_the_trial(job, monkeypatch):
    run = start(job)
    run.step()

    def upload(self, directory):
        raise StorageError("403 ExpiredToken")

    monkeypatch.setattr(RemoteFolder, "upload", upload)
    with pytest.raises(StorageError, match="ExpiredToken"):
        run.step()


def test_a_later_attempt_takes_the_store_over_on_every_machine(job, elsewhere, mirror):
    run = start(job)
    run.step()
    Claim(elsewhere.trials, 2, mirror).take()
    with pytest.raises(RuntimeError, match="attempt 2 of this sweep has taken its trials over"):
        run.step()
    assert stored(mirror) == ["checkpoint-000001"]
    start(replace(elsewhere, attempt=2)).step()
