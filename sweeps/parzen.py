"""hyperopt's tree-structured Parzen estimator, parameter by parameter, from its own parts. Chooses no observations.

`hyperopt.tpe.suggest` gives the same values, but builds documents and a program of them at each call.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]
"""Trials x parameters: shares from 0 to 1, and numbers of choices; NaN for a parameter that was not active."""

Column = NDArray[np.float64]

# hyperopt's defaults: https://github.com/hyperopt/hyperopt/blob/0.2.7/hyperopt/tpe.py
_CANDIDATES, _PRIOR_WEIGHT, _FULLY_WEIGHED = 24, 1.0, 25


def suggest(sizes: Mapping[str, int | None], best: Table, others: Table, seed: int) -> dict[str, float | int]:
    """The likeliest improvement of each parameter [1]_.

    Parameters
    ----------
    sizes : mapping of str to int or None
        Of each parameter, in the order of the columns: how many choices it has; None for a share.
    best, others : Table
        What the better trials had, and what the rest had; the older first, which weigh less.
    seed : int
        Equal seeds and trials give equal values.

    Returns
    -------
    dict of str to float or int
        A value of each parameter.

    References
    ----------
    .. [1] Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011.
    """
    rng = np.random.default_rng(seed)
    columns = {name: (_known(best[:, column]), _known(others[:, column])) for column, name in enumerate(sizes)}
    found: dict[str, float | int] = {}
    for name in sorted(sizes, key=lambda name: (sizes[name] is None, name), reverse=True):  # in hyperopt's order
        size, (good, rest) = sizes[name], columns[name]
        found[name] = _share(good, rest, rng) if size is None else _choice(good, rest, size, rng)
    return found


def _known(values: Column) -> Column:
    return values[~np.isnan(values)]


def _share(best: Column, others: Column, rng: np.random.Generator) -> float:
    from hyperopt import tpe  # takes half a second, and only this searcher needs it

    good, rest = (tpe.adaptive_parzen_normal(seen, _PRIOR_WEIGHT, 0.5, 1.0, _FULLY_WEIGHED) for seen in (best, others))
    drawn = tpe.GMM1(*good, low=0.0, high=1.0, rng=rng, size=(_CANDIDATES,))
    gain = tpe.GMM1_lpdf(drawn, *good, low=0.0, high=1.0) - tpe.GMM1_lpdf(drawn, *rest, low=0.0, high=1.0)
    return float(drawn[np.argmax(gain)])


def _choice(best: Column, others: Column, size: int, rng: np.random.Generator) -> int:
    good, rest = _chances(best, size), _chances(others, size)
    drawn = rng.multinomial(1, good, size=_CANDIDATES) @ np.arange(size)
    return int(drawn[np.argmax(np.log(good[drawn]) - np.log(rest[drawn]))])


def _chances(seen: Column, size: int) -> Column:
    from hyperopt import tpe  # see _share

    weights = tpe.linear_forgetting_weights(len(seen), _FULLY_WEIGHED)
    counts = np.bincount(seen.astype(int), weights, size) + _PRIOR_WEIGHT
    return np.asarray(counts / counts.sum())
