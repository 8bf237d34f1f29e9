"""What skorch callbacks learned while a net trained, as plain values; decides nothing about when to save."""

from __future__ import annotations

from typing import Any

from skorch import NeuralNet
from skorch.callbacks import EpochScoring

from trainables.plain import NotPlainError, from_plain, is_plain, to_plain

# Predictions of the epoch that just ended; the callback drops them itself when the next one begins.
_TRANSIENT = {"y_trues_", "y_preds_"}


class CallbackState:
    """Reads and restores the learned attributes of a net's callbacks.

    Made right after ``on_train_begin``: what a callback holds then is its start, which a fresh process makes anew, and
    only what differs later is state. Values, tensors and objects with ``state_dict`` and ``load_state_dict`` (such as
    learning rate schedulers) can be kept; a callback may also define those two methods itself.

    Parameters
    ----------
    net : skorch.NeuralNet
        Initialized, its training begun.
    """

    def __init__(self, net: NeuralNet) -> None:
        self._callbacks = dict(net.callbacks_)
        self._start = {name: _snapshot(callback) for name, callback in self._callbacks.items()}

    def state(self) -> dict[str, Any]:
        """Callback name -> attribute -> plain value.

        Raises
        ------
        NotPlainError
            A callback holds something that cannot be stored; the message names it and says what to do.
        """
        return {name: self._state_of(name, callback) for name, callback in self._callbacks.items()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Gives the callbacks of a training that has just begun what `state` recorded."""
        for name, attributes in state.items():
            if name in self._callbacks:
                _restore(self._callbacks[name], attributes)

    def _state_of(self, name: str, callback: Any) -> dict[str, Any]:
        if _keeps_state(callback):
            return {"state_dict": to_plain(callback.state_dict())}
        start = self._start[name]
        changed = {
            key: value for key, value in _attributes(callback) if not _same(value, start.get(key, _start_absent))
        }
        return {
            "attributes": {key: part for key, value in changed.items() for part in _stored(name, callback, key, value)}
        }


_start_absent = object()


def _attributes(callback: Any) -> list[tuple[str, Any]]:
    skipped = _TRANSIENT if isinstance(callback, EpochScoring) else set()
    return [(key, value) for key, value in vars(callback).items() if key not in skipped]


def _snapshot(callback: Any) -> dict[str, Any]:
    # A copy of what is plain, so that a list which grows in place is seen to change; the object itself otherwise.
    return {key: from_plain(to_plain(value)) if is_plain(value) else value for key, value in _attributes(callback)}


def _keeps_state(value: Any) -> bool:
    if isinstance(value, type):
        return False
    return callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))


def _same(value: Any, start: Any) -> bool:
    if _keeps_state(value):
        return False
    if value is start:
        return not is_plain(value) or type(value) in (bool, int, float, str, bytes, type(None))
    try:
        return type(value) is type(start) and is_plain(value) and bool(value == start)
    except (RuntimeError, ValueError):  # tensors and arrays have no single truth
        return False


def _stored(name: str, callback: Any, key: str, value: Any) -> list[dict[str, Any]]:
    if _keeps_state(value):
        return [{"state_dict": to_plain(value.state_dict())}]
    try:
        return [{"value": to_plain(value)}]
    except NotPlainError as error:
        if type(callback).__module__.startswith("skorch."):
            return []  # a progress bar, a run of a tracking service: made anew by the callback itself
        raise NotPlainError(
            f"callback {name!r} ({type(callback).__qualname__}): attribute {key!r}: {error}; a trial must be able to go on "
            "in another process: keep plain values or tensors, or give the callback state_dict() and load_state_dict()"
        ) from error


def _restore(callback: Any, saved: dict[str, Any]) -> None:
    if "state_dict" in saved:
        callback.load_state_dict(from_plain(saved["state_dict"]))
        return
    for key, part in saved["attributes"].items():
        if "state_dict" in part:
            getattr(callback, key).load_state_dict(from_plain(part["state_dict"]))
        else:
            setattr(callback, key, from_plain(part["value"]))
