"""What must hold of a sweep after each kill and at its end, judged by the bytes of its journal and what was shown.

Reads the journal by itself, so that an error of the engine's own reader shows. Kills and resumes nothing.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

import pyarrow.parquet as pq
import torch
from faults.drivers import Place, Setting, config_of, rungs_of

from sweeps.config import SchedulerConfig
from sweeps.garbage import plan_gc
from sweeps.records import SweepState, TrialStatus
from sweeps.results import SweepResult, read_state
from sweeps.retention import remove
from sweeps.rungs import rungs
from sweeps.schedulers import AshaScheduler, make_scheduler
from trainables import checkpoint


@dataclass
class Figures:
    """What was found, all kills together."""

    kills: int = 0
    lives: int = 0
    sweeps: int = 0
    acknowledged: int = 0
    lost: int = 0
    missing: int = 0
    doubled: int = 0
    revised: int = 0
    rungs_compared: int = 0
    redone: int = 0
    bound: int = 0

    def add(self, other: Figures) -> None:
        """Takes the figures of further sweeps in."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def __str__(self) -> str:
        return (
            f"{self.kills} kills of {self.lives} drivers of {self.sweeps} sweeps; {self.acknowledged} acknowledged "
            f"records checked: {self.lost} lost; trials: {self.missing} missing, {self.doubled} doubled; "
            f"{self.redone} epochs redone, at most {self.bound} allowed; "
            f"{self.rungs_compared} rungs compared, {self.revised} decisions revised"
        )


@dataclass
class Journaled:
    """What the whole lines of a journal say, by this file's own reading."""

    rows: set[tuple[int, int, float]] = field(default_factory=set)
    ends: set[tuple[int, str, int | None]] = field(default_factory=set)
    announced: list[tuple[int, str]] = field(default_factory=list)
    now: dict[int, dict[int, float]] = field(default_factory=dict)

    @classmethod
    def read(cls, place: Place) -> Journaled:
        """Reads what is there; an empty one before the sweep was created."""
        found = cls()
        path = place.paths.journal / "events.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        for number, event in enumerate(map(json.loads, lines), start=1):
            assert event["seq"] == number, f"record {event['seq']} in line {number}"
            found._take(event)
        return found

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] == "trial":
            self.announced.append((event["trial"], config_of(event["params"])))
            self.now[event["trial"]] = {}
        elif event["type"] == "report":
            rows = self.now[event["trial"]]
            for epoch in [epoch for epoch in rows if epoch > event.get("resumed_at", math.inf)]:
                del rows[epoch]
            for row in event["rows"]:
                rows[row["epoch"]] = row["valid_loss"]
                self.rows.add((event["trial"], row["epoch"], row["valid_loss"]))
        elif event["type"] == "end":
            self.ends.add((event["trial"], event["status"], event.get("rung")))


