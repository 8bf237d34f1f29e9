"""Rows of a TrialData on the device of a net."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skorch import NeuralNet, NeuralNetClassifier
from skorch.dataset import Dataset
from torch import nn
from torch.utils.data import Subset, TensorDataset

from trainables.data import TrialData
from trainables.splits import Split
from trainables.tensors import TensorData, first_rows

X = np.arange(24, dtype="float32").reshape(12, 2)
Y = np.arange(12) % 2
SPLITS = [(np.array([3, 1, 5, 7]), np.array([0, 2])), (np.array([0, 2]), np.array([8, 9, 10]))]


def make_net(**params):
    return NeuralNetClassifier(nn.Linear, **params)


def make_data(features=X, targets=Y, target="classifier"):
    return TensorData(TrialData.make(features, targets, target=target, validation=SPLITS))


def test_arrays_become_tensors_of_the_rows_of_the_split():
    train, valid = make_data().datasets(make_net(), 0)
    assert torch.equal(train.X, torch.from_numpy(X[[3, 1, 5, 7]]))
    assert torch.equal(train.y, torch.tensor([1, 1, 1, 1]))
    assert torch.equal(valid.X, torch.from_numpy(X[[0, 2]]))
    assert type(train) is Dataset


def test_a_dict_becomes_a_dict_of_tensors():
    features = {"ids": np.arange(12), "x": X}
    train, _ = make_data(features).datasets(make_net(), 1)
    assert torch.equal(train.X["ids"], torch.tensor([0, 2]))
    assert torch.equal(train.X["x"], torch.from_numpy(X[[0, 2]]))


def test_trials_share_the_tensors_of_a_split():
    data = make_data()
    first, second, other = data.datasets(make_net(), 0), data.datasets(make_net(lr=1), 0), data.datasets(make_net(), 1)
    assert first[0].X is second[0].X
    assert other[0].X is not first[0].X


def test_without_a_split_all_rows_are_for_training():
    train, valid = make_data().datasets(make_net(), None)
    assert torch.equal(train.X, torch.from_numpy(X))
    assert valid is None


def test_read_only_arrays_are_taken():
    frozen, labels = X.copy(), Y.copy()
    frozen.flags.writeable = labels.flags.writeable = False
    data = TensorData(TrialData(X=frozen, y=labels, splits=(Split(*SPLITS[0]),)))
    assert torch.equal(data.datasets(make_net(), None)[0].X, torch.from_numpy(X))


class OwnDataset(Dataset):
    pass


def test_a_net_with_its_own_dataset_class_gets_arrays():
    data = make_data()
    train, valid = data.datasets(make_net(dataset=OwnDataset), 0)
    assert type(train) is type(valid) is OwnDataset
    np.testing.assert_array_equal(train.X, X[[3, 1, 5, 7]])
    assert isinstance(data.datasets(make_net(), 0)[0].X, torch.Tensor)


def test_rows_without_targets_are_left_to_the_net():
    train, _ = make_data(targets=None, target="net").datasets(NeuralNet(nn.Linear, nn.MSELoss), 0)
    assert train.y is None
    np.testing.assert_array_equal(train.X, X[[3, 1, 5, 7]])


def test_a_torch_dataset_is_only_indexed():
    rows = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    data = make_data(rows, Y)
    train, valid = data.datasets(make_net(), 0)
    assert isinstance(train, Subset)
    assert [row[0].tolist() for row in valid] == [[0, 1], [4, 5]]
    assert data.datasets(make_net(), None)[0] is rows


@pytest.mark.parametrize("n", [1, 3, 100])
@pytest.mark.parametrize("kind", ["tensor", "array", "dataset"])
def test_first_rows_are_a_batch_of_inputs(kind, n):
    dataset = {
        "tensor": Dataset(torch.from_numpy(X), torch.from_numpy(Y)),
        "array": Dataset(X, Y),
        "dataset": TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),
    }[kind]
    assert torch.equal(first_rows(dataset, n), torch.from_numpy(X[:n]))


def test_first_rows_of_a_dict_keep_its_keys():
    rows = first_rows(Dataset({"a": torch.arange(5), "b": torch.ones(5, 2)}, torch.zeros(5)), 2)
    assert rows["a"].tolist() == [0, 1]
    assert rows["b"].shape == (2, 2)


@pytest.mark.parametrize("features", [torch.ones(3, 2), {"x": torch.ones(3, 2)}], ids=["tensor", "dict"])
def test_first_rows_are_a_copy(features):
    rows = first_rows(Dataset(features, torch.zeros(3)), 2)
    (rows["x"] if isinstance(rows, dict) else rows).zero_()
    assert (features["x"] if isinstance(features, dict) else features).sum() == 6
