"""hyperopt's TPE on honest outcomes: which config a trial gets, from all that the records say. No state to save."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from search_spaces.domains import Choice, Constant, Domain
from search_spaces.labels import same_value, text_of
from search_spaces.space import SearchSpace
from sweeps.records import TrialRecord, TrialStatus
from sweeps.tried import DRAWS, Params, Tried, fits, key_of, untried
from trainables.objective import Objective


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
        self._tried = Tried(space)
        self._known_fits: dict[int, bool] = {}
        self._model_values: dict[tuple[str, str], float | int] = {}
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
        ended = (record for record in records if record.status.is_end and _lies_in(record.params, cell))
        outcomes = [record for record in ended if self._fits(record)]
        rng = np.random.default_rng([self._seed, trial])
        is_modelled = self._modelled and len(outcomes) >= self._n_startup
        suggested = self._suggest(outcomes, int(rng.integers(2**31))) if is_modelled else {}
        for draw in range(DRAWS):
            # On choices the model proposes the same again and again: with each draw, more of its values are let go.
            kept = {name: value for name, value in suggested.items() if rng.random() >= draw / DRAWS}
            params = self._space.active({**self._draw_all(rng), **kept, **cell})
            if key_of(self._space, params) not in tried:
                return params
        return untried(self._space, tried, rng, cell)

    def _fits(self, record: TrialRecord) -> bool:
        # Trials of a time before the space was changed stay in the history where they still fit.
        if record.trial not in self._known_fits:
            self._known_fits[record.trial] = fits(self._space, record.params)
        return self._known_fits[record.trial]

    def _draw_all(self, rng: np.random.Generator) -> Params:
        return {name: domain.sample(rng) for name, domain in self._space.domains.items()}

    def _suggest(self, outcomes: Sequence[TrialRecord], seed: int) -> Params:
        from hyperopt import tpe  # takes half a second, and only this searcher needs it

        trials = self._trials_of(outcomes, rank(outcomes, self._objective))
        problem = _hyperopt_space(self._modelled)
        # When to begin is decided here, not by hyperopt, which would go on drawing up to its 20th trial.
        proposed = tpe.suggest([len(outcomes)], problem, trials, seed, n_startup_jobs=0, verbose=False)
        values = {name: found[0] for name, found in proposed[0]["misc"]["vals"].items() if len(found)}
        return {name: _from_model(self._modelled[name], value) for name, value in values.items()}

    def _trials_of(self, records: Sequence[TrialRecord], losses: Sequence[int]) -> Any:
        from hyperopt import JOB_STATE_DONE, STATUS_OK, Trials  # see _suggest

        trials = Trials()
        documents = []
        for tid, (record, loss) in enumerate(zip(records, losses, strict=True)):
            params = record.best_params or record.params
            values = {name: [self._seen(name, params[name])] if name in params else [] for name in self._modelled}
            indices = {name: [tid] if found else [] for name, found in values.items()}
            misc = {"tid": tid, "cmd": ("domain_attachment", "FMinIter_Domain"), "idxs": indices, "vals": values}
            [document] = trials.new_trial_docs([tid], [None], [{"status": STATUS_OK, "loss": float(loss)}], [misc])
            documents.append({**document, "state": JOB_STATE_DONE})
        trials.insert_trial_docs(documents)
        trials.refresh()
        return trials

    def _seen(self, name: str, value: Any) -> float | int:
        """The value as the model sees it; worked out once, since every proposal asks for all of them."""
        known = name, text_of(value)
        if known not in self._model_values:
            self._model_values[known] = _to_model(self._modelled[name], value)
        return self._model_values[known]


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
