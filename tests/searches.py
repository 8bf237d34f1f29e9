"""Searches without trainings: configs are proposed, and a function says what each of them reaches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from search_spaces.space import SearchSpace
from sweeps.config import SearcherConfig
from sweeps.proposals import Proposals, make_proposals
from sweeps.records import TrialRecord, TrialStatus
from trainables.objective import Objective

MOST = Objective("valid_acc", maximize=True)
CONDITIONAL = {
    "optimizer": ["torch.optim:SGD", "torch.optim:Adam"],
    "optimizer__momentum": {"values": [0.0, 0.5, 0.9], "when": {"optimizer": "torch.optim:SGD"}},
    "optimizer__nesterov": {"values": [False, True], "when": {"optimizer__momentum": [0.5, 0.9]}},
    "batch_size": {"min": 16, "max": 64, "q": 16},
}
MANY_KINDS = {"a": ["x", "y"], "b": [None, 0.1], "c": [True, False, 1], "d": [[8], [8, 8]]}
CONTINUOUS = {"lr": {"distribution": "loguniform", "min": 1e-4, "max": 1.0}, "nodes": {"min": 1, "max": 64}}
SPACES = {"conditional": CONDITIONAL, "many kinds": MANY_KINDS, "continuous": CONTINUOUS}


def proposals_of(name: str, parameters: dict[str, Any], **options: Any) -> Proposals:
    config = SearcherConfig(name=name, **({} if name == "grid" else {"num_samples": 50}), **options)
    return make_proposals(config, SearchSpace(parameters), MOST)


def ended(
    trial: int, params: dict[str, Any], score: float | None, status: TrialStatus = TrialStatus.COMPLETED, epoch: int = 1
) -> TrialRecord:
    record = TrialRecord(trial, params, status, rows={epoch: {}}, best_value=score)
    if score is not None:
        record.best_epoch, record.best_params = epoch, params
    return record


def search(
    proposals: Proposals, n: int, outcome: Callable[[dict[str, Any]], float | None] = lambda params: 0.5
) -> list[TrialRecord]:
    """The trials of a sweep, one after another; an outcome of None is a failure."""
    records: list[TrialRecord] = []
    for trial in range(n):
        params = proposals.propose(trial, records)
        if params is None:
            break
        score = outcome(params)
        records.append(ended(trial, params, score, TrialStatus.FAILED if score is None else TrialStatus.COMPLETED))
    return records


def bowl(params: dict[str, Any]) -> float:
    """Best, 0, at lr 0.01 and 48 nodes."""
    return -((math.log10(params["lr"]) + 2) ** 2) - ((params["nodes"] - 48) / 32) ** 2
