"""Which trials have ended and how well: the same whether it was watched from the beginning or is looked at anew."""

from __future__ import annotations

import random
from typing import Any

import pytest
from searches import MOST, ended

from search_spaces.space import SearchSpace
from sweeps.outcomes import Outcomes, place_of
from sweeps.records import TrialRecord, TrialStatus
from trainables.objective import Objective

SPACE = SearchSpace({"cell": {"distribution": "grid", "values": ["a", "b"]}, "x": {"min": 0.0, "max": 1.0}})
CELLS = [{"cell": "a"}, {"cell": "b"}]


def outcomes_of() -> Outcomes:
    return Outcomes(SPACE, CELLS, MOST, lambda params: [params["x"]], 1)


def splits(outcomes: Outcomes, records: list[TrialRecord], n_best: int = 3, most_others: int = 5) -> list[Any]:
    outcomes.follow(records)
    split = [outcomes.split(cell, n_best, most_others) for cell in range(len(CELLS))]
    return [[part[:, 0].tolist() for part in parts] for parts in split]


def plainly(records: list[TrialRecord], n_best: int = 3, most_others: int = 5) -> list[Any]:
    """The same, from all records at once."""
    found = []
    for cell in CELLS:
        inside = [r for r in records if r.status.is_end and r.params["cell"] == cell["cell"] and r.params["x"] <= 1]
        best = [record.trial for record in sorted(inside, key=lambda record: place_of(record, MOST))[:n_best]]
        others = [record for record in inside if record.trial not in best][-most_others:]
        found.append([[r.params["x"] for r in inside if r.trial in best], [r.params["x"] for r in others]])
    return found


class Sweep:
    """Records that change as those of a sweep do, by chance."""

    def __init__(self, seed: int) -> None:
        self.records: list[TrialRecord] = []
        self._rng = random.Random(seed)

    def turn(self) -> None:
        again = [r for r in self.records if r.status in (TrialStatus.FAILED, TrialStatus.INTERRUPTED)]
        running = [r for r in self.records if not r.status.is_end]
        if again and self._rng.random() < 0.2:
            self._rng.choice(again).status = TrialStatus.RUNNING
        elif running and self._rng.random() < 0.6:
            self._end(self._rng.choice(running))
        else:
            params = {"cell": self._rng.choice("ab"), "x": round(self._rng.uniform(0, 1.1), 3)}  # some do not fit
            self.records.append(TrialRecord(len(self.records), params))

    def _end(self, record: TrialRecord) -> None:
        epoch = self._rng.choice([1, 3, 9])
        record.status = self._rng.choice([status for status in TrialStatus if status.is_end])
        record.rows = {epoch: {}}
        record.best_value, record.best_params = self._rng.choice([0.1, 0.2, 0.3]), record.params


@pytest.mark.parametrize("seed", range(3))
def test_what_was_followed_from_the_beginning_is_what_all_records_say(seed):
    sweep, followed = Sweep(seed), outcomes_of()
    for _ in range(200):
        sweep.turn()
        assert splits(followed, sweep.records) == plainly(sweep.records) == splits(outcomes_of(), sweep.records)


def test_turns_that_nobody_looked_at_are_made_up_for():
    sweep, followed = Sweep(3), outcomes_of()
    for turn in range(200):
        sweep.turn()
        if turn % 17 == 0:
            assert splits(followed, sweep.records) == plainly(sweep.records)


def test_other_records_are_read_anew_and_so_are_fewer():
    one, other, followed = Sweep(4), Sweep(5), outcomes_of()
    for _ in range(60):
        one.turn()
        other.turn()
    for records in (one.records, other.records, other.records[:-9], one.records[:-20], one.records, []):
        assert splits(followed, records) == plainly(records)


def test_each_trial_that_counts_is_read_once_and_others_never():
    asked: list[float] = []

    def read(params: Any) -> list[float]:
        asked.append(params["x"])
        return [params["x"]]

    outcomes = Outcomes(SPACE, CELLS, MOST, read, 1)
    records = [ended(trial, {"cell": "a", "x": trial / 100}, trial % 7 / 10) for trial in range(50)]
    for _ in range(2):
        outcomes.follow(records)
        outcomes.split(0, 2, 4)
        assert sorted(asked) == [0.06, 0.13, 0.46, 0.47, 0.48, 0.49]


def test_complete_trials_come_before_stopped_ones_and_those_before_failures():
    def row(score: float | None, status: TrialStatus, epoch: int) -> TrialRecord:
        return ended(0, {}, score, status, epoch)

    records = [
        row(0.99, TrialStatus.DIVERGED, 27),
        row(0.95, TrialStatus.STOPPED, 3),
        row(0.60, TrialStatus.COMPLETED, 27),
        row(0.70, TrialStatus.STOPPED, 9),
        row(None, TrialStatus.FAILED, 0),
        row(0.80, TrialStatus.COMPLETED, 27),
        row(0.75, TrialStatus.STOPPED, 9),
        row(0.98, TrialStatus.FAILED, 26),
    ]
    places = [place_of(record, MOST) for record in records]
    assert sorted(range(8), key=places.__getitem__) == [5, 2, 6, 3, 1, 0, 4, 7]
    assert places[0] == places[4] == places[7]
    losses = [place_of(record, Objective("valid_loss")) for record in records]
    assert losses[2] < losses[5] < losses[3] < losses[6] < losses[1] < losses[0] == losses[4] == losses[7]
