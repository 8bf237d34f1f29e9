"""Which config a trial gets: grid, random, or TPE. Functions of seed, number and records; no Ray, no state to save."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from search_spaces.space import SearchSpace
from sweeps.config import SearcherConfig
from sweeps.records import TrialRecord
from sweeps.tpe import HyperoptProposals
from sweeps.tried import DRAWS, Params, Tried, fits, key_of, untried
from trainables.objective import Objective


class Proposals(Protocol):
    """Proposes the configs of a sweep, trial after trial.

    `propose` is called once per trial number, in order, with all records so far; it returns None when there is no
    further config. Called again with the same arguments it returns the same.
    """

    def propose(self, trial: int, records: Sequence[TrialRecord]) -> Params | None:
        """The config of trial number ``trial``."""


class GridProposals:
    """Every config of a grid that no trial has had, in the order of `SearchSpace.grid`."""

    def __init__(self, space: SearchSpace) -> None:
        self._configs = ((params, key_of(space, params)) for params in space.grid())
        self._left: list[tuple[Params, str]] = []
        self._tried = Tried(space)

    def propose(self, trial: int, records: Sequence[TrialRecord]) -> Params | None:
        """The first config of the grid that no record has, or a later one for a trial that is not the next."""
        tried = self._tried.of(records)
        ahead = max(0, trial - len(records))
        self._left = [found for found in self._left if found[1] not in tried]
        while len(self._left) <= ahead and (found := next(self._configs, None)):
            self._left += [found] if found[1] not in tried else []
        return dict(self._left[ahead][0]) if ahead < len(self._left) else None


class RandomProposals:
    """Independent draws; a discrete config is not drawn twice.

    Parameters
    ----------
    space : SearchSpace
        What to draw from.
    seed : int
        Trial ``n`` draws from the stream of ``(seed, n)``.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._tried = Tried(space)

    def propose(self, trial: int, records: Sequence[TrialRecord]) -> Params | None:
        """A config that no record has; None when all have been tried."""
        tried = self._tried.of(records)
        rng = np.random.default_rng([self._seed, trial])
        for _ in range(DRAWS):
            params = self._space.sample(rng)
            if key_of(self._space, params) not in tried:
                return params
        return untried(self._space, tried, rng)


def make_proposals(config: SearcherConfig, space: SearchSpace, objective: Objective) -> Proposals:
    """The proposals that a spec's ``searcher`` names."""
    return _BUILDERS[config.name](config, space, objective)


_BUILDERS: dict[str, Callable[[SearcherConfig, SearchSpace, Objective], Proposals]] = {
    "grid": lambda config, space, objective: GridProposals(space),
    "random": lambda config, space, objective: RandomProposals(space, config.seed),
    "hyperopt": lambda config, space, objective: HyperoptProposals(space, config.seed, objective, config.n_startup),
}


def how_many(config: SearcherConfig, space: SearchSpace, records: Sequence[TrialRecord] = ()) -> int:
    """How many trials a sweep can have: what was asked for, or fewer where there are not so many distinct configs.

    Parameters
    ----------
    config : SearcherConfig
        What was asked for.
    space : SearchSpace
        Of the configs to come.
    records : sequence of TrialRecord, default=()
        Trials that there are; those whose config is not, or no more, in the space take nothing from it.
    """
    size = space.grid_size() if config.num_samples is None else space.size()
    if size is None:
        return config.num_samples or 0
    most = size + sum(not fits(space, record.params) for record in records)
    return most if config.num_samples is None else min(config.num_samples, most)
