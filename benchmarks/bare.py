"""A training in a bare torch loop, without any framework: the floor under everything measured here."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

Rows = tuple[torch.Tensor, torch.Tensor]


class BareTraining:
    """One net with SGD, trained epoch by epoch.

    Parameters
    ----------
    make_module : callable
        Makes the net.
    train, valid : tuple of torch.Tensor
        X and y.
    lr : float
        Learning rate.
    batch_size : int
        Rows a step.
    """

    def __init__(
        self, make_module: Callable[[], nn.Module], train: Rows, valid: Rows, *, lr: float, batch_size: int
    ) -> None:
        self.module = make_module()
        self._train, self._valid, self._batch_size = train, valid, batch_size
        self._optimizer = torch.optim.SGD(self.module.parameters(), lr=lr, momentum=0.9)
        self._loss = nn.CrossEntropyLoss()

    def run_epoch(self) -> float:
        """Trains an epoch; the accuracy on the valid rows after it."""
        X, y = self._train
        self.module.train()
        for rows in torch.randperm(len(X)).split(self._batch_size):
            self._optimizer.zero_grad()
            self._loss(self.module(X[rows]), y[rows]).backward()
            self._optimizer.step()
        return self._accuracy()

    @torch.no_grad()
    def _accuracy(self) -> float:
        self.module.eval()
        X, y = self._valid
        return float((self.module(X).argmax(dim=1) == y).float().mean())
