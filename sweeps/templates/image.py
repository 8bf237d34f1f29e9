"""The net that sweep.yaml tunes: a convolutional classifier of images. Change it, or put your own in its place."""

from __future__ import annotations

import torch
from skorch import NeuralNetClassifier

from trainables.models import ConvNet


class DigitsConvNet(ConvNet):
    """A convolutional net for scikit-learn's digits: 64 pixels from 0 to 16 become an image of 8 by 8."""

    def __init__(self, *, layers: int = 2, channels: int = 16, nodes: int = 64, dropout: float = 0.0) -> None:
        # What stands here can be varied in sweep.yaml, as module__layers, module__channels, ...
        super().__init__(
            image_shape=(1, 8, 8), n_outputs=10, layers=layers, channels=channels, nodes=nodes, dropout=dropout
        )

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Logits; the pixels are scaled here, so that whoever predicts with the net need not."""
        return super().forward(X / 16)


def make_net() -> NeuralNetClassifier:
    """The net before anything is varied; what is set here holds for every trial."""
    return NeuralNetClassifier(
        DigitsConvNet,
        criterion=torch.nn.CrossEntropyLoss,  # because the module returns logits
        optimizer=torch.optim.Adam,
        iterator_train__shuffle=True,
        device="cpu",  # "cuda" trains on a GPU; then give each trial a share of one: resources.gpu in sweep.yaml
    )
