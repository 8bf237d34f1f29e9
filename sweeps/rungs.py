"""The epochs at which ASHA compares trials. Pure: which trial passes is the scheduler's business."""

from __future__ import annotations

import math


def rungs(grace_period: int, reduction_factor: float, max_epochs: int) -> tuple[int, ...]:
    """Rungs at ``grace_period * reduction_factor ** k`` below ``max_epochs`` [1]_.

    Parameters
    ----------
    grace_period : int
        Epochs of the first rung.
    reduction_factor : float
        Ratio of successive rungs; one in so many trials passes each.
    max_epochs : int
        Epochs after which a trial is complete anyway.

    Returns
    -------
    tuple of int
        Ascending; a fractional rung is reached with the next whole epoch.

    References
    ----------
    .. [1] Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020.
    """
    found: list[int] = []
    while (level := grace_period * reduction_factor ** len(found)) < max_epochs:
        found.append(math.ceil(level))
    return tuple(dict.fromkeys(found))
