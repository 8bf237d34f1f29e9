"""Measures the parts that are asked for, all by default: ``python -m benchmarks.micro epochs journal``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import torch

from benchmarks import machine
from benchmarks.micro.figures import HEADINGS, Figure
from benchmarks.tables import markdown_table, text_table

PARTS = {
    "epochs": ("epochs", {"rounds": 3, "batch_sizes": (512,)}),
    "suggest": ("suggestions", {"rounds": 2, "counts": (10, 50)}),
    "journal": ("journals", {"counts": (100,)}),
    "driver": ("driver", {"trials": 20, "epochs": 5, "reports": 40, "long_epochs": 4}),
    "startup": ("startup", {"rounds": 1}),
}
"""Part -> its module, and what makes it short enough to see whether it works."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of: {', '.join(PARTS)}")
    parser.add_argument("--short", action="store_true", help="see whether it works; the figures mean little")
    parser.add_argument("--markdown", action="store_true", help="for docs/performance.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine and figures there, too")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no such parts: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    figures = [figure for part in given.parts or PARTS for figure in _measured(part, is_short=given.short)]
    render = markdown_table if given.markdown else text_table
    print(render(HEADINGS, [figure.cells() for figure in figures]), end="")
    if given.json:
        found = {"machine": machine.describe(), "figures": [asdict(figure) for figure in figures]}
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _measured(part: str, *, is_short: bool) -> Iterator[Figure]:
    module, short = PARTS[part]
    measure: Callable[..., Iterator[Figure]] = import_module(f"benchmarks.micro.{module}").measure
    print(f"measuring {part}", file=sys.stderr)
    return measure(**short) if is_short else measure()


if __name__ == "__main__":
    sys.exit(main())
