"""Names of schedulers -> Ray's schedulers, keyed by our trial numbers. Ray decides; this file only translates."""

from __future__ import annotations

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
from sweeps.rungs import rungs
from trainables.objective import Objective


@dataclass(frozen=True)
class TrialKey:
    """Stands for a trial in a scheduler's books, so that a trial which is started again keeps its place in them."""

    trial_id: str


@dataclass(frozen=True)
class Schedule:
    """A scheduler and what the trials must know of it.

    Attributes
    ----------
    scheduler : ray.tune.schedulers.TrialScheduler
        For the Tuner.
    rungs : tuple of int
        Epochs at which it compares trials; a report never passes one.
    every_epoch : bool
        Whether it must see each epoch by itself.
    """

    scheduler: TrialScheduler
    rungs: tuple[int, ...] = ()
    every_epoch: bool = False


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

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Nothing to undo: what the trial reached still counts."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Forgets a trial that never ran."""
        self._trial_info.pop(_key(trial).trial_id, None)


class MedianScheduler(MedianStoppingRule):
    """Ray's median stopping rule, its books keyed by trial number."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """STOP for a trial whose best is below the median of the others' means, else CONTINUE."""
        return str(super().on_trial_result(tune_controller, _key(trial), result))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Lets the ended trial's last result count."""
        super().on_trial_complete(tune_controller, _key(trial), result)

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
        mutations = {"params": {name: (lambda name=name: None) for name in names}}
        super().__init__(hyperparam_mutations=mutations, log_config=False, **options)
        self._space = space
        self._names = names
        self._rng = np.random.default_rng(seed)
        self.on_exploit: Callable[[int, int, dict[str, Any]], None] = lambda trial, donor, params: None

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Takes a new member in."""
        # Ray refuses searchers here, because theirs would learn from params that have changed meanwhile. Ours reads the
        # params of the best epoch from the records, so the check is shown a controller without a searcher.
        super().on_trial_add(SimpleNamespace(search_alg=None), trial)

    def _get_new_config(self, trial: Trial, trial_to_clone: Trial) -> tuple[dict[str, Any], dict[str, Any]]:
        params = dict(trial_to_clone.config["params"])
        params = perturbed(self._space, self._names, params, self._rng)
        self.on_exploit(trial.config["trial"], trial_to_clone.config["trial"], params)
        return {"trial": trial.config["trial"], "params": params}, {}

    def _summarize_hyperparam_changes(self, *args: Any, **kwargs: Any) -> str:
        return ""  # Ray's own expects that both members have the same parameters; the journal has it all


def make_schedule(
    config: SchedulerConfig, space: SearchSpace, objective: Objective, *, max_epochs: int, seed: int
) -> Schedule:
    """The scheduler that a spec's ``scheduler`` names.

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
    Schedule
    """
    ray_options = {"time_attr": "epoch", "metric": objective.metric, "mode": "max" if objective.maximize else "min"}
    return _BUILDERS[config.name](config, ray_options, space, max_epochs, seed)


def _fifo(
    config: SchedulerConfig, options: Mapping[str, Any], space: SearchSpace, max_epochs: int, seed: int
) -> Schedule:
    return Schedule(FIFOScheduler())


def _asha(
    config: SchedulerConfig, options: Mapping[str, Any], space: SearchSpace, max_epochs: int, seed: int
) -> Schedule:
    shape = {"grace_period": config.grace_period, "reduction_factor": config.reduction_factor}
    scheduler = AshaScheduler(**options, max_t=max_epochs, **shape)
    return Schedule(scheduler, rungs(config.grace_period, config.reduction_factor, max_epochs))


def _median(
    config: SchedulerConfig, options: Mapping[str, Any], space: SearchSpace, max_epochs: int, seed: int
) -> Schedule:
    limits = {"grace_period": config.grace_period, "min_samples_required": config.min_samples}
    return Schedule(MedianScheduler(**options, **limits), every_epoch=True)


def _hyperband(
    config: SchedulerConfig, options: Mapping[str, Any], space: SearchSpace, max_epochs: int, seed: int
) -> Schedule:
    scheduler = HyperBandScheduler(**options, max_t=max_epochs, reduction_factor=config.reduction_factor)
    return Schedule(scheduler, every_epoch=True)


def _pbt(
    config: SchedulerConfig, options: Mapping[str, Any], space: SearchSpace, max_epochs: int, seed: int
) -> Schedule:
    shape = {"perturbation_interval": config.perturbation_interval, "quantile_fraction": config.quantile_fraction}
    return Schedule(PopulationScheduler(space, seed=seed, **options, **shape), every_epoch=True)


_BUILDERS: dict[str, Callable[[SchedulerConfig, Mapping[str, Any], SearchSpace, int, int], Schedule]] = {
    "fifo": _fifo,
    "asha": _asha,
    "median": _median,
    "hyperband": _hyperband,
    "pbt": _pbt,
}


def _key(trial: Trial) -> TrialKey:
    return TrialKey(str(trial.config["trial"]))
