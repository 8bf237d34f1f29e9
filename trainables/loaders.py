"""A `data` description of a sweep becomes (X, y), from scikit-learn, an npz file, Parquet or Arrow files, or Python.

It neither casts nor checks values (`TrialData.make` does), and it never unpickles.
"""

from __future__ import annotations

import importlib
import inspect
import operator
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import sklearn.datasets
from torch.utils.data import Dataset

from trainables.data import DataError
from trainables.suggestions import did_you_mean
from trainables.user_code import UserDataErrors


def load(description: Mapping[str, Any], base_dir: str | Path = ".") -> tuple[Any, Any]:
    """Load what a description names.

    Parameters
    ----------
    description : mapping
        * ``{"type": "sklearn", "name": "digits", …}``: one of scikit-learn's own sets, or one of its generators such
          as ``make_classification`` with its options; ``random_state`` is 0 unless given.
        * ``{"type": "npz", "path": …, "X": "X", "y": "y"}``: arrays by their names in the file; ``y: null`` for none.
        * ``{"type": "parquet", "path": …, "target": …, "columns": None}``: a file, a directory, a pattern with ``*``
          (within one directory level), or a URI of ``pyarrow.fs``; ``.parquet``, ``.arrow`` or ``.feather``. X has
          `columns`, or all but the target; ``target: null`` for none. Files are read in the order of their names.
        * ``{"type": "python", "object": "module:attribute"}``: (X, y), a torch Dataset, or a function without
          arguments that returns one of them. It imports, so it runs, that module.
    base_dir : str or Path, default "."
        Directory that relative paths start from.

    Returns
    -------
    X, y
        As loaded; y is None where there is none.

    Raises
    ------
    DataError
        When the description is wrong or does not fit what is there; says what exists.
    """
    kind = description.get("type")
    if not isinstance(kind, str) or kind not in _LOADERS:
        raise DataError([_unknown("type", kind, _LOADERS)])
    loader, required, optional = _LOADERS[kind]
    given = {key: value for key, value in description.items() if key != "type"}
    problems = [f"{key}: is missing from the {kind} data; give it" for key in required if key not in given]
    if kind != "sklearn":  # whose options depend on the name
        allowed = (*required, *optional)
        problems += [
            f"{key}: not a key of {kind} data{did_you_mean(key, allowed)}" for key in given if key not in allowed
        ]
    if problems:
        raise DataError(problems)
    return loader(optional | given, Path(base_dir))


def _from_sklearn(given: Mapping[str, Any], base_dir: Path) -> tuple[Any, Any]:
    name = given["name"]
    if name not in (*_SKLEARN_SETS, *_SKLEARN_GENERATORS):
        raise DataError([_unknown("name", name, (*_SKLEARN_SETS, *_SKLEARN_GENERATORS))])
    function = getattr(sklearn.datasets, name if name in _SKLEARN_GENERATORS else f"load_{name}")
    options = {key: value for key, value in given.items() if key != "name"}
    allowed = set(inspect.signature(function).parameters) - {"return_X_y", "as_frame"}
    unknown = [f"{key}: not an option of {name}{did_you_mean(key, allowed)}" for key in options if key not in allowed]
    if unknown:
        raise DataError(unknown)
    # Without a seed every process would draw other data.
    defaults = {"random_state": 0} if name in _SKLEARN_GENERATORS else {"return_X_y": True}
    try:
        loaded = function(**(defaults | options))
    except (TypeError, ValueError) as error:
        raise DataError([f"{name}: scikit-learn refuses the options {options}: {error}"]) from error
    return _as_pair(loaded, name)


def _from_npz(given: Mapping[str, Any], base_dir: Path) -> tuple[Any, Any]:
    path = _existing(base_dir, given["path"])
    names = {key: given[key] for key in ("X", "y") if given[key] is not None}
    try:
        arrays = np.load(path, allow_pickle=False)
        if not isinstance(arrays, np.lib.npyio.NpzFile):
            raise DataError([f"path: {path} holds one bare array; save both with numpy.savez(path, X=X, y=y)"])
        with arrays:
            missing = [_unknown(key, name, arrays.files) for key, name in names.items() if name not in arrays.files]
            if missing:
                raise DataError([f"{problem}; these are the arrays of {path}" for problem in missing])
            loaded = {key: arrays[name] for key, name in names.items()}
    except DataError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            [f"path: {path} cannot be read ({error}); write numbers with numpy.savez, objects are never unpickled"]
        ) from error
    return loaded.get("X"), loaded.get("y")


