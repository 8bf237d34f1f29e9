"""Training state <-> what ``torch.load(weights_only=True)`` reads: tensors and plain containers. Writes no file."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from trainables import generators

_TAG = "__kind__"


class NotPlainError(TypeError):
    """A value that a checkpoint cannot hold."""


def to_plain(value: Any) -> Any:
    """Describes ``value`` by tensors, numbers, strings, lists, tuples and dicts alone.

    Parameters
    ----------
    value : object
        Numbers, strings, bytes, None, tensors, NumPy arrays and scalars, random number generators of torch, NumPy and
        ``random``, and dicts, lists, tuples and sets of them, but no instances of classes derived from these.

    Returns
    -------
    object
        A copy: tensors are detached, cloned and on the CPU.

    Raises
    ------
    NotPlainError
        For anything else, such as an open file, an instance of a class or a tensor that requires a gradient.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is bytes:
        return {_TAG: "bytes", "text": value.decode("latin-1")}
    if isinstance(value, torch.Tensor):
        return _tagged_tensor(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return _tagged_array(value)
    if type(value) in (dict, OrderedDict):
        return _tagged_dict(value)
    if type(value) in (list, tuple):
        return type(value)(to_plain(part) for part in value)
    if type(value) in (set, frozenset):
        return {_TAG: type(value).__name__, "parts": [to_plain(part) for part in value]}
    if generators.is_generator(value):
        return {_TAG: "generator", "description": to_plain(generators.read(value))}
    raise NotPlainError(f"a {type(value).__module__}.{type(value).__qualname__} cannot be stored")


def from_plain(value: Any) -> Any:
    """Reverses `to_plain`; a tensor that was on a GPU is put on the current one, if there is any."""
    if isinstance(value, dict):
        return _BUILDERS[value[_TAG]](value)
    if type(value) in (list, tuple):
        return type(value)(from_plain(part) for part in value)
    return value


def _tagged_tensor(value: torch.Tensor) -> Any:
    if value.requires_grad:
        raise NotPlainError("a tensor that requires a gradient cannot be stored")
    copy = value.to("cpu", copy=True)
    return copy if value.device.type == "cpu" else {_TAG: "tensor", "device": value.device.type, "value": copy}


def _tagged_array(value: np.ndarray[Any, Any] | np.generic) -> dict[str, Any]:
    array = np.asarray(value)
    if array.dtype.hasobject or array.dtype.names or isinstance(value, np.ma.MaskedArray):
        raise NotPlainError("a NumPy array of objects or records, or a masked one, cannot be stored")
    kind = "array" if isinstance(value, np.ndarray) else "scalar"
    return {_TAG: kind, "dtype": array.dtype.str, "shape": list(array.shape), "text": array.tobytes().decode("latin-1")}


def _tagged_dict(value: dict[Any, Any]) -> dict[str, Any]:
    items = [(to_plain(key), to_plain(part)) for key, part in value.items()]
    if type(value) is dict:
        return {_TAG: "dict", "items": items}
    # A module's state dict carries the versions of its layers as an attribute.
    return {_TAG: "ordered", "items": items, "attributes": to_plain(vars(value))}


def _tensor(value: dict[str, Any]) -> torch.Tensor:
    stored: torch.Tensor = value["value"]
    return stored.to(value["device"]) if value["device"] == "cuda" and torch.cuda.is_available() else stored


def _bytes(value: dict[str, Any]) -> bytes:
    # As text, because what torch.save makes of empty bytes is not read back with weights_only.
    text: str = value["text"]
    return text.encode("latin-1")


def _array(value: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.frombuffer(_bytes(value), dtype=np.dtype(value["dtype"])).reshape(value["shape"]).copy()


def _dict(value: dict[str, Any]) -> dict[Any, Any]:
    return {from_plain(key): from_plain(part) for key, part in value["items"]}


def _ordered(value: dict[str, Any]) -> OrderedDict[Any, Any]:
    ordered = OrderedDict(_dict(value))
    vars(ordered).update(from_plain(value["attributes"]))
    return ordered


_BUILDERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "tensor": _tensor,
    "bytes": _bytes,
    "generator": lambda value: generators.make(from_plain(value["description"])),
    "array": _array,
    "scalar": lambda value: _array(value)[()],
    "dict": _dict,
    "ordered": _ordered,
    "set": lambda value: set(from_plain(value["parts"])),
    "frozenset": lambda value: frozenset(from_plain(value["parts"])),
}
