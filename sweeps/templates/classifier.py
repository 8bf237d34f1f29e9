"""The net that sweep.yaml tunes: a classifier of table rows or flat images. Change it, or put your own in its place."""

from __future__ import annotations

import torch
from skorch import NeuralNetClassifier

from trainables.models import MLP


class DigitsMLP(MLP):
    """A multilayer perceptron for the 64 pixels, 0 to 16, of scikit-learn's digits."""

    def __init__(self, *, layers: int = 2, nodes: int = 64, dropout: float = 0.0) -> None:
        # What stands here can be varied in sweep.yaml, as module__layers, module__nodes and module__dropout.
        super().__init__(n_features=64, n_outputs=10, layers=layers, nodes=nodes, dropout=dropout)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Logits; the pixels are scaled here, so that whoever predicts with the net need not."""
        return super().forward(X / 16)


def make_net() -> NeuralNetClassifier:
    """The net before anything is varied; what is set here holds for every trial."""
    return NeuralNetClassifier(
        DigitsMLP,
        criterion=torch.nn.CrossEntropyLoss,  # because the module returns logits
        optimizer=torch.optim.Adam,
        iterator_train__shuffle=True,
        device="cpu",  # "cuda" trains on a GPU; then give each trial a share of one: resources.gpu in sweep.yaml
    )
