"""When something holds: a few parameters with the values that they must have. Knows no domain and no space."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.labels import fresh, labelled, same_value
from search_spaces.problems import did_you_mean, refuse
from search_spaces.ranges import is_number, number_problems

_BOUNDS = ("min", "max")


@dataclass(frozen=True, slots=True)
class Condition:
    """A clause such as ``{"optimizer": "torch.optim:SGD"}``; it holds where every parameter in it has a fitting value.

    Use `from_plain` to make one.

    Parameters
    ----------
    clauses : mapping of str to list or mapping
        Parameter name to the values that fit, or to inclusive bounds ``{"min": ..., "max": ...}``, one or both.
    """

    clauses: Mapping[str, list[Any] | dict[str, float]]

    @classmethod
    def from_plain(cls, clauses: Any) -> Condition:
        """Read a condition as it is written in YAML or Python.

        Parameters
        ----------
        clauses : mapping of str to Any
            For each parameter a scalar or an object (equal to it), a list (any of these), or bounds
            ``{"min": ..., "max": ...}`` (inclusive; one may be left out). Put a value that is a list into a list.

        Returns
        -------
        Condition
            The condition; a `Condition` is returned as it is.

        Raises
        ------
        SpaceError
            When it says nothing or cannot hold; names every problem.
        """
        if isinstance(clauses, Condition):
            return clauses
        if not isinstance(clauses, Mapping) or not clauses:
            refuse([f"must map parameters to values, such as {{'optimizer': 'torch.optim:SGD'}}, not {clauses!r}"])
        refuse(problem for name, clause in clauses.items() for problem in _clause_problems(name, clause))
        return cls({name: _read_clause(clause) for name, clause in clauses.items()})

    @property
    def parents(self) -> tuple[str, ...]:
        """The parameters that it looks at."""
        return tuple(self.clauses)

    def matches(self, params: Mapping[str, Any]) -> bool:
        """Tell whether the condition holds.

        Parameters
        ----------
        params : mapping of str to Any
            A config. A parameter that is absent fits nothing.

        Returns
        -------
        bool
            Whether every clause fits.
        """
        return all(name in params and fits(clause, params[name]) for name, clause in self.clauses.items())

    def plain(self) -> dict[str, Any]:
        """Describe the condition as JSON and YAML can hold it.

        Returns
        -------
        dict
            What `from_plain` reads back as an equal condition.
        """
        return {name: _shortest(clause) for name, clause in self.clauses.items()}


def fits(clause: list[Any] | dict[str, float], value: Any) -> bool:
    """Tell whether a value fits one clause of a condition.

    Parameters
    ----------
    clause : list or dict
        A value of `Condition.clauses`.
    value : Any
        A plain value; only a number fits bounds.

    Returns
    -------
    bool
        Whether it does.
    """
    if isinstance(clause, list):
        return any(same_value(allowed, value) for allowed in clause)
    return is_number(value) and clause.get("min", value) <= value <= clause.get("max", value)


def _clause_problems(name: Any, clause: Any) -> list[str]:
    if not isinstance(name, str):
        return [f"{name!r} is not a parameter name"]
    if isinstance(clause, (list, tuple)) and not clause:
        return [f"{name}: an empty list never fits; name at least one value"]
    if not isinstance(clause, Mapping):
        return []
    problems = [
        f"{name}: unknown key {key!r}{did_you_mean(key, _BOUNDS)} (allowed: min, max)"
        for key in clause
        if key not in _BOUNDS
    ]
    given = [(key, clause[key]) for key in _BOUNDS if key in clause]
    problems += [f"{name}: {problem}" for problem in number_problems(given)]
    if not given:
        problems.append(f"{name}: give min, max or both, or a value or a list of values")
    if not problems and len(given) == 2 and clause["min"] > clause["max"]:
        problems.append(f"{name}: min {clause['min']!r} is greater than max {clause['max']!r}; swap them")
    return problems


def _read_clause(clause: Any) -> list[Any] | dict[str, float]:
    if isinstance(clause, Mapping):
        return {key: clause[key] for key in _BOUNDS if key in clause}
    values, _ = labelled(clause if isinstance(clause, (list, tuple)) else [clause])
    return values


def _shortest(clause: list[Any] | dict[str, float]) -> Any:
    if isinstance(clause, list) and len(clause) == 1 and not isinstance(clause[0], (list, dict)):
        return clause[0]
    return fresh(clause)


def parents_first(conditions: Mapping[str, Condition], names: Iterable[str]) -> list[str]:
    """Order parameters so that a condition's parents come before what depends on them.

    Parameters
    ----------
    conditions : mapping of str to Condition
        Without circles.
    names : iterable of str
        The parameters, in the order to keep otherwise.

    Returns
    -------
    list of str
        The same names.
    """
    names = list(names)
    ordered: dict[str, None] = {}

    def visit(name: str) -> None:
        for parent in conditions[name].parents if name in conditions else ():
            visit(parent)
        ordered[name] = None

    for name in names:
        visit(name)
    return [name for name in ordered if name in names]
