"""Recorder: Tune's callbacks -> journal, the only writer of records; and the rules that end a sweep early."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from sweeps.failures import Failure, deserves_retry, read_failure
from sweeps.journal import Event, Journal
from sweeps.progress import Watcher
from sweeps.records import SweepState, TrialRecord, TrialStatus
from trainables import checkpoint

_ENDS = {"completed": TrialStatus.COMPLETED, "diverged": TrialStatus.DIVERGED}


class Recorder(tune.Callback):
    """Writes what Tune does as records, and keeps the state that they add up to.

    All calls come from the driver's one thread. Records of one turn of Tune's loop are synced together at its end, and
    only then shown.

    Parameters
    ----------
    journal : Journal
        Open; the caller closes it.
    state : SweepState
        Brought up to date with each record.
    watcher : Watcher
        Told the state after each sync, and notes of the workers.
    max_failures : int
        Most restarts of a trial whose worker died.
    """

    # One method above the budget of eight: five of them are Tune's.

    def __init__(self, journal: Journal, state: SweepState, watcher: Watcher, max_failures: int) -> None:
        self.state = state
        self.try_again: Callable[[int], None] = lambda trial: None
        self._journal = journal
        self._watcher = watcher
        self._max_failures = max_failures
        self._exploits: list[Event] = []

    def record(self, kind: str, **content: Any) -> None:
        """Appends one record and applies it."""
        self.state.apply(self._journal.append({"type": kind, "time": time.time(), **content}))

    def announce(self, trial: int, params: dict[str, Any]) -> None:
        """Records a new trial before Tune knows it."""
        self.record("trial", trial=trial, params=params)

    def exploit(self, trial: int, donor: int, params: dict[str, Any]) -> None:
        """Notes that ``trial`` goes on from ``donor``'s weights; recorded after the report that led to it."""
        self._exploits.append({"trial": trial, "donor": donor, "params": params})

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Records that a trial trains."""
        self.record("start", trial=trial.config["trial"])

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Records the epochs of a report."""
        record = self._record_of(trial)
        for note in result["notes"]:
            self._watcher.tell(f"note: trial {record.trial}: {note}")
        # A report that was lost with its driver or worker comes again from the checkpoint, with older ones before it.
        rows = [row for row in result["rows"] if row["epoch"] not in record.rows or record.exploited]
        placement = {"node": result["hostname"], "pid": result["pid"], "gpu": result["gpu"]}
        content = {"costs": result["costs"], "checkpoint": result["checkpoint"], "placement": placement}
        resumed = {} if result["resumed_at"] is None else {"resumed_at": result["resumed_at"]}
        self.record("report", trial=record.trial, rows=rows, **content, **resumed)
        for event in self._exploits:
            self.record("exploit", **event)
        self._exploits.clear()

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Records an end that is no failure: by itself, or by the scheduler."""
        record = self._record_of(trial)
        ended = (trial.last_result or {}).get("ended")
        if ended:
            self.record("end", trial=record.trial, status=_ENDS[ended])
        elif record.rows:
            self.record("end", trial=record.trial, status=TrialStatus.STOPPED, rung=trial.last_result["epoch"])

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Records a failure, and either queues the trial again or ends it."""
        record = self._record_of(trial)
        failure = read_failure(Path(trial.error_file).read_text(encoding="utf-8", errors="replace"))
        retry = deserves_retry(failure, record.epoch, record.failures, self._max_failures)
        self.record("failure", trial=record.trial, cause=failure.cause, error=failure.error, epoch=record.epoch)
        if retry:
            self.try_again(record.trial)
        else:
            self._fail(record, failure)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Syncs the turn's records and shows them."""
        self._journal.flush()
        self._watcher(self.state)

    def interrupt_rest(self, trials: Path) -> None:
        """Records that the trials which have not ended were interrupted, with what they saved when they were told to.

        Parameters
        ----------
        trials : Path
            Folder of the trials' checkpoints.
        """
        for record in list(self.state.trials.values()):
            if not record.status.is_end:
                self._recover_rows(record, trials / checkpoint.trial_name(record.trial))
                self.record("end", trial=record.trial, status=TrialStatus.INTERRUPTED)
        self._journal.flush()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks for a restore that is never made

    def _record_of(self, trial: Trial) -> TrialRecord:
        return self.state.trials[trial.config["trial"]]

    def _recover_rows(self, record: TrialRecord, folder: Path) -> None:
        # A step that was under way when the sweep ended is in the checkpoint that its worker left, and in no report.
        found, _ = checkpoint.newest(folder)
        rows = [row for row in checkpoint.read_log(found) if row["epoch"] > record.epoch] if found else []
        if found and rows:
            content = {"costs": record.costs, "checkpoint": found.name, "placement": record.placement}
            self.record("report", trial=record.trial, rows=rows, **content)

    def _fail(self, record: TrialRecord, failure: Failure) -> None:
        error = f"{failure.error}\n{failure.trace}"
        self.record("end", trial=record.trial, status=TrialStatus.FAILED, cause=failure.cause, error=error)


class StopRules(tune.Stopper):
    """Ends the whole sweep by time or by target.

    Parameters
    ----------
    state : SweepState
        Read for the best value.
    time_budget_s : float or None
        Seconds after which no trial goes on, from now.
    metric_target : float or None
        Value that is good enough.
    """

    def __init__(self, state: SweepState, time_budget_s: float | None, metric_target: float | None) -> None:
        self.reason: str | None = None
        self.is_asked: Callable[[], bool] = lambda: False
        self._state = state
        self._deadline = None if time_budget_s is None else time.monotonic() + time_budget_s
        self._target = metric_target

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """False: no rule ends a single trial."""
        return False

    def stop_all(self) -> bool:
        """Whether the sweep ends now; remembers why."""
        best = self._state.best
        if self.is_asked():
            self.reason = "interrupted"
        elif self._deadline is not None and time.monotonic() >= self._deadline:
            self.reason = "time budget"
        elif self._target is not None and best is not None and best.best_value is not None:
            is_short = self._state.objective.is_better(self._target, best.best_value)
            self.reason = None if is_short else "metric target"
        return self.reason is not None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # as the recorder's