def _from_columns(given: Mapping[str, Any], base_dir: Path) -> tuple[Any, Any]:
    table_source = _open_files(str(given["path"]), base_dir)
    names, target, columns = table_source.schema.names, given["target"], given["columns"]
    if columns is None:
        columns = [name for name in names if name != target]
    if isinstance(columns, str) or not columns or target in columns:
        raise DataError([f"columns: give a list of column names without the target {target!r}, not {columns!r}"])
    wanted = {"columns": columns, "target": [] if target is None else [target]}
    missing = [_unknown(key, name, names) for key, group in wanted.items() for name in group if name not in names]
    if missing:
        raise DataError(missing)
    try:
        table = table_source.to_table(columns=[*columns, *wanted["target"]])
    except (OSError, pa.ArrowException) as error:
        raise DataError([f"path: a file cannot be read: {error}"]) from error
    _check_columns(table)
    X = np.column_stack([table.column(name).to_numpy() for name in columns])
    return X, None if target is None else table.column(target).to_numpy()


def _from_python(given: Mapping[str, Any], base_dir: Path) -> tuple[Any, Any]:
    reference = str(given["object"])
    module_name, colon, attribute = reference.partition(":")
    if not colon or not module_name or not attribute:
        raise DataError([f"object: {reference!r} is no module:attribute, such as examples.digits.data:load"])
    with UserDataErrors(f"object: importing {module_name}"):
        module = _imported(module_name)
    try:
        loaded = operator.attrgetter(attribute)(module)
    except AttributeError as error:
        public = [name for name in dir(module) if not name.startswith("_")]
        raise DataError([_unknown("object", attribute, public) + f"; these are the names in {module_name}"]) from error
    if callable(loaded) and not isinstance(loaded, Dataset):
        with UserDataErrors(f"object: {reference}()"):
            loaded = loaded()
    return (loaded, None) if isinstance(loaded, Dataset) else _as_pair(loaded, reference)


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there, but imports one that is not
        raise DataError([f"object: cannot import {name!r} ({error}); start where it can be imported"]) from error


_Loader = Callable[[Mapping[str, Any], Path], tuple[Any, Any]]
# Loader, the keys that it needs, and those with a default.
_LOADERS: dict[str, tuple[_Loader, tuple[str, ...], dict[str, Any]]] = {
    "sklearn": (_from_sklearn, ("name",), {}),
    "npz": (_from_npz, ("path",), {"X": "X", "y": "y"}),
    "parquet": (_from_columns, ("path", "target"), {"columns": None}),
    "python": (_from_python, ("object",), {}),
}
# The sets that scikit-learn brings along, and the generators that return (X, y); the rest downloads or is no table.
_SKLEARN_SETS = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")
_SKLEARN_GENERATORS = (
    "make_blobs",
    "make_circles",
    "make_classification",
    "make_friedman1",
    "make_friedman2",
    "make_friedman3",
    "make_gaussian_quantiles",
    "make_hastie_10_2",
    "make_moons",
    "make_multilabel_classification",
    "make_regression",
    "make_s_curve",
    "make_sparse_uncorrelated",
    "make_swiss_roll",
)
_FORMATS = {".parquet": "parquet", ".arrow": "ipc", ".feather": "ipc"}


def _unknown(key: str, given: object, allowed: Iterable[Any]) -> str:
    names = [str(name) for name in allowed]
    shown = ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")
    return f"{key}: {given!r} is not one of {shown}{did_you_mean(given, names)}"


def _as_pair(loaded: Any, name: str) -> tuple[Any, Any]:
    if isinstance(loaded, (tuple, list)) and len(loaded) == 2:
        return loaded[0], loaded[1]
    what = f"{len(loaded)} values" if isinstance(loaded, (tuple, list)) else type(loaded).__name__
    raise DataError([f"{name}: gives {what}, not (X, y); return two values, or a torch Dataset"])


