"""`module:attribute` -> the object, with errors that say which half is wrong.

Imports the user's code and calls nothing in it.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import operator
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, TracebackType

from sweeps.errors import Problem, SpecError, did_you_mean


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
    sys.path[:0] = [folder for folder in dict.fromkeys(folders) if folder not in sys.path]
    importlib.invalidate_caches()
    _refuse_namesake(module_name.partition(".")[0], folders, reference)
    with _ImportErrors(reference, module_name):
        module = importlib.import_module(module_name)
    return _attribute(module, attribute, reference)


def _refuse_namesake(top: str, folders: Sequence[str], reference: str) -> None:
    """Python would silently hand out the module that it loaded first under this name."""
    loaded = getattr(sys.modules.get(top), "__file__", None)
    found = importlib.machinery.PathFinder.find_spec(top, folders) if loaded and folders else None
    if found is None or found.origin in (None, loaded):
        return
    text = f"{found.origin} is wanted, but {loaded} is loaded already under the same name; rename one of them"
    raise SpecError(Problem(text, reference))


class _ImportErrors:
    """Turns whatever importing the user's module raises into a SpecError that names the cause and the line."""

    def __init__(self, reference: str, module_name: str) -> None:
        self._reference = reference
        self._module_name = module_name

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, ModuleNotFoundError) and self._names_the_module(error.name):
            raise SpecError(Problem(_missing_module(str(error.name)), self._reference)) from None
        if isinstance(error, (Exception, SystemExit)):
            raise SpecError(self._raised(error)) from error

    def _names_the_module(self, missing: str | None) -> bool:
        return missing is not None and f"{self._module_name}.".startswith(f"{missing}.")

    def _raised(self, error: Exception | SystemExit) -> Problem:
        text = f"importing {self._module_name} raised {type(error).__name__}: {error}"
        if isinstance(error, SyntaxError):
            return Problem(text, self._reference, error.filename, error.lineno)
        frames = traceback.extract_tb(error.__traceback__)
        users = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
        if not users:
            return Problem(text, self._reference)
        return Problem(text, self._reference, users[-1].filename, users[-1].lineno)


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
