"""Rows of a TrialData on the device of a net."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skorch import NeuralNet, NeuralNetClassifier
from skorch.dataset import Dataset
from torch import nn
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from trainables.data import TrialData
from trainables.splits import Split
from trainables.tensors import TensorData

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


class Keeps(Dataset):
    def __init__(self, X, y=None, length=None, scale=1):
        super().__init__(X, y, length)
        self.scale = scale


@pytest.mark.parametrize("kind", [Dataset, Keeps])
def test_parameters_of_the_dataset_count(kind):
    options = {"dataset__length": 2} | ({"dataset__scale": 5} if kind is Keeps else {})
    train, _ = make_data().datasets(make_net(dataset=kind, **options), 0)
    assert len(train) == 2
    assert getattr(train, "scale", 5) == 5


class Doubles(NeuralNetClassifier):
    def get_dataset(self, X, y=None):
        dataset = super().get_dataset(X, y)
        return ConcatDataset([dataset, dataset])


@pytest.mark.parametrize("features", [X, TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))])
def test_a_net_that_makes_its_datasets_itself_is_asked(features):
    train, valid = make_data(features, Y).datasets(Doubles(nn.Linear), 0)
    assert (len(train), len(valid)) == (8, 4)
