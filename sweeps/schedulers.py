"""Names of schedulers -> Ray's schedulers, keyed by our trial numbers. Ray decides; this file only translates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

from search_spaces.space import SearchSpace
from sweeps.config import SchedulerConfig
from sweeps.population import mutable_names, perturbed
from sweeps.records import SweepState, TrialRecord, TrialStatus
from trainables.objective import Objective


@dataclass(frozen=True)
class TrialKey:
    """Stands for a trial in a scheduler's books, so that a trial which is started again keeps its place in them."""

    trial_id: str


class AshaScheduler(AsyncHyperBandScheduler):
    """Ray's ASHA (stopping variant), its rungs keyed by trial number."""

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Gives the trial its bracket; a trial that is started again keeps its own."""
        if _key(trial).trial_id not in self._trial_info:
            super().on_trial_add(tune_controller, _key(trial))

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """STOP for the weak at a rung, else CONTINUE."""
        return str(super().on_trial_result(tune_controller, _key(trial), result))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Lets the ended trial's last value count in its rung."""
        super().on_trial_complete(tune_controller, _key(trial), result)

    def recall(self, state: SweepState) -> None:
        """Fills the rungs with what earlier attempts reported, so that no decision is revised or made on less.

        A trial that was told to go on at a rung and reports there once more keeps its place in it. One whose last
        epoch no scheduler has heard of is judged when it reports that.
        """
        for milestone, recorded in self._brackets[0]._rungs:
            epoch = math.ceil(milestone)
            for record in state.trials.values():
                if epoch in record.rows and epoch != record.unjudged:
                    told = _told(record, epoch, state.objective)
                    recorded[str(record.trial)] = told if state.objective.maximize else -told

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Nothing to undo: what the trial reached still counts."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Forgets a trial that never ran."""
        self._trial_info.pop(_key(trial).trial_id, None)


class MedianScheduler(MedianStoppingRule):
    """Ray's median stopping rule, its books keyed by trial number."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """STOP for a trial whose best is below the median of the others' means, else CONTINUE."""
        return str(super().on_trial_result(tune_controller, _key(trial), self._what_counts(result)))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Lets the ended trial's last result count."""
        if told := self._what_counts(result):
            super().on_trial_complete(tune_controller, _key(trial), told)

    def _what_counts(self, result: Mapping[str, Any]) -> dict[str, Any]:
        # Ray keeps all that it is told to the end of the sweep.
        return {key: value for key, value in result.items() if key in (self._time_attr, self._metric)}

    def recall(self, state: SweepState) -> None:
        """Fills the books with what earlier attempts reported."""
        for record in state.trials.values():
            values = {epoch: _told(record, epoch, state.objective) for epoch in sorted(record.rows)}
            if values:
                told = [{"epoch": epoch, self._metric: value} for epoch, value in values.items()]
                self._results[TrialKey(str(record.trial))] = told

    def _on_insufficient_samples(self, tune_controller: Any, trial: Any, time: float) -> str:
        # Ray would pause the trial to run others meanwhile, which costs a checkpoint and decides nothing.
        return str(TrialScheduler.CONTINUE)


class PopulationScheduler(PopulationBasedTraining):
    """Ray's PBT over a search space: who takes over keeps its number and stays inside the space.

    Parameters
    ----------
    space : SearchSpace
        What may change.
    seed : int
        Of the perturbations.
    **options
        Of Ray's class.
    """

    def __init__(self, space: SearchSpace, *, seed: int, **options: Any) -> None:
        names = mutable_names(space)
        mutations: dict[str, Any] = {"params": {name: (lambda name=name: None) for name in names}}
        super().__init__(hyperparam_mutations=mutations, log_config=False, **options)
        self._space = space
        self._names = names
        self._rng = np.random.default_rng(seed)
        self.on_exploit: Callable[[int, int, dict[str, Any]], None] = lambda trial, donor, params: None

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Takes a new member in."""
        # Ray refuses searchers here, because theirs would learn from params that have changed meanwhile. Ours reads the
        # params of the best epoch from the records, so the check is shown a controller without a searcher.
        without_searcher: Any = SimpleNamespace(search_alg=None)
        super().on_trial_add(without_searcher, trial)

    def _get_new_config(self, trial: Trial, trial_to_clone: Trial) -> tuple[dict[str, Any], dict[str, Any]]:
        params = dict(trial_to_clone.config["params"])
        params = perturbed(self._space, self._names, params, self._rng)
        self.on_exploit(trial.config["trial"], trial_to_clone.config["trial"], params)
        return {"trial": trial.config["trial"], "params": params}, {}

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its scheduler for a restore that is never made, and ours knows the journal

    def _summarize_hyperparam_changes(self, *args: Any, **kwargs: Any) -> str:
        return ""  # Ray's own expects that both members have the same parameters; the journal has it all


def make_scheduler(
    config: SchedulerConfig, space: SearchSpace, objective: Objective, *, max_epochs: int, seed: int
) -> TrialScheduler:
    """The scheduler that a spec's ``scheduler`` names; its clock is the epoch.

    Parameters
    ----------
    config : SchedulerConfig
        Name and options.
    space : SearchSpace
        What PBT perturbs.
    objective : Objective
        Metric and direction.
    max_epochs : int
        Most epochs of any trial.
    seed : int
        Of PBT's perturbations.

    Returns
    -------
    ray.tune.schedulers.TrialScheduler
    """
    mode = "max" if objective.maximize else "min"
    given: dict[str, Any] = {"time_attr": "epoch", "metric": objective.metric, "mode": mode}
    if config.name == "pbt":
        given |= {"space": space, "seed": seed}
    return _BUILDERS[config.name](config, given, max_epochs)


def _asha(config: SchedulerConfig, given: Mapping[str, Any], max_epochs: int) -> TrialScheduler:
    shape: dict[str, Any] = {"grace_period": config.grace_period, "reduction_factor": config.reduction_factor}
    return AshaScheduler(**given, max_t=max_epochs, **shape)


def _median(config: SchedulerConfig, given: Mapping[str, Any], max_epochs: int) -> TrialScheduler:
    limits: dict[str, Any] = {"grace_period": config.grace_period, "min_samples_required": config.min_samples}
    return MedianScheduler(**given, **limits)


def _hyperband(config: SchedulerConfig, given: Mapping[str, Any], max_epochs: int) -> TrialScheduler:
    return HyperBandScheduler(**given, max_t=max_epochs, reduction_factor=config.reduction_factor)


def _pbt(config: SchedulerConfig, given: Mapping[str, Any], max_epochs: int) -> TrialScheduler:
    shape: dict[str, Any] = {
        "perturbation_interval": config.perturbation_interval,
        "quantile_fraction": config.quantile_fraction,
    }
    return PopulationScheduler(**given, **shape)


_BUILDERS: dict[str, Callable[[SchedulerConfig, Mapping[str, Any], int], TrialScheduler]] = {
    "fifo": lambda config, given, max_epochs: FIFOScheduler(),  # type: ignore[no-untyped-call]  # Ray leaves it untyped
    "asha": _asha,
    "median": _median,
    "hyperband": _hyperband,
    "pbt": _pbt,
}


def _told(record: TrialRecord, epoch: int, objective: Objective) -> float:
    """What a scheduler heard of an epoch: the metric, or the worst value where the trial diverged in it."""
    if record.status is TrialStatus.DIVERGED and epoch == record.epoch:
        return objective.worst
    return record.rows[epoch][objective.metric]


def _key(trial: Trial) -> Any:
    return TrialKey(str(trial.config["trial"]))
