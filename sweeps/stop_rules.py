"""Rules that end a whole sweep early, each a question that answers with a reason or None. Ends nothing itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sweeps.failures import alike
from sweeps.records import SweepState, TrialRecord, TrialStatus

FAILING = "failing"
"""The reason of `AllAlike`."""

HEADLESS, DESERTED = "headless", "deserted"
"""The reasons of `sweeps.cluster_watch`: the cluster's head is lost, or for long no machine could run a trial."""

Rule = Callable[[], str | None]
"""Asked in every turn: why the sweep ends now, or None."""


class StopRules:
    """Asks rules in order until one gives a reason, and remembers it.

    Parameters
    ----------
    rules : sequence of callable
        The first that answers counts.

    Attributes
    ----------
    reason : str or None
        Why the sweep ends.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.reason: str | None = None
        self._rules = list(rules)

    def add(self, *rules: Rule) -> None:
        """Asks more rules from now on, after the others."""
        self._rules.extend(rules)

    def stop_all(self) -> bool:
        """Whether the sweep ends now."""
        self.reason = self.reason or next(filter(None, (rule() for rule in self._rules)), None)
        return self.reason is not None


def when(is_true: Callable[[], bool], reason: str) -> Rule:
    """Gives ``reason`` when a question is answered with yes."""
    return lambda: reason if is_true() else None


def every(seconds: float, rule: Rule) -> Rule:
    """Asks a rule that costs something only once in so many seconds."""
    asked_at = float("-inf")

    def ask() -> str | None:
        nonlocal asked_at
        if time.monotonic() - asked_at < seconds:
            return None
        asked_at = time.monotonic()
        return rule()

    return ask


def time_budget(seconds: float | None) -> Rule:
    """Ends so many seconds from now; None is never."""
    deadline = None if seconds is None else time.monotonic() + seconds
    return when(lambda: deadline is not None and time.monotonic() >= deadline, "time budget")


def metric_target(state: SweepState, target: float | None) -> Rule:
    """Ends when the best value is as good as ``target``; None is never."""

    def is_reached() -> bool:
        best = state.best.best_value if state.best else None
        return target is not None and best is not None and not state.objective.is_better(target, best)

    return when(is_reached, "metric target")


class AllAlike:
    """Ends when the first trials of an attempt all fail for one cause: the rest would, too.

    Parameters
    ----------
    most : int
        So many alike failures are enough, before any trial has ended otherwise or come further than those that failed.
    state : SweepState
        As it is when the attempt begins, and kept up to date.
    """

    def __init__(self, most: int, state: SweepState) -> None:
        self._most = most
        self._state = state
        self._began_at = {record.trial: record.epoch for record in state.trials.values()}
        self._failed: list[TrialRecord] = []
        self._is_over = False

    def note(self, record: TrialRecord) -> None:
        """Takes notice of a trial that has ended."""
        if record.status is TrialStatus.FAILED and not self._is_over:
            self._failed.append(record)
        else:
            self._is_over = True

    def __call__(self) -> str | None:
        """The reason, once there is one."""
        if self._is_over or len(self._failed) < self._most:
            return None
        is_alike = alike([_failure_of(record) for record in self._failed])
        self._is_over = not is_alike or self._is_one_further()
        return None if self._is_over else FAILING

    def _is_one_further(self) -> bool:
        """Whether a trial that runs has trained, in this attempt, to an epoch that none of the failed came to."""
        reached = max(record.epoch for record in self._failed)
        running = (record for record in self._state.trials.values() if record.status is TrialStatus.RUNNING)
        return any(record.epoch > max(reached, self._began_at.get(record.trial, 0)) for record in running)


def _failure_of(record: TrialRecord) -> dict[str, str]:
    return {"cause": record.cause or "", "error": (record.error or "").split("\n", 1)[0]}
