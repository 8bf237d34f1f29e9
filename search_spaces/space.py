"""SearchSpace: which parameters vary, over which domains, under which conditions. Trains nothing, searches nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from search_spaces import grids
from search_spaces.conditions import Condition, parents_first
from search_spaces.domains import Choice, Constant, Domain
from search_spaces.labels import import_object, is_import_string
from search_spaces.parameters import read_parameters
from search_spaces.problems import SpaceError

if TYPE_CHECKING:
    import numpy as np


class SearchSpace:
    """Parameter names with a domain each, some only under a condition.

    Parameters
    ----------
    parameters : mapping of str to Any
        Parameter name, as ``net.set_params`` takes it, to anything that `as_domain` reads. A mapping without any key of
        a domain is a prefix: ``{"module": {"layers": [1, 2]}}`` means ``module__layers``. ``when`` beside the keys of a
        domain is a condition (see `Condition.from_plain`): ``{"values": [...], "when": {...}}``, or
        ``{"domain": ..., "when": {...}}`` with anything that `as_domain` reads. Conditions may chain.

    Attributes
    ----------
    domains : mapping of str to Domain
        In the order given.
    conditions : mapping of str to Condition
        Of the parameters that have one.

    Raises
    ------
    SpaceError
        When something cannot be read, a name comes twice, or a condition is on an unknown parameter, on a value that
        its parameter cannot take, or on itself; names all the problems of all the parameters.
    """

    # Two methods above the budget of eight: drawing, walking, checking, writing and splitting are one noun's verbs.

    domains: Mapping[str, Domain]
    conditions: Mapping[str, Condition]

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.domains, self.conditions = read_parameters(parameters)
        self._conditional = [name for name in parents_first(self.conditions, self.domains) if name in self.conditions]

    def __repr__(self) -> str:
        return f"SearchSpace({self.plain()!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SearchSpace):
            return NotImplemented
        return self.domains == other.domains and self.conditions == other.conditions

    __hash__ = None  # type: ignore[assignment]  # values may be lists

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """Draw one config.

        Parameters
        ----------
        rng : numpy.random.Generator
            Advanced by one number for each parameter, active or not, so that equal seeds give equal streams.

        Returns
        -------
        dict
            Plain values of the active parameters.
        """
        return self.active({name: domain.sample(rng) for name, domain in self.domains.items()})

    def active(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Leave out the parameters whose condition does not hold.

        Parameters
        ----------
        params : mapping of str to Any
            Values, possibly of inactive parameters too. Names that the space does not know are kept.

        Returns
        -------
        dict
            The rest, in the order given.
        """
        kept = dict(params)
        for name in self._conditional:
            if not self.conditions[name].matches(kept):
                kept.pop(name, None)
        return kept

    def contains(self, params: Mapping[str, Any]) -> bool:
        """Tell whether the space could have given a config.

        Parameters
        ----------
        params : mapping of str to Any
            A config, such as one of an earlier attempt with a space that has changed since.

        Returns
        -------
        bool
            Whether it has exactly the active parameters, each with a value of its domain.
        """
        conditions = self.conditions
        expected = {name for name in self.domains if name not in conditions or conditions[name].matches(params)}
        return params.keys() == expected and all(self.domains[name].contains(params[name]) for name in params)

    def grid(self) -> Iterator[dict[str, Any]]:
        """Walk every distinct config, in a fixed order in which the last parameter varies fastest.

        Parameters are taken in the order given, except that a condition's parents come before what depends on them.

        Returns
        -------
        iterator of dict
            Configs, each once, without their inactive parameters.

        Raises
        ------
        SpaceError
            At once, when a domain has no values to walk; names all of those.
        """
        grids.refuse_grid(self.domains)
        return grids.walk(self.domains, self.conditions)

    def grid_size(self) -> int:
        """Count the configs of `grid` without walking them.

        Returns
        -------
        int
            As `size` counts.

        Raises
        ------
        SpaceError
            When a domain has no values to walk; names all of those.
        """
        grids.refuse_grid(self.domains)
        return self.size() or 0

    def size(self) -> int | None:
        """Count the distinct configs; walks only the combinations of parameters that others depend on.

        Returns
        -------
        int or None
            How many there are; None when a domain cannot be counted. Where those combinations are more than 100,000,
            an upper bound: the count as if no parameter were conditional.
        """
        return grids.count(self.domains, self.conditions)

    def plain(self) -> dict[str, Any]:
        """Describe the space as JSON and YAML can hold it.

        Returns
        -------
        dict
            What `SearchSpace` reads back as an equal space. Objects appear as labels; of these only the ones that can
            be imported come back from `objects` afterwards.
        """
        return {name: self._plain_parameter(name) for name in self.domains}

    def merge(self, other: SearchSpace) -> SearchSpace:
        """Put another space's parameters over those of this one.

        Parameters
        ----------
        other : SearchSpace
            Where both have a parameter, its domain and its condition, or lack of one, win.

        Returns
        -------
        SearchSpace
            This one's parameters in their order, then the new ones.

        Raises
        ------
        SpaceError
            When a condition no longer fits.
        """
        return SearchSpace(self._parameters(self.domains) | other._parameters(other.domains))

    def split_grid(self) -> tuple[SearchSpace, SearchSpace]:
        """Separate the explicit grid axes (``distribution: grid``, Ray's ``grid_search``) from the other parameters.

        Returns
        -------
        axes, rest : SearchSpace
            Each keeps a condition only where all of its parents are on the same side. Pass a config put together from
            both through `active` of the whole space.
        """
        axes = {name for name, domain in self.domains.items() if isinstance(domain, Choice) and domain.is_grid}
        return SearchSpace(self._parameters(axes)), SearchSpace(self._parameters(self.domains.keys() - axes))

    def objects(self) -> dict[str, dict[str, Any]]:
        """Give the objects behind the labels; imports those that are known only as ``package.module:Name``.

        Returns
        -------
        dict of str to dict of str to object
            Parameter name to label to object, for parameters that have any.

        Raises
        ------
        SpaceError
            When a name cannot be imported; names all of these.
        """
        found: dict[str, dict[str, Any]] = {}
        problems: list[tuple[str, str]] = []
        for name, domain in self.domains.items():
            if isinstance(domain, (Choice, Constant)):
                objects, messages = _objects_of(domain)
                found |= {name: objects} if objects else {}
                problems += [(name, message) for message in messages]
        if problems:
            raise SpaceError(problems)
        return found

    def _plain_parameter(self, name: str) -> Any:
        plain = self.domains[name].plain()
        if name not in self.conditions:
            return plain
        if isinstance(plain, list):
            plain = {"values": plain}
        elif not isinstance(plain, dict):
            plain = {"value": plain}
        return {**plain, "when": self.conditions[name].plain()}

    def _parameters(self, names: Collection[str]) -> dict[str, Any]:
        """Describe some parameters for a new space; drops a condition on any other parameter."""
        parameters: dict[str, Any] = {}
        for name, domain in self.domains.items():
            condition = self.conditions.get(name)
            if name in names and condition and all(parent in names for parent in condition.parents):
                parameters[name] = {"domain": domain, "when": condition}
            elif name in names:
                parameters[name] = domain
        return parameters


def _objects_of(domain: Choice | Constant) -> tuple[dict[str, Any], list[str]]:
    found, problems = dict(domain.objects), []
    for label in domain.axis():
        if is_import_string(label) and label not in found:
            try:
                found[label] = import_object(label)
            except ValueError as error:
                problems.append(str(error))
    return found, problems
