"""What a sweep's journal and its nets say of faults: who was hit, when that was noticed, what was trained again."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from cluster.telling_nets import told_by_trials
from faults.checker import Journaled
from faults.drivers import Place

from sweeps.results import read_state

Event = dict[str, Any]


@dataclass(frozen=True)
class Recovery:
    """How one trial got over one fault.

    Attributes
    ----------
    trial : int
        Which.
    cause : str
        What the journal says.
    redone : int
        Epochs that were trained again.
    noticed_s, running_s : float
        Seconds from the fault to the journal's record of it, and to the trial's next report.
    nodes : tuple of str or None
        Ray's ids of the machines before, if it had reported there, and after.
    """

    trial: int
    cause: str
    redone: int
    noticed_s: float
    running_s: float
    nodes: tuple[str | None, str]


@dataclass
class Tally:
    """All faults of one kind together."""

    n: int = 0
    lost: int = 0
    duplicated: int = 0
    redone: list[int] = field(default_factory=list)
    noticed_s: list[float] = field(default_factory=list)
    running_s: list[float] = field(default_factory=list)

    def cells(self) -> list[str]:
        """n, lost, duplicated, most redone epochs, then median and most seconds to detection and to running again."""
        return [str(self.n), str(self.lost), str(self.duplicated), str(max(self.redone, default=0))] + [
            f"{median(seconds):.1f} / {max(seconds):.1f}" if seconds else "-"
            for seconds in (self.noticed_s, self.running_s)
        ]


@dataclass(frozen=True)
class History:
    """Of one sweep that is driven on a cluster.

    Attributes
    ----------
    folder : Path
        Holds the sweep and what its nets say; seen by all hosts.
    """

    folder: Path

    @property
    def place(self) -> Place:
        return Place(self.folder)

    @property
    def root(self) -> Path:
        return self.place.root

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def events(self) -> list[Event]:
        """The whole lines of the journal; none before there is one."""
        path = self.place.paths.journal / "events.jsonl"
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []

    def reports(self) -> list[Event]:
        """The records of reports."""
        return [event for event in self.events() if event["type"] == "report"]

    def n_epochs(self) -> int:
        """Rows that were reported so far."""
        return sum(len(event["rows"]) for event in self.reports())

    def running(self) -> dict[int, Event]:
        """Trials that train, as far as the journal knows -> their last report."""
        found: dict[int, Event] = {}
        for event in self.events():
            if event["type"] == "report":
                found[event["trial"]] = event
            elif event["type"] in ("failure", "end"):
                found.pop(event["trial"], None)
            elif event["type"] == "attempt_end":
                found.clear()
        return found

    def is_noticed(self, hit: list[int], since: float) -> bool:
        """Whether trials have failed after a moment, or ended."""
        later = [event for event in self.events() if event.get("time", 0) > since]
        return {*hit} <= {event.get("trial") for event in later if event["type"] in ("failure", "end")}

    def has_got_over(self, hit: list[int], since: float) -> bool:
        """Whether trials have failed after a moment, and so have others, and reported again, or came to their ends."""
        later = [event for event in self.events() if event.get("time", 0) > since]  # the first line has none
        failed = {event["trial"] for event in later if event["type"] == "failure"}
        return all(_has_got_over([event for event in later if event.get("trial") == one]) for one in {*hit, *failed})

    def recoveries(self, since: float) -> list[Recovery]:
        """Of the failures after a moment, which is that of a fault."""
        events = self.events()
        found = []
        for index, failure in enumerate(events):
            if failure["type"] == "failure" and failure["time"] > since:
                before, after = (_report_of(failure["trial"], part) for part in (events[index::-1], events[index:]))
                assert after is not None, f"trial {failure['trial']} did not go on"
                nodes = before and before["placement"]["ray_node"], after["placement"]["ray_node"]
                seconds = failure["time"] - since, after["time"] - since
                redone = self.redone(failure["trial"], failure["time"], after)
                found.append(Recovery(failure["trial"], failure["cause"], redone, *seconds, nodes))
        return found

    def redone_since(self, moment: float) -> tuple[list[int], float]:
        """Of trials that go on after a moment, how many epochs are trained again; and seconds to the first report."""
        later = [event for event in self.reports() if event["time"] > moment]
        firsts = {event["trial"]: event for event in reversed(later) if event.get("resumed_at") is not None}
        redone = [self.redone(trial, moment, event) for trial, event in firsts.items()]
        return redone, later[0]["time"] - moment

    def redone(self, trial: int, until: float, after: Event) -> int:
        """Epochs that a trial had trained up to a moment and, by its next report, trains again."""
        announced = (event for event in self.events() if event["type"] == "trial")
        lr = next(event["params"]["lr"] for event in announced if event["trial"] == trial)
        trained = [said for said in told_by_trials(self.log, "trained") if said["lr"] == lr and said["time"] <= until]
        return max((said["epoch"] for said in trained), default=0) - (after.get("resumed_at") or 0)

    def check_whole(self, n_trials: int, max_epochs: int) -> tuple[int, int]:
        """Every trial is complete, and the lines of the journal add up to each of its epochs once.

        Returns
        -------
        tuple of int
            Trials or epochs that were lost, and those that are there twice: none, or it would have failed.
        """
        journaled = Journaled.read(self.place)
        expected = {trial: list(range(1, max_epochs + 1)) for trial in range(n_trials)}
        lost = [trial for trial in expected if [*journaled.now.get(trial, {})] != expected[trial]]
        assert not lost, f"trials without some of their epochs, or in another order: {lost}"
        numbers, configs = zip(*journaled.announced, strict=True)
        doubled = [*_reported_twice(self.events())]
        assert list(numbers) == list(expected), f"trials were announced as {numbers}"
        assert len(set(configs)) == n_trials, f"two trials have one config: {configs}"
        assert not doubled, f"(trial, epoch) that were not taken back and came again: {doubled}"
        state = read_state(self.place.paths)
        assert {str(record.status) for record in state.trials.values()} == {"COMPLETED"}
        assert {trial: sorted(record.rows) for trial, record in state.trials.items()} == expected
        assert state.attempts[-1]["reason"] == "complete"
        self._check_numbers(journaled)
        return len(lost), len(doubled)

    def _check_numbers(self, journaled: Journaled) -> None:
        """What was trained again, on whatever machine, came to the same to the last bit."""
        values = defaultdict(set)
        for trial, epoch, value in journaled.rows:
            values[trial, epoch].add(value)
        different = {where: found for where, found in values.items() if len(found) > 1}
        assert not different, f"(trial, epoch) with several values: {different}"


def _reported_twice(events: list[Event]) -> Iterator[tuple[int, int]]:
    known: dict[int, set[int]] = defaultdict(set)
    for event in events:
        if event["type"] == "report":
            kept = {epoch for epoch in known[event["trial"]] if epoch <= event.get("resumed_at", math.inf)}
            epochs = {row["epoch"] for row in event["rows"]}
            yield from ((event["trial"], epoch) for epoch in kept & epochs)
            known[event["trial"]] = kept | epochs


def _has_got_over(events: list[Event]) -> bool:
    kinds = [event["type"] for event in events if event["type"] != "start"]
    return "end" in kinds or ("failure" in kinds and kinds[-1] != "failure")


def _report_of(trial: int, events: list[Event]) -> Event | None:
    return next((event for event in events if event["type"] == "report" and event["trial"] == trial), None)
