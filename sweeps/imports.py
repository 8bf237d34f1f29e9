"""`module:attribute` -> the object, with errors that say which half is wrong.

Imports the user's code and calls nothing in it.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import operator
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, TracebackType

from sweeps.errors import Problem, SpecError, did_you_mean
from trainables.user_code import told


def resolve_import(reference: str, search_path: Sequence[Path] = ()) -> object:
    """Import what a `module:attribute` names.

    Parameters
    ----------
    reference
        For example `examples.digits.model:make_net`; the attribute may be dotted.
    search_path
        Folders that are looked in first. They stay in front of `sys.path`, so that later imports of that code find
        its neighbours too.

    Raises
    ------
    SpecError
        No such module or attribute, another module of that name is loaded already, or the module raised.
    """
    module_name, colon, attribute = reference.partition(":")
    if not (module_name and colon and attribute):
        raise SpecError(Problem("not of the form module:attribute, such as examples.digits.model:make_net", reference))
    folders = [str(folder.resolve()) for folder in search_path]
    sys.path[:] = dict.fromkeys([*folders, *sys.path])
    importlib.invalidate_caches()
    _refuse_namesake(module_name.partition(".")[0], folders, reference)
    with UserErrors(f"importing {module_name}", reference):
        module = _imported(module_name, reference)
    return _attribute(module, attribute, reference)


class UserErrors:
    """Turns what user code raises, SystemExit included, into a SpecError that names the cause and the line.

    Parameters
    ----------
    doing
        What is done with the user's code, as the start of the message.
    where
        Dotted key that asks for it.
    """

    def __init__(self, doing: str, where: str) -> None:
        self._doing = doing
        self._where = where

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, (Exception, SystemExit)) and not isinstance(error, SpecError):
            raise SpecError(Problem(f"{self._doing} raised {told(error)}", self._where)) from error


def _refuse_namesake(top: str, folders: Sequence[str], reference: str) -> None:
    """Python would silently hand out the module that it loaded first under this name."""
    loaded = getattr(sys.modules.get(top), "__file__", None)
    found = importlib.machinery.PathFinder.find_spec(top, folders) if loaded and folders else None
    if found is None or found.origin in (None, loaded):
        return
    text = f"{found.origin} is wanted, but {loaded} is loaded already under the same name; rename one of them"
    raise SpecError(Problem(text, reference))


def _imported(name: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there, but imports one that is not
        raise SpecError(Problem(_missing_module(error.name), reference)) from None


def _missing_module(missing: str) -> str:
    parent = missing.rpartition(".")[0]
    folders = getattr(sys.modules[parent], "__path__", []) if parent else sys.path
    neighbours = [f"{parent}.{info.name}" if parent else info.name for info in pkgutil.iter_modules(folders)]
    hint = did_you_mean(missing, neighbours, otherwise=f"looked in {', '.join(map(str, folders))}")
    return f"no module {missing}; {hint}"


def _attribute(module: ModuleType, attribute: str, reference: str) -> object:
    try:
        return operator.attrgetter(attribute)(module)
    except AttributeError:
        public = [name for name in dir(module) if not name.startswith("_")]
        hint = did_you_mean(attribute, public)
        text = f"{module.__file__ or module.__name__} has no {attribute}; {hint}"
        raise SpecError(Problem(text, reference)) from None
