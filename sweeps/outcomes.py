"""Which trials have ended and how well they did, kept up with growing records. Models nothing and proposes none."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from search_spaces.labels import same_value
from search_spaces.space import SearchSpace
from sweeps.parzen import Table
from sweeps.records import TrialRecord, TrialStatus
from sweeps.tried import Growth, fits
from trainables.objective import Objective

Place = tuple[int, int, float]
"""Sorts ended trials from the best to the worst."""

# A trial that failed or was interrupted may be started again.
_FOR_GOOD = (TrialStatus.COMPLETED, TrialStatus.STOPPED, TrialStatus.DIVERGED)


class Outcomes:
    """The ended trials of a space, cell by cell; each is looked at when it ends, not at each proposal.

    What it says is a function of the space and the records alone, however many of them it had seen before.

    Parameters
    ----------
    space : SearchSpace
        Trials whose config does not fit it are left out.
    cells : sequence of mapping
        Parts of the space: the values that are fixed in each.
    objective : Objective
        Gives the values their direction.
    read : callable
        Params -> ``width`` numbers; called once for each trial that `split` gives.
    width : int
        How many.
    """

    _records: Sequence[TrialRecord]
    _numbers: Table

    def __init__(
        self,
        space: SearchSpace,
        cells: Sequence[Mapping[str, Any]],
        objective: Objective,
        read: Callable[[Mapping[str, Any]], Sequence[float]],
        width: int,
    ) -> None:
        self._space, self._cells, self._objective = space, cells, objective
        self._read, self._width = read, width
        self._growth = Growth()
        self._begin()

    def follow(self, records: Sequence[TrialRecord]) -> None:
        """Takes in what has changed since the last call; other records than then are read from the first one on."""
        known = self._growth.known(records)
        if not known:
            self._begin()
        self._records = records
        if (lacking := len(records) - len(self._numbers)) > 0:
            self._numbers = np.append(self._numbers, np.empty((lacking + len(records), self._width)), axis=0)
        self._open.update(dict.fromkeys(range(known, len(records))))
        for position, status in list(self._open.items()):
            if records[position].status is not status:
                self._note(position, records[position])

    def count(self, cell: int) -> int:
        """How many ended trials lie in a cell."""
        return len(self._ranked[cell])

    def split(self, cell: int, n_best: int, most_others: int) -> tuple[Table, Table]:
        """What the best trials of a cell had, of equals the earlier ones, and what the latest others had.

        Parameters
        ----------
        cell : int
            Number of the cell.
        n_best : int
            How many are the best.
        most_others : int
            Of the rest, as many as this from the end of the records.

        Returns
        -------
        best, others : ndarray of shape (trials, numbers)
            As `read` gave them, in the order of the records.
        """
        best = {position for _, position in self._ranked[cell][:n_best]}
        latest = self._ended[cell][-(most_others + n_best) :]
        others = [position for position in latest if position not in best][-most_others:]
        return self._table(sorted(best)), self._table(others)

    def _table(self, positions: list[int]) -> Table:
        for position in positions:
            if position not in self._was_read:
                record = self._records[position]
                self._numbers[position] = self._read(record.best_params or record.params)
                self._was_read.add(position)
        return np.take(self._numbers, positions, axis=0)

    def _begin(self) -> None:
        self._records, self._numbers = (), np.empty((0, self._width))
        self._was_read: set[int] = set()
        self._open: dict[int, TrialStatus | None] = {}
        self._places: dict[int, Place] = {}
        self._ranked: list[list[tuple[Place, int]]] = [[] for _ in self._cells]
        self._ended: list[list[int]] = [[] for _ in self._cells]

    def _note(self, position: int, record: TrialRecord) -> None:
        if position in self._places:
            self._drop(position)
        if record.status.is_end and fits(self._space, record.params):
            self._take(position, record)
        if record.status in _FOR_GOOD:
            del self._open[position]
        else:
            self._open[position] = record.status

    def _take(self, position: int, record: TrialRecord) -> None:
        self._places[position] = place = place_of(record, self._objective)
        for cell, ranked, ended in zip(self._cells, self._ranked, self._ended, strict=True):
            if _lies_in(record.params, cell):
                insort(ranked, (place, position))
                insort(ended, position)

    def _drop(self, position: int) -> None:
        self._was_read.discard(position)
        place = self._places.pop(position)
        for ranked, ended in zip(self._ranked, self._ended, strict=True):
            if (where := bisect_left(ended, position)) < len(ended) and ended[where] == position:
                del ended[where]
                del ranked[bisect_left(ranked, (place, position))]


def place_of(record: TrialRecord, objective: Objective) -> Place:
    """Place of an ended trial: complete before stopped before diverged and failed; less is better.

    Of stopped trials those that got further come first, then and among complete ones the better value.
    """
    if record.status in (TrialStatus.DIVERGED, TrialStatus.FAILED) or record.best_value is None:
        return 2, 0, 0.0
    loss = objective.loss(record.best_value)
    return (0, 0, loss) if record.status is TrialStatus.COMPLETED else (1, -record.epoch, loss)


def _lies_in(params: Mapping[str, Any], cell: Mapping[str, Any]) -> bool:
    return all(same_value(params.get(name, value), value) for name, value in cell.items())
