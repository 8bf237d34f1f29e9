"""Tensor batches against torch's own DataLoader."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skorch import NeuralNet
from skorch.dataset import Dataset
from torch import nn
from torch.utils.data import DataLoader, SequentialSampler, TensorDataset

from trainables.batches import TensorBatches, first_batch, make_batches

ARRAY = np.arange(44, dtype="float32").reshape(22, 2)
X = torch.from_numpy(ARRAY)
IDS = torch.arange(22)
Y = torch.arange(22, dtype=torch.int64)


def flat(batch):
    """Tensors of a batch, whatever its shape."""
    features, targets = batch
    return [*(features.values() if isinstance(features, dict) else [features]), targets]


def drawn(batches, *, at_most=100):
    """The batches, and the state in which torch's global generator is left."""
    torch.manual_seed(7)
    found = []
    for batch in batches:
        found.append([tensor.clone() for tensor in flat(batch)])
        if len(found) == at_most:
            break
    return found, torch.get_rng_state()


def assert_drawn_alike(one, other):
    (batches, state), (expected, expected_state) = one, other
    assert torch.equal(state, expected_state)
    assert len(batches) == len(expected)
    for batch, right in zip(batches, expected, strict=True):
        for tensor, right_tensor in zip(batch, right, strict=True):
            assert tensor.dtype == right_tensor.dtype
            assert torch.equal(tensor, right_tensor)


