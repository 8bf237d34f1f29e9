"""TrialRecord and SweepState: what the journal says. Built by applying its events, live and on replay alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sweeps.journal import Event
from sweeps.rows import Metrics, packed, with_shared_keys
from trainables.objective import Objective


class TrialStatus(StrEnum):
    """Where a trial stands; all but the first two are ends."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    STOPPED = "STOPPED"
    DIVERGED = "DIVERGED"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"

    @property
    def is_end(self) -> bool:
        """Whether the trial trains no more."""
        return self not in (TrialStatus.PENDING, TrialStatus.RUNNING)


@dataclass
class TrialRecord:
    """One trial, as far as the journal knows it.

    Attributes
    ----------
    trial : int
        Number, from 0.
    params : dict
        The config in force: labels and plain values; changes only under PBT.
    status : TrialStatus
        Where it stands.
    rows : mapping of int to Metrics
        Epoch -> its metrics; only read, since those of an ended trial are packed.
    costs : Metrics
        Latest measurements of what the trial costs.
    best_epoch, best_value, best_params
        The best epoch, its metric and the params it was reached with; None before the first finite value.
    rung : int or None
        Epoch at which the scheduler stopped it.
    unjudged : int or None
        Its last epoch, where that was found in its checkpoint after the driver had ended: no scheduler heard of it.
    cause, error : str or None
        Why it failed: ``user``, ``oom``, ``worker_died``, ...; the last line of the error and its trace.
    failures : list of dict
        Every failure, also those that were retried: ``cause``, ``error``, ``epoch``, and ``peak_memory_bytes`` of one
        for lack of memory.
    placement : dict
        ``node`` (its machine's name), ``pid``, ``gpu`` and ``ray_node`` (Ray's id of its machine) of the worker that
        reported last.
    exploited : bool
        Whether it ever went on from another member of its population.
    started, ended : float or None
        Seconds since 1970; for people, never for order.
    """

    trial: int
    params: dict[str, Any]
    status: TrialStatus = TrialStatus.PENDING
    rows: Mapping[int, Metrics] = field(default_factory=dict)
    costs: Metrics = field(default_factory=dict)
    best_epoch: int | None = None
    best_value: float | None = None
    best_params: dict[str, Any] | None = None
    rung: int | None = None
    unjudged: int | None = None
    cause: str | None = None
    error: str | None = None
    failures: list[dict[str, Any]] = field(default_factory=list)
    placement: dict[str, Any] = field(default_factory=dict)
    exploited: bool = False
    started: float | None = None
    ended: float | None = None

    @property
    def epoch(self) -> int:
        """Epochs acknowledged so far."""
        return max(self.rows, default=0)


