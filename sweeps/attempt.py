"""Attempt: one run of a sweep's driver. Fresh, resumed and extended sweeps take the same road from their records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.best_net import write_best
from sweeps.cluster_watch import HEAD_LOST
from sweeps.disk import free_space_problem
from sweeps.errors import InfeasibleError, NoTrialSucceededError, SweepStateError
from sweeps.execution import Execution
from sweeps.journal import Journal
from sweeps.lock import Hold, asked_to_stop
from sweeps.plan import SweepPlan
from sweeps.progress import Watcher
from sweeps.proposals import make_proposals
from sweeps.recorder import Recorder
from sweeps.records import SweepState, TrialRecord, TrialStatus
from sweeps.retention import Keeper
from sweeps.schedulers import AshaScheduler, MedianScheduler, PopulationScheduler, make_scheduler
from sweeps.searchers import SweepSearcher
from sweeps.signals import Signals
from sweeps.spec_changes import spec_leaves
from sweeps.stop_rules import (
    DESERTED,
    FAILING,
    HEADLESS,
    AllAlike,
    Rule,
    StopRules,
    every,
    metric_target,
    time_budget,
    when,
)
from sweeps.storage import SweepPaths, push, read_manifest
from sweeps.tables import write_tables
from trainables.claim import Claim
from trainables.mirror import fetch_newest

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler

# Why a sweep ended early, beside the reasons of `stop_rules`.
_ASKED, _STOPPED, _FULL, _LOST = "interrupted", "stopped", "disk full", "taken over"
_CLUSTER = {
    HEADLESS: HEAD_LOST,
    DESERTED: "for {} s the cluster had no machine that could run a trial (failure.wait_for_machines_s); "
    "what was found is saved",
}
# Seconds between two looks at what the file system has to say.
_LOOK_S = 2.0


@dataclass(frozen=True)
class Attempt:
    """The trials that a sweep still lacks, and what it takes to run them.

    Attributes
    ----------
    plan : SweepPlan
        Checked; its job names the folder of the trials.
    paths : SweepPaths
        The sweep's directory.
    state : SweepState
        All records so far: empty for a fresh sweep.
    hold : Hold
        Of the sweep's lock.
    watcher : Watcher
        Told the state after each sync, and what a person should know.
    again : tuple of int, default=()
        Trials that failed and are to be tried once more.
    """

    plan: SweepPlan
    paths: SweepPaths
    state: SweepState
    hold: Hold
    watcher: Watcher
    again: tuple[int, ...] = ()

    @property
    def ray_folder(self) -> Path:
        """For Ray's own files; known before it runs."""
        return self.paths.ray(len(self.state.attempts) + 1)

    @property
    def is_needed(self) -> bool:
        """Whether any trial is left to run."""
        return bool(self.again or self.state.unfinished) or len(self.state.trials) < self.plan.n_trials

    def run(self, execute: Callable[[Execution], None]) -> None:
        """Runs to the end, a stop rule or a signal, then writes the tables and the best net.

        Parameters
        ----------
        execute : callable
            Runs the trials: `sweeps.tuning.on_ray` or `sweeps.inline.in_process`.

        Raises
        ------
        InfeasibleError
            The storage failed or is full, or Ray does not answer any more.
        SweepStateError
            Another driver has taken the sweep over.
        NoTrialSucceededError
            The first trials all failed alike.
        KeyboardInterrupt
            A signal stopped it; everything is written.
        """
        try:
            with Journal(self.paths.journal, self.paths.remote_journal, self.hold.refuse_lost) as journal:
                reason = self._run(journal, execute)
        except ConnectionError as error:  # Ray's: a store's failures are of a class of their own
            text = f"Ray does not answer any more: {error}\ngo on with: {self.paths.resume_command}"
            raise InfeasibleError(text) from error
        except OSError as error:
            paths = self.paths
            text = f"storage {paths.location} failed: {error}\nmend it and go on with: {paths.resume_command}"
            raise InfeasibleError(text) from error
        self._raise_for(reason)

    def _run(self, journal: Journal, execute: Callable[[Execution], None]) -> str:
        failing = AllAlike(self.plan.config.failure.give_up_after, self.state)
        recorder, keeper = self._recorder(journal, failing)
        searcher = self._searcher(recorder)
        with Signals(self.watcher.tell) as signals:
            stop = StopRules(self._rules(signals, searcher, failing))
            self._begin(journal, recorder)
            plan = self.plan
            execute(Execution(plan.config, plan.job, searcher, self._scheduler(recorder), recorder, stop))
            reason = stop.reason or ("complete" if searcher.is_done else "stopped" if searcher.is_closed else _ASKED)
            self.hold.refuse_lost()
            recorder.interrupt_rest()
            keeper.finish()
        if searcher.shortfall:
            self.watcher.tell(f"note: there were {searcher.shortfall} distinct configs fewer than asked for")
        self._write_results(reason)
        # Only now: what the lines above did not come to is done by the next attempt.
        recorder.record("attempt_end", reason=reason, signal=signals.caught)
        return reason

    def _begin(self, journal: Journal, recorder: Recorder) -> None:
        plan = self.plan
        aims = {"n_trials": plan.n_trials, "max_epochs": plan.max_epochs, "rungs": list(plan.job.rungs)}
        recorder.record("attempt", attempt=plan.job.attempt, **aims, spec=spec_leaves(plan.config))
        journal.flush(force=True)
        Claim(self.paths.trials, plan.job.attempt, self.paths.remote_trials).take()
        if journal.lost is not None:
            self.watcher.tell(f"note: {journal.lost}")

    def _recorder(self, journal: Journal, failing: AllAlike) -> tuple[Recorder, Keeper]:
        config = self.plan.config
        recorder = Recorder(
            journal,
            self.state,
            self.watcher,
            self.paths.trials,
            max_failures=config.failure.max_failures,
            mirror=self.paths.remote_trials,
        )
        keeper = Keeper(self.paths.trials, self.state, config.checkpoint.keep, self.watcher.tell)

        def on_end(record: TrialRecord) -> None:
            failing.note(record)
            keeper.retain(record)

        recorder.on_end, recorder.on_sync = on_end, keeper.delete
        return recorder, keeper

    def _rules(self, signals: Signals, searcher: SweepSearcher, failing: AllAlike) -> list[Rule]:
        config = self.plan.config

        def asked() -> str | None:
            asked = asked_to_stop(self.paths)
            if asked == "drain":
                searcher.close()
            return _STOPPED if asked == "now" else None

        def full() -> str | None:
            return _FULL if free_space_problem(self.paths, config.checkpoint.min_free_gb) else None

        return [
            when(signals.asked, _ASKED),
            when(self.hold.is_lost, _LOST),
            failing,
            metric_target(self.state, config.stop.metric_target),
            time_budget(config.stop.time_budget_s),
            every(_LOOK_S, asked),
            every(_LOOK_S, full),
        ]

    def _write_results(self, reason: str) -> None:
        write_tables(self.state, self.paths.trials_table, self.paths.metrics_table)
        if reason == _ASKED and len(self.plan.job.data.splits) > 1:
            self.watcher.tell("note: best/ was not written, as one net on all rows would take too long to train now")
        else:
            self._write_best()
        self.hold.refuse_lost()  # the best net may have taken long
        push(self.paths, self.paths.trials_table, self.paths.metrics_table, self.paths.best)

    def _write_best(self) -> None:
        if self.state.best is None:
            return
        fetch_newest(self.paths.trials, self.paths.remote_trials, self.state.best.trial)
        try:
            write_best(self.paths, read_manifest(self.paths), self.plan, self.state.best)
        except SweepStateError as error:  # all else that was found is there
            self.watcher.tell(f"note: best/ was not written: {error}")

    def _raise_for(self, reason: str) -> None:
        again = self.paths.resume_command
        if reason == _ASKED:
            root, config = self.paths.location, self.plan.config
            given = [f", {key}=..." for key, known in (("net", config.net), ("data", config.data)) if known is None]
            raise KeyboardInterrupt(f"what {root} had found is saved; Sweep.resume({root!r}{''.join(given)}) goes on")
        if reason in _CLUSTER:
            text = _CLUSTER[reason].format(f"{self.plan.config.failure.wait_for_machines_s:g}")
            raise InfeasibleError(f"{text}\ngo on with: {again}")
        if reason == _FULL:
            problem = free_space_problem(self.paths, self.plan.config.checkpoint.min_free_gb) or "the disk was full"
            raise InfeasibleError(f"paused: {problem}\ngo on with: {again}")
        if reason == FAILING:
            failed = [record for record in self.state.trials.values() if record.status is TrialStatus.FAILED]
            cause = (failed[-1].error or "unknown error").splitlines()[0]
            most = self.plan.config.failure.give_up_after
            text = f"stopped, since the first {most} trials all failed alike: {cause}"
            raise NoTrialSucceededError(f"{text}\nmend it and go on with: {again} --retry-failed")

    def _searcher(self, recorder: Recorder) -> SweepSearcher:
        config = self.plan.config
        proposals = make_proposals(config.searcher, self.plan.space, self.plan.job.objective)
        limit = config.resources.max_concurrent_trials
        searcher = SweepSearcher(proposals, self.state, self.plan.n_trials, recorder.announce, limit)
        recorder.try_again = searcher.try_again
        for trial in (*self.state.unfinished, *self.again):
            searcher.try_again(trial)
        return searcher

    def _scheduler(self, recorder: Recorder) -> TrialScheduler:
        plan = self.plan
        scheduler = make_scheduler(
            plan.config.scheduler, plan.space, plan.job.objective, max_epochs=plan.max_epochs, seed=plan.config.seed
        )
        if isinstance(scheduler, PopulationScheduler):
            scheduler.on_exploit = recorder.exploit
        if isinstance(scheduler, (AshaScheduler, MedianScheduler)):
            scheduler.recall(self.state)
        elif self.state.trials and plan.config.scheduler.name != "fifo":
            self.watcher.tell(f"note: {plan.config.scheduler.name} compares only the trials that go on")
        return scheduler
