"""Attempt: one run of a sweep's driver on Ray Tune. Fresh and resumed sweeps take the same road from their records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import TrialScheduler

from sweeps.best_net import write_best
from sweeps.config import SweepConfig
from sweeps.errors import InfeasibleError, SweepStateError
from sweeps.journal import Journal
from sweeps.plan import SweepPlan
from sweeps.progress import Watcher
from sweeps.proposals import make_proposals
from sweeps.recorder import Recorder, StopRules
from sweeps.records import SweepState
from sweeps.resources import share_of
from sweeps.schedulers import AshaScheduler, MedianScheduler, PopulationScheduler, make_scheduler
from sweeps.searchers import SweepSearcher
from sweeps.signals import Signals
from sweeps.storage import SweepPaths, read_manifest
from sweeps.tables import write_tables
from trainables.job import PackedJob
from trainables.net import NetTrainable


class Attempt:
    """Runs the trials that a sweep still lacks, with a fresh Tuner that knows what the records say.

    Parameters
    ----------
    plan : SweepPlan
        Checked; its job names the folder of the trials.
    paths : SweepPaths
        The sweep's directory; the caller holds its lock.
    state : SweepState
        All records so far: empty for a fresh sweep.
    watcher : Watcher
        Told the state after each sync, and what a person should know.
    """

    def __init__(self, plan: SweepPlan, paths: SweepPaths, state: SweepState, watcher: Watcher) -> None:
        self._plan = plan
        self._paths = paths
        self._state = state
        self._watcher = watcher
        self._number = len(state.attempts) + 1

    def run(self, search_path: Sequence[Path]) -> None:
        """Runs to the end, a stop rule or a signal, then writes the tables and the best net.

        Parameters
        ----------
        search_path : sequence of Path
            Folders from which workers import user modules.

        Raises
        ------
        InfeasibleError
            The storage failed.
        KeyboardInterrupt
            A signal stopped it; everything is written.
        """
        try:
            self._run(search_path)
            write_tables(self._state, self._paths.trials_table, self._paths.metrics_table)
            self._write_best()
        except OSError as error:
            again = f"mend it and go on with `sweeps resume {self._paths.root}`"
            raise InfeasibleError(f"storage {self._paths.root} failed: {error}; {again}") from error
        if self._state.attempts[-1]["reason"] == "interrupted":
            root = str(self._paths.root)
            raise KeyboardInterrupt(f"what {root} had found is saved; Sweep.resume({root!r}) goes on")

    def _run(self, search_path: Sequence[Path]) -> None:
        config, plan = self._plan.config, self._plan
        with Journal(self._paths.journal) as journal, Signals(self._watcher.tell) as signals:
            recorder = Recorder(journal, self._state, self._watcher, config.failure.max_failures)
            recorder.record("attempt", attempt=self._number, n_trials=plan.n_trials, rungs=list(plan.job.rungs))
            stop = StopRules(self._state, config.stop.time_budget_s, config.stop.metric_target)
            stop.is_asked = lambda: signals.caught is not None
            searcher = self._searcher(recorder)
            self._tuner(recorder, searcher, stop, search_path).fit()
            reason = stop.reason or ("complete" if searcher.is_done else "interrupted")
            recorder.record("attempt_end", reason=reason, signal=signals.caught)
            recorder.interrupt_rest(self._paths.trials)
            if searcher.shortfall:
                self._watcher.tell(f"note: there were {searcher.shortfall} distinct configs fewer than asked for")

    def _write_best(self) -> None:
        if self._state.best is None:
            return
        try:
            write_best(self._paths, read_manifest(self._paths), self._plan, self._state.best)
        except SweepStateError as error:  # all else that was found is there
            self._watcher.tell(f"note: best/ was not written: {error}")

    def _searcher(self, recorder: Recorder) -> SweepSearcher:
        config = self._plan.config
        proposals = make_proposals(config.searcher, self._plan.space, self._plan.job.objective)
        limit = config.resources.max_concurrent_trials
        searcher = SweepSearcher(proposals, self._state, self._plan.n_trials, recorder.announce, limit)
        recorder.try_again = searcher.try_again
        for trial in self._state.unfinished:
            searcher.try_again(trial)
        return searcher

    def _scheduler(self, recorder: Recorder) -> TrialScheduler:
        plan = self._plan
        scheduler = make_scheduler(
            plan.config.scheduler, plan.space, plan.job.objective, max_epochs=plan.max_epochs, seed=plan.config.seed
        )
        if isinstance(scheduler, PopulationScheduler):
            scheduler.on_exploit = recorder.exploit
        if isinstance(scheduler, (AshaScheduler, MedianScheduler)):
            scheduler.recall(self._state)
        elif self._state.trials and plan.config.scheduler.name != "fifo":
            self._watcher.tell(f"note: {plan.config.scheduler.name} compares only the trials that go on")
        return scheduler

    def _tuner(
        self, recorder: Recorder, searcher: SweepSearcher, stop: StopRules, search_path: Sequence[Path]
    ) -> tune.Tuner:
        scheduler = self._scheduler(recorder)
        job = PackedJob.pack(self._plan.job, search_path)
        folder = self._paths.ray(self._number)
        return tune.Tuner(
            tune.with_resources(tune.with_parameters(NetTrainable, job=job), _placement_of(self._plan.config)),
            tune_config=tune.TuneConfig(num_samples=-1, search_alg=searcher, scheduler=scheduler, reuse_actors=True),
            run_config=tune.RunConfig(
                name=folder.name,
                storage_path=str(folder.parent),
                callbacks=[recorder],
                stop=stop,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )


def _placement_of(config: SweepConfig) -> Callable[[Mapping[str, Any]], tune.PlacementGroupFactory]:
    def placement(trial_config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        share = share_of(config.resources, trial_config["params"])
        return tune.PlacementGroupFactory([{"CPU": share.cpu, **({"GPU": share.gpu} if share.gpu else {})}])

    return placement
