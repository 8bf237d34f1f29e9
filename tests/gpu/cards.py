"""What a card holds, as CUDA tells it in this process."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Card:
    """A card and what was in use of it before the first trial, this process's context included."""

    kind: str
    baseline_bytes: int


def used_bytes() -> int:
    """What all processes together take of the first card."""
    free, total = torch.cuda.mem_get_info(0)
    return int(total - free)
