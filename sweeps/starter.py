"""The files that `sweeps init` writes: a sweep.yaml and a model.py that run as they are, to be changed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

from sweeps.errors import Problem, SpecError


class Template(StrEnum):
    """What kind of sweep to begin with."""

    CLASSIFIER = "classifier"
    REGRESSOR = "regressor"
    IMAGE = "image"


def starter_files(folder: Path, template: Template) -> dict[Path, str]:
    """The files of a template and their text, by where they would be written."""
    source = files("sweeps") / "templates"
    names = {"sweep.yaml": f"{template}.yaml", "model.py": f"{template}.py"}
    return {folder / name: (source / of).read_text(encoding="utf-8") for name, of in names.items()}


def write_starter(texts: Mapping[Path, str]) -> None:
    """Writes all files, or none.

    Raises
    ------
    SpecError
        Some exist, or cannot be written; the message names them.
    """
    existing = [path for path in texts if path.exists()]
    if existing:
        text = "exists already, and nothing is overwritten; give another directory, or move the file away"
        raise SpecError(*(Problem(text, file=str(path)) for path in existing))
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise SpecError(Problem(f"cannot be written: {error.strerror}", file=str(path))) from error
