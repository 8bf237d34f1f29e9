"""One pass over a net's batches, as skorch's ``run_single_epoch`` makes it. Knows no epochs and draws no batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochScoring, GradientNormClipping, LRScheduler
from skorch.history import History
from skorch.utils import TeeGenerator
from torch.optim.lr_scheduler import ReduceLROnPlateau

from trainables.batches import TensorBatches
from trainables.net_state import learning_modules

Step = dict[str, Any]
"""``loss`` and ``y_pred`` of a batch."""

# The steps of skorch's loop that `_make_pass` takes over; a net with one of its own gets skorch's loop.
_TAKEN_OVER = {
    name: getattr(NeuralNet, name)
    for name in (
        *("run_single_epoch", "train_step", "train_step_single", "validation_step", "get_train_step_accumulator"),
        *("notify", "on_batch_begin", "on_batch_end", "on_grad_computed", "get_all_learnable_params"),
        *("_set_training", "_zero_grad_optimizer", "_step_optimizer"),
    )
}

_ZERO_GRAD = torch.optim.Optimizer.zero_grad


def run_pass(net: NeuralNet, batches: Iterable[Any] | None, *, training: bool) -> None:
    """Trains on each batch once, or validates it, and records that in the history's current epoch.

    Batches of tensors go through a loop that makes the calls of ``net.run_single_epoch`` in the same order with the
    same arguments, and leaves out those without effect: callbacks that do not listen, modes that are set already. The
    loop costs about 30 microseconds a batch where skorch's costs 80 (``benchmarks/micro/epochs.py``).

    Parameters
    ----------
    net : skorch.NeuralNet
        Initialized. Where its class overrides a step of the loop, skorch's own loop runs.
    batches : iterable or None
        What `make_batches` returned; None does nothing.
    training : bool
        Whether the net learns from them.
    """
    if isinstance(batches, TensorBatches) and _is_skorchs_own(net):
        _make_pass(net, batches, training=training)
    elif training:
        net.run_single_epoch(batches, training=True, prefix="train", step_fn=net.train_step)
    else:
        net.run_single_epoch(batches, training=False, prefix="valid", step_fn=net.validation_step)


def _make_pass(net: NeuralNet, batches: TensorBatches, *, training: bool) -> None:
    prefix = "train" if training else "valid"
    take_step = _training_step(net) if training else _validation_step(net)
    begins, ends = _listeners(net, "on_batch_begin"), _listeners(net, "on_batch_end")
    rows = net.history[-1]["batches"]
    with _Losses(f"{prefix}_loss", at_once=not _may_wait(net)) as losses:
        for batch in batches:
            row: dict[str, Any] = {}
            rows.append(row)
            for begin in begins:
                begin(net, batch=batch, training=training)
            step = take_step(batch)
            losses.record(row, step["loss"])
            row[f"{prefix}_batch_size"] = len(batch[1])
            for end in ends:
                end(net, batch=batch, training=training, **step)
    net.history.record(f"{prefix}_batch_count", len(batches))


def _training_step(net: NeuralNet) -> Callable[[Any], Step]:
    set_mode, gradients = _mode_of(net, training=True), _listeners(net, "on_grad_computed")

    def calculate(batch: Any) -> Step:
        for optimizer in _optimizers(net):
            _drop_gradients(optimizer)
        set_mode()
        X, y = batch
        y_pred = net.infer(X)
        loss = net.get_loss(y_pred, y, X=X, training=True)
        loss.backward()
        for listen in gradients:
            named_parameters = TeeGenerator(net.get_all_learnable_params())
            listen(net, named_parameters=named_parameters, batch=batch, training=True)
        return {"loss": loss, "y_pred": y_pred}

    def take_step(batch: Any) -> Step:
        steps: list[Step] = []

        def closure() -> Any:
            step = calculate(batch)
            steps.append(step)
            return step["loss"]

        for optimizer in _optimizers(net):
            optimizer.step(closure)
        return steps[0]  # LBFGS takes several; skorch counts the first

    return take_step


def _optimizers(net: NeuralNet) -> list[Any]:
    return [getattr(net, f"{name}_") for name in net._optimizers]


def _validation_step(net: NeuralNet) -> Callable[[Any], Step]:
    set_mode = _mode_of(net, training=False)

    def take_step(batch: Any) -> Step:
        set_mode()
        X, y = batch
        with torch.no_grad():
            y_pred = net.infer(X)
            return {"loss": net.get_loss(y_pred, y, X=X, training=False), "y_pred": y_pred}

    return take_step


def _mode_of(net: NeuralNet, *, training: bool) -> Callable[[], None]:
    """Sets the mode of modules and criteria as skorch does before each batch, where it is not set."""
    modules = [module for part in learning_modules(net).values() for module in part.modules()]
    is_plain = all(type(module).train is torch.nn.Module.train for module in modules)

    def set_mode() -> None:
        if not is_plain or any(module.training is not training for module in modules):
            net._set_training(training)

    return set_mode


def _drop_gradients(optimizer: Any) -> None:
    """Without the profiling and the per-device lists that ``zero_grad`` makes."""
    if getattr(optimizer.zero_grad, "__func__", None) is not _ZERO_GRAD:
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


class _Losses:
    """Writes losses into the rows of their batches, at once or together at the end of the pass."""

    def __init__(self, key: str, *, at_once: bool) -> None:
        self._key, self._at_once = key, at_once
        self._waiting: list[tuple[dict[str, Any], torch.Tensor]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        # After an error of the GPU any work on it fails anew, and would hide the first one.
        if self._waiting and (kind is None or issubclass(kind, KeyboardInterrupt)):
            rows, losses = zip(*self._waiting, strict=True)
            for row, loss in zip(rows, torch.stack(losses).tolist(), strict=True):
                row[self._key] = loss

    def record(self, row: dict[str, Any], loss: torch.Tensor) -> None:
        if self._at_once:
            row[self._key] = loss.item()
        else:
            self._waiting.append((row, loss.detach().reshape(())))


def _may_wait(net: NeuralNet) -> bool:
    """Whether the losses of a pass can be read at its end: each reading waits for the GPU, and nobody looks before."""
    if torch.device(net.device or "cpu").type == "cpu":
        return False
    events = ("on_batch_begin", "on_batch_end", "on_grad_computed")
    methods = [net.infer, net.get_loss, *(method for event in events for method in _listeners(net, event))]
    return all(map(_ignores_losses, methods))


def _ignores_losses(method: Any) -> bool:
    owner = getattr(method, "__self__", None)
    if isinstance(owner, NeuralNet):
        return str(method.__module__).startswith("skorch.")
    function = getattr(method, "__func__", None)
    if isinstance(owner, LRScheduler) and function is LRScheduler.on_batch_end:
        return not isinstance(owner.lr_scheduler_, ReduceLROnPlateau)
    return function in (EpochScoring.on_batch_end, GradientNormClipping.on_grad_computed)


def _listeners(net: NeuralNet, event: str) -> list[Callable[..., None]]:
    """The callbacks' methods for an event, without those that do nothing."""
    ignored = getattr(Callback, event)
    methods = [getattr(callback, event) for _, callback in net.callbacks_]
    return [method for method in methods if getattr(method, "__func__", None) is not ignored]


def _is_skorchs_own(net: NeuralNet) -> bool:
    is_own = all(getattr(getattr(net, name), "__func__", None) is method for name, method in _TAKEN_OVER.items())
    return is_own and type(net.history) is History
