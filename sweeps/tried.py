"""Which configs a sweep has had: when two are the same, which lie in a space, which are left. Proposes none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from search_spaces import grids
from search_spaces.domains import Constant
from search_spaces.labels import text_of
from search_spaces.space import SearchSpace
from sweeps.records import TrialRecord

Params = dict[str, Any]

DRAWS = 100
"""Draws of a config that no trial has had before; beyond it the few that are left are looked up one by one."""

_LENGTH = "max_epochs"


class Growth:
    """Tells how many of the records were there at the last call; they only ever grow, unless they are others."""

    def __init__(self) -> None:
        self._last: list[TrialRecord] = []  # the last one, where there was any
        self._seen = 0

    def known(self, records: Sequence[TrialRecord]) -> int:
        """How many of the first records are those of the last call: all of them, or none where they are others."""
        is_same = self._last and len(records) >= self._seen and records[self._seen - 1] is self._last[0]
        known = self._seen if is_same else 0
        self._last, self._seen = list(records[-1:]), len(records)
        return known


class Tried:
    """Keys of the configs in the records, which only ever grow."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._keys: set[str] = set()
        self._growth = Growth()

    def of(self, records: Sequence[TrialRecord]) -> set[str]:
        """The keys of all records; only those that are new since the last call are worked out."""
        known = self._growth.known(records)
        if not known:
            self._keys = set()
        self._keys.update(key_of(self._space, record.params) for record in records[known:])
        return self._keys


def fits(space: SearchSpace, params: Mapping[str, Any]) -> bool:
    """Whether a config lies in a space; how long it trains does not count where all train equally long."""
    length = _equal_length(space)
    if length is None:
        return space.contains(params)
    return space.contains({name: value for name, value in params.items() if name != _LENGTH} | length)


def config_key(params: Mapping[str, Any]) -> str:
    """A text that is equal for equal configs."""
    return text_of(params)


def untried(space: SearchSpace, tried: set[str], rng: np.random.Generator, cell: Params | None = None) -> Params | None:
    """A config that no trial has had, drawn from those that are left; None when there is none."""
    # A parameter without an axis gives no config here, but nor would a hundred draws of it have given the same.
    domains = {**space.domains, **{name: Constant(value) for name, value in (cell or {}).items()}}
    left = [params for params in grids.walk(domains, space.conditions) if key_of(space, params) not in tried]
    return left[int(rng.integers(len(left)))] if left else None


def key_of(space: SearchSpace, params: Mapping[str, Any]) -> str:
    """A text that is equal for configs of a space that are the same.

    A sweep that was extended to more epochs has trials of both lengths, and they are no different configs.
    """
    if _equal_length(space) is None:
        return config_key(params)
    return config_key({name: value for name, value in params.items() if name != _LENGTH})


def _equal_length(space: SearchSpace) -> Params | None:
    """``max_epochs`` as every config has it, empty where none has it; None where configs differ in it."""
    domain = space.domains.get(_LENGTH)
    if domain is None:
        return {}
    return {_LENGTH: domain.axis()[0]} if domain.size == 1 and _LENGTH not in space.conditions else None
