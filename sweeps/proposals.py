"""Grid, random and TPE: which config a trial gets. Functions of seed, number and records; no Ray, no state to save."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np

from search_spaces import grids
from search_spaces.domains import Choice, Constant, Domain
from search_spaces.labels import same_value, text_of
from search_spaces.space import SearchSpace
from sweeps.config import SearcherConfig
from sweeps.records import TrialRecord, TrialStatus
from trainables.objective import Objective

Params = dict[str, Any]

# Draws of a config that no trial has had before; beyond it the few that are left are looked up one by one.
_DRAWS = 100


class Proposals(Protocol):
    """Proposes the configs of a sweep, trial after trial.

    `propose` is called once per trial number, in order, with all records so far; it returns None when there is no
    further config. Called again with the same arguments it returns the same.
    """

    def propose(self, trial: int, records: Sequence[TrialRecord]) -> Params | None:
        """The config of trial number ``trial``."""


class GridProposals:
    """Every config of a grid, in the order of `SearchSpace.grid`."""

    def __init__(self, space: SearchSpace) -> None:
        self._configs = space.grid()
        self._made: list[Params] = []

    def propose(self, trial: int, records: Sequence[TrialRecord]) -> Params | None:
        """The grid's point number ``trial``."""
        self._made.extend(islice(self._configs, max(0, trial + 1 - len(self._made))))
        return dict(self._made[trial]) if trial < len(self._made) else None


class _Tried:
    """Keys of the configs in the records, which only ever grow."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._seen = 0

    def of(self, records: Sequence[TrialRecord]) -> set[str]:
        """The keys of all records; only those that are new since the last call are worked out."""
        if len(records) < self._seen:  # other records: begin anew
            self._keys, self._seen = set(), 0
        self._keys.update(config_key(record.params) for record in records[self._seen :])
        self._seen = len(records)
        return self._keys


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
        self._tried = _Tried()

    def propose(self, trial: int, records: Sequence[TrialRecord]) -> Params | None:
        """A config that no record has; None when all have been tried."""
        tried = self._tried.of(records)
        rng = np.random.default_rng([self._seed, trial])
        for _ in range(_DRAWS):
            params = self._space.sample(rng)
            if config_key(params) not in tried:
                return params
        return _untried(self._space, tried, rng)


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
        self._objective = objective
        self._tried = _Tried()
        self._n_startup = max(-(-n_startup // len(self._cells)), min(n_startup, 5))

    def propose(self, trial: int, records: Sequence[TrialRecord]) -> Params | None:
        """A config of the next cell, from the model once it has enough outcomes."""
        tried = self._tried.of(records)
        for turn in range(len(self._cells)):
            cell = self._cells[(trial + turn) % len(self._cells)]
            params = self._propose_in(cell, trial, records, tried)
            if params is not None:
                return params
        return None

    def _propose_in(self, cell: Params, trial: int, records: Sequence[TrialRecord], tried: set[str]) -> Params | None:
        outcomes = [record for record in records if record.status.is_end and _lies_in(record.params, cell)]
        rng = np.random.default_rng([self._seed, trial])
        is_modelled = self._modelled and len(outcomes) >= self._n_startup
        suggested = self._suggest(outcomes, int(rng.integers(2**31))) if is_modelled else {}
        for draw in range(_DRAWS):
            # On choices the model proposes the same again and again: with each draw, more of its values are let go.
            kept = {name: value for name, value in suggested.items() if rng.random() >= draw / _DRAWS}
            params = self._space.active({**self._draw_all(rng), **kept, **cell})
            if config_key(params) not in tried:
                return params
        return _untried(self._space, tried, rng, cell)

    def _draw_all(self, rng: np.random.Generator) -> Params:
        return {name: domain.sample(rng) for name, domain in self._space.domains.items()}

    def _suggest(self, outcomes: Sequence[TrialRecord], seed: int) -> Params:
        from hyperopt import tpe  # takes half a second, and only this searcher needs it

        trials = _trials_of(outcomes, rank(outcomes, self._objective), self._modelled)
        problem = _hyperopt_space(self._modelled)
        # When to begin is decided here, not by hyperopt, which would go on drawing up to its 20th trial.
        proposed = tpe.suggest([len(outcomes)], problem, trials, seed, n_startup_jobs=0, verbose=False)
        values = {name: found[0] for name, found in proposed[0]["misc"]["vals"].items() if len(found)}
        return {name: _from_model(self._modelled[name], value) for name, value in values.items()}


def make_proposals(config: SearcherConfig, space: SearchSpace, objective: Objective) -> Proposals:
    """The proposals that a spec's ``searcher`` names."""
    return _BUILDERS[config.name](config, space, objective)


