"""What a spec names, found: the net imported, the data loaded, and both named so that any folder finds them again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skorch import NeuralNet

from sweeps.config import SweepConfig
from sweeps.data_config import ParquetData
from sweeps.errors import Problem, SpecError
from sweeps.imports import UserErrors, resolve_import
from trainables.data import DataError
from trainables.loaders import load
from trainables.remote import is_remote, without_credentials


def make_net(found: object, reference: str) -> NeuralNet:
    """The net that a reference means: an instance, or what a function returns.

    Raises
    ------
    SpecError
        It is neither, or the function raises.
    """
    made = found
    if callable(found) and not isinstance(found, NeuralNet):
        with UserErrors(f"{reference}()", "net"):
            made = found()
    if not isinstance(made, NeuralNet):
        given = f"{reference} gives a {type(made).__qualname__}"
        raise SpecError(Problem(f"{given}; give a skorch net, or a function without arguments that returns one", "net"))
    return made


def as_submitted(folder: Path) -> Path:
    """A folder of what an earlier job was submitted with, as this job has it; any other folder as it is.

    Ray unpacks what is submitted into a folder of its own each time, in which the job then works.
    """
    parts = folder.parts
    at = next((index for index, part in enumerate(parts) if part.startswith("_ray_pkg_")), None)
    return folder if at is None else Path.cwd().joinpath(*parts[at + 1 :])


def import_net(reference: str, search_path: Sequence[Path]) -> NeuralNet:
    """The net behind ``module:attribute``: an instance, or what a function returns.

    Raises
    ------
    SpecError
        It cannot be imported, or is no net.
    """
    try:
        found = resolve_import(reference, search_path)
    except SpecError as error:
        raise SpecError(*(Problem(f"{reference}: {problem.message}", "net") for problem in error.problems)) from error
    return make_net(found, reference)


def load_data(config: SweepConfig, folder: Path) -> tuple[Any, Any]:
    """X and y of the spec's ``data`` section; relative paths are relative to ``folder``.

    Raises
    ------
    SpecError
        They cannot be loaded.
    """
    description = config.data.model_dump() if config.data is not None else {}
    options = description.pop("options", {})
    if path := description.get("path"):
        description["path"] = _absolute(path, folder)
    try:
        return load(description | options, folder)
    except DataError as error:
        raise SpecError(*(Problem(message, "data") for message in error.problems)) from error


def read_by_nodes(config: SweepConfig, folder: Path) -> dict[str, Any] | None:
    """What every node of a cluster reads for itself: the ``data`` section with a path that is the same everywhere.

    Returns
    -------
    dict or None
        A description for `trainables.loaders.load`; None of data that the driver sends.
    """
    if not isinstance(config.data, ParquetData):
        return None
    return config.data.model_dump() | {"path": _absolute(config.data.path, folder)}


def from_anywhere(config: SweepConfig, folder: Path) -> SweepConfig:
    """The config as any folder can use it and anybody may see it: an absolute path of data, no credentials."""
    if is_remote(config.storage):
        config = config.model_copy(update={"storage": without_credentials(config.storage)})
    path = getattr(config.data, "path", None)
    if config.data is None or path is None:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"path": _absolute(path, folder)})})


def _absolute(path: str, folder: Path) -> str:
    return path if "://" in path else str(as_submitted(folder / Path(path).expanduser()))
