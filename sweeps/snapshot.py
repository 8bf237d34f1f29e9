"""Snapshot: where a sweep stands, counted from its records. Shows nothing and knows no time of day."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweeps.records import SweepState, TrialRecord, TrialStatus

RETRYING = "RETRYING"
"""Stands beside the statuses: a trial that failed and has not come further since."""

_STANDINGS = (TrialStatus.PENDING, TrialStatus.RUNNING, RETRYING, *list(TrialStatus)[2:])
_GO_ON = (TrialStatus.PENDING, TrialStatus.RUNNING, RETRYING, TrialStatus.INTERRUPTED)


@dataclass(frozen=True)
class RungCount:
    """How many trials reached a rung, and how many were stopped there."""

    epoch: int
    reached: int
    stopped: int


@dataclass(frozen=True)
class BestSoFar:
    """The best epoch of all trials so far."""

    score: float
    epoch: int
    trial: int


@dataclass(frozen=True)
class FailureCount:
    """Trials that failed for one cause, and the first line of the latest error."""

    cause: str
    trials: int
    error: str


@dataclass(frozen=True)
class Snapshot:
    """Where a sweep stands.

    Attributes
    ----------
    metric : str
        What a score is.
    n_trials : int
        How many trials there will be.
    counts : mapping of str to int
        Trials that stand at each status, or at `RETRYING`; without zeros.
    epochs : int
        Epochs trained in all trials together.
    best : BestSoFar or None
        None before the first score.
    rungs : tuple of RungCount
        Ascending.
    failures : tuple of FailureCount
        Trials that have failed for good; most frequent first.
    retries : tuple of FailureCount
        Trials that failed and were, or will be, started again; most frequent first.
    elapsed_s : float
        Seconds since the first trial started.
    eta_s : float or None
        Seconds that are left if the rest is like the trials that have ended; None before one has, and before there is
        an epoch to go by.
    """

    metric: str
    n_trials: int
    counts: Mapping[str, int]
    epochs: int
    best: BestSoFar | None
    rungs: tuple[RungCount, ...]
    failures: tuple[FailureCount, ...]
    retries: tuple[FailureCount, ...]
    elapsed_s: float
    eta_s: float | None

    @property
    def n_ended(self) -> int:
        """Trials that train no more; one that was interrupted goes on some day."""
        return sum(count for standing, count in self.counts.items() if standing not in _GO_ON)


def snapshot(
    state: SweepState, n_trials: int, rungs: Sequence[int], elapsed_s: float, epochs_before: int = 0
) -> Snapshot:
    """Counts what a state says.

    Parameters
    ----------
    state : SweepState
        Only read.
    n_trials : int
        How many trials there will be.
    rungs : sequence of int
        Epochs at which the scheduler compares.
    elapsed_s : float
        Seconds since the first trial started.
    epochs_before : int, default=0
        Epochs that were trained before those seconds began, by earlier attempts.
    """
    records = state.trials.values()
    standings = [_standing(record) for record in records]
    reached = [record.epoch for record in records]
    counts, epochs, best = Counter(standings), state.epochs, state.best
    ended = [epoch for epoch, standing in zip(reached, standings, strict=True) if standing not in _GO_ON]
    has_rest = len(ended) < n_trials and any(not record.status.is_end for record in records)
    return Snapshot(
        metric=state.objective.metric,
        n_trials=n_trials,
        counts={standing: counts[standing] for standing in _STANDINGS if counts[standing]},
        epochs=epochs,
        best=None if best is None else BestSoFar(best.best_value or 0.0, best.best_epoch or 0, best.trial),
        rungs=_count_rungs(reached, Counter(record.rung for record in records), rungs),
        failures=_count_failures(
            (record.cause, record.error) for record in records if record.status is TrialStatus.FAILED
        ),
        retries=_count_failures(
            (record.failures[-1]["cause"], record.failures[-1]["error"])
            for record in records
            if record.failures and record.status is not TrialStatus.FAILED
        ),
        elapsed_s=elapsed_s,
        eta_s=_left_s(ended, n_trials, epochs, elapsed_s, epochs - epochs_before) if has_rest else None,
    )


def _standing(record: TrialRecord) -> str:
    # The journal says that a trial failed, and starts it anew; where it waits in between it counts as running.
    is_open = record.status in (TrialStatus.PENDING, TrialStatus.RUNNING)
    return RETRYING if is_open and record.failures and record.epoch <= record.failures[-1]["epoch"] else record.status


def _count_rungs(
    reached: Iterable[int], stopped: Mapping[int | None, int], rungs: Sequence[int]
) -> tuple[RungCount, ...]:
    epochs = sorted(reached)
    return tuple(RungCount(rung, len(epochs) - bisect_left(epochs, rung), stopped[rung]) for rung in rungs)


def _count_failures(failed: Iterable[tuple[str | None, str | None]]) -> tuple[FailureCount, ...]:
    """Counts causes; each with its latest error."""
    counts: Counter[str] = Counter()
    latest = {}
    for cause, error in failed:
        counts[cause or "unknown"] += 1
        latest[cause or "unknown"] = (error or "unknown error").splitlines()[0]
    return tuple(FailureCount(cause, count, latest[cause]) for cause, count in counts.most_common())


def _left_s(ended: Sequence[int], n_trials: int, epochs: int, elapsed_s: float, latest_epochs: int) -> float | None:
    """What is left of all epochs, at the pace of the latest, if the rest is like the trials that have ended."""
    if not ended or latest_epochs <= 0:
        return None  # nothing to go by
    of_one = sum(ended) / len(ended)
    left = of_one * (n_trials - len(ended)) - (epochs - sum(ended))
    return max(0.0, left) * elapsed_s / latest_epochs