_BUILDERS: dict[str, Callable[[SearcherConfig, SearchSpace, Objective], Proposals]] = {
    "grid": lambda config, space, objective: GridProposals(space),
    "random": lambda config, space, objective: RandomProposals(space, config.seed),
    "hyperopt": lambda config, space, objective: HyperoptProposals(space, config.seed, objective, config.n_startup),
}


def how_many(config: SearcherConfig, space: SearchSpace) -> int:
    """How many trials a sweep can have: what was asked for, or fewer where there are not so many distinct configs."""
    size = space.size()
    if config.num_samples is None:
        return space.grid_size()
    return config.num_samples if size is None else min(config.num_samples, size)


def config_key(params: Mapping[str, Any]) -> str:
    """A text that is equal for equal configs."""
    return text_of(params)


def rank(records: Sequence[TrialRecord], objective: Objective) -> list[int]:
    """Place of each ended trial from the best, 0, to the worst: complete before stopped before diverged and failed."""

    def place(index: int) -> tuple[int, int, float]:
        record = records[index]
        if record.status in (TrialStatus.DIVERGED, TrialStatus.FAILED) or record.best_value is None:
            return 2, 0, 0.0
        loss = objective.loss(record.best_value)
        return (0, 0, loss) if record.status is TrialStatus.COMPLETED else (1, -record.epoch, loss)

    places = sorted({place(index) for index in range(len(records))})
    position = {found: number for number, found in enumerate(places)}
    return [position[place(index)] for index in range(len(records))]


def _untried(
    space: SearchSpace, tried: set[str], rng: np.random.Generator, cell: Params | None = None
) -> Params | None:
    # A parameter without an axis gives no config here, but nor would a hundred draws of it have given the same.
    domains = {**space.domains, **{name: Constant(value) for name, value in (cell or {}).items()}}
    left = [params for params in grids.walk(domains, space.conditions) if config_key(params) not in tried]
    return left[int(rng.integers(len(left)))] if left else None


def _lies_in(params: Mapping[str, Any], cell: Mapping[str, Any]) -> bool:
    return all(same_value(params.get(name, value), value) for name, value in cell.items())


def _modelled(space: SearchSpace, axes: SearchSpace) -> dict[str, Domain]:
    fixed = [name for name, domain in space.domains.items() if isinstance(domain, Constant) or domain.size == 1]
    return {name: domain for name, domain in space.domains.items() if name not in axes.domains and name not in fixed}


def _hyperopt_space(domains: Mapping[str, Domain]) -> Any:
    from hyperopt import Domain as Problem  # see _suggest
    from hyperopt import hp

    expressions = {
        name: hp.randint(name, len(domain.values)) if isinstance(domain, Choice) else hp.uniform(name, 0, 1)
        for name, domain in domains.items()
    }
    return Problem(lambda config: 0.0, expressions)


def _trials_of(records: Sequence[TrialRecord], losses: Sequence[int], domains: Mapping[str, Domain]) -> Any:
    from hyperopt import JOB_STATE_DONE, STATUS_OK, Trials  # see _suggest

    trials = Trials()
    documents = []
    for tid, (record, loss) in enumerate(zip(records, losses, strict=True)):
        params = record.best_params or record.params
        values = {name: [_to_model(domain, params[name])] if name in params else [] for name, domain in domains.items()}
        indices = {name: [tid] if found else [] for name, found in values.items()}
        misc = {"tid": tid, "cmd": ("domain_attachment", "FMinIter_Domain"), "idxs": indices, "vals": values}
        [document] = trials.new_trial_docs([tid], [None], [{"status": STATUS_OK, "loss": float(loss)}], [misc])
        documents.append({**document, "state": JOB_STATE_DONE})
    trials.insert_trial_docs(documents)
    trials.refresh()
    return trials


def _to_model(domain: Domain, value: Any) -> float | int:
    if isinstance(domain, Choice):
        return list(map(text_of, domain.values)).index(text_of(value))
    # The middle of the shares that give this value: a single point for a continuous domain.
    return (_first_share(domain, lambda other: other >= value) + _first_share(domain, lambda other: other > value)) / 2


def _from_model(domain: Domain, value: Any) -> Any:
    return domain.axis()[int(value)] if isinstance(domain, Choice) else domain.at(min(float(value), 1 - 1e-12))


def _first_share(domain: Domain, reached: Callable[[Any], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(domain.at(middle)) else (middle, high)
    return high
