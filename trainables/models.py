"""Two small nets with the usual knobs, to tune and to copy: a multilayer perceptron and a convolutional net.

Neither ends in a softmax or a sigmoid: both return logits, or the numbers of a regression. They train nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from torch import nn


class MLP(nn.Module):
    """A multilayer perceptron: ``layers`` hidden layers of ``nodes`` nodes each.

    It returns logits. Use ``criterion=torch.nn.CrossEntropyLoss`` with skorch's ``NeuralNetClassifier``, whose default,
    ``NLLLoss``, expects probabilities instead; ``predict_proba`` then applies the softmax by itself
    (``predict_nonlinearity="auto"``). ``NeuralNetBinaryClassifier`` and ``NeuralNetRegressor`` fit as they are, with
    ``n_outputs=1``.

    Parameters
    ----------
    n_features : int
        Numbers in one row; rows of more than one dimension are flattened.
    n_outputs : int
        Classes, or targets of a regression; 1 for a binary classifier.
    layers : int, default 2
        Hidden layers; 0 is a linear model.
    nodes : int, default 64
        Nodes in each hidden layer.
    dropout : float, default 0.0
        Share of every hidden layer's outputs that is dropped in training, in [0, 1).
    nonlinearity : callable returning an ``nn.Module``, default ``torch.nn.ReLU``
        What follows each hidden layer; a class such as ``torch.nn.Tanh``, not an instance and not its name.
    batch_norm : bool, default False
        Whether a ``BatchNorm1d`` stands before each nonlinearity. It cannot train on a batch of one row.
    squeeze_output : bool, default False
        Whether the output has shape (rows,) instead of (rows, 1); for ``n_outputs=1`` only.

    Raises
    ------
    ValueError
        When an argument is out of range; names all of them.
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        *,
        layers: int = 2,
        nodes: int = 64,
        dropout: float = 0.0,
        nonlinearity: Callable[[], nn.Module] = nn.ReLU,
        batch_norm: bool = False,
        squeeze_output: bool = False,
    ) -> None:
        super().__init__()
        problems = _not_counts({"n_features": n_features, "n_outputs": n_outputs, "nodes": nodes})
        problems += _not_counts({"layers": layers}, least=0)
        problems += _not_share("dropout", dropout)
        if not callable(nonlinearity) or isinstance(nonlinearity, nn.Module):
            problems.append(f"nonlinearity={nonlinearity!r}: give a class, such as torch.nn.ReLU")
        if squeeze_output and n_outputs != 1:
            problems.append(f"squeeze_output=True: needs n_outputs=1, not {n_outputs!r}")
        _refuse("MLP", problems)
        widths = [int(n_features)] + [int(nodes)] * int(layers)
        hidden: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            norm = [nn.BatchNorm1d(width_out)] if batch_norm else []
            hidden += [nn.Linear(width_in, width_out), *norm, nonlinearity(), *_dropout(dropout)]
        self.net = nn.Sequential(*hidden, nn.Linear(widths[-1], int(n_outputs)))
        self.squeeze_output = squeeze_output

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Compute the outputs of a batch.

        Parameters
        ----------
        X : torch.Tensor of float32, shape (rows, n_features)
            The batch.

        Returns
        -------
        torch.Tensor of float32, shape (rows, n_outputs), or (rows,) with ``squeeze_output``
            Logits, or the numbers predicted.
        """
        output = cast(torch.Tensor, self.net(X.flatten(1)))
        return output.squeeze(1) if self.squeeze_output else output


class ConvNet(nn.Module):
    """A convolutional net: ``layers`` blocks of 3 by 3 convolutions, then one hidden layer of ``nodes`` nodes.

    A block keeps the image's size and then halves it by max pooling, for as long as both sides are above 2 px. It
    returns logits, so use ``criterion=torch.nn.CrossEntropyLoss`` with skorch's ``NeuralNetClassifier`` (see `MLP`).

    Parameters
    ----------
    image_shape : sequence of 3 int, default (1, 8, 8)
        Channels, height and width in px. Rows may be flat: the 64 columns of scikit-learn's digits become (1, 8, 8).
    n_outputs : int, default 10
        Classes, or targets of a regression.
    layers : int, default 2
        Convolution blocks, at least 1.
    channels : int, default 16
        Channels of each convolution.
    nodes : int, default 64
        Nodes in the hidden layer behind the convolutions.
    dropout : float, default 0.0
        Share of the hidden layer's outputs that is dropped in training, in [0, 1).

    Raises
    ------
    ValueError
        When an argument is out of range; names all of them.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 8, 8),
        n_outputs: int = 10,
        *,
        layers: int = 2,
        channels: int = 16,
        nodes: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        problems = _not_counts({"n_outputs": n_outputs, "layers": layers, "channels": channels, "nodes": nodes})
        problems += _not_share("dropout", dropout)
        if not isinstance(image_shape, Sequence) or len(image_shape) != 3 or not all(map(_is_count, image_shape)):
            problems.append(f"image_shape={image_shape!r}: give three whole numbers, channels, height and width in px")
        _refuse("ConvNet", problems)
        depth, height, width = (int(n) for n in image_shape)
        self.image_shape = (depth, height, width)
        blocks: list[nn.Module] = []
        for _ in range(int(layers)):
            blocks += [nn.Conv2d(depth, int(channels), kernel_size=3, padding=1), nn.ReLU()]
            depth = int(channels)
            if min(height, width) > 2:
                blocks.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
        head = [nn.Linear(depth * height * width, int(nodes)), nn.ReLU(), *_dropout(dropout)]
        self.net = nn.Sequential(*blocks, nn.Flatten(), *head, nn.Linear(int(nodes), int(n_outputs)))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Compute the outputs of a batch.

        Parameters
        ----------
        X : torch.Tensor of float32, shape (rows, *image_shape) or (rows, channels * height * width)
            The batch.

        Returns
        -------
        torch.Tensor of float32, shape (rows, n_outputs)
            Logits, or the numbers predicted.

        Raises
        ------
        ValueError
            When a row has not as many numbers as an image.
        """
        if X[0].numel() != math.prod(self.image_shape):
            raise ValueError(
                f"ConvNet: a row of shape {tuple(X.shape[1:])} is no image of shape {self.image_shape}; "
                "set image_shape to (channels, height, width) of the data"
            )
        return cast(torch.Tensor, self.net(X.reshape(len(X), *self.image_shape)))


def _dropout(share: float) -> list[nn.Module]:
    """Leave the layer out where nothing is dropped: an idle one still costs a call per batch."""
    return [nn.Dropout(float(share))] if share else []


def _not_counts(arguments: dict[str, Any], least: int = 1) -> list[str]:
    return [
        f"{name}={value!r}: give a whole number of at least {least}"
        for name, value in arguments.items()
        if not _is_count(value, least)
    ]


def _is_count(value: Any, least: int = 1) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)


def _not_share(name: str, value: Any) -> list[str]:
    fits = isinstance(value, int | float | np.floating) and not isinstance(value, bool) and 0 <= value < 1
    return [] if fits else [f"{name}={value!r}: give a number from 0 up to, but not including, 1"]


def _refuse(model: str, problems: list[str]) -> None:
    if problems:
        raise ValueError(f"{model}: " + "; ".join(problems))
