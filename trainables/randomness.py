"""The global random number generators as one value that a training owns; draws no numbers itself."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class OwnRandomness:
    """Random states of torch, NumPy and ``random`` that belong to one training.

    A process may train several nets by turns, and libraries may draw numbers in between: each training sees only its
    own streams, so that it gives the same net wherever and however interrupted it runs.

    Parameters
    ----------
    seed : int
        Where the streams begin, as ``torch.manual_seed``, ``numpy.random.seed`` and ``random.seed`` begin them;
        0 <= seed < 2**32.
    device : str, torch.device or None, default="cpu"
        Device of the net. On a CUDA device its stream is owned too.
    """

    def __init__(self, seed: int, device: str | torch.device | None = "cpu") -> None:
        self._device = torch.device(device or "cpu")
        self._state: dict[str, Any] = {
            "torch": torch.Generator().manual_seed(seed).get_state(),
            "numpy": np.random.RandomState(seed).get_state(),
            "python": random.Random(seed).getstate(),
        }
        if self._device.type == "cuda":
            self._state["cuda"] = torch.Generator(self._device).manual_seed(seed).get_state()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Installs this training's streams and puts the process's own back at the end."""
        outside = self._read()
        self._install(self._state)
        try:
            yield
        finally:
            self._state = self._read()
            self._install(outside)

    def state(self) -> dict[str, Any]:
        """The streams as plain values and tensors."""
        return dict(self._state)

    def load_state(self, state: dict[str, Any]) -> None:
        """Continues the streams of `state`; a GPU's only if this training is on one, too."""
        self._state = {key: state.get(key, own) for key, own in self._state.items()}

    def _read(self) -> dict[str, Any]:
        state = {"torch": torch.get_rng_state(), "numpy": np.random.get_state(), "python": random.getstate()}
        if self._device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self._device)
        return state

    def _install(self, state: dict[str, Any]) -> None:
        torch.set_rng_state(state["torch"])
        np.random.set_state(state["numpy"])
        random.setstate(state["python"])
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self._device)
