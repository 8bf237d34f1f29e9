"""Whether the parameters, the searcher, the scheduler and the resource rules fit together, before anything is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from search_spaces.domains import Choice, Constant
from search_spaces.problems import SpaceError
from search_spaces.space import SearchSpace
from sweeps.config import SchedulerConfig
from sweeps.errors import Problem

MAX_GRID_POINTS = 10_000
"""Largest grid that is tried whole without `num_samples`."""


def space_problems(data: Any) -> list[Problem]:
    """Find what is wrong with the parameters, or between them and the rest of a sweep.

    Parameters
    ----------
    data
        The mapping that a sweep.yaml holds, or the same from Python with parts of a config in it and any domains that
        `SearchSpace` reads. What else may be wrong with it, such as a missing section, is passed over.
    """
    parameters = _section(data, "parameters")
    if not parameters:
        return []
    try:
        space = SearchSpace(parameters)
    except SpaceError as error:
        return [Problem(message, f"parameters.{name}" if name else "parameters") for name, message in error.problems]
    return [
        *_grid_problems(space, _section(data, "searcher")),
        *_epoch_problems(space, _section(data, "scheduler")),
        *_rule_problems(parameters, _section(data, "resources").get("rules")),
    ]


def _section(data: Any, name: str) -> Mapping[str, Any]:
    section = data.get(name) if isinstance(data, Mapping) else None
    if isinstance(section, BaseModel):
        section = section.model_dump()
    return section if isinstance(section, Mapping) else {}


def _grid_problems(space: SearchSpace, searcher: Mapping[str, Any]) -> Iterator[Problem]:
    if searcher.get("name") != "grid":
        return
    try:
        size = space.grid_size()
    except SpaceError as error:
        yield from (Problem(message, f"parameters.{name}") for name, message in error.problems)
        return
    if size > MAX_GRID_POINTS and searcher.get("num_samples") is None:
        text = f"the grid has {size} configs, more than {MAX_GRID_POINTS}; give num_samples, fewer values or random"
        yield Problem(text, "searcher")


def _epoch_problems(space: SearchSpace, scheduler: Mapping[str, Any]) -> Iterator[Problem]:
    # A grace period that no trial outlives would turn the scheduler off in silence.
    grace_period = scheduler.get("grace_period")
    domain = space.domains.get("max_epochs")
    if not isinstance(grace_period, int) or not isinstance(domain, (Choice, Constant)):
        return
    most = max((value for value in domain.axis() if isinstance(value, int)), default=grace_period)
    if most < grace_period and "grace_period" in SchedulerConfig.options.get(str(scheduler.get("name")), ()):
        text = f"{grace_period} epochs, but no trial trains longer than max_epochs {most}; lower it or raise max_epochs"
        yield Problem(text, "scheduler.grace_period")


def _rule_problems(parameters: Mapping[str, Any], rules: Any) -> Iterator[Problem]:
    # A rule's `when` is that of a parameter, so the space is asked about a constant under it.
    for index, rule in enumerate(rules if isinstance(rules, (list, tuple)) else ()):
        if not isinstance(rule, Mapping) or "when" not in rule:
            continue
        where = f"resources.rules.{index}"
        try:
            SearchSpace({**parameters, where: {"value": True, "when": rule["when"]}})
        except SpaceError as error:
            yield from (Problem(message, where) for _, message in error.problems)
