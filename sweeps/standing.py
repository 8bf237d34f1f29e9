"""How a recorded sweep stands: its status, and its trials as they are now. Shows nothing and writes nothing."""

from __future__ import annotations

from dataclasses import replace

from sweeps.lock import is_held
from sweeps.records import TrialRecord, TrialStatus
from sweeps.results import SweepResult

_SAID = {"failing": "gave up"}  # of reasons that a person would put otherwise
_GO_ON = ("interrupted", "stopped", "disk full", "time budget")


def status_of(result: SweepResult) -> str:
    """``running``, or how the last attempt ended: ``complete``, ``stopped``, ``interrupted``, ``gave up``, ...

    A driver that died was ``interrupted``; a complete sweep without any score has ``failed``.
    """
    reason = result.state.attempts[-1].get("reason") if result.state.attempts else None
    if reason is None:
        return "running" if is_held(result.paths) else "interrupted"
    if reason == "complete" and result.state.best is None:
        return "failed"
    return _SAID.get(reason, str(reason))


def goes_on(result: SweepResult) -> bool:
    """Whether the sweep ended in a way after which a resume, as it is, finds something to do."""
    return status_of(result) in _GO_ON


def n_planned(result: SweepResult) -> int:
    """How many trials there will be, as far as the last attempt knew."""
    return int((result.state.attempts[-1] if result.state.attempts else result.manifest)["n_trials"])


def n_ended(result: SweepResult) -> int:
    """How many trials train no more; one that was interrupted goes on some day."""
    return len(result.state.trials) - len(result.state.unfinished)


def trials_of(result: SweepResult) -> list[TrialRecord]:
    """The trials; one that had not ended when its driver died was interrupted, though nobody was left to record it."""
    records = list(result.state.trials.values())
    if all(record.status.is_end for record in records) or is_held(result.paths):
        return records
    return [record if record.status.is_end else replace(record, status=TrialStatus.INTERRUPTED) for record in records]
