"""What a population may change while it trains, and how: PBT's explore step. Pure; Ray decides who copies whom."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from search_spaces.domains import Choice, Domain
from search_spaces.space import SearchSpace

# Jaderberg et al., "Population Based Training of Neural Networks", arXiv 1711.09846.
RESAMPLE_PROBABILITY = 0.25
FACTORS = (0.8, 1.2)

# What a training can change while it keeps its weights and momenta.
_MUTABLE = ("lr", "batch_size")
_MUTABLE_PARTS = ("optimizer__", "iterator_train__")


def mutable_names(space: SearchSpace) -> list[str]:
    """The parameters that a training can change without losing its weights, and that have a choice left."""
    return [name for name, domain in space.domains.items() if domain.size != 1 and _is_mutable(name)]


def perturbed(
    space: SearchSpace, names: Collection[str], params: Mapping[str, Any], rng: np.random.Generator
) -> dict[str, Any]:
    """A donor's config with some parameters moved.

    Each is drawn anew with probability 0.25, and otherwise moved: a number by a factor of 0.8 or 1.2, a choice to a
    neighbour. The result is always in the space.

    Parameters
    ----------
    space : SearchSpace
        Where the config must stay.
    names : collection of str
        What may change.
    params : mapping
        The donor's config.
    rng : numpy.random.Generator
        Source of the moves.
    """
    moved = {name: _moved(space.domains[name], params.get(name), rng) for name in names}
    return space.active({**params, **moved})


def _is_mutable(name: str) -> bool:
    return name in _MUTABLE or name.startswith(_MUTABLE_PARTS)


def _moved(domain: Domain, value: Any, rng: np.random.Generator) -> Any:
    if value is None or rng.random() < RESAMPLE_PROBABILITY:
        return domain.sample(rng)
    if isinstance(domain, Choice):
        place = list(domain.values).index(value) + int(rng.choice([-1, 1]))
        return domain.values[min(max(place, 0), len(domain.values) - 1)]
    factor = float(rng.choice(FACTORS))
    moved = value * factor
    if isinstance(value, int):  # away from where it was, or a small number could only shrink
        moved = math.ceil(moved) if factor > 1 else math.floor(moved)
    return moved if domain.contains(moved) else domain.sample(rng)
