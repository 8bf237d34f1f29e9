"""What a verb of the command line answers, as a table, JSON, CSV or YAML. Finds nothing out and prints nothing."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from io import StringIO
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from ruamel.yaml import YAML

Row = Mapping[str, Any]


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    YAML = "yaml"


@dataclass(frozen=True)
class Answer:
    """One answer in every form.

    Attributes
    ----------
    value : object
        For JSON and YAML: plain data.
    rows : sequence of mapping
        For CSV; mappings among the values become columns with dotted names.
    parts : sequence
        For people: what rich can show, one below the other.
    """

    value: Any
    rows: Sequence[Row]
    parts: Sequence[RenderableType] = field(default=())


def write(answer: Answer, form: Format, width: int) -> str:
    """An answer as text.

    Parameters
    ----------
    answer : Answer
        What to say.
    form : Format
        How.
    width : int
        Columns that a table may take.
    """
    if form is Format.TABLE:
        return as_text(answer.parts, width)
    if form is Format.CSV:
        return _as_csv(answer.rows)
    value = strict(answer.value)
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n" if form is Format.JSON else _as_yaml(value)


def as_text(parts: Sequence[RenderableType], width: int) -> str:
    """What rich would show, as plain lines without trailing blanks."""
    text = StringIO()
    console = Console(file=text, width=width, color_system=None, markup=False, emoji=False, highlight=False)
    for part in parts:
        console.print(part)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def fields(values: Mapping[str, Any]) -> Table:
    """Names and values below each other."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(name, value if isinstance(value, str) else brief(value))
    return table


def columns(rows: Sequence[Row]) -> Table:
    """Rows below the names of their columns; numbers to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        is_number = all(isinstance(row.get(name), (int, float, type(None))) for row in rows)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(brief(row.get(name)) for name in names))
    return table


def brief(value: Any) -> str:
    """A value for people: four significant digits, nothing for None, params as ``lr=0.01 batch_size=32``."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={brief(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(brief, value))
    return str(value)


def duration(seconds: float) -> str:
    """Seconds for people: ``0:42``, ``1:02:03``, ``3 d 4 h``."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def strict(value: Any) -> Any:
    """Plain data that JSON knows: what is not finite is None, a time is ISO 8601."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): strict(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(part) for part in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, (bool, int)) else str(value)


def flat(row: Row, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of a row, those of mappings within it under dotted names; a list is JSON."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value) if isinstance(value, list) else value


def _as_csv(rows: Sequence[Row]) -> str:
    flattened = [dict(flat(strict(row))) for row in rows]
    text = StringIO()
    names = list(dict.fromkeys(name for row in flattened for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flattened)
    return text.getvalue()


def _as_yaml(value: Any) -> str:
    yaml = YAML(pure=True)
    yaml.default_flow_style = False
    yaml.width = 10_000
    text = StringIO()
    yaml.dump(value, text)
    return text.getvalue()
