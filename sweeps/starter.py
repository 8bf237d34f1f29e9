"""The files that `sweeps init` writes: a sweep.yaml with its model.py, or a cluster.yaml; all of them to be changed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

from sweeps.errors import Problem, SpecError
from sweeps.origin import Origin, installed_origin, public_version


class Template(StrEnum):
    """What kind of sweep or cluster to begin with."""

    CLASSIFIER = "classifier"
    REGRESSOR = "regressor"
    IMAGE = "image"
    CLUSTER_AWS = "cluster-aws"
    CLUSTER_GCP = "cluster-gcp"
    CLUSTER_LOCAL = "cluster-local"
    KUBERAY = "kuberay"


_NET_STEPS = ("sweeps validate {}", "sweeps preview {}", "sweeps run {}")
_CLUSTER_FILES = {
    Template.CLUSTER_AWS: "cluster.yaml",
    Template.CLUSTER_GCP: "cluster.yaml",
    Template.CLUSTER_LOCAL: "cluster.yaml",
    Template.KUBERAY: "rayjob.yaml",
}


def starter_files(folder: Path, template: Template) -> dict[Path, str]:
    """The files of a template and their text, by where they would be written; the one to begin with comes first.

    Raises
    ------
    SpecError
        A template of a cluster cannot name where this installation came from.
    """
    if template in _CLUSTER_FILES:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        return {folder / _CLUSTER_FILES[template]: cluster_text(template, installed_origin(), python)}
    names = {"sweep.yaml": f"{template}.yaml", "model.py": f"{template}.py"}
    return {folder / name: _template(of) for name, of in names.items()}


def cluster_text(template: Template, origin: Origin, python: str) -> str:
    """A template of a cluster whose nodes install what `origin` says, in a Python such as `3.11`."""
    marks = {
        "__PYTHON__": [python],
        "__PYTAG__": ["py" + python.replace(".", "")],
        "__RAY__": [public_version("ray")],
        "__VERSION__": [public_version("skorch-sweeps")],
        "__IDENTITY__": [origin.identity],
        "__INSTALL__": [origin.arguments],
        "__MOUNTS__": [f"{json.dumps(remote)}: {json.dumps(local)}" for remote, local in origin.mounts.items()],
        "__IMAGE__": [*_copies(origin), f"RUN pip install {origin.arguments.replace(' -e ', ' ')}"],
        "__CONTEXT__": [str(origin.folder or ".")],
    }
    return "".join(f"{line}\n" for line in _filled(_template(f"{template}.yaml"), marks))


def next_steps(template: Template, texts: Mapping[Path, str]) -> list[str]:
    """The command lines that come after the files of a template were written."""
    if template is Template.KUBERAY:
        steps: Sequence[str] = ("put your image and volume into {}", "kubectl apply -f {}")
    elif template in _CLUSTER_FILES:
        steps = ("put your machines and keys into {}", "sweeps cluster validate {}", "sweeps cluster up {}")
    else:
        steps = _NET_STEPS
    return [step.format(next(iter(texts))) for step in steps]


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


def _template(name: str) -> str:
    return (files("sweeps") / "templates" / name).read_text(encoding="utf-8")


def _filled(text: str, marks: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Fills marks; one that ends a line of nothing else but a `#` stands for as many lines as it has."""
    for line in text.splitlines():
        lead = line.rstrip("_ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        mark = line[len(lead) :]
        if mark in marks and lead.strip() in ("", "#"):
            yield from (f"{lead}{value}" for value in marks[mark])
            continue
        for name, values in marks.items():
            line = line.replace(name, " ".join(values))
        yield line


def _copies(origin: Origin) -> list[str]:
    """Lines of a Dockerfile; the user of Ray's own images is `ray`."""
    return [
        f"COPY --chown=ray {Path(local).name} {remote.replace('~', '/home/ray', 1)}"
        for remote, local in origin.mounts.items()
    ]