def _existing(base_dir: Path, path: str) -> Path:
    full = base_dir / Path(path).expanduser()
    if full.is_file():
        return full
    raise DataError([f"path: there is no file {full}{_neighbours(full)}"])


def _neighbours(path: Path) -> str:
    """Say what stands in the nearest directory that exists, and which name is closest."""
    parent = next((folder for folder in path.parents if folder.is_dir()), Path())
    names = sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    return f"; {parent} holds {', '.join(names[:10]) or 'nothing'}{did_you_mean(path.name, names)}"


def _open_files(path: str, base_dir: Path) -> Any:
    """Open the files that a path, a pattern or a URI means, as one pyarrow dataset."""
    filesystem, location, shown = _located(path, base_dir)
    try:
        files, root = _matching(filesystem, location)
        if not files:
            neighbours = "" if "://" in path else _neighbours(Path(shown))
            raise DataError([f"path: no {', '.join(_FORMATS)} files at {shown}{neighbours}"])
        suffixes = sorted({PurePosixPath(file).suffix for file in files})
        if not set(suffixes) <= set(_FORMATS):
            raise DataError(
                [f"path: {shown} is none of {', '.join(_FORMATS)}; write it with pandas.DataFrame.to_parquet"]
            )
        if len(suffixes) > 1:
            raise DataError(
                [f"path: {shown} mixes {', '.join(suffixes)} files; name those of one format, as in *{suffixes[0]}"]
            )
        return pyarrow.dataset.dataset(
            files, filesystem=filesystem, format=_FORMATS[suffixes[0]], partitioning="hive", partition_base_dir=root
        )
    except (OSError, pa.ArrowException) as error:
        raise DataError([f"path: {shown} cannot be read: {error}"]) from error


def _located(path: str, base_dir: Path) -> tuple[pyarrow.fs.FileSystem, str, str]:
    """Find the file system, the location on it, and what a message may show of it."""
    if "://" not in path:
        full = base_dir / Path(path).expanduser()
        return pyarrow.fs.LocalFileSystem(), full.absolute().as_posix(), str(full)
    parts = urlsplit(path)
    shown = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"  # without user, password and options
    try:
        return *pyarrow.fs.FileSystem.from_uri(path), shown
    except (OSError, pa.ArrowException):
        # pyarrow's message repeats the whole URI, and a URI may hold a secret.
        raise DataError(
            [f"path: {shown} opens no file system; give a path or a URI of pyarrow.fs: file, s3, gs or hdfs"]
        ) from None


def _matching(filesystem: pyarrow.fs.FileSystem, location: str) -> tuple[list[str], str]:
    """List the data files at a location, sorted, and the directory that they are below."""
    info = filesystem.get_file_info(location)
    if info.type == pyarrow.fs.FileType.File:
        return [location], str(PurePosixPath(location).parent)
    steps = PurePosixPath(location).parts
    n_fixed = next((n for n, step in enumerate(steps) if any(sign in step for sign in "*?[")), len(steps))
    root = str(PurePosixPath(*steps[:n_fixed]))
    found = filesystem.get_file_info(pyarrow.fs.FileSelector(root, allow_not_found=True, recursive=True))
    return sorted(
        entry.path
        for entry in found
        if entry.type == pyarrow.fs.FileType.File
        and PurePosixPath(entry.path).suffix in _FORMATS
        and not entry.base_name.startswith((".", "_"))
        and (n_fixed == len(steps) or PurePosixPath(entry.path).match(location))
    ), root


def _check_columns(table: Any) -> None:
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    odd = [f"{field.name!r} ({field.type})" for field in table.schema if not any(is_(field.type) for is_ in numeric)]
    nulls = {name: table.column(name).null_count for name in table.column_names}
    holes = [f"{name!r} ({count})" for name, count in nulls.items() if count]
    problems = []
    if odd:
        problems.append(f"columns {', '.join(odd)} are not numbers; encode them, or name the others in columns")
    if holes:
        problems.append(
            f"columns {', '.join(holes)} have missing values; fill them, or leave these rows or columns out"
        )
    if problems:
        raise DataError(problems)
