"""A pass over tensor batches against skorch's own loop: the same calls, in the same order, seeing the same things."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EpochScoring, GradientNormClipping, LRScheduler
from skorch.dataset import Dataset
from torch import nn
from torch.utils.data import DataLoader

from trainables.batches import TensorBatches
from trainables.passes import run_pass

torch.manual_seed(0)
X, Y = torch.randn(44, 3), torch.randint(2, (44,))
TRAIN, VALID = Dataset(X[:30], Y[:30]), Dataset(X[30:], Y[30:])


class Witness(Callback):
    """Writes down what it can see at each event."""

    def initialize(self) -> Witness:
        self.seen_: list[Any] = []
        return self

    def see(self, event: str, net: Any, **given: Any) -> None:
        modes = [module.training for module in net.module_.modules()]
        weights = [parameter.detach().clone() for parameter in net.module_.parameters()]
        gradients = [None if part.grad is None else part.grad.clone() for part in net.module_.parameters()]
        self.seen_.append((event, given, modes, weights, gradients, copy.deepcopy(net.history[-1])))

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        self.see("begin", net, batch=batch, training=training, more=sorted(kwargs))

    def on_grad_computed(self, net, named_parameters, batch=None, training=None, **kwargs):
        twice = [[name for name, _ in named_parameters] for _ in range(2)]
        self.see("gradients", net, names=twice, batch=batch, training=training, more=sorted(kwargs))

    def on_batch_end(self, net, batch=None, training=None, loss=None, y_pred=None, **kwargs):
        told = {"batch": batch, "loss": loss.detach(), "y_pred": y_pred.detach(), "more": sorted(kwargs)}
        self.see("end", net, training=training, **told)


class Unsettling(Witness):
    """Leaves the net in the wrong mode, and a gradient behind."""

    def on_batch_end(self, net, **kwargs):
        super().on_batch_end(net, **kwargs)
        net.module_[0].train(not kwargs["training"])
        net.module_[2].bias.grad = torch.ones(2)


class Frozen(nn.Linear):
    """A layer that never trains, as frozen BatchNorm is often written."""

    def train(self, mode: bool = True):
        self.calls = getattr(self, "calls", 0) + 1
        return super().train(False)


class Regularized(NeuralNetClassifier):
    """Its loss depends on how many batches were recorded."""

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        loss = super().get_loss(y_pred, y_true, *args, **kwargs)
        batches = self.history[-1, "batches"]
        return loss + 0.01 * len(batches) + sum(row.get("train_loss", 0.0) for row in batches)


class TwoOptimizers(NeuralNetClassifier):
    """skorch steps both, each with a closure of its own."""

    def initialize_optimizer(self):
        super().initialize_optimizer()
        self.second_optimizer_ = torch.optim.SGD(self.module_[2].parameters(), lr=0.01)
        return self


class Keeping(torch.optim.SGD):
    """Keeps gradients as zeros."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none=False)


class Gathering(Callback):
    """Lets gradients gather over all batches."""

    def on_train_begin(self, net, **kwargs):
        net.optimizer_.zero_grad = lambda set_to_none=True: None


class Renewing(Callback):
    """Begins with another optimiser before the second batch."""

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        if training and len(net.history[-1, "batches"]) == 2:
            vars(net)["optimizer_"] = torch.optim.Adam(net.module_.parameters())


class Augmenting(Callback):
    """Changes batches in place."""

    def on_batch_begin(self, net, batch=None, **kwargs):
        batch[0] = batch[0] + 1


class Unclosed(NeuralNetClassifier):
    """Replaces skorch's step."""

    def train_step(self, batch, **fit_params):
        self.steps = getattr(self, "steps", 0) + 1
        return super().train_step(batch, **fit_params)


class Begins(NeuralNetClassifier):
    """Does something of its own before a batch."""

    def on_batch_begin(self, net, batch=None, training=False, **kwargs):
        super().on_batch_begin(net, batch=batch, training=training, **kwargs)
        self.begun = getattr(self, "begun", 0) + 1


def make_module(first: type[nn.Linear] = nn.Linear) -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(first(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))


def make_net(kind: type[NeuralNetClassifier] = NeuralNetClassifier, **options: Any) -> NeuralNetClassifier:
    options = {"callbacks": [("witness", Witness())], "optimizer": torch.optim.SGD, "lr": 0.1} | options
    net = kind(options.pop("module", make_module), criterion=nn.CrossEntropyLoss, classes=[0, 1], verbose=0, **options)
    net.initialize()
    net.notify("on_train_begin", X=TRAIN.X, y=TRAIN.y)
    return net


