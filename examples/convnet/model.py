"""The net and the data of the convnet sweep: the digits as images, and a skorch classifier around a ConvNet."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from skorch import NeuralNetClassifier

from trainables import ConvNet


def load() -> tuple[np.ndarray, np.ndarray]:
    """Load X (1797, 1, 8, 8), gray values from 0 to 1, and y (1797,), the digits."""
    X, y = load_digits(return_X_y=True)
    return (X / 16).reshape(-1, 1, 8, 8).astype("float32"), y


def make_net() -> NeuralNetClassifier:
    """Make the template: the sweep sets the optimiser and the sizes, and what is set here holds for every trial."""
    return NeuralNetClassifier(
        ConvNet,
        module__image_shape=(1, 8, 8),
        module__n_outputs=10,
        criterion=torch.nn.CrossEntropyLoss,  # a ConvNet returns logits
        iterator_train__shuffle=True,
    )
