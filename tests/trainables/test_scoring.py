"""Scores and history rows as metrics."""

from __future__ import annotations

import math

import faithful_cases as cases
import numpy as np
import pytest
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping
from torch import nn

from trainables.scoring import add_scorers, epoch_metrics, has_diverged, scorer_name


@pytest.mark.parametrize(
    ("metric", "name"),
    [("valid_r2", "r2"), ("valid_f1_macro", "f1_macro"), ("r2", None), ("valid_loss", None), ("valid_acc", None)],
)
def test_the_scorer_behind_a_metric(metric, name):
    assert scorer_name(metric) == name


def own_score(net, X, y):
    return float(len(y))


def test_scores_are_recorded_ahead_of_the_callbacks_that_watch_them():
    stopping = EarlyStopping(monitor="valid_rows", patience=1, lower_is_better=False)
    net = cases.classifier(stopping, max_epochs=5)
    assert add_scorers(net, {"f1": "f1_macro", "rows": own_score}) is net
    net.fit(*cases.rows_of("sgd").part(cases.SPLIT.train))
    assert net.history[:, "valid_rows"] == [18.0, 18.0]
    assert "valid_f1" in net.history[-1]


def test_without_scorers_nothing_is_added():
    net = NeuralNetClassifier(nn.Linear, callbacks="disable")
    assert add_scorers(net, {}).callbacks == "disable"


def test_scorers_of_a_net_without_callbacks_are_refused():
    net = NeuralNetClassifier(nn.Linear, callbacks="disable")
    with pytest.raises(ValueError, match="callbacks='disable', so that f1 cannot be scored"):
        add_scorers(net, {"f1": "f1_macro"})


def test_a_row_becomes_flat_numbers():
    row = {
        "epoch": 3,
        "dur": 1.5,
        "batches": [{"train_loss": 1.0}],
        "train_batch_count": 4,
        "valid_batch_count": 1,
        "train_loss": np.float32(0.5),
        "train_loss_best": True,
        "valid_loss": np.float64(0.25),
        "event_lr": 1,
        "user_best": 0.75,
        "note": "text",
        "pair": [1, 2],
    }
    metrics = epoch_metrics(row, train_s=0.1, epoch_s=0.2)
    assert metrics == {
        "epoch": 3,
        "train_loss": 0.5,
        "valid_loss": 0.25,
        "event_lr": 1.0,
        "user_best": 0.75,
        "train_s": 0.1,
        "epoch_s": 0.2,
    }
    assert {type(value) for key, value in metrics.items() if key != "epoch"} == {float}


@pytest.mark.parametrize(
    ("changed", "diverged"),
    [({}, False), ({"train_loss": math.nan}, True), ({"valid_loss": math.inf}, True), ({"valid_x": -math.inf}, True)],
)
def test_divergence_is_a_loss_or_the_metric_that_is_not_finite(changed, diverged):
    metrics = {"epoch": 1, "train_loss": 1.0, "valid_loss": 2.0, "valid_x": 0.0, "other": math.nan}
    assert has_diverged(metrics | changed, "valid_x") is diverged


def test_a_training_without_validation_can_diverge_too():
    assert has_diverged({"train_loss": math.nan}, "train_loss")
    assert not has_diverged({"train_loss": 0.5}, "train_loss")
