"""Small nets that sweeps in tests train, some of which misbehave on purpose when a parameter tells them to."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

N_FEATURES, N_CLASSES = 8, 3


class Misbehave(Callback):
    """Goes wrong at the start of epoch ``at``; ``how`` "" never does."""

    def __init__(self, how: str = "", at: int = 3, once: str = "") -> None:
        self.how = how
        self.at = at
        self.once = once

    def initialize(self) -> Misbehave:
        if self.how == "refuse":
            raise ValueError("a net like this cannot be made")
        return self

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        if not self.how or len(net.history) != self.at or self._has_happened():
            return
        if self.how == "raise":
            raise ArithmeticError("boom in an epoch")
        if self.how == "exit":
            os._exit(7)
        if self.how == "nan":
            with torch.no_grad():
                next(net.module_.parameters()).fill_(float("nan"))
        if self.how == "sleep":
            time.sleep(0.3)
        if self.how in ACTS:
            ACTS[self.how](self)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        row = net.history[-1]
        if len(net.history) != self.at:
            return
        if self.how in METRICS:
            row["valid_acc"] = METRICS[self.how]
        if self.how == "no metric":
            del row["valid_acc"]
        if self.how == "infinite loss":
            row["valid_loss"] = float("inf")

    def _has_happened(self) -> bool:
        if not self.once:
            return False
        seen = os.path.exists(self.once)
        open(self.once, "a").close()
        return seen


METRICS = {"None": None, "text": "0.5", "tensor": torch.tensor(0.5)}
"""What an epoch may report as its accuracy instead of a number."""


class Mended(Misbehave):
    """Does not go wrong, whatever it is told."""

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        pass


def raise_(error: BaseException) -> None:
    raise error


def keep_a_lock(callback: Misbehave) -> None:
    callback.lock_ = threading.Lock()


def fill_the_disk(callback: Misbehave) -> None:
    """Lets the next checkpoint find the disk full."""
    save = torch.save

    def fail(*args: Any, **kwargs: Any) -> None:
        torch.save = save
        raise OSError(errno.ENOSPC, "No space left on device")

    torch.save = fail


def loop() -> None:
    while True:
        pass


def print_for_ever() -> None:
    while True:
        print("again", flush=True)


ACTS: dict[str, Callable[[Misbehave], None]] = {
    "no cuda memory": lambda _: raise_(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")),
    "no memory": lambda _: raise_(MemoryError()),
    "no numpy memory": lambda _: np.empty(2**56).fill(0),
    "interrupt": lambda _: raise_(KeyboardInterrupt()),
    "lock": keep_a_lock,
    "disk full": fill_the_disk,
    "sys.exit": lambda _: sys.exit(3),
    "segfault": lambda _: os.kill(os.getpid(), signal.SIGSEGV),
    "wait": lambda _: time.sleep(999),
    "loop": lambda _: loop(),
    "print": lambda _: print_for_ever(),
}
"""Further ways to go wrong within an epoch."""


class Tiny(nn.Module):
    """One hidden layer."""

    def __init__(self, nodes: int = 8) -> None:
        super().__init__()
        if nodes < 1:
            raise ValueError(f"nodes must be positive, not {nodes}")
        self.layers = nn.Sequential(nn.Linear(N_FEATURES, nodes), nn.ReLU(), nn.Linear(nodes, N_CLASSES))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(X)
        return logits


def make_net(**params: Any) -> NeuralNetClassifier:
    """A classifier of `Tiny` with `Misbehave` as callback ``misbehave``."""
    net = NeuralNetClassifier(
        Tiny,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        lr=0.1,
        batch_size=32,
        max_epochs=4,
        iterator_train__shuffle=True,
        callbacks=[("misbehave", Misbehave())],
        verbose=0,
    )
    return net.set_params(**params)


class HeadedNet(NeuralNetClassifier):
    """Its answers come from a second module."""

    def initialize_module(self) -> HeadedNet:
        super().initialize_module()
        self.head_ = nn.Linear(N_CLASSES, N_CLASSES)
        return self

    def infer(self, x: Any, **fit_params: Any) -> torch.Tensor:
        answer: torch.Tensor = self.head_(super().infer(x, **fit_params))
        return answer


class ScaledLoss(nn.Module):
    """A criterion that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1) + 1)

    def forward(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(logits * self.scale, y)


def make_headed_net() -> NeuralNetClassifier:
    """A classifier of two modules, with a criterion that learns."""
    classes = list(range(N_CLASSES))
    return HeadedNet(Tiny, criterion=ScaledLoss, max_epochs=2, verbose=0, classes=classes)


def make_data(n_rows: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """A learnable three-class problem."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, N_FEATURES)).astype("float32")
    return X, (X @ rng.standard_normal((N_FEATURES, N_CLASSES))).argmax(1).astype("int64")


def make_other_data() -> tuple[np.ndarray, np.ndarray]:
    """Fewer rows of the same problem."""
    return make_data(210)
