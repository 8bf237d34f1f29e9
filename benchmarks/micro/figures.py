"""Figure: one measured number beside its floor, and the table of them. Measures nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

HEADINGS = ("what", "ours", "floor", "unit", "ours / floor", "floor is")


@dataclass(frozen=True)
class Figure:
    """One number.

    Attributes
    ----------
    what : str
        What was measured.
    value : float
        How much of it we take.
    unit : str
        Of both values.
    floor : float or None
        How much it takes without us.
    floor_is : str
        What the floor does.
    """

    what: str
    value: float
    unit: str
    floor: float | None = None
    floor_is: str = ""

    def cells(self) -> tuple[str, ...]:
        """As text, under `HEADINGS`."""
        floor = "-" if self.floor is None else f"{self.floor:.4g}"
        ratio = f"{self.value / self.floor:.2f}" if self.floor else "-"
        return self.what, f"{self.value:.4g}", floor, self.unit, ratio, self.floor_is


def interleaved(actions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each action; all take turns, so that they see the same machine."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            with _cpu_seconds(seconds[name]):
                action()
    return {name: median(found) for name, found in seconds.items()}


@contextmanager
def _cpu_seconds(found: list[float]) -> Iterator[None]:
    began = time.process_time()
    yield
    found.append(time.process_time() - began)
