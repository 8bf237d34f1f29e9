"""Recorder: what happens to the trials -> journal, the only writer of records. Knows no executor and decides no end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeps.failures import Failure, deserves_retry, read_failure
from sweeps.journal import Event, Journal
from sweeps.progress import Watcher
from sweeps.records import SweepState, TrialRecord, TrialStatus
from trainables import checkpoint
from trainables.mirror import fetch_newest
from trainables.remote import RemoteFolder
from trainables.watchdog import read_hang

_ENDS = {"completed": TrialStatus.COMPLETED, "diverged": TrialStatus.DIVERGED}
# Records of what was decided of a trial; a report that is lost comes again.
_DECISIONS = {"exploit", "failure", "end"}


class Recorder:
    """Writes what an executor says of its trials, and keeps the state that the records add up to.

    All calls come from the driver's one thread. Records are synced together when the executor asks for that at the end
    of a turn of its loop, and only then shown; a new trial is synced at once, so that none trains which the journal
    does not know.

    Parameters
    ----------
    journal : Journal
        Open; the caller closes it.
    state : SweepState
        Brought up to date with each record.
    watcher : Watcher
        Told the state after each sync, and notes of the workers.
    trials : Path
        Folder of the trials' checkpoints, to read what workers leave there.
    max_failures : int
        Most restarts of a trial that are counted.
    mirror : RemoteFolder, optional
        The same folder on the sweep's object store.

    Attributes
    ----------
    try_again : callable
        Told the number of a trial that is to be started again.
    on_end : callable
        Told the record of a trial that has ended.
    on_sync : callable
        Told when all that was recorded is safe.
    is_urgent : bool
        Whether more than reports and starts waits for a sync: an end, a failure or an exploit.
    """

    # More methods than the budget of eight: one for each thing that happens to a trial.

    def __init__(
        self,
        journal: Journal,
        state: SweepState,
        watcher: Watcher,
        trials: Path,
        *,
        max_failures: int,
        mirror: RemoteFolder | None = None,
    ) -> None:
        self.state = state
        self.try_again: Callable[[int], None] = lambda trial: None
        self.on_end: Callable[[TrialRecord], None] = lambda record: None
        self.on_sync: Callable[[], None] = lambda: None
        self.is_urgent = False
        self._journal = journal
        self._watcher = watcher
        self._trials, self._mirror = trials, mirror
        self._max_failures = max_failures
        self._exploits: list[Event] = []

    def record(self, kind: str, **content: Any) -> None:
        """Appends one record and applies it."""
        self.state.apply(self._journal.append({"type": kind, "time": time.time(), **content}))
        self.is_urgent = self.is_urgent or kind in _DECISIONS

    def announce(self, trial: int, params: dict[str, Any]) -> None:
        """Records a new trial before any executor knows it."""
        self.record("trial", trial=trial, params=params)
        self._journal.flush(force=True)

    def exploit(self, trial: int, donor: int, params: dict[str, Any]) -> None:
        """Notes that ``trial`` goes on from ``donor``'s weights; recorded after the report that led to it."""
        self._exploits.append({"trial": trial, "donor": donor, "params": params})

    def started(self, trial: int) -> None:
        """Records that a trial trains."""
        self.record("start", trial=trial)

    def reported(self, trial: int, result: Mapping[str, Any]) -> None:
        """Records the epochs of a report.

        Parameters
        ----------
        trial : int
            Whose.
        result : mapping
            What `trainables.trial.TrialRun.step` returned, and ``hostname``, ``pid`` and ``gpu`` of its process.
        """
        record = self.state.trials[trial]
        for note in result["notes"]:
            self._watcher.tell(f"note: trial {trial}: {note}")
        self._tell_of_loss(record, result["resumed_at"])
        # A report that was lost with its driver or worker comes again from the checkpoint, with older ones before it.
        resumed_at = _agreed(record, result)
        known = {epoch for epoch in record.rows if epoch <= resumed_at and not record.exploited}
        rows = [row for row in result["rows"] if row["epoch"] not in known]
        placement = {"node": result["hostname"]} | {key: result[key] for key in ("pid", "gpu", "ray_node")}
        content = {"costs": result["costs"], "checkpoint": result["checkpoint"], "placement": placement}
        resumed = {"resumed_at": resumed_at} if resumed_at < record.epoch or result["resumed_at"] else {}
        self.record("report", trial=trial, rows=rows, **content, **resumed)
        for event in self._exploits:
            self.record("exploit", **event)
        self._exploits.clear()

    def ended(self, trial: int, last: Mapping[str, Any] | None) -> None:
        """Records an end that is no failure: by itself, or by the scheduler.

        Parameters
        ----------
        trial : int
            Whose.
        last : mapping or None
            Its last result: ``ended``, and ``epoch``, at which the scheduler stopped it otherwise.
        """
        record, last = self.state.trials[trial], last or {}
        if last.get("ended"):
            self._end(record, _ENDS[last["ended"]])
        elif record.rows:
            self._end(record, TrialStatus.STOPPED, rung=last["epoch"])

    def failed(self, trial: int, text: str) -> None:
        """Records a failure, and either queues the trial again or ends it.

        Parameters
        ----------
        trial : int
            Whose.
        text : str
            The traceback, or what Ray says of a dead worker.
        """
        record = self.state.trials[trial]
        failure = read_failure(text, read_hang(self._trials / checkpoint.trial_name(trial)))
        if failure.epoch is None:
            failure = replace(failure, epoch=record.epoch)
        retry = deserves_retry(failure, record.failures, self._max_failures)
        memory = failure.peak_memory_bytes or record.costs.get("peak_memory_bytes")
        known = {"peak_memory_bytes": memory} if failure.cause == "oom" and memory else {}
        self.record("failure", trial=trial, cause=failure.cause, error=failure.error, epoch=failure.epoch, **known)
        if retry:
            self.try_again(trial)
        else:
            self._fail(record, failure)

    def sync(self) -> None:
        """Syncs the records and shows them; a store collects them for a while first."""
        if self._journal.flush():
            self.is_urgent = False
            self.on_sync()
            self._watcher(self.state)

    def interrupt_rest(self) -> None:
        """Records that the trials which have not ended were interrupted, with what they saved at last."""
        for record in list(self.state.trials.values()):
            if not record.status.is_end:
                self._recover_rows(record)
                self.record("end", trial=record.trial, status=TrialStatus.INTERRUPTED)
        self._journal.flush(force=True)

    def _tell_of_loss(self, record: TrialRecord, resumed_at: int | None) -> None:
        if resumed_at is None or resumed_at >= record.epoch:
            return
        start = f"goes on from epoch {resumed_at}" if resumed_at else "begins anew"
        why = "it has no later checkpoint" if resumed_at else "it has no checkpoint"
        self._watcher.tell(f"note: trial {record.trial} {start}, though epoch {record.epoch} was recorded: {why}")

    def _recover_rows(self, record: TrialRecord) -> None:
        # A step that was under way when the sweep ended is in the checkpoint that its worker left, and in no report.
        fetch_newest(self._trials, self._mirror, record.trial)
        found, _ = checkpoint.newest(self._trials / checkpoint.trial_name(record.trial))
        rows = [row for row in checkpoint.read_log(found) if row["epoch"] > record.epoch] if found else []
        if found and rows:
            content = {"costs": record.costs, "checkpoint": found.name, "placement": record.placement}
            self.record("report", trial=record.trial, rows=rows, recovered=True, **content)

    def _fail(self, record: TrialRecord, failure: Failure) -> None:
        error = f"{failure.error}\n{failure.trace}"
        self._end(record, TrialStatus.FAILED, cause=failure.cause, error=error)

    def _end(self, record: TrialRecord, status: TrialStatus, **content: Any) -> None:
        self.record("end", trial=record.trial, status=status, **content)
        self.on_end(record)


def _agreed(record: TrialRecord, result: Mapping[str, Any]) -> int:
    """The last epoch up to which the records are of the training that reports.

    Not all of them are where a driver was killed after a checkpoint and before the report of its epochs, and some of
    those were trained again: on many devices to other values. What is kept must belong to the weights.
    """
    if result["resumed_at"] is None:
        return record.epoch
    resumed_at = int(result["resumed_at"])
    if record.exploited:  # its checkpoint tells the epochs of the member that it took over from
        return resumed_at
    others = [int(row["epoch"]) for row in result["rows"] if record.rows.get(row["epoch"], row) != row]
    return min([resumed_at, *(epoch - 1 for epoch in others)])