CASES = {
    "plain": dict,
    "momentum": lambda: {"optimizer__momentum": 0.9},
    "adam": lambda: {"optimizer": torch.optim.Adam},
    "lbfgs": lambda: {"optimizer": torch.optim.LBFGS, "optimizer__max_iter": 4},
    "own zero_grad": lambda: {"optimizer": Keeping},
    "two optimizers": lambda: {"kind": TwoOptimizers},
    "unsettled": lambda: {"callbacks": [("witness", Unsettling())]},
    "frozen layer": lambda: {"module": lambda: make_module(Frozen)},
    "gathered gradients": lambda: {"callbacks": [("gathers", Gathering()), ("witness", Witness())]},
    "another optimizer": lambda: {"callbacks": [("renews", Renewing()), ("witness", Witness())]},
    "changed batches": lambda: {"callbacks": [("augments", Augmenting()), ("witness", Witness())]},
    "own loss": lambda: {"kind": Regularized},
    "own step": lambda: {"kind": Unclosed},
    "own event": lambda: {"kind": Begins},
    "clipping": lambda: {"callbacks": [("clip", GradientNormClipping(0.1)), ("witness", Witness())]},
    "schedule": lambda: {
        "callbacks": [
            ("schedule", LRScheduler("CyclicLR", base_lr=0.01, max_lr=0.5, step_size_up=2, step_every="batch")),
            ("witness", Witness()),
        ]
    },
}


def passed_by_skorch(net: NeuralNetClassifier, batches: Any, *, training: bool) -> None:
    step, prefix = (net.train_step, "train") if training else (net.validation_step, "valid")
    net.run_single_epoch(batches, training=training, prefix=prefix, step_fn=step)


def epochs_of(net: NeuralNetClassifier, run: Any, batches: Any = TensorBatches) -> None:
    """Two epochs."""
    torch.manual_seed(1)
    for _ in range(2):
        net.notify("on_epoch_begin", dataset_train=TRAIN, dataset_valid=VALID)
        run(net, batches(TRAIN, batch_size=8, shuffle=True), training=True)
        run(net, batches(VALID, batch_size=8), training=False)
        net.notify("on_epoch_end", dataset_train=TRAIN, dataset_valid=VALID)


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected.keys() - {"dur"}:
            assert_same(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for part, other in zip(found, expected, strict=True):
            assert_same(part, other)
    else:
        assert found == expected


@pytest.mark.parametrize("name", CASES)
def test_a_pass_makes_the_calls_of_skorchs_loop(name: str):
    ours, theirs = make_net(**CASES[name]()), make_net(**CASES[name]())
    epochs_of(ours, run_pass)
    epochs_of(theirs, passed_by_skorch, DataLoader)
    assert_same(list(ours.history), list(theirs.history))
    assert_same(dict(ours.callbacks_)["witness"].seen_, dict(theirs.callbacks_)["witness"].seen_)
    assert_same(ours.module_.state_dict(), theirs.module_.state_dict())
    assert_same(ours.optimizer_.state_dict(), theirs.optimizer_.state_dict())


def test_a_net_with_a_step_of_its_own_takes_it():
    own_step, own_event = make_net(Unclosed), make_net(Begins)
    for net in (own_step, own_event):
        epochs_of(net, run_pass)
    assert own_step.steps == 2 * 4
    assert own_event.begun == 2 * (4 + 2)


def test_a_method_of_the_net_itself_counts_too():
    net, seen = make_net(), []
    step = net.validation_step
    net.validation_step = lambda batch, **fit_params: seen.append(batch) or step(batch, **fit_params)
    epochs_of(net, run_pass)
    assert len(seen) == 2 * 2


def test_a_module_that_minds_how_often_its_mode_is_set_is_told_each_time():
    net = make_net(module=lambda: make_module(Frozen))
    epochs_of(net, run_pass)
    assert net.module_[0].calls >= 2 * (4 + 2)


class Ends(Callback):
    """Raises in the third batch."""

    def __init__(self, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.error = error

    def on_grad_computed(self, net, **kwargs):
        if len(net.history[-1, "batches"]) == 3:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt, LookupError])
def test_a_pass_that_is_cut_off_leaves_the_history_that_skorch_leaves(error: type[BaseException]):
    ours, theirs = (make_net(callbacks=[("ends", Ends(error)), ("witness", Witness())]) for _ in range(2))
    for net, run, batches in ((ours, run_pass, TensorBatches), (theirs, passed_by_skorch, DataLoader)):
        with pytest.raises(error):
            epochs_of(net, run, batches)
    assert_same(list(ours.history), list(theirs.history))
    assert_same(dict(ours.callbacks_)["witness"].seen_, dict(theirs.callbacks_)["witness"].seen_)


