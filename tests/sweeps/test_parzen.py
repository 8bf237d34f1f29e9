"""The estimator gives what hyperopt's own gives for the same trials, number for number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hyperopt import JOB_STATE_DONE, STATUS_OK, Domain, Trials, hp, tpe, trials_from_docs

from sweeps import parzen

SIZES = {"lr": None, "batch": 4, "dropout": None, "act": 2, "nodes": None, "deep": 3}


def hyperopts(trials: np.ndarray, losses: np.ndarray, seed: int) -> dict[str, Any]:
    """What `hyperopt.tpe.suggest` proposes."""
    expressions = {
        name: hp.uniform(name, 0, 1) if size is None else hp.randint(name, size) for name, size in SIZES.items()
    }
    miscs = []
    for tid, row in enumerate(trials):
        values = {
            name: [] if math.isnan(value) else [value if SIZES[name] is None else int(value)]
            for name, value in zip(SIZES, row.tolist(), strict=True)
        }
        miscs.append({"tid": tid, "idxs": {n: [tid] if v else [] for n, v in values.items()}, "vals": values})
    results = [{"status": STATUS_OK, "loss": float(loss)} for loss in losses]
    documents = Trials().new_trial_docs(range(len(miscs)), [None] * len(miscs), results, miscs)
    known = trials_from_docs([{**document, "state": JOB_STATE_DONE} for document in documents], validate=False)
    problem = Domain(lambda config: 0.0, expressions)
    [found] = tpe.suggest([len(miscs)], problem, known, seed, n_startup_jobs=0, verbose=False)
    return {name: value for name, [value] in found["misc"]["vals"].items()}


@pytest.mark.parametrize("n_trials", [1, 5, 40, 150])
@pytest.mark.parametrize("seed", range(4))
def test_it_gives_what_hyperopt_gives(n_trials, seed):
    rng = np.random.default_rng(seed)
    columns = [rng.random(n_trials) if size is None else rng.integers(size, size=n_trials) for size in SIZES.values()]
    trials = np.array(columns, dtype=float).T
    trials[rng.random(trials.shape) < 0.2] = math.nan  # of parameters that were not active
    losses = rng.permutation(n_trials)
    n_best = math.ceil(math.sqrt(n_trials) / 4)
    found = parzen.suggest(SIZES, trials[losses < n_best], trials[losses >= n_best], seed)
    assert found == hyperopts(trials, losses, seed)


def test_parameters_that_no_trial_had_are_drawn_from_their_prior():
    nothing = np.full((9, len(SIZES)), math.nan)
    found = [parzen.suggest(SIZES, nothing[:2], nothing[2:], seed) for seed in range(200)]
    assert {values["batch"] for values in found} == set(range(4))
    assert all(0 <= values["lr"] < 1 for values in found)
