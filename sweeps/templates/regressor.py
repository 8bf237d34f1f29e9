"""The net and the data that sweep.yaml tunes: a regression. Change them, or put your own in their place."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.datasets import load_diabetes
from skorch import NeuralNetRegressor

from trainables.models import MLP


class DiabetesMLP(MLP):
    """A multilayer perceptron for the 10 columns of scikit-learn's diabetes data."""

    def __init__(self, *, layers: int = 1, nodes: int = 32, dropout: float = 0.0) -> None:
        # What stands here can be varied in sweep.yaml, as module__layers, module__nodes and module__dropout.
        super().__init__(n_features=10, n_outputs=1, layers=layers, nodes=nodes, dropout=dropout)


def load_data() -> tuple[Any, Any]:
    """X (rows, 10) and y (rows, 1), both float32; nets learn best from targets of mean 0 and spread 1."""
    X, y = load_diabetes(return_X_y=True)
    return (X * 20).astype("float32"), ((y - y.mean()) / y.std()).astype("float32").reshape(-1, 1)


def make_net() -> NeuralNetRegressor:
    """The net before anything is varied; what is set here holds for every trial."""
    return NeuralNetRegressor(
        DiabetesMLP,
        optimizer=torch.optim.Adam,
        iterator_train__shuffle=True,
        device="cpu",  # "cuda" trains on a GPU; then give each trial a share of one: resources.gpu in sweep.yaml
    )
