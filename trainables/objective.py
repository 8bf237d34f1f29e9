"""Objective: what a trial is judged by. Pure; it neither reads nor computes a metric."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Far beyond any loss or score, and small enough that sums and percentiles of it stay finite.
_FAR = 1e30


@dataclass(frozen=True)
class Objective:
    """A metric and the direction in which it is better.

    Attributes
    ----------
    metric : str, default="valid_loss"
        Key of an epoch's metrics.
    maximize : bool, default=False
        Whether more is better.
    """

    metric: str = "valid_loss"
    maximize: bool = False

    @property
    def worst(self) -> float:
        """A finite value that loses against every real one: what schedulers hear of a trial gone wrong."""
        return -_FAR if self.maximize else _FAR

    def is_better(self, value: float, than: float | None) -> bool:
        """Whether ``value`` beats ``than`` (None: nothing yet); what is not finite never does."""
        if not math.isfinite(value):
            return False
        return than is None or (value > than if self.maximize else value < than)

    def loss(self, value: float) -> float:
        """``value`` turned so that less is better."""
        return -value if self.maximize else value
