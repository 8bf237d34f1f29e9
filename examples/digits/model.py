"""The net that the digits sweep tunes: a skorch classifier around a small multilayer perceptron."""

from __future__ import annotations

import torch
from skorch import NeuralNetClassifier

from trainables import MLP


class DigitsMLP(MLP):
    """An MLP for 8 by 8 pixels from 0 to 16. It scales them itself, so whoever predicts with it need not."""

    def __init__(self, *, layers: int = 2, nodes: int = 64, dropout: float = 0.0) -> None:
        # These are the arguments that a sweep can vary, as module__layers, module__nodes and module__dropout.
        super().__init__(n_features=64, n_outputs=10, layers=layers, nodes=nodes, dropout=dropout)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return super().forward(X / 16)


def make_net() -> NeuralNetClassifier:
    """Make the template: what is set here holds for every trial, unless the sweep varies it."""
    return NeuralNetClassifier(
        DigitsMLP,
        criterion=torch.nn.CrossEntropyLoss,  # an MLP returns logits
        optimizer=torch.optim.Adam,
        iterator_train__shuffle=True,
    )
