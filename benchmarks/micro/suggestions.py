"""How long the next config takes: TPE with more and more trials behind it, beside a random draw."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

import numpy as np

from benchmarks.micro.figures import Figure
from benchmarks.simulate import MAX_EPOCHS, OBJECTIVE, SPACE
from sweeps.config import SearcherConfig
from sweeps.proposals import Proposals, make_proposals
from sweeps.records import TrialRecord, TrialStatus

COUNTS = (10, 50, 200, 800, 2_000, 10_000)


def measure(*, counts: tuple[int, ...] = COUNTS, rounds: int = 5) -> Iterator[Figure]:
    """Milliseconds of a proposal after so many trials."""
    tpe, random = (
        make_proposals(SearcherConfig(name=name, num_samples=10**6), SPACE, OBJECTIVE)
        for name in ("hyperopt", "random")
    )
    records: list[TrialRecord] = []
    tpe.propose(0, records)  # imports hyperopt
    for count in counts:
        while len(records) < count:
            records.append(_ended(random, len(records)))
        ours, floor = (_ms(proposals, records, rounds) for proposals in (tpe, random))
        yield Figure(f"TPE's next config after {count} trials", ours, "ms", floor, "a random draw")


def _ms(proposals: Proposals, records: list[TrialRecord], rounds: int) -> float:
    proposals.propose(len(records), records)  # sees the records that are new to it
    found = []
    for number in range(rounds):
        began = time.perf_counter()
        proposals.propose(len(records) + number, records)
        found.append(1e3 * (time.perf_counter() - began))
    return median(found)


def _ended(draw: Proposals, number: int) -> TrialRecord:
    """A trial that ASHA stopped, or one in nine that it did not."""
    params = draw.propose(number, []) or {}
    score = float(np.random.default_rng(number).uniform())
    epochs = MAX_EPOCHS if number % 9 == 0 else 3
    status = TrialStatus.COMPLETED if epochs == MAX_EPOCHS else TrialStatus.STOPPED
    record = TrialRecord(number, params, status, rows={epoch: {"valid_acc": score} for epoch in range(1, epochs + 1)})
    record.best_epoch, record.best_value, record.best_params = epochs, score, params
    return record
