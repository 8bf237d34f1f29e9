"""Nets whose training in steps must equal one `fit`; run as a program, it goes on with them in a process of its own."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    InputShapeSetter,
    LRScheduler,
)
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel

from trainables import checkpoint
from trainables.data import TrialData, target_kind
from trainables.splits import Split
from trainables.training import NetTraining

SEED, EPOCHS, N_FEATURES, BATCH_SIZE, N_ROWS = 3, 20, 6, 16, 130
SPLIT = Split(np.arange(90), np.arange(90, 130))
_N_BATCHES = -(-len(SPLIT.train) // BATCH_SIZE)


class Body(nn.Module):
    """Dropout, BatchNorm and a layer that works in place on its input, which must not reach the data."""

    def __init__(self, n_out: int = 2, input_dim: int = N_FEATURES) -> None:
        super().__init__()
        self.a = nn.Linear(input_dim, 12)
        self.norm = nn.BatchNorm1d(12)
        self.drop = nn.Dropout(0.3)
        self.b = nn.Linear(12, n_out)

    def forward(self, X):
        return self.b(self.drop(torch.relu(self.norm(self.a(X.mul_(0.9))))))


class Flat(Body):
    def __init__(self) -> None:
        super().__init__(n_out=1)

    def forward(self, X):
        return super().forward(X).squeeze(-1)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 3)
        self.body = Body(input_dim=N_FEATURES + 3)

    def forward(self, ids, x):
        return self.body(torch.cat([self.words(ids), x], dim=1))


class WeighedLoss(nn.Module):
    """A criterion that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(1))

    def forward(self, logits, y):
        return (nn.functional.cross_entropy(logits, y) * torch.exp(-self.log_scale) + self.log_scale).sum()


class Gathering(NeuralNetClassifier):
    """Steps after every seventh batch, also across epochs: gradients outlive an epoch."""

    def train_step(self, batch, **fit_params):
        self._set_training(True)
        step = self.train_step_single(batch, **fit_params)
        if (len(self.history) * _N_BATCHES + len(self.history[-1, "batches"])) % 7 == 0:
            self.optimizer_.step()
            self.optimizer_.zero_grad()
        return step


class TwoPlayers(NeuralNetClassifier):
    """A second module with an optimiser of its own."""

    def initialize_module(self):
        super().initialize_module()
        self.second_ = nn.Linear(2, 2)
        return self

    def initialize_optimizer(self):
        super().initialize_optimizer()
        self.rival_ = torch.optim.Adam(self.second_.parameters(), lr=0.01)
        return self

    def infer(self, x, **fit_params):
        return self.second_(super().infer(x, **fit_params))

    def train_step(self, batch, **fit_params):
        step = super().train_step(batch, **fit_params)
        self.rival_.step()
        return step


