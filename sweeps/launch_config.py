"""A cluster.yaml as Ray's launcher gets it: checked by Ray itself, all its defaults filled in. Starts nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import yaml  # type: ignore[import-untyped]  # published without type information
from click import ClickException
from jsonschema import ValidationError  # type: ignore[import-untyped]  # published without type information
from ray.autoscaler._private.util import prepare_config, validate_config

from sweeps.cluster_file import ClusterFile
from sweeps.errors import Problem, SpecError

_SAID_BY_RAY = (
    AssertionError,
    AttributeError,
    ClickException,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValidationError,
    ValueError,
)


def prepared(cluster: ClusterFile) -> Mapping[str, Any]:
    """The whole configuration.

    Parameters
    ----------
    cluster : ClusterFile
        What was read.

    Raises
    ------
    SpecError
        Ray refuses it.
    """
    with _in_one_line(cluster):
        config: dict[str, Any] = prepare_config(yaml.safe_load(cluster.path.read_text(encoding="utf-8")))
        validate_config(config)
    return config


def render(cluster: ClusterFile) -> str:
    """The whole configuration as YAML; raises as `prepared`."""
    return str(yaml.safe_dump(dict(prepared(cluster)), sort_keys=False, width=10_000))


@contextmanager
def _in_one_line(cluster: ClusterFile) -> Iterator[None]:
    """Turns Ray's refusal, in whatever form and with whatever it writes, into one problem."""
    said = StringIO()
    try:
        with redirect_stdout(said):
            yield
    except _SAID_BY_RAY as error:
        text = str(error.message if isinstance(error, (ClickException, ValidationError)) else error)
        lines = [line for line in [*said.getvalue().splitlines(), *text.splitlines()] if line.strip()]
        reason = lines[-1].strip() if lines else type(error).__name__
        name = "" if isinstance(error, (ClickException, ValidationError, ValueError)) else f"{type(error).__name__}: "
        raise SpecError(Problem(f"Ray refuses it: {name}{reason}", file=str(cluster.path))) from error
    if said.getvalue():
        sys.stderr.write(said.getvalue())
