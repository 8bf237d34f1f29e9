"""Any value as a text that is the same in every process and on every machine, for as long as its code is the same.

Knows nothing of nets and sweeps, compares nothing, and runs no code of a value except `get_params`.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import re
import sys
import textwrap
import tokenize
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from skorch.callbacks import Callback
from torch.utils.data import Dataset, Sampler

from search_spaces.labels import is_import_string, label_of

_OWN = {"search_spaces", "sweeps", "trainables"}
_LIBRARIES = {*sys.stdlib_module_names, *_OWN, "numpy", "ray", "scipy", "sklearn", "skorch", "torch"}
_LIBRARY_FOLDERS = {"site-packages", "dist-packages"}
# Instances of other classes of libraries, such as loggers and writers, hold what differs from process to process.
_OPEN_TYPES = (torch.nn.Module, Sampler, Dataset)
_OPEN_LIBRARIES = ("skorch", "sklearn")

# What depends on the machine, is only shown, or is replaced in a sweep.
_LEFT_OUT = re.compile(
    r"_.*|.*_|(callbacks__print_log|train_split)(__.*)?|"
    r"(.*__)?(device|verbose|sink|num_workers|pin_memory|pin_memory_device|persistent_workers|prefetch_factor"
    r"|multiprocessing_context)"
)
_SECRET = re.compile(r"passw(or)?d|passphrase|secret|credential", re.IGNORECASE)
_PERHAPS_SECRET = re.compile(r"(^|_|(?<=[a-z]))([Kk]ey|[Tt]oken|[Aa]uth|KEY|TOKEN|AUTH)s?($|_)")
_ABSOLUTE = re.compile(r"(/|~/|[A-Za-z]:[\\/]|file:)")
_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")

_SOURCE = re.compile(r"([\w.]+:[\w.<>]+) \((source [0-9a-f]{12}|no source)\)")
_Above = tuple[int, ...]  # the objects around a value, by id, so that one that holds itself comes to an end
_MAX_DEPTH = 8
_MAX_TEXT = 400
_MAX_SHOWN = 10
_HASHED_BYTES = 2**26


def describe(value: Any) -> str:
    """Describe a value.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    str
        Plain values as Python writes them, sets sorted; arrays and tensors by a hash above ten elements; classes and
        functions as ``module:Name``, and objects by their class and attributes. What the user wrote is named as
        ``module:Name (source 0123456789ab)`` with a hash of the text of that class or function, base classes of the
        user included, but not of what it calls; or ``(no source)``. Left out are addresses, the folders of absolute
        paths, what depends on the machine or is only shown, private and learned attributes, instances of most classes
        of libraries but for the class, and what by its name may be a secret. Above 400 characters the rest is hashed.
    """
    text = _text(value, ())
    if len(text) <= _MAX_TEXT:
        return text
    text = without_modules(text)
    return f"{text[: _MAX_TEXT // 2]}... ({len(text)} characters, {_hash(text.encode())})"


def sources_in(text: str) -> list[tuple[str, str]]:
    """Names of the user's classes and functions in a description, each with ``source <hash>`` or ``no source``."""
    return _SOURCE.findall(text)


def without_modules(text: str) -> str:
    """Take the modules from the user's names: the same source is the same code wherever it was imported from."""
    return _SOURCE.sub(lambda found: f"{found[1].rpartition(':')[2]} ({found[2]})", text)


def without_sources(text: str) -> str:
    """Take both the modules and the hashes from the user's names."""
    return _SOURCE.sub(lambda found: found[1].rpartition(":")[2], text)