class Checker:
    """Checks one sweep that is killed again and again.

    Parameters
    ----------
    setting, place
        Of the sweep.
    figures : Figures
        Counted up.
    """

    def __init__(self, setting: Setting, place: Place, figures: Figures) -> None:
        self._setting, self._place, self._figures = setting, place, figures
        self._checked = 0
        self._ended: dict[int, int | None] = {}
        self._reached: dict[int, int] = {}
        self._recalled = 0
        self._redone = 0
        self._was_killed = False
        self._before: dict[str, dict[str, float]] | None = None

    def after_kill(self) -> None:
        """Checks what a driver left that was killed."""
        self._figures.kills += 1
        self._check_redone()
        if self._place.root.exists():
            self._check_records()
            self._check_rungs()

    def at_end(self) -> SweepResult:
        """Checks the sweep that was resumed to its end."""
        self._check_records()
        if self._setting.scheduler == "asha":
            self._check_recalled()
        result = SweepResult.load(self._place.root, net=self._setting.net(self._place))
        state = result.state
        self._check_trials(state)
        self._check_redone()
        self._check_tables(state)
        self._check_leftovers(state)
        self._check_weights(result)
        self._figures.sweeps += 1
        return result

    def _check_leftovers(self, state: SweepState) -> None:
        """Nothing unfinished lies about, but in folders of trials, where gc finds it and needs no second time."""
        parts = set(self._place.storage.rglob("*.part"))
        elsewhere = sorted(path for path in parts if path.parent.parent != self._place.paths.trials)
        assert not elsewhere, f"left over: {elsewhere}"
        keep = self._setting.sweep(self._place).config.checkpoint.keep
        remove(plan_gc(self._place.paths, state, keep))
        assert not plan_gc(self._place.paths, state, keep)
        assert not list(self._place.storage.rglob("*.part"))

    def _check_records(self) -> None:
        journaled = Journaled.read(self._place)
        shown = self._place.log("shown").read()
        said = [news for turn in shown[self._checked :] for news in turn]
        self._checked = len(shown)
        lost = []
        for trial, status, rung, rows in said:
            self._figures.acknowledged += len(rows)
            lost += [(trial, *row) for row in rows if (trial, *row) not in journaled.rows]
            if TrialStatus(status).is_end:
                self._figures.acknowledged += 1
                lost += [(trial, status)] if (trial, status, rung) not in journaled.ends else []
            if status == "STOPPED":
                self._ended[trial] = rung
            self._reached[trial] = max([self._reached.get(trial, 0), *(epoch for epoch, _ in rows)])
        self._figures.lost += len(lost)
        assert not lost, f"was shown, and is not in the journal: {lost}"
        state = read_state(self._place.paths)
        found = {
            number: {epoch: row["valid_loss"] for epoch, row in record.rows.items()}
            for number, record in state.trials.items()
        }
        assert found == journaled.now, "the state differs from what the journal's lines say"
        self._check_doubles(journaled)
        self._check_decisions(state)

    def _check_doubles(self, journaled: Journaled) -> None:
        numbers = [trial for trial, _ in journaled.announced]
        configs = Counter(config for _, config in journaled.announced)
        doubled = [config for config, count in configs.items() if count > 1]
        self._figures.doubled += len(doubled)
        assert numbers == list(range(len(numbers))), f"trials were announced as {numbers}"
        assert not doubled, f"configs that two trials have: {doubled}"

    def _check_decisions(self, state: SweepState) -> None:
        """Every trial that was shown as stopped stays so, and none is stopped where it was shown to have gone on."""
        revised = [trial for trial, rung in self._ended.items() if _end_of(state, trial) != ("STOPPED", rung)]
        for trial, record in state.trials.items():
            if record.rung is not None and self._reached.get(trial, 0) > record.rung:
                revised.append(trial)
        self._figures.revised += len(revised)
        assert not revised, f"trials whose end was revised: {revised}"

    def _check_rungs(self) -> None:
        """The rungs that the journal gives back are those of the killed driver, at its last sync or after it."""
        if self._setting.scheduler != "asha":
            return
        now = self._rebuilt()
        said = self._place.log("rungs").read()
        self._check_recalled()
        synced = max((index for index, line in enumerate(said) if line == "shown"), default=0)
        before = [line[1] for line in said[:synced] if line != "shown"][-1:] or [_without_trials(now)]
        after = [line[1] for line in said[synced:] if line != "shown"]
        assert now in [*before, *after], f"rungs of the journal: {now}; of the killed driver: {before} then {after}"
        self._figures.rungs_compared += 1
        self._before = now

    def _check_recalled(self) -> None:
        said = [line for line in self._place.log("rungs").read() if line != "shown" and line[0] == "recall"]
        for _, recalled in said[self._recalled :]:
            expected = self._before or _without_trials(recalled)
            assert recalled == expected, f"rungs before the resume: {expected}; after it: {recalled}"
        self._recalled = len(said)

    def _rebuilt(self) -> dict[str, dict[str, float]]:
        sweep = self._setting.sweep(self._place)
        state = read_state(self._place.paths)
        scheduler = make_scheduler(
            sweep.config.scheduler, sweep.space, state.objective, max_epochs=self._setting.max_epochs, seed=0
        )
        assert isinstance(scheduler, AshaScheduler)
        scheduler.recall(state)
        return rungs_of(scheduler)

    def _check_trials(self, state: SweepState) -> None:
        missing = [number for number in range(self._setting.n_trials) if number not in state.trials]
        self._figures.missing += len(missing)
        assert not missing, f"trials that are missing: {missing}"
        ends = {number: str(record.status) for number, record in state.trials.items()}
        assert set(ends.values()) <= {"COMPLETED", "STOPPED"}, ends
        assert len(ends) == self._setting.n_trials, ends
        folders = {path.name for path in self._place.paths.trials.glob("trial_*")}
        assert folders == {checkpoint.trial_name(number) for number in ends}
        gaps = [
            record.trial for record in state.trials.values() if list(record.rows) != list(range(1, record.epoch + 1))
        ]
        assert not gaps, f"epochs are missing, or in another order, in trials {gaps}"
        assert state.attempts[-1]["reason"] == "complete"

    def _check_redone(self) -> None:
        """No life trains more epochs again than the kills before it may have cost: none before the first."""
        steps = Counter(map(tuple, self._place.log("steps").read()))
        redone = steps.total() - len(steps) - self._redone
        bound = self._setting.concurrency * (self._between() + 1) if self._was_killed else 0
        assert redone <= bound, f"{redone} epochs were trained again after a kill, at most {bound} may be"
        self._redone += redone
        self._was_killed = True
        self._figures.redone += redone
        self._figures.bound += bound

    def _between(self) -> int:
        """Most epochs between two checkpoints of a trial."""
        if self._setting.every_s == 0:
            return 1
        config = SchedulerConfig(name="asha", reduction_factor=2)
        is_asha = self._setting.scheduler == "asha"
        inner = rungs(config.grace_period, config.reduction_factor, self._setting.max_epochs) if is_asha else ()
        marks = [0, *inner, self._setting.max_epochs]
        return max(later - earlier for earlier, later in pairwise(marks))

    def _check_weights(self, result: SweepResult) -> None:
        """Each score belongs to the weights that are kept beside it."""
        for record in result.state.trials.values():
            folder = self._place.paths.trials / checkpoint.trial_name(record.trial)
            kept, passed_over = checkpoint.newest_best(folder)
            assert kept is not None, passed_over
            best_epoch = checkpoint.verify_best(kept)["best_epoch"]
            log = {row["epoch"]: row["valid_loss"] for row in json.loads((kept / checkpoint.LOG).read_text())}
            rows = {epoch: row["valid_loss"] for epoch, row in record.rows.items()}
            assert log == rows, f"trial {record.trial}: its checkpoint's epochs are {log}, its records are {rows}"
            assert best_epoch == record.best_epoch
        scored = min(record.best_value or math.inf for record in result.state.trials.values())
        assert result.best_score == scored
        # Equal but for the order of a sum: a score is averaged over batches.
        assert math.isclose(self._measured(result), result.best_score, rel_tol=1e-5)

    def _measured(self, result: SweepResult) -> float:
        X, y = self._setting.data()
        valid = self._setting.sweep(self._place).plan().job.data.splits[0].valid
        net = result.best_net
        with torch.no_grad():
            return float(net.get_loss(net.forward(X[valid]), torch.as_tensor(y[valid])))

    def _check_tables(self, state: SweepState) -> None:
        trials = pq.read_table(self._place.paths.trials_table).to_pylist()
        assert [(row["trial"], row["status"], row["score"]) for row in trials] == [
            (record.trial, str(record.status), record.best_value) for record in state.trials.values()
        ]
        metrics = pq.read_table(self._place.paths.metrics_table).to_pylist()
        assert [(row["trial"], row["epoch"], row["valid_loss"]) for row in metrics] == [
            (record.trial, epoch, row["valid_loss"])
            for record in state.trials.values()
            for epoch, row in record.rows.items()
        ]


def _end_of(state: SweepState, trial: int) -> tuple[str, int | None]:
    record = state.trials[trial]
    return str(record.status), record.rung


def _without_trials(found: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {milestone: {} for milestone in found}
