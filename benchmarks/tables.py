"""What the runs of all peers come to: medians, ratios of the same round, and tables of them. Runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

REFERENCE = "ours"
"""The peer that the others are compared with."""

HEADINGS = ("peer", "configs", "wall s", "wall / ours", "CPU s", "CPU / ours", "memory MB", "epochs", "best", "rounds")


@dataclass(frozen=True)
class Row:
    """One peer at one number of configs: medians over its rounds.

    Attributes
    ----------
    peer : str
        Name.
    asked : int
        How many configs it was asked for.
    runs : tuple of dict
        Those that succeeded.
    failures : tuple of str
        What the others died of.
    wall_ratios, cpu_ratios : tuple of float
        Its seconds over those of the reference in the same round, which saw the same machine.
    """

    peer: str
    asked: int
    runs: tuple[dict[str, Any], ...]
    failures: tuple[str, ...]
    wall_ratios: tuple[float, ...]
    cpu_ratios: tuple[float, ...]

    def median(self, key: str) -> float:
        """Of a figure over the rounds."""
        return median(run[key] for run in self.runs)


def summarize(runs: Sequence[dict[str, Any]]) -> list[Row]:
    """One row a peer and number of configs, the fastest first.

    Parameters
    ----------
    runs : sequence of dict
        ``peer``, ``asked``, ``round`` and either what was measured or ``error``.
    """
    keys = dict.fromkeys((run["asked"], run["peer"]) for run in runs)
    rows = [_row(peer, asked, runs) for asked, peer in keys]
    return sorted(rows, key=lambda row: (row.asked, row.median("wall_s") if row.runs else float("inf")))


def _row(peer: str, asked: int, runs: Sequence[dict[str, Any]]) -> Row:
    own = [run for run in runs if (run["peer"], run["asked"]) == (peer, asked)]
    good = tuple(run for run in own if "error" not in run)
    reference = {
        run["round"]: run for run in runs if run["peer"] == REFERENCE and run["asked"] == asked and "error" not in run
    }
    pairs = [(run, reference[run["round"]]) for run in good if run["round"] in reference]
    return Row(
        peer,
        asked,
        good,
        tuple(run["error"] for run in own if "error" in run),
        tuple(run["wall_s"] / other["wall_s"] for run, other in pairs),
        tuple(run["cpu_s"] / other["cpu_s"] for run, other in pairs),
    )


def cells(row: Row) -> tuple[str, ...]:
    """A row as text, under `HEADINGS`."""
    if not row.runs:
        return (row.peer, str(row.asked), *["-"] * (len(HEADINGS) - 3), f"0 ({len(row.failures)} failed)")
    rounds = str(len(row.runs)) + (f" ({len(row.failures)} failed)" if row.failures else "")
    return (
        row.peer,
        f"{row.median('configs'):.0f}",
        f"{row.median('wall_s'):.1f}",
        _spread(row.wall_ratios),
        f"{row.median('cpu_s'):.1f}",
        _spread(row.cpu_ratios),
        f"{row.median('peak_memory_bytes') / 1e6:.0f}",
        f"{row.median('epochs'):.0f}",
        f"{row.median('best_score'):.4f}",
        rounds,
    )


def _spread(ratios: Sequence[float]) -> str:
    if not ratios:
        return "-"
    middle = f"{median(ratios):.2f}"
    return middle if len(ratios) == 1 else f"{middle} ({min(ratios):.2f}-{max(ratios):.2f})"


def text_table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Cells in columns, numbers to the right, for a terminal."""
    table = [headings, *lines]
    widths = [max(len(line[column]) for line in table) for column in range(len(headings))]
    return "\n".join(_aligned(line, widths) for line in table) + "\n"


def markdown_table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """The same in Markdown, for docs/performance.md."""
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return "".join("| " + " | ".join(_escaped(line)) + " |\n" for line in (headings, rule, *lines))


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    return "  ".join([first, *rest]).rstrip()


def _escaped(line: Sequence[str]) -> list[str]:
    return [cell.replace("|", "\\|") for cell in line]
