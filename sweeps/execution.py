"""Execution: what one attempt gives to whatever runs its trials, Ray Tune or a loop in this process. Only a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeps.config import SweepConfig
from sweeps.recorder import Recorder
from sweeps.searchers import SweepSearcher
from sweeps.stop_rules import StopRules
from trainables.job import TrialJob

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler


@dataclass(frozen=True)
class Execution:
    """What an executor works with.

    Attributes
    ----------
    config : SweepConfig
        Resources and limits.
    job : TrialJob
        What the trials share.
    searcher : SweepSearcher
        Asked for trials until it says that there are no more.
    scheduler : TrialScheduler
        Told of every report; says which trials go on.
    recorder : Recorder
        Told all that happens.
    stop : StopRules
        Asked in every turn whether the sweep ends.
    """

    config: SweepConfig
    job: TrialJob
    searcher: SweepSearcher
    scheduler: TrialScheduler
    recorder: Recorder
    stop: StopRules
