"""Job A: the search that every peer runs, with the same data, net, configs, split and budget. Runs nothing itself."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from skorch import NeuralNetClassifier
from torch import nn

N_ROWS, N_FEATURES, N_CLASSES = 16_000, 32, 10
N_TRAIN = 12_800
"""The first rows train, the rest judge."""

MAX_EPOCHS, GRACE_PERIOD, REDUCTION_FACTOR = 27, 1, 3
"""Most epochs of a config, and the shape of ASHA: rungs at 1, 3 and 9 epochs."""

BATCH_SIZES, HIDDEN, LAYERS = (32, 64, 128, 256), (16, 32, 64, 128), (1, 2, 3, 4)
LR = (1e-3, 1.0)

Arrays = tuple[np.ndarray, np.ndarray]


class MLP(nn.Module):
    """A multilayer perceptron that returns logits."""

    def __init__(self, hidden: int = 64, layers: int = 2) -> None:
        super().__init__()
        widths = [N_FEATURES, *[hidden] * layers]
        body = [part for n_in, n_out in pairwise(widths) for part in (nn.Linear(n_in, n_out), nn.ReLU())]
        self.net = nn.Sequential(*body, nn.Linear(hidden, N_CLASSES))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.net(X)


def make_data() -> Arrays:
    """X (16000, 32) float32 and y (16000,) int64: ten noisy classes with bent borders, beyond a linear model."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_ROWS, N_FEATURES))
    inner, outer = rng.standard_normal((N_FEATURES, 24)), rng.standard_normal((24, N_CLASSES))
    scores = np.tanh(X @ inner / 3) @ outer + 0.5 * rng.standard_normal((N_ROWS, N_CLASSES))
    return X.astype("float32"), scores.argmax(axis=1).astype("int64")


def split(X: Any, y: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Train and valid rows, in this order."""
    return (X[:N_TRAIN], y[:N_TRAIN]), (X[N_TRAIN:], y[N_TRAIN:])


def fold_of_rows() -> np.ndarray:
    """The split as scikit-learn's PredefinedSplit takes it: -1 trains, 0 judges."""
    return np.where(np.arange(N_ROWS) < N_TRAIN, -1, 0)


def draw_configs(n_configs: int) -> list[dict[str, Any]]:
    """The first ``n_configs`` configs, each what ``net.set_params`` takes; more of them begin with the same ones."""
    rng = np.random.default_rng(1)
    return [
        {
            "lr": float(10 ** rng.uniform(*np.log10(LR))),
            "batch_size": int(rng.choice(BATCH_SIZES)),
            "module__hidden": int(rng.choice(HIDDEN)),
            "module__layers": int(rng.choice(LAYERS)),
        }
        for _ in range(n_configs)
    ]


def make_net(net_class: type[NeuralNetClassifier] = NeuralNetClassifier, **params: Any) -> NeuralNetClassifier:
    """The net that is tuned: SGD with momentum, rows shuffled each epoch, silent."""
    return net_class(
        MLP,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        iterator_train__shuffle=True,
        verbose=0,
        **{"max_epochs": MAX_EPOCHS, **params},
    )


def n_cores() -> int:
    """Cores that this process may use: each runs one trial at a time, with one torch thread."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
