"""Every config of a finite space, walked and counted; decides nothing about which of them to try."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from search_spaces.conditions import Condition, parents_first
from search_spaces.domains import Domain
from search_spaces.labels import fresh
from search_spaces.problems import SpaceError

_MOST_WALKED = 100_000  # combinations of parents; more would take seconds


def walk(domains: Mapping[str, Domain], conditions: Mapping[str, Condition]) -> Iterator[dict[str, Any]]:
    """Walk every distinct config of a space whose domains all have an axis.

    Parameters
    ----------
    domains : mapping of str to Domain
        Those to walk; parents of a condition on one of them are among them.
    conditions : mapping of str to Condition
        Possibly of other parameters too.

    Yields
    ------
    dict
        Each config once, without inactive parameters. The last parameter varies fastest; parents come before those
        that depend on them.
    """
    order = parents_first(conditions, domains)
    axes = {name: domains[name].axis() for name in order}
    for config in _walk(order, axes, conditions, {}):
        yield {name: fresh(config[name]) for name in domains if name in config}


def _walk(
    order: Sequence[str], axes: Mapping[str, Sequence[Any]], conditions: Mapping[str, Condition], config: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    if not order:
        yield config
        return
    name, rest = order[0], order[1:]
    if not _is_active(name, conditions, config):
        yield from _walk(rest, axes, conditions, config)
        return
    for value in axes[name]:
        yield from _walk(rest, axes, conditions, {**config, name: value})


def _is_active(name: str, conditions: Mapping[str, Condition], config: Mapping[str, Any]) -> bool:
    return name not in conditions or conditions[name].matches(config)


def count(domains: Mapping[str, Domain], conditions: Mapping[str, Condition]) -> int | None:
    """Count the distinct configs; walks only the combinations of parameters that others depend on.

    Parameters
    ----------
    domains, conditions
        Of the whole space.

    Returns
    -------
    int or None
        How many there are; None when a domain cannot be counted. Where parents have more than 100,000 combinations,
        the number of all combinations of values, an upper bound.
    """
    sizes = {name: size for name, domain in domains.items() if (size := domain.size) is not None}
    if len(sizes) < len(domains):
        return None
    parents = {parent for condition in conditions.values() for parent in condition.parents}
    if math.prod(sizes[name] for name in parents) > _MOST_WALKED:
        return math.prod(sizes.values())
    others = sizes.keys() - parents
    return sum(
        math.prod(sizes[name] for name in others if _is_active(name, conditions, config))
        for config in walk({name: domains[name] for name in domains if name in parents}, conditions)
    )


def refuse_grid(domains: Mapping[str, Domain]) -> None:
    """Refuse a grid over domains that have no values to walk.

    Parameters
    ----------
    domains : mapping of str to Domain
        Of the whole space.

    Raises
    ------
    SpaceError
        When there is one; names all of them.
    """
    offenders: Iterable[str] = [name for name, domain in domains.items() if not domain.is_grid_axis]
    if offenders:
        raise SpaceError(
            (
                name,
                f"a grid cannot walk {domains[name].plain()!r}; give `values: [...]`, or int_uniform with at most 1000 "
                "values, or search with random or hyperopt",
            )
            for name in offenders
        )
