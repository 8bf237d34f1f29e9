"""A YAML text as plain data with the line of every value: YAML 1.2, without tags, directives and duplicate keys.

Gives only dict, list, str, int, float, bool and None, whatever the text says. Knows nothing of what the data mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tokens import DirectiveToken, TagToken

from sweeps.errors import Problem, SpecError

MAX_VALUES = 50_000
"""Most values in one document; aliases of aliases would otherwise expand without end."""

_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {_TAG + kind for kind in ("bool", "float", "int", "null")}


@dataclass(frozen=True)
class YamlDocument:
    """What a YAML text holds.

    Parameters
    ----------
    data
        The values, as plain Python data.
    lines
        Dotted key (`searcher.name`, `parameters.lr.0`) -> line, from 1.
    problems
        What is wrong with the text itself and did not hinder reading on.
    """

    data: Any
    lines: dict[str, int]
    problems: tuple[Problem, ...] = ()


def parse_yaml(text: str) -> YamlDocument:
    """Read one YAML document.

    Raises
    ------
    SpecError
        The text is no YAML, or is nested or aliased beyond all use.
    """
    try:
        node = YAML(typ="safe", pure=True).compose(text)
        reader = _NodeReader(list(_forbidden_tokens(text)))
        data = None if node is None else reader.read(node, "")
    except YAMLError as error:
        raise SpecError(_syntax_problem(error)) from None
    except RecursionError:
        raise SpecError("nested too deeply, or an alias that contains itself") from None
    return YamlDocument(data, reader.lines, tuple(reader.problems))


def _forbidden_tokens(text: str) -> Iterator[Problem]:
    for token in YAML(typ="safe", pure=True).scan(text):
        if isinstance(token, (TagToken, DirectiveToken)):
            kind = "tags (!...)" if isinstance(token, TagToken) else "directives (%...)"
            yield Problem(f"{kind} are not read here; write plain values", line=token.start_mark.line + 1)


def _syntax_problem(error: YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    reason = getattr(error, "problem", None) or str(error).splitlines()[0]
    return Problem(f"not YAML: {reason}", line=None if mark is None else mark.line + 1)


class _NodeReader:
    """Turns composed nodes into plain data and remembers where each stood."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self.lines: dict[str, int] = {}
        self._constructor = YAML(typ="safe", pure=True).constructor

    def read(self, node: Node, where: str) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(where, line)
        if len(self.lines) > MAX_VALUES:
            raise SpecError(Problem(f"more than {MAX_VALUES} values, counting aliases each time", line=line))
        if isinstance(node, MappingNode):
            return dict(self._items(node, where))
        if isinstance(node, SequenceNode):
            return [self.read(item, _below(where, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, where)

    def _items(self, node: MappingNode, where: str) -> Iterator[tuple[str, Any]]:
        first_lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if not isinstance(key_node, ScalarNode) or key_node.tag != _TAG + "str":
                self.problems.append(Problem("a key must be text; put it in quotes", where, line=line))
                continue
            if key in first_lines:
                text = f"given twice, first in line {first_lines[key]}; keep one"
                self.problems.append(Problem(text, _below(where, key), line=line))
                continue
            first_lines[key] = self.lines[_below(where, key)] = line
            yield key, self.read(value_node, _below(where, key))

    def _scalar(self, node: Node, where: str) -> Any:
        if node.tag not in _PLAIN_TAGS:
            return node.value  # a date, say, is the text that stands there
        try:
            return self._constructor.construct_object(node)
        except ValueError as error:
            self.problems.append(Problem(f"cannot read {node.value[:40]!r}: {error}", where, line=self.lines[where]))
            return None


def _below(where: str, key: str | int) -> str:
    return f"{where}.{key}" if where else str(key)
