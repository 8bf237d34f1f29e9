"""TrialJob on its way to a worker."""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from dataclasses import replace
from types import SimpleNamespace

import nets
import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import TensorDataset

from trainables.data import TrialData
from trainables.job import PackedJob, TrialJob
from trainables.loaders import load
from trainables.net import PARCEL, NetTrainable
from trainables.node_data import FileRows
from trainables.objective import Objective


@pytest.fixture
def job(tmp_path):
    data = TrialData.make(*nets.make_data(), target="classifier")
    (tmp_path / "trials").mkdir()
    return TrialJob(nets.make_net(), data, Objective("valid_acc", maximize=True), tmp_path / "trials")


@pytest.fixture
def filed(job, tmp_path, monkeypatch):
    """The same job with its rows in a Parquet file."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    X, y = job.data.X, job.data.y
    pd.DataFrame({f"x{n}": X[:, n] for n in range(X.shape[1])} | {"y": y}).to_parquet(tmp_path / "rows.parquet")
    source = {"type": "parquet", "path": str(tmp_path / "rows.parquet"), "target": "y", "columns": None}
    data = TrialData.make(*load(source), target="classifier")
    assert data.fingerprint == job.data.fingerprint
    return replace(job, data=data, source=source)


def arrived(packed, buffers=None):
    """As another process gets it through an object store, which keeps buffers as they are."""
    kept: list[pickle.PickleBuffer] = []
    sent = pickle.dumps(packed, protocol=5, buffer_callback=kept.append)
    return pickle.loads(sent, buffers=[memoryview(buffer.raw()).toreadonly() for buffer in kept]), len(sent)


def test_arrays_are_shared_and_not_copied(job):
    packed = PackedJob.pack(job, [])
    other, n_bytes = arrived(packed)
    data = other.unpack().data
    for mine, theirs in ((job.data.X, data.X), (job.data.y, data.y)):
        assert np.shares_memory(mine, theirs)
        assert not theirs.flags.writeable
    assert n_bytes < job.data.X.nbytes


@pytest.mark.parametrize("as_dict", [False, True])
def test_arrays_with_gaps_are_shared_too(job, as_dict):
    gappy = np.asfortranarray(job.data.X)[::2]
    data = TrialData(X={"a": gappy} if as_dict else gappy, y=job.data.y[::2], splits=job.data.splits)
    packed = PackedJob.pack(replace(job, data=data), [])
    found = arrived(packed)[0].unpack().data
    X, packed_X = (found.X["a"], packed.data.X["a"]) if as_dict else (found.X, packed.data.X)
    np.testing.assert_array_equal(X, gappy)
    assert np.shares_memory(X, packed_X)
    assert np.shares_memory(found.y, packed.data.y)


def test_a_torch_dataset_stays_one_that_may_be_written_to(job):
    X, y = torch.from_numpy(job.data.X), torch.from_numpy(job.data.y)
    data = TrialData.make(TensorDataset(X, y), job.data.y, target="classifier")
    dataset = arrived(PackedJob.pack(replace(job, data=data), []))[0].unpack().data.X
    assert torch.equal(dataset.tensors[0], X)
    dataset.tensors[0].zero_()


def test_the_rest_of_the_job_arrives(job, tmp_path):
    found = arrived(PackedJob.pack(replace(job, seed=7, rungs=(1, 3)), []))[0].unpack()
    assert (found.seed, found.rungs, found.trials, found.objective) == (7, (1, 3), job.trials, job.objective)


def test_its_folders_can_be_imported_from(job, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    packed = PackedJob.pack(job, [tmp_path])
    packed.unpack()
    packed.unpack()
    assert sys.path[0] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


def test_rows_of_files_stay_behind(filed):
    packed = PackedJob.pack(filed, [])
    assert isinstance(packed.data, FileRows)
    data = arrived(packed)[0].unpack().data
    np.testing.assert_array_equal(data.X, filed.data.X)
    assert not np.shares_memory(data.X, filed.data.X)
    np.testing.assert_array_equal(data.splits[0].valid, filed.data.splits[0].valid)


def test_the_driver_leaves_rows_of_files_for_the_workers_beside_it(filed, tmp_path):
    packed = PackedJob.pack(filed, [])
    (tmp_path / "rows.parquet").unlink()
    np.testing.assert_array_equal(arrived(packed)[0].unpack().data.X, filed.data.X)
    del packed
    assert not list((tmp_path / f"skorch-sweeps-{os.getuid()}").iterdir())


def test_both_roads_train_to_the_same_bits(job, filed):
    assert losses_of(PackedJob.pack(job, [])) == losses_of(PackedJob.pack(filed, []))


def losses_of(packed):
    class Bound(NetTrainable):
        trial_resources = SimpleNamespace(required_resources={"CPU": 1})

        def setup(self, config):
            super().setup(config, job=arrived(packed)[0])

    trainable = Bound({"trial": 0, "params": {"max_epochs": 3}})
    reports = [trainable.step()[PARCEL].content]
    while not reports[-1]["done"]:
        reports.append(trainable.step()[PARCEL].content)
    return [(row["train_loss"], row["valid_loss"]) for report in reports for row in report["rows"]]


def test_folders_are_looked_in_in_their_order_even_where_one_is_on_the_path_already(job, tmp_path, monkeypatch):
    first, second = tmp_path / "new", tmp_path / "old"
    monkeypatch.setattr(sys, "path", ["/elsewhere", str(first)])
    PackedJob.pack(job, [first, second]).unpack()
    assert sys.path == [str(first), str(second), "/elsewhere"]
