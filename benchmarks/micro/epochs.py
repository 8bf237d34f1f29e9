"""CPU of one epoch of a small MLP: through NetTraining, through skorch's own fit, and in a bare torch loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch import nn

from benchmarks.bare import BareTraining
from benchmarks.micro.figures import Figure, interleaved
from trainables.data import TrialData
from trainables.training import NetTraining

N_TRAIN, N_VALID, N_FEATURES, N_CLASSES = 6_400, 1_600, 20, 5
BATCH_SIZES = (32, 128, 512)


def measure(*, rounds: int = 15, batch_sizes: tuple[int, ...] = BATCH_SIZES) -> Iterator[Figure]:
    """Figures of each batch size, us and skorch against the bare loop."""
    for batch_size in batch_sizes:
        actions = {"ours": ours(batch_size), "skorch": plain_skorch(batch_size), "bare": bare(batch_size)}
        interleaved(actions, 2)  # warms up
        ms = {name: 1e3 * seconds for name, seconds in interleaved(actions, rounds).items()}
        for name, what in (("ours", "NetTraining"), ("skorch", "skorch's fit")):
            yield Figure(f"epoch at batch {batch_size}: {what}", ms[name], "ms CPU", ms["bare"], "bare torch loop")


def ours(batch_size: int) -> Callable[[], object]:
    """An epoch of a NetTraining."""
    X, y = make_rows()
    validation = {"type": "holdout", "size": N_VALID / len(X), "shuffle": False, "stratified": False}
    data = TrialData.make(X, y, target="classifier", validation=validation)
    return NetTraining(make_net(), data, {"batch_size": batch_size, "max_epochs": 10**6}, seed=0).run_epoch


def plain_skorch(batch_size: int) -> Callable[[], object]:
    """An epoch of skorch with its defaults and ``verbose=0``; one begin and end of training more than within a fit."""
    X, y = make_rows()
    valid = Dataset(X[N_TRAIN:], y[N_TRAIN:])
    net = make_net().set_params(batch_size=batch_size, train_split=predefined_split(valid)).initialize()
    return partial(net.partial_fit, X[:N_TRAIN], y[:N_TRAIN], epochs=1)


def bare(batch_size: int) -> Callable[[], object]:
    """An epoch of a bare loop."""
    X, y = map(torch.from_numpy, make_rows())
    train, valid = (X[:N_TRAIN], y[:N_TRAIN]), (X[N_TRAIN:], y[N_TRAIN:])
    return BareTraining(make_module, train, valid, lr=0.01, batch_size=batch_size).run_epoch


def make_rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_TRAIN + N_VALID, N_FEATURES)).astype("float32")
    return X, rng.integers(N_CLASSES, size=len(X))


def make_net() -> Any:
    return NeuralNetClassifier(
        SmallMLP,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        iterator_train__shuffle=True,
        verbose=0,
    )


def make_module() -> nn.Module:
    return SmallMLP()


class SmallMLP(nn.Sequential):
    """20-64-64-5."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(N_FEATURES, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, N_CLASSES))
