"""Nets that measure, and may overdo, what they take of a card; on the fake one where the environment asks for it."""

from __future__ import annotations

import time
from typing import Any

import fake_cuda
import nets
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

from examples.convnet import model as convnet_model
from examples.digits import model as digits_model

fake_cuda.install_if_asked()  # in a worker this module is imported before the trial claims its device

MIB = 2**20


class Measures(Callback):
    """Writes down what torch says of the card and of the process's place on it, as metrics of the epoch."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        net.module_.device = str(net.device)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        row = net.history[-1]
        row["devices"] = torch.cuda.device_count()
        row["on_card"] = float(torch.device(net.device).type == "cuda")
        if row["on_card"]:
            row["allocated_bytes"] = float(torch.cuda.max_memory_allocated())
            row["reserved_bytes"] = float(torch.cuda.max_memory_reserved())
            row["left_bytes"] = float(torch.cuda.memory_allocated())


class Greedy(nn.Module):
    """`nets.Tiny`, each forward pass of which takes ``take_mib`` of the card beside itself, in blocks of 1 MiB."""

    def __init__(self, nodes: int = 8, take_mib: int = 0, share: float = 0.0, wait_s: float = 0.0) -> None:
        super().__init__()
        self.body = nets.Tiny(nodes)
        self.take_mib = take_mib
        self.share = share
        self.wait_s = wait_s
        self.device = "cpu"  # until a training begins

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        if self.training:
            time.sleep(self.wait_s)
        taken = [torch.empty(size, dtype=torch.uint8, device=self.device) for size in self._sizes()]
        logits: torch.Tensor = self.body(X)
        del taken
        return logits

    def _sizes(self) -> list[int]:
        if self.device == "cpu":
            return []
        of_card = [int(self.share * torch.cuda.get_device_properties(0).total_memory)] if self.share else []
        return [MIB] * self.take_mib + of_card


class Parallel(nn.DataParallel):
    """`nets.Tiny` on all GPUs of its trial."""

    def __init__(self, nodes: int = 8) -> None:
        super().__init__(nets.Tiny(nodes))


def make_net(**params: Any) -> NeuralNetClassifier:
    """A classifier of `Greedy` that measures."""
    net = NeuralNetClassifier(
        Greedy,
        criterion=nn.CrossEntropyLoss,
        lr=0.1,
        batch_size=64,
        max_epochs=2,
        callbacks=[("measures", Measures())],
        verbose=0,
    )
    return net.set_params(**params)


def make_digits_net() -> NeuralNetClassifier:
    """The net of examples/digits, which measures."""
    return digits_model.make_net().set_params(callbacks=[("measures", Measures())])


def make_convnet() -> NeuralNetClassifier:
    """The net of examples/convnet, which measures."""
    return convnet_model.make_net().set_params(callbacks=[("measures", Measures())])
