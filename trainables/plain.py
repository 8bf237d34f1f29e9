"""Training state <-> what ``torch.load(weights_only=True)`` reads back: tensors and plain containers. Writes no file."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

_TAG = "__kind__"


class NotPlainError(TypeError):
    """A value that a checkpoint cannot hold."""


def to_plain(value: Any) -> Any:
    """Describes ``value`` by tensors, numbers, strings, lists, tuples and dicts alone.

    Parameters
    ----------
    value : object
        Numbers, strings, bytes, None, tensors, NumPy arrays and scalars, and dicts, lists, tuples and sets of them.

    Returns
    -------
    object
        A copy: tensors are detached, cloned and on the CPU.

    Raises
    ------
    NotPlainError
        For anything else, such as an open file or an instance of a class.
    """
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, torch.Tensor):
        return value.detach().clone().cpu()
    if isinstance(value, (np.ndarray, np.generic)):
        return _tagged_array(value)
    if isinstance(value, dict):
        return _tagged_dict(value)
    if type(value) in (list, tuple):
        return type(value)(to_plain(part) for part in value)
    if isinstance(value, (set, frozenset)):
        return {_TAG: type(value).__name__, "parts": [to_plain(part) for part in value]}
    raise NotPlainError(f"a {type(value).__module__}.{type(value).__qualname__} cannot be stored")


def from_plain(value: Any) -> Any:
    """Reverses `to_plain`."""
    if isinstance(value, dict):
        build = _BUILDERS.get(value.get(_TAG, ""))
        return build(value) if build else {from_plain(key): from_plain(part) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(from_plain(part) for part in value)
    return value


def is_plain(value: Any) -> bool:
    """Whether `to_plain` takes ``value``."""
    try:
        to_plain(value)
    except NotPlainError:
        return False
    return True


def _tagged_array(value: np.ndarray[Any, Any] | np.generic) -> dict[str, Any]:
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise NotPlainError("a NumPy array of objects cannot be stored")
    kind = "array" if isinstance(value, np.ndarray) else "scalar"
    return {_TAG: kind, "dtype": array.dtype.str, "shape": list(array.shape), "bytes": array.tobytes()}


def _tagged_dict(value: dict[Any, Any]) -> dict[str, Any]:
    kind = "ordered" if isinstance(value, OrderedDict) else "dict"
    return {_TAG: kind, "items": [(to_plain(key), to_plain(part)) for key, part in value.items()]}


def _array(value: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.frombuffer(value["bytes"], dtype=np.dtype(value["dtype"])).reshape(value["shape"]).copy()


_BUILDERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "array": _array,
    "scalar": lambda value: _array(value)[()],
    "dict": lambda value: {from_plain(key): from_plain(part) for key, part in value["items"]},
    "ordered": lambda value: OrderedDict((from_plain(key), from_plain(part)) for key, part in value["items"]),
    "set": lambda value: set(from_plain(value["parts"])),
    "frozenset": lambda value: frozenset(from_plain(value["parts"])),
}
