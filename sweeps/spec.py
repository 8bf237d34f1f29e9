"""sweep.yaml <-> `SweepConfig`: every problem at once, each with its file and line.

Imports nothing that a spec names, and none of the heavy libraries: checking a file takes a moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from search_spaces.labels import as_plain
from search_spaces.space import SearchSpace
from sweeps.config import SweepConfig
from sweeps.config_problems import config_problems
from sweeps.errors import Problem, SpecError
from sweeps.space_checks import space_problems
from sweeps.yaml_document import parse_yaml

MAX_FILE_BYTES = 1_000_000
"""Size above which a file cannot be a sweep.yaml."""


def load_spec(path: str | Path, overrides: Sequence[str] = (), *, needs: Sequence[str] = ()) -> SweepConfig:
    """Read a sweep.yaml.

    Parameters
    ----------
    path
        The file.
    overrides
        `key=value` each, the key dotted (`searcher.num_samples=8`), the value in YAML; a mapping replaces the whole
        section. Later ones win.
    needs
        Keys that must be there though a `SweepConfig` may lack them: what only Python could bring instead.

    Raises
    ------
    SpecError
        With everything that is wrong: `sweep.yaml:4: searcher.num_samplez: unknown key; did you mean num_samples?`.
    """
    text = _read(Path(path))
    try:
        document = parse_yaml(text)
    except SpecError as error:
        raise SpecError(*(replace(problem, file=str(path)) for problem in error.problems)) from None
    source = _Source(str(path), document.lines)
    problems = [replace(problem, file=str(path)) for problem in document.problems]
    data = document.data if document.data is not None else {}
    problems += _apply(overrides, data, source)
    problems += [Problem(f"required; give {_NEEDED[key]}", key, source.file) for key in needs if _lacks(data, key)]
    try:
        config = build_config(data)
    except SpecError as error:
        problems += [source.place(problem) for problem in error.problems]
    if problems:
        raise SpecError(*sorted(dict.fromkeys(problems), key=lambda problem: problem.line or 0))
    return config


def load_space(path: str | Path) -> dict[str, Any]:
    """Read the parameters of a sweep.yaml, or of a file that holds nothing else.

    Raises
    ------
    SpecError
        It cannot be read, or its parameters are wrong; with everything that is.
    """
    text = _read(Path(path))
    try:
        document = parse_yaml(text)
    except SpecError as error:
        raise SpecError(*(replace(problem, file=str(path)) for problem in error.problems)) from None
    data = document.data if isinstance(document.data, dict) else {}
    is_whole = isinstance(data.get("parameters"), dict)
    parameters = data["parameters"] if is_whole else data
    problems = [replace(problem, file=str(path)) for problem in document.problems]
    source = _Source(str(path), document.lines)
    for problem in space_problems({"parameters": parameters}):
        where = problem.where if is_whole else problem.where.removeprefix("parameters.")
        problems.append(source.place(replace(problem, where=where)))
    if not parameters:
        problems.append(Problem("holds no parameters; give a mapping of parameter names to domains", file=str(path)))
    if problems:
        raise SpecError(*problems)
    return dict(parameters)


@contextmanager
def located(path: str | Path, overrides: Sequence[str] = ()) -> Iterator[None]:
    """Give the problems that come up inside, such as one with the data, the lines of the sweep.yaml that led to them.

    Parameters
    ----------
    path
        A file that `load_spec` has read.
    overrides
        As for `load_spec`.
    """
    try:
        yield
    except SpecError as error:
        document = parse_yaml(_read(Path(path)))
        source = _Source(str(path), document.lines)
        list(_apply(overrides, document.data, source))
        places = [problem if problem.file else source.place(problem) for problem in error.problems]
        raise SpecError(*places) from error


def build_config(data: Any) -> SweepConfig:
    """Check a whole sweep, parameters included: the one door for specs from YAML and from Python.

    Parameters
    ----------
    data
        The mapping that a sweep.yaml holds. From Python its sections may be parts of a config, and the parameters
        anything that `search_spaces.SearchSpace` reads.

    Raises
    ------
    SpecError
        With everything that is wrong, by dotted key.
    """
    try:
        config = SweepConfig.model_validate(data)
    except ValidationError as error:
        raise SpecError(*config_problems(error), *space_problems(data)) from None
    problems = space_problems(data)
    if problems:
        raise SpecError(*problems)
    return config


def dump_spec(config: SweepConfig) -> str:
    """Write a sweep.yaml, all defaults spelled out, that `load_spec` reads back as an equal config.

    Domains that came as Python objects are written as the mappings that mean the same, and objects among the values as
    their labels; then the spaces are equal.

    Raises
    ------
    SpecError
        Another section holds an object.
    """
    data = config.model_dump(by_alias=True)
    if not as_plain(config.parameters)[0]:
        data["parameters"] = SearchSpace(config.parameters).plain()
    plain = {key: as_plain(value) for key, value in data.items()}
    problems = [
        Problem("holds what YAML cannot; give numbers, text and lists", key)
        for key, (fits, _) in plain.items()
        if not fits
    ]
    if problems:
        raise SpecError(*problems)
    yaml = YAML(pure=True)
    yaml.default_flow_style = False
    yaml.width = 10_000
    yaml.allow_unicode = False  # else line separators such as U+0085 are written raw and read as line breaks
    text = StringIO()
    yaml.dump({key: value for key, (_, value) in plain.items()}, text)
    return text.getvalue()


_NEEDED = {
    "net": "module:attribute of a skorch net, or of a function that returns one",
    "data": "a data section, such as {type: sklearn, name: digits}",
}


def _lacks(data: Any, key: str) -> bool:
    return isinstance(data, dict) and data.get(key) is None


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SpecError(Problem(f"larger than {MAX_FILE_BYTES} bytes; is this a sweep.yaml?", file=str(path)))
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = "no such file; give the path of a sweep.yaml (`sweeps init` writes one to begin with)"
        raise SpecError(Problem(text, file=str(path))) from None
    except UnicodeDecodeError as error:
        raise SpecError(Problem(f"not UTF-8 text (byte {error.start})", file=str(path))) from None
    except OSError as error:
        raise SpecError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from None


@dataclass
class _Source:
    """Where each value came from: a line of the file, or an override."""

    file: str
    lines: dict[str, int]
    overridden: set[str] = field(default_factory=set)

    def override(self, key: str, lines: Mapping[str, int]) -> None:
        """Forget where the old values stood below `key`, and note which ones replace them."""
        self.lines = {name: line for name, line in self.lines.items() if key not in _prefixes(name)}
        self.overridden.update(f"{key}.{name}" if name else key for name in lines)

    def place(self, problem: Problem) -> Problem:
        """Return the problem with the place of the nearest value that was given."""
        lines = {_flat(name): line for name, line in self.lines.items()}
        overridden = set(map(_flat, self.overridden))
        for prefix in _prefixes(problem.where):
            if prefix in overridden:
                return replace(problem, where=f"--set {problem.where}")
            if prefix in lines:
                return replace(problem, file=self.file, line=lines[prefix])
        return replace(problem, file=self.file)


def _flat(key: str) -> str:
    """Name a nested parameter as the space does: `parameters.module.layers` is `parameters.module__layers`."""
    head, dot, name = key.partition("parameters.")
    return key if head or not dot else dot + name.replace(".", "__")


def _prefixes(where: str) -> Iterator[str]:
    """`a.b.c`, `a.b`, `a` and the empty key."""
    while where:
        yield where
        where = where.rpartition(".")[0]
    yield ""


def _apply(overrides: Sequence[str], data: Any, source: _Source) -> Iterator[Problem]:
    """Put the overrides into the data; yields what is wrong with the overrides themselves."""
    for override in overrides:
        key, equals, text = override.partition("=")
        place = f"--set {key}"
        if not equals or not all(key.split(".")):
            yield Problem("not of the form key=value, such as searcher.num_samples=8", f"--set {override}")
            continue
        try:
            value = parse_yaml(text)
        except SpecError as error:
            yield from (Problem(problem.message, place) for problem in error.problems)
            continue
        yield from (Problem(problem.message, place) for problem in value.problems)
        if not _put(data, key.split("."), value.data):
            yield Problem("cannot be set: what is above it in the file is no mapping", place)
            continue
        source.override(key, value.lines)


def _put(data: Any, keys: Sequence[str], value: Any) -> bool:
    for key in keys[:-1]:
        if not isinstance(data, dict):
            return False
        if data.get(key) is None:
            data[key] = {}
        data = data[key]
    if not isinstance(data, dict):
        return False
    data[keys[-1]] = value
    return True
