"""The global random number generators as one value that a training owns; draws no numbers itself."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class OwnRandomness:
    """Random states of torch (CPU, current GPU), NumPy and ``random`` that belong to one training.

    A process may train several nets by turns, and libraries may draw numbers in between: each training sees only its own
    stream, so that it gives the same net wherever and however interrupted it runs.

    Parameters
    ----------
    seed : int
        Where the streams begin, 0 <= seed < 2**32.
    """

    def __init__(self, seed: int) -> None:
        outside = _read()
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002  nets and callbacks draw from NumPy's global state
        random.seed(seed)
        self._state = _read()
        _install(outside)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Installs this training's streams and puts the process's own back at the end."""
        outside = _read()
        _install(self._state)
        try:
            yield
        finally:
            self._state = _read()
            _install(outside)

    def state(self) -> dict[str, Any]:
        """The streams as plain values and tensors."""
        return dict(self._state)

    def load_state(self, state: dict[str, Any]) -> None:
        """Continues the streams of `state`; the GPU's is left alone where there is none on this machine."""
        self._state = {**self._state, **{key: part for key, part in state.items() if key in self._state}}


def _read() -> dict[str, Any]:
    state = {"torch": torch.get_rng_state(), "numpy": np.random.get_state(), "python": random.getstate()}  # noqa: NPY002
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _install(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    random.setstate(state["python"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
