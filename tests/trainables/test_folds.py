"""Cross-validation inside one trial."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import nets
import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from trainables import checkpoint
from trainables.data import TrialData
from trainables.folds import FoldsTraining
from trainables.objective import Objective
from trainables.tensors import TensorData
from trainables.training import NetTraining

SEED, N_FOLDS = 5, 3
ACCURACY = Objective("valid_acc", maximize=True)


class StopsAFold(Callback):
    """Ends the training of the fold whose first validation row is ``row`` after two epochs."""

    def __init__(self, row=None):
        self.row = row

    def on_epoch_end(self, net, dataset_valid=None, **kwargs):
        if len(net.history) == 2 and dataset_valid.X[0, 0].item() == self.row:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def data():
    X, y = nets.make_data(90)
    return TensorData(TrialData.make(X, y, target="classifier", validation=N_FOLDS))


def make(data, *callbacks, objective=ACCURACY, **params):
    net = nets.make_net(callbacks=list(callbacks), max_epochs=4)
    return FoldsTraining(net, data, params, SEED, scorers={"f1": "f1_macro"}, objective=objective)


def alone(data, fold, epochs):
    net = nets.make_net(callbacks=[], max_epochs=4)
    training = NetTraining(net, data, {}, SEED, split=fold, scorers={"f1": "f1_macro"}, objective=ACCURACY)
    for _ in range(epochs):
        training.run_epoch()
    return training


def first_row(data, fold):
    return float(data.source.X[data.source.splits[fold].valid[0], 0])


def without_seconds(rows):
    return [{key: value for key, value in row.items() if not key.endswith("_s")} for row in rows]


def test_metrics_are_means_over_the_folds_with_their_spread(data):
    training = make(data)
    for epoch in (1, 2):
        metrics = training.run_epoch()
        folds = [alone(data, fold, epoch).log[-1] for fold in range(N_FOLDS)]
        for key in ("train_loss", "valid_loss", "valid_acc", "valid_f1"):
            values = [row[key] for row in folds]
            assert metrics[key] == pytest.approx(np.mean(values))
            assert metrics[f"{key}_std"] == pytest.approx(np.std(values))
        assert metrics["epoch"] == epoch
        assert type(metrics["epoch"]) is int
    assert len({row["valid_loss"] for row in folds}) == N_FOLDS


def test_seconds_are_summed_and_have_no_spread(data):
    metrics = make(data).run_epoch()
    assert 0 < metrics["train_s"] <= metrics["epoch_s"]
    assert not {"train_s_std", "epoch_s_std", "epoch_std"} & metrics.keys()


def test_it_ends_with_its_epochs(data):
    training = make(data, max_epochs=2)
    assert (training.max_epochs, training.epoch, training.finished) == (2, 0, False)
    training.run_epoch()
    training.run_epoch()
    assert (training.epoch, training.finished) == (2, True)
    with pytest.raises(RuntimeError, match="all folds are finished after 2 epochs"):
        training.run_epoch()


def test_the_best_epoch_is_that_of_the_mean(data):
    training = make(data)
    while not training.finished:
        training.run_epoch()
    means = [row["valid_acc"] for row in training.log]
    assert training.best.value == max(means)
    assert training.best.epoch == means.index(max(means)) + 1
    assert training.best.weights == {}


def test_a_fold_that_ended_early_counts_with_its_last_epoch_and_costs_no_more(data, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr("trainables.training.time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    training = make(data, StopsAFold(first_row(data, 1)))
    while not training.finished:
        training.run_epoch()
    rest = [alone(data, fold, 2 if fold == 1 else 4).log[-1]["valid_loss"] for fold in range(N_FOLDS)]
    assert training.epoch == 4
    assert training.log[-1]["valid_loss"] == pytest.approx(np.mean(rest))
    assert [row["epoch_s"] for row in training.log] == [6, 6, 4, 4]


@pytest.mark.parametrize("stopped", [None, 1])
def test_it_goes_on_from_a_checkpoint_as_if_never_interrupted(data, tmp_path, stopped):
    callbacks = [StopsAFold(None if stopped is None else first_row(data, stopped))]
    whole, cut, other = make(data, *callbacks), make(data, *callbacks), make(data, *callbacks)
    while not whole.finished:
        whole.run_epoch()
    for _ in range(3):
        cut.run_epoch()
    checkpoint.save(cut.state(), tmp_path / "c", epoch=3)
    other.load_state(checkpoint.load(tmp_path / "c"))
    assert (other.epoch, other.best) == (3, cut.best)
    while not other.finished:
        other.run_epoch()
    assert without_seconds(other.log) == without_seconds(whole.log)
    assert other.best == whole.best
    assert torch.equal(other.net.module_.layers[0].weight, whole.net.module_.layers[0].weight)


def test_a_state_does_not_change_when_the_training_goes_on(data):
    training = make(data)
    training.run_epoch()
    state = training.state()
    training.run_epoch()
    other = make(data)
    other.load_state(state)
    assert other.epoch == 1


def test_the_batch_to_measure_with_is_the_first_folds(data):
    training = make(data)
    expected = torch.from_numpy(data.source.X[data.source.splits[0].valid[:4]])
    assert torch.equal(training.first_batch(4)[0], expected)
