"""Names of schedulers -> Ray's schedulers, keyed by our trial numbers. Ray decides, but for the median rule.

Two parts of Ray's are done anew, since their cost grows with the number of trials: how ASHA finds its cutoff, and the
median rule. Tests hold both to Ray's decisions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.schedulers.async_hyperband import _Bracket

from search_spaces.space import SearchSpace
from sweeps.compared import RunningMeans, SortedValues
from sweeps.config import SchedulerConfig
from sweeps.population import mutable_names, perturbed
from sweeps.records import SweepState, TrialRecord, TrialStatus
from trainables.objective import Objective


@dataclass(frozen=True)
class TrialKey:
    """Stands for a trial in a scheduler's books, so that a trial which is started again keeps its place in them."""

    trial_id: str


class _LiveTrials:
    """Chooses the next trial among those that have not ended; Ray looks through all that there ever were."""

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The first one that waits to start, else the first that was paused.

        One whose worker is being made comes last: Tune gives what is chosen to a worker that is free, and would end the
        other one amid its start. Where trials are shorter than a start, no further worker would ever come up.
        """
        live: Collection[Trial] = tune_controller.get_live_trials()
        for status in (Trial.PENDING, Trial.PAUSED):
            waiting = [trial for trial in live if trial.status == status]
            if waiting:
                return min(waiting, key=lambda trial: (_is_worker_being_made(tune_controller, trial), _number(trial)))
        return None


def _is_worker_being_made(tune_controller: Any, trial: Trial) -> bool:
    worker = tune_controller._trial_to_actor.get(trial)  # Ray tells this nowhere else
    return worker is not None and tune_controller._actor_manager.is_actor_started(worker)


class FifoScheduler(_LiveTrials, FIFOScheduler):
    """Ray's FIFO scheduler: every trial runs to its end."""


class _AshaBracket(_Bracket):
    """Ray's rungs; the cutoff of one takes no longer where it holds many trials."""

    def __init__(self, min_t: int, max_t: int, reduction_factor: float) -> None:
        super().__init__(min_t, max_t, reduction_factor, 0)
        kept_sorted: Any = [(milestone, SortedValues()) for milestone, _ in self._rungs]
        self._rungs = kept_sorted

    def cutoff(self, recorded: Any) -> float | None:
        return recorded.percentile((1 - 1 / self.rf) * 100) if recorded else None


class AshaScheduler(_LiveTrials, AsyncHyperBandScheduler):
    """Ray's ASHA (stopping variant), its rungs keyed by trial number.

    Parameters
    ----------
    **options
        Of Ray's class.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._brackets = [_AshaBracket(options["grace_period"], options["max_t"], options["reduction_factor"])]

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


class MedianScheduler(_LiveTrials, FIFOScheduler):
    """The median stopping rule as Ray's `MedianStoppingRule` has it [1]_, its books keyed by trial number.

    Ray's own works out all means of all trials at each report, counts the last epoch of a stopped trial twice, and
    pauses a trial to run others where too few have reported, which costs a checkpoint and decides nothing.

    Parameters
    ----------
    metric : str
        Key of a result.
    compare : callable
        ``max`` or ``min``: gives the better of two values.
    grace_period : int
        Epochs before which no trial is stopped, and which do not count.
    min_samples : int
        Other trials that must have come as far.

    References
    ----------
    .. [1] Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017.
    """

    _metric: str

    def __init__(self, metric: str, compare: Callable[..., float], *, grace_period: int, min_samples: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray leaves it untyped
        self._metric, self._compare = metric, compare
        self._grace_period, self._min_samples = grace_period, min_samples
        self._means = RunningMeans(grace_period)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """STOP for a trial whose best is worse than the median of the others' means, else CONTINUE."""
        number, epoch = _number(trial), int(result["epoch"])
        self._means.add(number, epoch, result[self._metric])
        if epoch < self._grace_period:
            return str(TrialScheduler.CONTINUE)
        median = self._means.median_of_others(number, epoch, least=self._min_samples)
        best = self._compare(self._means.reported(number))
        is_weak = median is not None and self._compare(median, best) != best
        return str(TrialScheduler.STOP if is_weak else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Lets the ended trial's last result count."""
        if self._metric in result:
            self._means.add(_number(trial), int(result["epoch"]), result[self._metric])

    def recall(self, state: SweepState) -> None:
        """Fills the books with what earlier attempts reported."""
        for record in state.trials.values():
            for epoch in sorted(record.rows):
                self._means.add(record.trial, epoch, _told(record, epoch, state.objective))


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
    compare = max if given["mode"] == "max" else min
    limits = {"grace_period": config.grace_period, "min_samples": config.min_samples}
    return MedianScheduler(given["metric"], compare, **limits)


def _hyperband(config: SchedulerConfig, given: Mapping[str, Any], max_epochs: int) -> TrialScheduler:
    return HyperBandScheduler(**given, max_t=max_epochs, reduction_factor=config.reduction_factor)


def _pbt(config: SchedulerConfig, given: Mapping[str, Any], max_epochs: int) -> TrialScheduler:
    shape: dict[str, Any] = {
        "perturbation_interval": config.perturbation_interval,
        "quantile_fraction": config.quantile_fraction,
    }
    return PopulationScheduler(**given, **shape)


_BUILDERS: dict[str, Callable[[SchedulerConfig, Mapping[str, Any], int], TrialScheduler]] = {
    "fifo": lambda config, given, max_epochs: FifoScheduler(),  # type: ignore[no-untyped-call]  # Ray leaves it untyped
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


def _number(trial: Trial) -> int:
    return int(trial.config["trial"])


def _key(trial: Trial) -> Any:
    return TrialKey(str(_number(trial)))
