"""What extending a sweep means: more trials, longer ones or another space. Pure: returns a config, and who goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from search_spaces.domains import Constant
from search_spaces.space import SearchSpace
from sweeps.config import SchedulerConfig, SweepConfig
from sweeps.errors import Problem, SpecError
from sweeps.records import SweepState, TrialRecord, TrialStatus
from sweeps.rungs import rungs
from sweeps.spec import build_config

_LENGTH = "max_epochs"
_PROLONGING = ("fifo", "asha", "median")


@dataclass(frozen=True)
class Extension:
    """What a finished or interrupted sweep is to have beyond what it was made with.

    Attributes
    ----------
    num_samples : int or None
        So many trials more.
    max_epochs : int or None
        Epochs that trials train in all; those that deserve it go on from their checkpoints.
    parameters : mapping of str to object or None
        The space from now on, whole.
    """

    num_samples: int | None = None
    max_epochs: int | None = None
    parameters: Mapping[str, Any] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        return self.num_samples is None and self.max_epochs is None and self.parameters is None


def extended(config: SweepConfig, extension: Extension, n_trials: int, max_epochs: int) -> SweepConfig:
    """The config of the extended sweep.

    Parameters
    ----------
    config : SweepConfig
        As the sweep was made, or last extended.
    extension : Extension
        What is asked for.
    n_trials : int
        How many trials the sweep is to have so far.
    max_epochs : int
        Epochs that its longest trials train so far.

    Raises
    ------
    SpecError
        With everything that is wrong.
    """
    parameters = dict(config.parameters if extension.parameters is None else extension.parameters)
    data = config.model_dump(by_alias=True) | {"parameters": parameters}
    build_config(data)  # a space that cannot be read has no length to look at
    nothing = "nothing to extend by; give num_samples, max_epochs, parameters or several of them"
    problems = [Problem(nothing)] if extension.is_empty else []
    problems += [*_length_problems(config, extension, parameters, max_epochs), *_number_problems(config, extension)]
    if problems:
        raise SpecError(*problems)
    if extension.max_epochs is not None:
        parameters[_LENGTH] = extension.max_epochs
    if extension.num_samples is not None:
        data["searcher"] = {**data["searcher"], "num_samples": n_trials + extension.num_samples}
    return build_config(data)


def prolonged(
    state: SweepState, scheduler: SchedulerConfig, net_epochs: int, max_epochs: int | None
) -> dict[int, dict[str, Any]]:
    """The trials that go on to more epochs, with their new params.

    Without early stopping, and under the median rule, those are all that trained to their last epoch. Under ASHA they
    are those which pass the rung at which they ended among all trials that have reached it by now: complete ones, and
    stopped ones whose rung has filled with worse since. Trials that ended by themselves, by EarlyStopping say, do not;
    those that have not ended do.

    Parameters
    ----------
    state : SweepState
        What the sweep has found.
    scheduler : SchedulerConfig
        Of the sweep.
    net_epochs : int
        Epochs of a trial whose params do not name them.
    max_epochs : int or None
        Most epochs from now on; None prolongs nothing.

    Returns
    -------
    dict of int to dict
        Trial -> params.
    """
    if max_epochs is None:
        return {}
    levels = rungs(scheduler.grace_period, scheduler.reduction_factor, max_epochs) if scheduler.name == "asha" else ()
    cutoffs = {level: _cutoff(state, level, scheduler.reduction_factor) for level in levels}
    return {
        record.trial: {**record.params, _LENGTH: max_epochs}
        for record in state.trials.values()
        if record.epoch < max_epochs and _deserves(record, net_epochs, state, cutoffs)
    }


def lengthened(state: SweepState, max_epochs: int | None) -> dict[int, dict[str, Any]]:
    """The trials that failed, with their new params: they are not taken up again, but if so, they are as long."""
    if max_epochs is None:
        return {}
    failed = (record for record in state.trials.values() if record.status is TrialStatus.FAILED)
    return {record.trial: {**record.params, _LENGTH: max_epochs} for record in failed}


def _length_problems(
    config: SweepConfig, extension: Extension, parameters: Mapping[str, Any], max_epochs: int
) -> list[Problem]:
    if extension.max_epochs is None:
        return []
    space = SearchSpace(parameters)
    domain = space.domains.get(_LENGTH)
    if domain is not None and (domain.size != 1 or _LENGTH in space.conditions):
        text = f"max_epochs varies in this sweep ({domain}); give another space with longer ones (--space) instead"
        return [Problem(text, "max_epochs")]
    if type(extension.max_epochs) is not int or extension.max_epochs <= max_epochs:
        text = (
            f"{extension.max_epochs!r} is no more than the {max_epochs} epochs that trials have; give a larger number"
        )
        return [Problem(text, "max_epochs")]
    if config.scheduler.name not in _PROLONGING:
        text = f"{config.scheduler.name} cannot take trials up again; it is possible with {', '.join(_PROLONGING)}"
        return [Problem(text, "max_epochs")]
    return []


def _number_problems(config: SweepConfig, extension: Extension) -> list[Problem]:
    if extension.num_samples is None:
        return []
    if type(extension.num_samples) is not int or extension.num_samples < 1:
        return [Problem(f"{extension.num_samples!r} is no number of further trials; give 1 or more", "num_samples")]
    if config.searcher.num_samples is not None:
        return []
    text = "a grid is tried whole, so there are no further configs; give a wider space (--space) instead"
    return [Problem(text, "num_samples")]


def _deserves(record: TrialRecord, net_epochs: int, state: SweepState, cutoffs: Mapping[int, float]) -> bool:
    if not record.status.is_end or record.status is TrialStatus.INTERRUPTED:
        return True
    is_whole = record.status is TrialStatus.COMPLETED and record.epoch >= record.params.get(_LENGTH, net_epochs)
    if not is_whole and (record.status is not TrialStatus.STOPPED or record.rung not in cutoffs):
        return False
    return record.epoch not in cutoffs or _gain(record, record.epoch, state) >= cutoffs[record.epoch]


def _cutoff(state: SweepState, level: int, reduction_factor: float) -> float:
    """What a trial must reach at a rung to be among the best one in ``reduction_factor``, as ASHA has it."""
    reached = [_gain(record, level, state) for record in state.trials.values() if level in record.rows]
    return float(np.percentile(reached, (1 - 1 / reduction_factor) * 100)) if reached else float("-inf")


def _gain(record: TrialRecord, epoch: int, state: SweepState) -> float:
    """The metric at an epoch, more is better; the epoch that a trial diverged in is worse than all."""
    has_diverged = record.status is TrialStatus.DIVERGED and epoch == record.epoch
    value = state.objective.worst if has_diverged else record.rows[epoch][state.objective.metric]
    return -state.objective.loss(value)


def space_notes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What another space no longer sets, or sets to another constant, in words.

    Parameters
    ----------
    before, after : mapping of str to object
        The parameters of the spec.
    """
    old, new = SearchSpace(before).domains, SearchSpace(after).domains
    gone = [f"{name} is not set any more, so the net's own value counts" for name in old if name not in new]
    moved = [
        f"{name} is {new[name].axis()[0]} from now on, no more {old[name].axis()[0]}"
        for name in old
        if isinstance(new.get(name), Constant) and isinstance(old[name], Constant) and new[name] != old[name]
    ]
    return [f"space: {text}" for text in (*gone, *moved)]
