"""What skorch callbacks learned while a net trained, as plain values; decides nothing about when to save."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import IOBase
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochScoring

from trainables.plain import NotPlainError, from_plain, to_plain

# Predictions of the epoch that just ended; the callback drops them itself when the next one begins.
_TRANSIENT = {"y_trues_", "y_preds_"}


class CallbackState:
    """Reads and restores the learned attributes of a net's callbacks.

    Made right after ``on_train_begin``: what a callback holds then is its start, which a fresh process makes anew, and
    only what differs later is state. Plain values, tensors, random number generators and objects with ``state_dict``
    and ``load_state_dict`` (learning rate schedulers, for one) can be kept; a callback may also define those two
    methods itself. Anything else, such as an open file, is left to the fresh process, and refused where it came or
    visibly changed after the start; so is an iterator, which does not tell where it is.

    Parameters
    ----------
    net : skorch.NeuralNet
        Initialized, its training begun.
    """

    def __init__(self, net: NeuralNet) -> None:
        self._callbacks = dict(net.callbacks_)
        self._start = {name: _look_into(callback) for name, callback in self._callbacks.items()}

    def state(self) -> dict[str, Any]:
        """Callback name -> what it has learned, as plain values.

        Raises
        ------
        NotPlainError
            A callback holds something that cannot be stored; the message names it and says what to do.
        """
        return {name: self._state_of(name, callback) for name, callback in self._callbacks.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Gives the callbacks of a training that has just begun what `state` recorded."""
        for name, saved in state.items():
            if name in self._callbacks:
                _restore(self._callbacks[name], saved)

    def _state_of(self, name: str, callback: Callback) -> dict[str, Any]:
        try:
            if _keeps_state(callback):
                return {"state_dict": to_plain(callback.state_dict())}
            return {"attributes": _changes(_look_into(callback), self._start[name])}
        except NotPlainError as error:
            raise NotPlainError(
                f"callback {name!r} ({type(callback).__qualname__}): {error}; a trial must be able to go on in another "
                "process: keep plain values or tensors, or give the callback state_dict() and load_state_dict()"
            ) from error


@dataclass(frozen=True)
class _Seen:
    """An attribute at one moment: a plain copy of it, or of the parts of it that can be copied."""

    value: Any
    plain: Any
    keeps_state: bool = False
    problem: str = ""


_NOTHING = _Seen(object(), object())

# Objects that change without holding anything of a training, and the net and callbacks, which are stored on their own.
_IGNORED = (logging.Logger, ModuleType, type, torch.utils.data.Dataset, NeuralNet, Callback)

# How deep into an object that cannot be stored changes are looked for.
_DEPTH = 2


def _look_into(callback: Callback) -> dict[str, _Seen]:
    if _keeps_state(callback):
        return {}
    skipped = _TRANSIENT if isinstance(callback, EpochScoring) else set()
    seen = {key: _look_at(value) for key, value in vars(callback).items() if key not in skipped}
    if not type(callback).__module__.startswith("skorch."):
        return seen
    # A progress bar, a run of a tracking service: skorch's own callbacks make them anew.
    return {key: attribute for key, attribute in seen.items() if not attribute.problem}


def _look_at(value: Any) -> _Seen:
    if _keeps_state(value):
        return _Seen(value, {key: _look_at(part) for key, part in value.state_dict().items()}, keeps_state=True)
    try:
        return _Seen(value, to_plain(value))
    except NotPlainError as error:
        return _Seen(value, _contents(value), problem=str(error))


def _keeps_state(value: Any) -> bool:
    if isinstance(value, type):
        return False
    return callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))


def _contents(value: Any, depth: int = _DEPTH) -> list[Any]:
    """What can be copied of something that as a whole cannot, so that its changes are seen."""
    if isinstance(value, _IGNORED) or depth == 0:
        return []
    if isinstance(value, Iterator) and not isinstance(value, IOBase):
        return [object()]  # unlike any other: whether it went on cannot be seen
    return [_copy(part, depth - 1) for part in _parts(value)]


def _copy(part: Any, depth: int) -> Any:
    try:
        return to_plain(part)
    except NotPlainError:
        # What keeps its state inside something else is mostly the net's own module or optimiser.
        return [] if _keeps_state(part) else _contents(part, depth)


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set, deque)):
        return list(value)
    if isinstance(value, FunctionType):
        return [cell.cell_contents for cell in value.__closure__ or ()]
    if isinstance(value, (MethodType, BuiltinMethodType)):
        return [value.__self__]
    return list(getattr(value, "__dict__", {}).values())


def _changes(now: Mapping[str, _Seen], start: Mapping[str, _Seen]) -> dict[str, Any]:
    parts = {key: _change(key, seen, start.get(key, _NOTHING)) for key, seen in now.items()}
    return {key: part for key, part in parts.items() if part}


def _change(key: str, now: _Seen, start: _Seen) -> dict[str, Any]:
    if now.keeps_state:
        if not start.keeps_state:
            kind = type(now.value).__qualname__
            raise NotPlainError(f"{key!r}: a {kind} made after on_train_begin cannot be restored; make it there")
        return {"state": _changes(now.plain, start.plain)}
    if now.problem:
        if now.value is start.value and _are_equal(now.plain, start.plain):
            return {}
        raise NotPlainError(f"{key!r}: {now.problem}")
    return {} if _are_equal(now.plain, start.plain) else {"value": now.plain}


def _are_equal(plain: Any, other: Any) -> bool:
    if type(plain) is not type(other):
        return False
    if isinstance(plain, torch.Tensor):
        return plain.dtype == other.dtype and torch.equal(plain, other)
    if isinstance(plain, dict):
        return plain.keys() == other.keys() and all(_are_equal(part, other[key]) for key, part in plain.items())
    if isinstance(plain, (list, tuple)):
        return len(plain) == len(other) and all(map(_are_equal, plain, other))
    return bool(plain is other or plain == other)


def _restore(callback: Any, saved: Mapping[str, Any]) -> None:
    if "state_dict" in saved:
        callback.load_state_dict(from_plain(saved["state_dict"]))
        return
    for key, part in saved["attributes"].items():
        setattr(callback, key, _restored(getattr(callback, key, None), part))


def _restored(now: Any, part: Mapping[str, Any]) -> Any:
    if "value" in part:
        return from_plain(part["value"])
    state = now.state_dict()
    now.load_state_dict(state | {key: _restored(state.get(key), inner) for key, inner in part["state"].items()})
    return now