class SweepState:
    """All trials of a sweep, kept up to date event by event.

    Parameters
    ----------
    objective : Objective
        Decides which epoch and which trial is the best.

    Attributes
    ----------
    trials : dict of int to TrialRecord
        By number.
    attempts : list of dict
        Runs of the driver.
    extension : dict or None
        The record of an extension that no attempt has followed yet.
    best : TrialRecord or None
        The trial that reached the best value first; one that failed has no weights to show for it and does not count.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.trials: dict[int, TrialRecord] = {}
        self.attempts: list[Event] = []
        self.best: TrialRecord | None = None
        self.extension: Event | None = None
        self._apply: dict[str, Callable[[Event], None]] = {
            "attempt": self._on_attempt,
            "attempt_end": self._on_attempt_end,
            "extend": self._on_extend,
            "trial": self._on_trial,
            "start": self._on_start,
            "report": self._on_report,
            "exploit": self._on_exploit,
            "failure": self._on_failure,
            "end": self._on_end,
        }

    @classmethod
    def replay(cls, objective: Objective, events: Iterable[Event]) -> SweepState:
        """The state after all events of a journal."""
        state = cls(objective)
        for event in events:
            state.apply(event)
        return state

    def apply(self, event: Event) -> None:
        """Takes one record into account."""
        self._apply[event["type"]](event)

    @property
    def unfinished(self) -> list[int]:
        """Numbers of the trials that have not ended, or were interrupted: what a resume goes on with."""
        open_ends = (TrialStatus.PENDING, TrialStatus.RUNNING, TrialStatus.INTERRUPTED)
        return [record.trial for record in self.trials.values() if record.status in open_ends]

    @property
    def epochs(self) -> int:
        """Epochs trained in all trials together."""
        return sum(len(record.rows) for record in self.trials.values())

    def count(self, *statuses: TrialStatus) -> int:
        """How many trials stand at one of ``statuses``."""
        return sum(record.status in statuses for record in self.trials.values())

    def _on_attempt(self, event: Event) -> None:
        self.attempts.append(event)
        self.extension = None

    def _on_extend(self, event: Event) -> None:
        self.extension = event
        for trial, params in event["prolonged"].items():
            record = self.trials[int(trial)]
            record.params, record.status, record.rung = params, TrialStatus.PENDING, None
        for trial, params in event.get("lengthened", {}).items():
            self.trials[int(trial)].params = params

    def _on_trial(self, event: Event) -> None:
        self.trials[event["trial"]] = TrialRecord(event["trial"], with_shared_keys(event["params"]))

    def _on_start(self, event: Event) -> None:
        record = self.trials[event["trial"]]
        record.status, record.rung, record.cause, record.error = TrialStatus.RUNNING, None, None, None
        record.started = record.started or event["time"]

    def _on_report(self, event: Event) -> None:
        record = self.trials[event["trial"]]
        record.costs = event["costs"]
        record.placement = event["placement"]
        if event.get("resumed_at") is not None:
            self._take_back(record, event["resumed_at"])
        # One that had ended before it was resumed is packed.
        record.rows = rows = record.rows if isinstance(record.rows, dict) else dict(record.rows)
        for row in event["rows"]:
            rows[int(row["epoch"])] = row
            self._judge(record, row)
        record.unjudged = record.epoch if event.get("recovered") else None
        self.best = self._better(self.best, record)

    def _take_back(self, record: TrialRecord, epoch: int) -> None:
        # What came after the checkpoint is trained again, perhaps to other values: score and weights must match.
        if record.epoch <= epoch:
            return
        record.rows = {known: row for known, row in record.rows.items() if known <= epoch}
        record.best_epoch = record.best_value = record.best_params = None
        for row in record.rows.values():
            self._judge(record, row)
        self._find_best()

    def _judge(self, record: TrialRecord, row: Metrics) -> None:
        value = row.get(self.objective.metric)
        if value is not None and self.objective.is_better(value, record.best_value):
            record.best_epoch, record.best_value, record.best_params = int(row["epoch"]), value, record.params

    def _find_best(self) -> None:
        self.best = None
        for record in self.trials.values():
            self.best = self._better(self.best, record)

    def _on_exploit(self, event: Event) -> None:
        record = self.trials[event["trial"]]
        record.params, record.exploited = event["params"], True

    def _on_failure(self, event: Event) -> None:
        known = ("cause", "error", "epoch", "peak_memory_bytes")
        failure = {key: value for key, value in event.items() if key in known}
        self.trials[event["trial"]].failures.append(failure)

    def _on_end(self, event: Event) -> None:
        record = self.trials[event["trial"]]
        record.status = TrialStatus(event["status"])
        record.rung, record.cause, record.error = event.get("rung"), event.get("cause"), event.get("error")
        record.ended = event["time"]
        # It may stay in memory for days, as one of many thousands.
        record.rows, record.costs = packed(record.rows), with_shared_keys(record.costs)
        record.placement = with_shared_keys(record.placement)
        if record.status is TrialStatus.FAILED and record is self.best:
            self._find_best()

    def _better(self, best: TrialRecord | None, other: TrialRecord) -> TrialRecord | None:
        if other.best_value is None or other.status is TrialStatus.FAILED:
            return best
        return other if self.objective.is_better(other.best_value, best.best_value if best else None) else best

    def _on_attempt_end(self, event: Event) -> None:
        self.attempts[-1] = {
            **self.attempts[-1],
            "ended": event["time"],
            "reason": event["reason"],
            "signal": event.get("signal"),
        }