@pytest.mark.parametrize("features", [X, {"x": X, "ids": IDS}], ids=["tensor", "dict"])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [1, 4, 11, 22, 23])
def test_batches_and_random_numbers_equal_those_of_a_dataloader(features, drop_last, shuffle, batch_size):
    dataset = Dataset(features, Y)
    options = {"batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last}
    ours, theirs = TensorBatches(dataset, **options), DataLoader(dataset, **options)
    assert len(ours) == len(theirs)
    assert_drawn_alike(drawn(ours), drawn(theirs))


def test_each_pass_draws_a_new_order_as_a_dataloader_does():
    dataset = Dataset(X, Y)
    options = {"batch_size": 5, "shuffle": True}
    passes = []
    for batches in (TensorBatches(dataset, **options), DataLoader(dataset, **options)):
        torch.manual_seed(7)
        passes.append([torch.cat([y for _, y in batches]) for _ in range(3)])
    assert all(torch.equal(one, other) for one, other in zip(*passes, strict=True))
    assert not torch.equal(passes[0][0], passes[0][1])


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_pass_that_is_left_early_draws_no_more_than_a_dataloader(shuffle):
    dataset = Dataset(X, Y)
    options = {"batch_size": 4, "shuffle": shuffle}
    ours = drawn(TensorBatches(dataset, **options), at_most=2)
    assert_drawn_alike(ours, drawn(DataLoader(dataset, **options), at_most=2))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("features", [X, {"x": X}], ids=["tensor", "dict"])
def test_a_batch_is_a_copy(features, shuffle):
    before = X.clone()
    for batch in TensorBatches(Dataset(features, Y), batch_size=4, shuffle=shuffle):
        for tensor in flat(batch):
            tensor.zero_()
    assert torch.equal(X, before)
    assert torch.equal(Y, torch.arange(22))


def make_net(kind=NeuralNet, **params):
    return kind(nn.Linear, nn.MSELoss, module__in_features=2, module__out_features=1, **params).initialize()


def test_a_plain_net_gets_tensor_batches_of_its_own_sizes():
    net = make_net(batch_size=5, iterator_train__batch_size=3, iterator_train__shuffle=True)
    train = make_batches(net, Dataset(X, Y), training=True)
    valid = make_batches(net, Dataset(X, Y), training=False)
    assert isinstance(train, TensorBatches)
    assert isinstance(valid, TensorBatches)
    assert (train.batch_size, train.shuffle) == (3, True)
    assert (valid.batch_size, valid.shuffle) == (5, False)


def test_a_batch_size_of_minus_one_is_all_rows():
    batches = make_batches(make_net(batch_size=-1), Dataset(X, Y), training=True)
    assert [len(y) for _, y in batches] == [22]


def test_workers_and_pinning_are_of_no_use_for_rows_in_memory():
    net = make_net(iterator_train__num_workers=2, iterator_train__pin_memory=True, batch_size=8)
    batches = make_batches(net, Dataset(X, Y), training=True)
    assert isinstance(batches, TensorBatches)
    assert [len(y) for _, y in batches] == [8, 8, 6]


class OwnLoader(DataLoader):
    pass


class OwnIterator(NeuralNet):
    def get_iterator(self, dataset, training=False):
        return ["mine"]


def halve(rows):
    return torch.utils.data.default_collate(rows[::2])


@pytest.mark.parametrize(
    "params",
    [
        {"iterator_train__sampler": SequentialSampler(range(22))},
        {"iterator_train__collate_fn": halve},
        {"iterator_train__generator": torch.Generator()},
        {"iterator_train": OwnLoader},
        {"iterator_train__batch_size": None},
    ],
    ids=lambda params: next(iter(params)),
)
def test_what_tensor_batches_do_not_understand_is_left_to_the_net(params):
    batches = make_batches(make_net(**params), Dataset(X, Y), training=True)
    assert isinstance(batches, DataLoader)
    assert isinstance(make_batches(make_net(**params), Dataset(X, Y), training=False), TensorBatches)


def test_an_own_get_iterator_is_asked():
    assert make_batches(make_net(OwnIterator), Dataset(X, Y), training=True) == ["mine"]


class OwnDataset(Dataset):
    def transform(self, X, y):
        return X + 1, y


@pytest.mark.parametrize(
    "dataset",
    [Dataset(ARRAY, Y), Dataset(X, None), Dataset({"x": X, "a": ARRAY}, Y), OwnDataset(X, Y)],
    ids=["array", "no y", "array in dict", "own dataset"],
)
def test_only_plain_datasets_of_tensors_are_cut(dataset):
    assert isinstance(make_batches(make_net(), dataset, training=True), DataLoader)


@pytest.mark.parametrize("batch_size", [0, -2, 32.0])
def test_a_batch_size_that_is_none_is_refused_by_torch(batch_size):
    with pytest.raises((ValueError, TypeError), match=r"batch_size|integer"):
        list(make_batches(make_net(batch_size=batch_size), Dataset(X, Y), training=True))


@pytest.mark.parametrize("n_rows", [1, 3, 100])
@pytest.mark.parametrize("kind", ["tensors", "arrays", "torch"])
def test_the_first_batch_has_the_first_rows(kind, n_rows):
    dataset = {"tensors": Dataset(X, Y), "arrays": Dataset(ARRAY, Y.numpy()), "torch": TensorDataset(X, Y)}[kind]
    found, targets = first_batch(NeuralNet(nn.Linear, nn.MSELoss), dataset, n_rows)
    assert torch.equal(found, X[:n_rows])
    assert torch.equal(targets, Y[:n_rows])


@pytest.mark.parametrize("features", [X, {"x": X}], ids=["tensor", "dict"])
def test_the_first_batch_is_a_copy(features):
    found, _ = first_batch(NeuralNet(nn.Linear, nn.MSELoss), Dataset(features, Y), 5)
    (found["x"] if isinstance(found, dict) else found).zero_()
    assert X[:5].sum() == ARRAY[:5].sum()


def padded(rows):
    return nn.utils.rnn.pad_sequence([row[0] for row in rows], batch_first=True), torch.stack([row[1] for row in rows])


class OwnBatches:
    """No DataLoader: the net's own way to put rows together."""

    def __init__(self, dataset, batch_size):
        self.dataset, self.batch_size = dataset, batch_size

    def __iter__(self):
        yield padded([self.dataset[row] for row in range(min(self.batch_size, len(self.dataset)))])


@pytest.mark.parametrize(
    "options",
    [
        {"iterator_valid__collate_fn": padded},
        {"iterator_valid__collate_fn": padded, "iterator_valid__sampler": SequentialSampler(Y)},
        {"iterator_valid": OwnBatches},
    ],
    ids=["collate_fn", "sampler", "iterator"],
)
def test_rows_of_different_lengths_are_put_together_as_the_net_does(options):
    rows = [(X[: n + 1, 0], Y[n]) for n in range(10)]
    net = NeuralNet(nn.Linear, nn.MSELoss, batch_size=4, **options)
    assert first_batch(net, rows, 1)[0].shape == (1, 1)
    assert first_batch(net, rows, 3)[0].shape == (3, 3)
    assert first_batch(net, rows, 100)[0].shape == (4, 4)


def test_the_first_batch_draws_nothing_from_the_nets_own_generator():
    generator = torch.Generator()
    net = NeuralNet(nn.Linear, nn.MSELoss, iterator_valid__generator=generator)
    before = generator.get_state()
    first_batch(net, TensorDataset(X, Y), 3)
    assert torch.equal(generator.get_state(), before)
