"""hyperopt's TPE on honest outcomes: which config a trial gets, from all that the records say. No state to save."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from search_spaces.domains import Choice, Constant, Domain
from search_spaces.labels import same_value, text_of
from search_spaces.space import SearchSpace
from sweeps import parzen
from sweeps.outcomes import Outcomes
from sweeps.records import TrialRecord
from sweeps.tried import DRAWS, Params, Tried, key_of, untried
from trainables.objective import Objective

MOST_OTHERS = 1_000
"""Trials beside the best ones that the model is made of: the latest.

hyperopt takes all, and longer with each. Measured without trainings, in the mean of six runs with the latest 400, 1,000
and all, the best that was found lay above the optimum by

- Hartmann's function in 6 dimensions: 0.105, 0.096, 0.096 after 1,000 trials; 0.022, 0.019, 0.019 after 3,000;
- Rastrigin's in 4 dimensions: 9.5, 7.6, 7.6; 5.8, 5.8, 4.6;
- three numbers and two choices: 0.19, 0.14, 0.14; 0.11, 0.11, 0.09.

Up to 1,000 trials nothing is left out. After that the typical proposal of a model of all trials is the better one (of
the last 500, the median lay 0.40 instead of 0.61 above the optimum of Hartmann's function), the best ones hardly are.
"""

_POINT = 1e-12  # no wider is the share of a value of a continuous domain


class HyperoptProposals:
    """hyperopt's tree-structured Parzen estimator on honest outcomes.

    TPE uses only the order of the losses: trials trained to their end come first, by value; stopped ones next, those
    that got further first; diverged and failed ones last, so that the model learns to avoid them [1]_. Every number is
    modelled by its share of the domain's draws, so that scales and steps need no special case. Explicit grid axes are
    not modelled: each of their cells gets an equal share of the trials and a model of its own.

    Parameters
    ----------
    space : SearchSpace
        What to model.
    seed : int
        Trial ``n`` uses the stream of ``(seed, n)``.
    objective : Objective
        Gives the values their direction.
    n_startup : int
        Trials that are drawn at random before the model is used; shared among the cells, at least 5 each.

    References
    ----------
    .. [1] Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011; the order of stopped trials is
       Optuna's (TPESampler).
    """

    def __init__(self, space: SearchSpace, seed: int, objective: Objective, n_startup: int) -> None:
        axes, _ = space.split_grid()
        self._space = space
        self._cells = list(axes.grid()) if axes.domains else [{}]
        self._modelled = _modelled(space, axes)
        self._seed = seed
        self._tried = Tried(space)
        self._outcomes = Outcomes(space, self._cells, objective, self._seen, len(self._modelled))
        self._model_values: dict[tuple[str, str], float] = {}
        self._n_startup = max(-(-n_startup // len(self._cells)), min(n_startup, 5))

    def propose(self, trial: int, records: Sequence[TrialRecord]) -> Params | None:
        """A config of the next cell, from the model once it has enough outcomes."""
        tried = self._tried.of(records)
        self._outcomes.follow(records)
        for turn in range(len(self._cells)):
            params = self._propose_in((trial + turn) % len(self._cells), trial, records, tried)
            if params is not None:
                return params
        return None

    def _propose_in(self, cell: int, trial: int, records: Sequence[TrialRecord], tried: set[str]) -> Params | None:
        fixed = self._cells[cell]
        rng = np.random.default_rng([self._seed, trial])
        is_modelled = self._modelled and self._outcomes.count(cell) >= self._n_startup
        suggested = self._suggest(cell, int(rng.integers(2**31))) if is_modelled else {}
        for draw in range(DRAWS):
            # On choices the model proposes the same again and again: with each draw, more of its values are let go.
            kept = {name: value for name, value in suggested.items() if rng.random() >= draw / DRAWS}
            params = self._space.active({**self._draw_all(rng), **kept, **fixed})
            if key_of(self._space, params) not in tried:
                return params
        return untried(self._space, tried, rng, fixed)

    def _draw_all(self, rng: np.random.Generator) -> Params:
        return {name: domain.sample(rng) for name, domain in self._space.domains.items()}

    def _suggest(self, cell: int, seed: int) -> Params:
        best, others = self._outcomes.split(cell, _n_best(self._outcomes.count(cell)), MOST_OTHERS)
        sizes = {name: domain.size if isinstance(domain, Choice) else None for name, domain in self._modelled.items()}
        found = parzen.suggest(sizes, best, others, seed)
        return {name: _from_model(self._modelled[name], value) for name, value in found.items()}

    def _seen(self, params: Mapping[str, Any]) -> list[float]:
        """A config as the model sees it."""
        return [self._number(name, params[name]) if name in params else math.nan for name in self._modelled]

    def _number(self, name: str, value: Any) -> float:
        domain = self._modelled[name]
        if domain.size is None:
            return _to_model(domain, value)
        known = name, text_of(value)  # most values of a discrete domain come again
        if known not in self._model_values:
            self._model_values[known] = _to_model(domain, value)
        return self._model_values[known]


def _n_best(n: int) -> int:
    return min(math.ceil(math.sqrt(n) / 4), 25)  # as hyperopt's TPE has it


def _modelled(space: SearchSpace, axes: SearchSpace) -> dict[str, Domain]:
    fixed = [name for name, domain in space.domains.items() if isinstance(domain, Constant) or domain.size == 1]
    return {name: domain for name, domain in space.domains.items() if name not in axes.domains and name not in fixed}


def _to_model(domain: Domain, value: Any) -> float:
    if isinstance(domain, Choice):
        same = [number for number, known in enumerate(domain.values) if same_value(known, value)]
        return next((number for number in same if text_of(domain.values[number]) == text_of(value)), same[0])
    # The middle of the shares that give this value: a single point for a continuous domain.
    first = _first_share(domain, lambda other: other >= value)
    if domain.size is None and domain.at(min(first + _POINT, 1 - _POINT)) > value:
        return first
    return (first + _first_share(domain, lambda other: other > value)) / 2


def _from_model(domain: Domain, value: Any) -> Any:
    return domain.axis()[int(value)] if isinstance(domain, Choice) else domain.at(min(float(value), 1 - _POINT))


def _first_share(domain: Domain, reached: Callable[[Any], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(domain.at(middle)) else (middle, high)
    return high
