"""What a verb of the command line answers, as a table, JSON, CSV or YAML. Finds nothing out and prints nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from io import StringIO
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text
from ruamel.yaml import YAML

from sweeps.strict_json import as_json

Row = Mapping[str, Any]

_LARGE = 100_000  # numbers from here on are written out


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
    text = as_json(answer.value)
    return text if form is Format.JSON else _as_yaml(json.loads(text))


def as_text(parts: Sequence[RenderableType], width: int) -> str:
    """What rich would show, as plain lines without trailing blanks."""
    text = StringIO()
    console = Console(file=text, width=width, color_system=None, markup=False, emoji=False, highlight=False)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))  # a command that is folded cannot be copied
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def fields(values: Mapping[str, Any]) -> Table:
    """Names and values below each other; what looks like rich's markup stays as it is, here and in `columns`."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(name, Text(value if isinstance(value, str) else brief(value)))
    return table


def columns(rows: Sequence[Row]) -> Table:
    """Rows below the names of their columns; numbers to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        is_number = all(isinstance(row.get(name), (int, float, type(None))) for row in rows)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(brief(row.get(name))) for name in names))
    return table


def brief(value: Any) -> str:
    """A value for people: at least four significant digits, nothing for None, params as ``lr=0.01 batch_size=32``."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < _LARGE else f"{value:.0f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
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


def size_text(size_bytes: int) -> str:
    """Bytes for people, in powers of ten: ``1.2 GB``."""
    value, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def flat(row: Row, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of a row, those of mappings within it under dotted names; a list is JSON."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value) if isinstance(value, list) else value


def _as_csv(rows: Sequence[Row]) -> str:
    flattened = [dict(flat(row)) for row in json.loads(as_json(rows))]
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
