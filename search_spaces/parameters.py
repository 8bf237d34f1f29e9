"""Parameters as they are given -> their domains and conditions, checked against each other; samples nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from search_spaces.conditions import Condition, fits
from search_spaces.domains import Choice, Constant, Domain, Float, Integer
from search_spaces.problems import SpaceError, did_you_mean
from search_spaces.reading import as_domain

# A mapping with one of these describes a domain; one with none of them is a prefix with parameters of its own.
_DOMAIN_KEYS = {"distribution", "domain", "grid_search", "max", "min", "mu", "sigma", "value", "values", "when"}


def read_parameters(parameters: Mapping[str, Any]) -> tuple[dict[str, Domain], dict[str, Condition]]:
    """Read every parameter of a space.

    Parameters
    ----------
    parameters : mapping of str to Any
        As `SearchSpace` takes it.

    Returns
    -------
    domains : dict of str to Domain
        In the order given.
    conditions : dict of str to Condition
        Of the parameters that have one.

    Raises
    ------
    SpaceError
        Names all the problems of all the parameters.
    """
    if not isinstance(parameters, Mapping):
        raise SpaceError([("", f"parameters must map names to domains, not be a {type(parameters).__name__}")])
    domains: dict[str, Domain] = {}
    conditions: dict[str, Condition] = {}
    problems: list[tuple[str, str]] = []
    seen: set[str] = set()
    for name, spec in _flat(parameters):
        problems += [(name, "is given twice; a nested mapping means prefix__name")] if name in seen else []
        seen.add(name)
        try:
            domains[name], condition = _read(name, spec)
        except SpaceError as error:
            problems += error.problems
        else:
            conditions |= condition
    problems += [p for name in conditions for p in _parent_problems(name, conditions[name], domains, seen)]
    problems += _cycle_problems(conditions)
    if problems:
        raise SpaceError(problems)
    return domains, conditions


def _flat(parameters: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, spec in parameters.items():
        name = f"{prefix}{key}"
        is_prefix = isinstance(spec, Mapping) and bool(spec) and not _DOMAIN_KEYS & spec.keys()
        if is_prefix and isinstance(key, str) and key:
            yield from _flat(spec, f"{name}__")
        else:
            yield name, spec if isinstance(key, str) and key else _BadName(key)


class _BadName:
    """Stands for the domain of something that is no name, so that reading it tells the problem."""

    def __init__(self, key: object) -> None:
        self.key = key


def _read(name: str, spec: Any) -> tuple[Domain, dict[str, Condition]]:
    if isinstance(spec, _BadName):
        raise SpaceError([(name, f"{spec.key!r} is not a parameter name; give a string such as 'lr'")])
    messages: list[str] = []
    domain: Domain | None = None
    condition: dict[str, Condition] = {}
    conditional = isinstance(spec, Mapping) and "when" in spec
    try:
        domain = as_domain({key: value for key, value in spec.items() if key != "when"} if conditional else spec)
    except SpaceError as error:
        messages += [message for _, message in error.problems]
    try:
        condition = {name: Condition.from_plain(spec["when"])} if conditional else {}
    except SpaceError as error:
        messages += [f"when: {message}" for _, message in error.problems]
    if messages or domain is None:
        raise SpaceError([(name, message) for message in messages])
    return domain, condition


def _parent_problems(
    name: str, condition: Condition, domains: Mapping[str, Domain], given: set[str]
) -> Iterator[tuple[str, str]]:
    for parent, clause in condition.clauses.items():
        if parent in domains:
            yield from ((name, f"when: {problem}") for problem in _never(parent, domains[parent], clause))
        elif parent not in given:  # one that could not be read has its own problem already
            yield name, f"when: there is no parameter {parent!r}{did_you_mean(parent, given)}"


def _never(parent: str, domain: Domain, clause: list[Any] | dict[str, float]) -> Iterator[str]:
    if isinstance(clause, list):
        known = domain.axis() if isinstance(domain, (Choice, Constant)) else ()
        for value in clause:
            if not domain.contains(value):
                yield f"{parent} is never {value!r}{did_you_mean(value, known)} (it may be {domain.plain()!r})"
    elif not _overlap(domain, clause):
        yield f"{parent} never lies within {clause!r} (it may be {domain.plain()!r})"


def _overlap(domain: Domain, clause: dict[str, float]) -> bool:
    if isinstance(domain, (Choice, Constant)):
        return any(fits(clause, value) for value in domain.axis())
    if isinstance(domain, (Float, Integer)):
        return clause.get("min", domain.low) <= domain.high and domain.low <= clause.get("max", domain.high)
    return True


def _cycle_problems(conditions: Mapping[str, Condition]) -> list[tuple[str, str]]:
    try:
        TopologicalSorter({name: condition.parents for name, condition in conditions.items()}).prepare()
    except CycleError as error:
        circle = error.args[1]
        return [(circle[0], f"when: the conditions run in a circle, {' -> '.join(circle)}; remove one of them")]
    return []