def test_nothing_to_validate_records_nothing():
    net = make_net()
    net.notify("on_epoch_begin", dataset_train=TRAIN, dataset_valid=None)
    run_pass(net, None, training=False)
    assert "valid_batch_count" not in net.history[-1]


class Counted(torch.Tensor):
    """A loss that counts how often it is read."""

    reads = 0

    def item(self):
        Counted.reads += 1
        return super().item()


class OnGpu(nn.CrossEntropyLoss):
    """Gives losses that count their reading."""

    def forward(self, input, target):
        return super().forward(input, target).as_subclass(Counted)


def gpu_net(monkeypatch: pytest.MonkeyPatch, callbacks: list[Any], kind: Any = NeuralNetClassifier) -> Any:
    """A net that takes itself to be on a GPU; its tensors stay on the CPU."""
    net = make_net(kind, callbacks=callbacks)
    monkeypatch.setattr("skorch.net.to_tensor", lambda values, device, **options: values)
    net.criterion_ = OnGpu()
    net.device = "cuda"
    Counted.reads = 0
    return net


def pass_once(net: Any) -> list[dict[str, Any]]:
    net.notify("on_epoch_begin", dataset_train=TRAIN, dataset_valid=VALID)
    run_pass(net, TensorBatches(TRAIN, batch_size=8), training=True)
    return net.history[-1, "batches"]


@pytest.mark.parametrize(
    "callbacks",
    [
        [],
        [("score", EpochScoring("accuracy", name="acc"))],
        [("clip", GradientNormClipping(1.0)), ("schedule", LRScheduler("StepLR", step_size=1, step_every="batch"))],
    ],
    ids=["none", "scores", "clips and schedules"],
)
def test_on_a_gpu_losses_are_read_once_a_pass_where_nobody_looks(callbacks: Any, monkeypatch: pytest.MonkeyPatch):
    rows = pass_once(gpu_net(monkeypatch, copy.deepcopy(callbacks)))
    assert Counted.reads == 0
    assert [type(row["train_loss"]) for row in rows] == [float] * 4
    monkeypatch.undo()
    expected = pass_once(make_net(callbacks=callbacks))
    assert [row["train_loss"] for row in rows] == [row["train_loss"] for row in expected]


@pytest.mark.parametrize(
    ("callbacks", "kind"),
    [
        ([("witness", Witness())], NeuralNetClassifier),
        (
            [("plateau", LRScheduler("ReduceLROnPlateau", monitor=lambda net: 0.5, step_every="batch"))],
            NeuralNetClassifier,
        ),
        ([], Regularized),
    ],
    ids=["callback", "plateau", "own loss"],
)
def test_on_a_gpu_losses_are_read_at_once_where_somebody_may_look(
    callbacks: Any, kind: Any, monkeypatch: pytest.MonkeyPatch
):
    pass_once(gpu_net(monkeypatch, callbacks, kind))
    assert Counted.reads == 4


def test_an_interrupted_pass_keeps_the_losses_of_its_batches(monkeypatch: pytest.MonkeyPatch):
    net = gpu_net(monkeypatch, [("ends", Ends())])
    net.notify("on_epoch_begin", dataset_train=TRAIN, dataset_valid=VALID)
    with pytest.raises(KeyboardInterrupt):
        run_pass(net, TensorBatches(TRAIN, batch_size=8), training=True)
    assert ["train_loss" in row for row in net.history[-1, "batches"]] == [True, True, False]


def test_after_an_error_of_the_gpu_nothing_more_is_asked_of_it(monkeypatch: pytest.MonkeyPatch):
    net = gpu_net(monkeypatch, [("ends", Ends(torch.OutOfMemoryError))])
    net.notify("on_epoch_begin", dataset_train=TRAIN, dataset_valid=VALID)
    monkeypatch.setattr(torch, "stack", lambda losses: pytest.fail("the losses were read"))
    with pytest.raises(torch.OutOfMemoryError):
        run_pass(net, TensorBatches(TRAIN, batch_size=8), training=True)


class Warming(LRScheduler):
    """Looks at the loss of each batch."""

    def on_batch_end(self, net, training, **kwargs):
        if training:
            net.history.record_batch("seen", net.history[-1, "batches", -1, "train_loss"])


def test_a_schedule_of_a_persons_own_may_look_at_losses(monkeypatch: pytest.MonkeyPatch):
    rows = pass_once(gpu_net(monkeypatch, [("warms", Warming("StepLR", step_size=1, step_every="batch"))]))
    assert [row["seen"] for row in rows] == [row["train_loss"] for row in rows]
