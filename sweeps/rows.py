"""A trial's epochs and their metrics in little memory. Judges no value."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

Metrics = dict[str, float]


class PackedRows(Mapping[int, Metrics]):
    """Epoch -> its metrics, kept as one array: a tenth of the memory that a dict of dicts takes.

    Parameters
    ----------
    rows : mapping of int to Metrics
        At least one; the epochs 1, 2, 3, ... in order, each with the same names and, but for ``epoch``, floats.
    """

    __slots__ = ("_epochs", "_names", "_values")

    def __init__(self, rows: Mapping[int, Metrics]) -> None:
        self._epochs = range(1, len(rows) + 1)
        self._names = tuple(map(sys.intern, rows[1]))
        self._values = array("d", [value for row in rows.values() for value in row.values()])

    def __getitem__(self, epoch: int) -> Metrics:
        if epoch not in self._epochs:
            raise KeyError(epoch)
        width = len(self._names)
        values = self._values[width * (epoch - 1) : width * epoch]
        return {**dict(zip(self._names, values, strict=True)), "epoch": epoch}

    def __iter__(self) -> Iterator[int]:
        return iter(self._epochs)

    def __len__(self) -> int:
        return len(self._epochs)

    def __contains__(self, epoch: object) -> bool:
        return epoch in self._epochs

    def __repr__(self) -> str:
        return repr(dict(self))


def packed(rows: Mapping[int, Metrics]) -> Mapping[int, Metrics]:
    """The same rows, packed where they are regular; those of a member of a population, for one, may not be."""
    if isinstance(rows, PackedRows) or not _are_regular(rows):
        return rows
    return PackedRows(rows)


def with_shared_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values under keys that all trials share; JSON makes new ones each time."""
    return {sys.intern(key): value for key, value in values.items()}


def _are_regular(rows: Mapping[int, Metrics]) -> bool:
    shapes = {(tuple(row), tuple(map(type, row.values()))) for row in rows.values()}
    if len(shapes) != 1 or list(rows) != list(range(1, len(rows) + 1)):
        return False
    names, kinds = shapes.pop()
    are_numbers = all(kind is (int if name == "epoch" else float) for name, kind in zip(names, kinds, strict=True))
    return are_numbers and "epoch" in names and all(row["epoch"] == epoch for epoch, row in rows.items())
