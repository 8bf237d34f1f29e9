"""Values as plain data: numbers, text and lists stay what they are, every other object is named by a label.

A label is a string that names an object in a config, a journal or a YAML file. Nothing here imports a module except
`import_object`, and nothing reads a domain.
"""

from __future__ import annotations

import copy
import enum
import importlib
import json
import math
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from search_spaces.problems import did_you_mean

_IMPORT_STRING = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LABEL_LENGTH = 60
_LIBRARIES = ("<frozen", *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))


def as_plain(value: Any) -> tuple[bool, Any]:
    """Turn a value into plain Python data where that says the same.

    NumPy scalars and arrays become numbers and lists, tuples become lists, subclasses of ``str``, ``int`` and ``float``
    (a YAML reader makes some) become the plain type. Enum members, non-finite floats and everything else are objects.

    Parameters
    ----------
    value : Any
        What to turn.

    Returns
    -------
    is_plain : bool
        Whether strict JSON can hold the result.
    plain : Any
        The plain value, or ``value`` itself where it is an object.
    """
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return True, value
    if isinstance(value, enum.Enum):
        return False, value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return not isinstance(value, float) or math.isfinite(value), kind(value)
    return _plain_container(value)


def _plain_container(value: Any) -> tuple[bool, Any]:
    if isinstance(value, (list, tuple, range)):
        items = [as_plain(item) for item in value]
        return (True, [item for _, item in items]) if all(fits for fits, _ in items) else (False, value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        pairs = {str(key): as_plain(item) for key, item in value.items()}
        fits = all(fits for fits, _ in pairs.values())
        return (True, {key: item for key, (_, item) in pairs.items()}) if fits else (False, value)
    return False, value


def label_of(value: object) -> str:
    """Name an object that plain data cannot hold.

    Parameters
    ----------
    value : object
        A class, a function or any other object.

    Returns
    -------
    str
        ``package.module:Name`` with the shortest module under which exactly this object can be imported, such as
        ``torch.optim:SGD``; else its ``repr`` on one line, without memory addresses, cut to 60 characters.
    """
    return _import_name(value) or " ".join(_ADDRESS.sub("", repr(value)).split())[:_LABEL_LENGTH]


def _import_name(value: object) -> str | None:
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or not is_import_string(f"{module}:{qualname}"):
        return None
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        name = ".".join(parts[:length])
        try:
            found = _attribute(sys.modules[name], qualname)
        except (AttributeError, ImportError, KeyError):  # a lazy package may import when it is asked for a name
            continue
        if found is value:
            return f"{name}:{qualname}"
    return None


def _attribute(module: object, qualname: str) -> Any:
    for name in qualname.split("."):
        module = getattr(module, name)
    return module


def labelled(values: Iterable[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Replace every object among some values by a label that is unique among them.

    Parameters
    ----------
    values : iterable
        Plain values and objects.

    Returns
    -------
    plain : list
        The values with labels in place of objects. An object listed twice gives its label twice; two objects with the
        same ``repr`` give ``label`` and ``label #2``.
    objects : dict of str to object
        Label to object.
    """
    read = [as_plain(value) for value in values]
    taken = {value for fits, value in read if fits and isinstance(value, str)}
    objects: dict[str, Any] = {}
    return [value if fits else _add_label(value, objects, taken) for fits, value in read], objects


def _add_label(value: Any, objects: dict[str, Any], taken: set[str]) -> str:
    for label, known in objects.items():
        if known is value:
            return label
    first = label = label_of(value)
    number = 1
    # An import string names one object wherever it stands, so it needs no number.
    while not is_import_string(first) and (label in objects or label in taken):
        number += 1
        label = f"{first} #{number}"
    objects[label] = value
    return label


def is_import_string(value: object) -> bool:
    """Tell whether a value has the form ``package.module:Name``.

    Parameters
    ----------
    value : object
        Any value of a parameter.

    Returns
    -------
    bool
        Whether it is a string that names an object to import.
    """
    return isinstance(value, str) and _IMPORT_STRING.match(value) is not None


def import_object(label: str) -> Any:
    """Import the object that ``package.module:Name`` names.

    Parameters
    ----------
    label : str
        A string for which `is_import_string` holds.

    Returns
    -------
    Any
        The object.

    Raises
    ------
    ValueError
        When the module cannot be imported, whatever it raises, or has no such name.
    """
    module_name, _, qualname = label.partition(":")
    with _ImportErrors(label):
        module = importlib.import_module(module_name)
    try:
        return _attribute(module, qualname)
    except AttributeError as error:
        raise ValueError(f"{label!r} cannot be imported: {error}{did_you_mean(qualname, dir(module))}") from error


class _ImportErrors:
    """Turns what a module raises while it is imported, SystemExit included, into a ValueError with the line."""

    def __init__(self, label: str) -> None:
        self._label = label

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, (Exception, SystemExit)):
            raise ValueError(f"{self._label!r} cannot be imported: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """Type, message and, where it came up outside of libraries, file and line."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)[1:]  # behind the one that imports
    users = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]
    place = f" ({users[-1].filename}:{users[-1].lineno})" if users else ""
    return f"{type(error).__name__}: {error}{place}"


def same_value(one: Any, other: Any) -> bool:
    """Compare two plain values; ``1`` equals ``1.0``, but a boolean equals only a boolean.

    Parameters
    ----------
    one, other : Any
        Plain values.

    Returns
    -------
    bool
        Whether they mean the same.
    """
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def text_of(value: Any) -> str:
    """Write a plain value as JSON, by which ``1``, ``1.0`` and ``true`` stay apart.

    Parameters
    ----------
    value : Any
        A plain value.

    Returns
    -------
    str
        Equal for equal values of equal types, with keys sorted.
    """
    return json.dumps(value, sort_keys=True)


def fresh(value: Any) -> Any:
    """Copy a list or a mapping, so that whoever gets it may change it.

    Parameters
    ----------
    value : Any
        A plain value.

    Returns
    -------
    Any
        The value, or a deep copy where it can be changed.
    """
    return copy.deepcopy(value) if isinstance(value, (list, dict)) else value