def counting(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Attributes or parameters, sorted, without those that `describe` leaves out for their names."""
    pairs = sorted(values.items(), key=lambda pair: str(pair[0]))
    return [(name, value) for name, value in pairs if not _LEFT_OUT.fullmatch(name) and not _is_secret(name, value)]


def _is_secret(name: Any, value: Any) -> bool:
    if not isinstance(name, str):
        return False
    may_be = isinstance(value, (str, bytes, Mapping, list, tuple, Set))  # a number called n_tokens is none
    return bool(_SECRET.search(name)) or (may_be and bool(_PERHAPS_SECRET.search(name)))


def _text(value: Any, above: _Above) -> str:
    if id(value) in above:
        return "itself"
    if len(above) > _MAX_DEPTH:
        return "..."
    inside = (*above, id(value))
    for kinds, write in _WRITERS:
        if isinstance(value, kinds):
            return write(value, inside)
    if isinstance(getattr(value, "__wrapped__", None), types.FunctionType):  # by lru_cache, for example
        return f"{_library_label(type(value))} of {_text(value.__wrapped__, inside)}"
    if callable(value) and isinstance(getattr(value, "__name__", None), str):  # of C, or of NumPy
        return label_of(value)
    return _object_text(value, inside)


def _string_text(value: Any, above: _Above) -> str:
    text = _LOGIN.sub("...", str(value))
    if _ABSOLUTE.match(text):  # where it lies is the machine's business
        name = re.split(r"[\\/]", text)[-1]
        text = f".../{name if '.' in name else ''}"  # a folder may be called otherwise elsewhere, or be temporary
    return repr(text)


def _list_text(values: Iterable[Any], above: _Above) -> str:
    return f"[{', '.join(_text(value, above) for value in values)}]"


def _set_text(values: Iterable[Any], above: _Above) -> str:
    return f"{{{', '.join(sorted(_text(value, above) for value in values))}}}"


def _dict_text(values: Mapping[Any, Any], above: _Above) -> str:
    kept = [(key, value) for key, value in values.items() if not _is_secret(key, value)]
    return f"{{{', '.join(sorted(f'{_text(key, above)}: {_text(value, above)}' for key, value in kept))}}}"


def _array_text(value: np.ndarray[Any, Any], above: _Above) -> str:
    if value.dtype.hasobject or value.dtype.kind == "U":
        return _list_text(value.tolist(), above) if value.ndim else _text(value.item(), above)
    if value.size <= _MAX_SHOWN:
        return f"array {value.dtype} {value.tolist()}"
    content = np.ascontiguousarray(value.reshape(-1)[: _HASHED_BYTES // max(1, value.dtype.itemsize)]).tobytes()
    return f"array {value.dtype} {value.shape} {_hash(content)}"


def _tensor_text(value: torch.Tensor, above: _Above) -> str:
    kind = str(value.dtype).removeprefix("torch.")
    if value.is_meta or value.is_quantized or value.is_nested:
        return f"tensor {kind}"
    plain = (value.detach().to_dense() if value.layout is not torch.strided else value.detach()).cpu()
    if plain.numel() <= _MAX_SHOWN:
        return f"tensor {kind} {plain.tolist()}"
    flat = plain.resolve_conj().resolve_neg().reshape(-1)[: _HASHED_BYTES // plain.element_size()].contiguous()
    return f"tensor {kind} {tuple(plain.shape)} {_hash(flat.view(torch.uint8).numpy().tobytes())}"


def _class_text(value: type, above: _Above = ()) -> str:
    users = [_sourced(part) for part in value.__mro__ if _is_users(part.__module__)]
    return " < ".join(users if _is_users(value.__module__) else [_library_label(value), *users])


def _function_text(value: types.FunctionType, above: _Above) -> str:
    if not _is_users(value.__module__):
        return _library_label(value)
    return f"{_sourced(value)}{_arguments_text(dict(_bound_values(value)), above)}"


def _bound_values(value: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """What the source does not show: defaults, and variables of the function around it."""
    for parameter in inspect.signature(value, follow_wrapped=False).parameters.values():
        if parameter.default is not parameter.empty:
            yield parameter.name, parameter.default
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue


def _method_text(value: types.MethodType, above: _Above) -> str:
    return f"{_text(value.__func__, above)} of {_text(value.__self__, above)}"


def _partial_text(value: functools.partial[Any], above: _Above) -> str:
    arguments = {str(position): given for position, given in enumerate(value.args)} | value.keywords
    return f"partial {_text(value.func, above)}{_arguments_text(arguments, above)}"


def _module_text(value: torch.nn.Module, above: _Above) -> str:
    """The parts of a module by class and options; of numbers only what nothing learns, such as a criterion's weight."""
    parts = [f"{name or 'module'}: {_object_text(part, above)}" for name, part in value.named_modules()]
    if next(value.parameters(), None) is None:
        parts += [f"{name}: {_text(buffer, above)}" for name, buffer in value.named_buffers()]
    return "; ".join(parts)


def _object_text(value: Any, above: _Above) -> str:
    return f"{_class_text(type(value))}{_arguments_text(_attributes(value), above)}"


def _attributes(value: Any) -> dict[str, Any]:
    kind = type(value)
    top = kind.__module__.partition(".")[0]
    if isinstance(value, (BaseEstimator, Callback)):
        return dict(value.get_params(deep=False))
    if isinstance(value, torch.nn.Module):
        return {name: given for name, given in vars(value).items() if name != "training"}
    if top == "sklearn":  # a scorer keeps its function in `_score_func`
        own = {name.lstrip("_"): given for name, given in getattr(value, "__dict__", {}).items()}
        return {name: given for name, given in own.items() if name != "metadata_request"}
    if _is_users(kind.__module__) or isinstance(value, _OPEN_TYPES) or top in _OPEN_LIBRARIES:
        return dict(getattr(value, "__dict__", {}))
    return {"content": np.asarray(value)} if top == "pandas" and hasattr(kind, "__array__") else {}


def _arguments_text(arguments: Mapping[str, Any], above: _Above) -> str:
    texts = [f"{name}={_text(value, above)}" for name, value in counting(arguments)]
    return f"({', '.join(texts)})" if texts else ""


def _sourced(value: Any) -> str:
    return f"{value.__module__}:{value.__qualname__} ({_source(value)})"


@functools.lru_cache(maxsize=256)
def _source(value: Any) -> str:
    try:
        source = textwrap.dedent(inspect.getsource(value)).strip()
    except (OSError, TypeError, SyntaxError, tokenize.TokenError):  # made at run time, or typed into a console
        return "no source"
    return f"source {_hash(source.encode())}"


def _library_label(value: Any) -> str:
    label = label_of(value)
    return label if is_import_string(label) else f"{value.__module__}:{value.__qualname__}"


def _is_users(module: str | None) -> bool:
    """Whether code is the user's own: neither a library's nor ours."""
    if not isinstance(module, str) or module.partition(".")[0] in _LIBRARIES:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or not _LIBRARY_FOLDERS & {*Path(file).parts}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


# The first that fits writes.
_WRITERS: tuple[tuple[Any, Callable[[Any, _Above], str]], ...] = (
    (enum.Enum, lambda value, above: f"{_class_text(type(value))}.{value.name}"),
    (np.generic, lambda value, above: repr(value.item())),
    ((type(None), bool, int, float, complex, range, torch.dtype, np.dtype), lambda value, above: repr(value)),
    ((str, PurePath), _string_text),
    ((bytes, bytearray), lambda value, above: f"{len(value)} bytes {_hash(value)}"),
    (torch.device, lambda value, above: "device"),
    (torch.nn.Module, _module_text),
    (torch.Tensor, _tensor_text),
    (np.ndarray, _array_text),
    (Mapping, _dict_text),
    ((list, tuple, deque), _list_text),
    (Set, _set_text),
    (type, _class_text),
    (types.FunctionType, _function_text),
    (types.MethodType, _method_text),
    (functools.partial, _partial_text),
)
