"""Random number generators as values that can be stored, and back; the process's own ones are `randomness`'s."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def is_generator(value: object) -> bool:
    """Whether `read` takes ``value``: a generator of torch, NumPy or ``random``, not of a derived class."""
    if type(value) is np.random.Generator:
        source = value.bit_generator
        return type(source) in _SOURCES.values() and type(source.seed_seq) is np.random.SeedSequence
    return type(value) in _READERS


def read(generator: Any) -> dict[str, Any]:
    """Describes a generator.

    Parameters
    ----------
    generator : torch.Generator, numpy.random.Generator, numpy.random.RandomState or random.Random
        Of which `is_generator` is true.

    Returns
    -------
    dict
        ``kind``, and what is needed to make one that draws the same numbers from here on.
    """
    return _READERS[type(generator)](generator)


def make(description: dict[str, Any]) -> Any:
    """Makes the generator that `read` described."""
    return _MAKERS[description["kind"]](description)


def _read_numpy(generator: np.random.Generator) -> dict[str, Any]:
    source = generator.bit_generator
    # The seeds are what its children will be made of.
    return {"kind": "numpy", "seeds": source.seed_seq.state, "state": source.state}  # type: ignore[attr-defined]


def _make_numpy(description: dict[str, Any]) -> np.random.Generator:
    seeds = np.random.SeedSequence(**description["seeds"])
    source = _SOURCES[description["state"]["bit_generator"]](seeds)
    source.state = description["state"]
    return np.random.Generator(source)


def _make_legacy(description: dict[str, Any]) -> np.random.RandomState:
    generator = np.random.RandomState(_SOURCES[description["state"]["bit_generator"]]())
    generator.set_state(description["state"])
    return generator


def _make_python(description: dict[str, Any]) -> random.Random:
    generator = random.Random()
    generator.setstate(description["state"])
    return generator


_SOURCES: dict[str, type[np.random.BitGenerator]] = {
    kind.__name__: kind
    for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
}
_READERS: dict[type, Callable[[Any], dict[str, Any]]] = {
    torch.Generator: lambda value: {"kind": "torch", "device": value.device.type, "state": value.get_state()},
    np.random.Generator: _read_numpy,
    np.random.RandomState: lambda value: {"kind": "legacy", "state": value.get_state(legacy=False)},
    random.Random: lambda value: {"kind": "python", "state": value.getstate()},
}
_MAKERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "torch": lambda value: torch.Generator(value["device"]).set_state(value["state"]),
    "numpy": _make_numpy,
    "legacy": _make_legacy,
    "python": _make_python,
}
