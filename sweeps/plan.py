"""SweepPlan: a sweep checked and ready to run. Making one creates nothing and starts nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sklearn.metrics import get_scorer_names
from skorch import NeuralNet
from torch.utils.data import Dataset

from search_spaces.domains import Choice, Constant
from search_spaces.names import check_names
from search_spaces.problems import SpaceError
from search_spaces.space import SearchSpace
from sweeps.config import SchedulerConfig, SweepConfig
from sweeps.errors import InfeasibleError, Problem, SpecError, did_you_mean
from sweeps.net_checks import net_problems, pickle_problems
from sweeps.probe import Probe, probe
from sweeps.proposals import how_many, make_proposals
from sweeps.records import TrialRecord
from sweeps.resources import Node, infeasible
from sweeps.rungs import rungs
from trainables.data import DataError, TrialData, target_kind
from trainables.job import TrialJob
from trainables.objective import Objective
from trainables.scoring import scorer_name

# Schedulers that must see each epoch by itself.
_EPOCH_BY_EPOCH = ("median", "hyperband", "pbt")
_PROBED_CONFIGS = 3


@dataclass(frozen=True)
class SweepPlan:
    """Everything that a run needs, checked.

    Attributes
    ----------
    config : SweepConfig
        The spec.
    space : SearchSpace
        What may vary.
    job : TrialJob
        What the trials share.
    n_trials : int
        How many trials there will be.
    max_epochs : int
        Most epochs of any trial.
    probe : Probe
        What one epoch reported.
    notes : tuple of str
        What a person should know: casts, fewer trials than asked for, ...
    """

    config: SweepConfig
    space: SearchSpace
    job: TrialJob = field(repr=False)
    n_trials: int
    max_epochs: int
    probe: Probe
    notes: tuple[str, ...]


def make_plan(
    config: SweepConfig,
    net: NeuralNet,
    data: tuple[Any, Any] | TrialData,
    space: SearchSpace,
    scorers: Mapping[str, Any],
    *,
    records: Sequence[TrialRecord] = (),
    before_probe: Callable[[], None] = lambda: None,
) -> SweepPlan:
    """Checks a sweep and prepares it.

    Parameters
    ----------
    config : SweepConfig
        The spec; its own consistency is checked already.
    net : skorch.NeuralNet
        Template.
    data : tuple of (X, y) or TrialData
        What to train on.
    space : SearchSpace
        What may vary.
    scorers : mapping of str to str or callable
        Scorers beside the net's own.
    records : sequence of TrialRecord, default=()
        Trials that there are, of a sweep that goes on.
    before_probe : callable
        Called when all is checked but for the probe epoch.

    Raises
    ------
    SpecError
        With all problems of net, parameters, data and metric.
    """
    problems: list[Problem] = []
    objects = _objects(space, net, problems)
    trial_data = _trial_data(config, net, data, problems)
    problems += [*net_problems(config, net, space), *pickle_problems("scoring", scorers)]
    if trial_data is not None and isinstance(trial_data.X, Dataset):
        problems += pickle_problems("data", trial_data.X)
    max_epochs = _max_epochs(space, net, problems)
    problems += _grace_problems(config, max_epochs)
    if trial_data is None or problems:
        raise SpecError(*problems)
    objective = Objective(config.metric.name, config.metric.goal == "maximize")
    job = TrialJob(
        net,
        trial_data,
        objective,
        Path(),
        seed=config.seed,
        scorers=scorers,
        objects=objects,
        report_every_s=0.0 if config.scheduler.name in _EPOCH_BY_EPOCH else config.report_every_s,
        checkpoint_every_s=config.checkpoint.every_s,
        keep_latest=max(2, config.checkpoint.keep.trial_latest),
        exploits=config.scheduler.name == "pbt",
        hang_s=config.failure.hang_s,
        matmul_precision=config.matmul_precision,
    )
    before_probe()
    job, seen = _probe_metric(job, _first_configs(config, space, objective))
    estimate_s = seen.epoch_s / seen.rows * sum(len(split.train) for split in trial_data.splits)
    job = replace(job, rungs=_rungs(config.scheduler, max_epochs), epoch_estimate_s=estimate_s)
    n_trials = how_many(config.searcher, space, records)
    notes = [*trial_data.notes, *_count_notes(config, n_trials), *_metric_notes(objective)]
    notes += [*_schedule_notes(config, job, max_epochs, n_trials), *_resume_notes(seen)]
    return SweepPlan(config, space, job, n_trials, max_epochs, seen, tuple(notes))


def check_machines(config: SweepConfig, nodes: Sequence[Node]) -> None:
    """Refuses resources that no machine has.

    Raises
    ------
    InfeasibleError
        Some trials could never start.
    """
    if problems := infeasible(config.resources, nodes):
        raise InfeasibleError("\n".join(problems))


def _objects(space: SearchSpace, net: NeuralNet, problems: list[Problem]) -> dict[str, dict[str, Any]]:
    try:
        check_names(space, net)
        return space.objects()
    except SpaceError as error:
        problems += [Problem(message, f"parameters.{name}") for name, message in error.problems]
        return {}


def _trial_data(
    config: SweepConfig, net: NeuralNet, data: tuple[Any, Any] | TrialData, problems: list[Problem]
) -> TrialData | None:
    if isinstance(data, TrialData):
        return data
    validation = config.validation.model_dump()
    try:
        return TrialData.make(*data, target=target_kind(net), validation=validation, seed=config.seed)
    except DataError as error:
        problems += [Problem(message, "data") for message in error.problems]
        return None


def _grace_problems(config: SweepConfig, max_epochs: int) -> list[Problem]:
    given = config.scheduler.grace_period
    if config.scheduler.name not in ("asha", "median") or given <= max_epochs:
        return []
    text = f"{given} epochs, but no trial trains longer than max_epochs {max_epochs}; lower it or raise max_epochs"
    return [Problem(text, "scheduler.grace_period")]


def _schedule_notes(config: SweepConfig, job: TrialJob, max_epochs: int, n_trials: int) -> list[str]:
    """What a scheduler cannot do in this sweep, though nothing is wrong with it."""
    scheduler = config.scheduler
    idle = {
        "asha": (not job.rungs, f"no rung lies below max_epochs {max_epochs}, so no trial is stopped early"),
        "pbt": (not job.rungs, f"max_epochs {max_epochs} ends before the first perturbation, so nothing changes"),
        "median": (
            scheduler.min_samples >= n_trials,
            f"{n_trials} trials give no median of {scheduler.min_samples}",
        ),
    }
    is_idle, text = idle.get(scheduler.name, (False, ""))
    return [f"scheduler: {text}"] if is_idle else []


def _resume_notes(seen: Probe) -> list[str]:
    if seen.is_faithful:
        return []
    return ["net: it trains on differently after a checkpoint, so a trial that is resumed will not repeat exactly"]


def _first_configs(config: SweepConfig, space: SearchSpace, objective: Objective) -> list[dict[str, Any]]:
    proposals = make_proposals(config.searcher, space, objective)
    found = [proposals.propose(trial, []) for trial in range(_PROBED_CONFIGS)]
    return [params for params in found if params is not None]


def _probe_metric(job: TrialJob, configs: list[dict[str, Any]]) -> tuple[TrialJob, Probe]:
    metric = job.objective.metric
    seen = probe(replace(job, scorers={}), configs)
    scorer = scorer_name(metric)
    if metric not in seen.metrics and scorer:
        job = replace(job, scorers={**job.scorers, scorer: scorer})
    if job.scorers:
        try:
            seen = probe(job, configs)
        except SpecError as error:  # the net itself trains
            where = "metric.name" if scorer else "scoring"
            raise SpecError(*(replace(problem, where=where) for problem in error.problems)) from error
    if metric not in seen.metrics:
        names = sorted({*seen.metrics, *([f"valid_{metric}"] if metric in get_scorer_names() else [])})
        hint = did_you_mean(metric, names, "or valid_<scorer> with a scorer of scikit-learn")
        raise SpecError(
            Problem(f"no epoch reports {metric!r}; an epoch reports {', '.join(names)}; {hint}", "metric.name")
        )
    return job, seen


def _rungs(config: SchedulerConfig, max_epochs: int) -> tuple[int, ...]:
    if config.name == "asha":
        return rungs(config.grace_period, config.reduction_factor, max_epochs)
    # A member of a population is saved before it may take over another one's weights, since its best are its own.
    interval = config.perturbation_interval if config.name == "pbt" else max_epochs
    return tuple(range(interval, max_epochs, interval))


def _max_epochs(space: SearchSpace, net: NeuralNet, problems: list[Problem]) -> int:
    domain = space.domains.get("max_epochs", Constant(net.max_epochs))
    listed = isinstance(domain, (Choice, Constant))
    ends = list(domain.axis() if listed else (domain.at(1e-12), domain.at(1 - 1e-12)))
    if wrong := [value for value in ends if type(value) is not int or value < 1]:
        text = f"{wrong[0]!r} is no number of epochs; give whole numbers from 1"
        problems.append(Problem(text, "parameters.max_epochs"))
        return 1
    # Under a condition it is left out of some configs, which then train as long as the net says.
    return int(max(*ends, net.max_epochs if "max_epochs" in space.conditions else 1))


def _count_notes(config: SweepConfig, n_trials: int) -> list[str]:
    asked = config.searcher.num_samples
    if asked is None or asked == n_trials:
        return []
    return [f"searcher.num_samples: {asked} asked for, but there are only {n_trials} distinct configs"]


def _metric_notes(objective: Objective) -> list[str]:
    if objective.metric.endswith("loss") and objective.maximize:
        return [f"metric.goal: {objective.metric} is maximized, though less of a loss is better"]
    return []