class Counter(Callback):
    """Halves the rate at its third count: what it counts decides."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.epochs_, self.seen_ = 0, []

    def on_epoch_end(self, net, **kwargs):
        self.epochs_ += 1
        self.seen_.append(len(net.history))
        if self.epochs_ % 6 == 0:
            for group in net.optimizer_.param_groups:
                group["lr"] /= 2


class Momentum(Callback):
    """Adds a trace of earlier gradients, a tensor, to the next ones."""

    def on_train_begin(self, net, **kwargs):
        self.trace_ = torch.zeros_like(net.module_.b.bias).detach()

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.trace_ = 0.5 * self.trace_ + net.module_.b.bias.grad
        net.module_.b.bias.grad += self.trace_


class Hidden(Callback):
    """Keeps its count where no attribute shows it, and says so itself."""

    def on_train_begin(self, net, **kwargs):
        counts = [0]
        self.next_ = lambda: counts.__setitem__(0, counts[0] + 1) or counts[0]
        self.set_ = lambda value: counts.__setitem__(0, value)
        self.get_ = lambda: counts[0]

    def on_epoch_end(self, net, **kwargs):
        net.history.record("hidden", self.next_())

    def state_dict(self):
        return {"count": self.get_()}

    def load_state_dict(self, state):
        self.set_(state["count"])


class Averaging(Callback):
    """A running mean of the weights, in an object that keeps its own state."""

    def on_train_begin(self, net, **kwargs):
        self.mean_ = AveragedModel(net.module_)

    def on_epoch_end(self, net, **kwargs):
        self.mean_.update_parameters(net.module_)
        net.history.record("mean_bias", self.mean_.module.b.bias.sum().item())


class Noise(Callback):
    """Draws from NumPy's and Python's global random numbers."""

    def on_epoch_begin(self, net, **kwargs):
        net.history.record("noise", [float(np.random.rand()), random.random()])
        with torch.no_grad():
            net.module_.b.bias += 0.01 * np.random.randn()


class OwnNoise(Callback):
    """Draws from generators of its own."""

    def __init__(self, seed: int = 7) -> None:
        self.seed = seed

    def on_train_begin(self, net, **kwargs):
        self.numpy_ = np.random.default_rng(self.seed)
        self.held_ = {"python": random.Random(self.seed), "torch": torch.Generator().manual_seed(self.seed)}

    def on_epoch_begin(self, net, **kwargs):
        net.history.record("noise", [float(self.numpy_.random()), self.held_["python"].random()])
        with torch.no_grad():
            net.module_.b.bias += 0.01 * torch.randn(1, generator=self.held_["torch"])


class Rows(torch.utils.data.Dataset):
    def __init__(self, X, y) -> None:
        self.X_rows, self.y_rows = X, y

    def __len__(self) -> int:
        return len(self.X_rows)

    def __getitem__(self, index):
        return self.X_rows[index], self.y_rows[index]


def classifier(*callbacks: Any, kind: type[NeuralNet] = NeuralNetClassifier, **params: Any) -> NeuralNet:
    fixed = {"max_epochs": EPOCHS, "batch_size": BATCH_SIZE, "iterator_train__shuffle": True, "verbose": 0}
    usual = {"criterion": nn.CrossEntropyLoss, "optimizer": torch.optim.SGD, "optimizer__momentum": 0.9, "lr": 0.05}
    options = fixed | (usual if kind is not NeuralNetRegressor else {"lr": 0.01}) | params
    return kind(options.pop("module", Body), callbacks=options.pop("callbacks", list(callbacks)), **options)


def schedule(policy: Any, **options: Any) -> NeuralNet:
    return classifier(LRScheduler(policy, **options))


def halve(epoch: int) -> float:
    return 0.5 ** (epoch // 4)


ADAM = {"optimizer": torch.optim.Adam, "optimizer__momentum": None}
CASES: dict[str, Callable[[], NeuralNet]] = {
    "sgd": classifier,
    "adam": lambda: NeuralNetClassifier(
        Body, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, max_epochs=EPOCHS, batch_size=BATCH_SIZE
    ),
    "early_stopping": lambda: classifier(EarlyStopping(patience=10, threshold=0.2)),
    "early_stopping_best": lambda: classifier(EarlyStopping(patience=10, threshold=0.2, load_best=True)),
    "step": lambda: schedule("StepLR", step_size=5, gamma=0.1),
    "plateau": lambda: schedule("ReduceLROnPlateau", monitor="valid_loss", patience=1),
    "one_cycle": lambda: schedule(OneCycleLR, max_lr=0.1, total_steps=EPOCHS * _N_BATCHES, step_every="batch"),
    "cyclic": lambda: schedule("CyclicLR", base_lr=0.001, max_lr=0.1, step_size_up=7, step_every="batch"),
    "cosine": lambda: schedule("CosineAnnealingLR", T_max=EPOCHS),
    "warm_restart": lambda: schedule("WarmRestartLR", base_period=3),
    "lambda": lambda: schedule("LambdaLR", lr_lambda=halve),
    "freezer": lambda: classifier(Freezer("a.*", at=7)),
    "clipping": lambda: classifier(GradientNormClipping(0.5)),
    "epoch_scoring": lambda: classifier(EpochScoring("roc_auc", lower_is_better=False)),
    "batch_scoring": lambda: classifier(BatchScoring("accuracy", name="batch_acc", lower_is_better=False)),
    "unshuffled": lambda: classifier(iterator_train__shuffle=False, iterator_train__drop_last=True),
    "regressor": lambda: classifier(kind=NeuralNetRegressor, module__n_out=1),
    "binary": lambda: classifier(kind=NeuralNetBinaryClassifier, module=Flat, criterion=nn.BCEWithLogitsLoss),
    "dict_inputs": lambda: classifier(kind=NeuralNet, module=TwoInputs),
    "dataset": lambda: classifier(classes=[0, 1]),
    "counter": lambda: classifier(Counter()),
    "tensor": lambda: classifier(Momentum()),
    "own_state": lambda: classifier(Hidden()),
    "averaging": lambda: classifier(Averaging()),
    "noise": lambda: classifier(Noise()),
    "own_noise": lambda: classifier(OwnNoise()),
    "own_order": lambda: classifier(iterator_train__generator=torch.Generator().manual_seed(5)),
    "no_callbacks": lambda: classifier(callbacks="disable"),
    "learning_criterion": lambda: classifier(criterion=WeighedLoss),
    "gathered_gradients": lambda: classifier(kind=Gathering),
    "two_optimizers": lambda: classifier(kind=TwoPlayers),
    "input_shape": lambda: classifier(InputShapeSetter(), module__input_dim=1),
}


@dataclass(frozen=True)
class Rowset:
    X: Any
    y: Any

    def part(self, index: np.ndarray) -> tuple[Any, Any]:
        if isinstance(self.X, dict):
            return {key: array[index] for key, array in self.X.items()}, self.y[index]
        if isinstance(self.X, torch.utils.data.Dataset):
            return torch.utils.data.Subset(self.X, index.tolist()), None
        return self.X[index].copy(), self.y[index]


def rows_of(name: str) -> Rowset:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_ROWS, N_FEATURES)).astype("float32")
    value = X[:, 0] * X[:, 1] + 0.5 * rng.standard_normal(N_ROWS).astype("float32")
    labels = (value > 0).astype("int64")
    if name == "dict_inputs":
        return Rowset({"ids": rng.integers(5, size=N_ROWS), "x": X}, labels)
    if name == "dataset":
        return Rowset(Rows(X, labels), labels)
    return Rowset(X, {"regressor": value[:, None], "binary": labels.astype("float32")}.get(name, labels))


def make_training(name: str, **params: Any) -> NetTraining:
    rows, net = rows_of(name), CASES[name]()
    data = TrialData.make(rows.X, rows.y, target=target_kind(net), validation=[(SPLIT.train, SPLIT.valid)])
    return NetTraining(net, data, params, SEED)


def go_on(folder: Path, names: Iterable[str]) -> None:
    """Finishes every training of which ``folder`` holds a checkpoint ``<name>-<epoch>``; saves it as ``...-end``."""
    for name in names:
        for saved in sorted(folder.glob(f"{name}-*[0-9]")):
            training = make_training(name)
            training.load_state(checkpoint.load(saved))
            while not training.finished:
                training.run_epoch()
            checkpoint.save(training.state(), saved.with_name(f"{saved.name}-end"), epoch=training.epoch)


if __name__ == "__main__":
    torch.set_num_threads(1)
    go_on(Path(sys.argv[1]), sys.argv[2:])
