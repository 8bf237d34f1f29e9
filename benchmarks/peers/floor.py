"""The floor: successive halving of the job in bare torch loops, one process a core, and nothing kept or recorded.

Halving in step trains as few epochs as ASHA may hope to; each net stays in the memory of the process that began it.
"""

from __future__ import annotations

import multiprocessing
import time
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch

from benchmarks import job_a
from benchmarks.bare import BareTraining, Rows
from benchmarks.outcome import begin, report


def main() -> None:
    configs, cores = begin(__doc__), job_a.n_cores()
    drawn, rows = job_a.draw_configs(configs), job_a.split(*map(torch.from_numpy, job_a.make_data()))
    # Forked, so that nothing is imported or made twice: torch has started no thread yet.
    fork = multiprocessing.get_context("fork")
    began = time.perf_counter()
    lines = []
    for core in range(cores):
        line, other = fork.Pipe()
        fork.Process(target=serve, args=(other, drawn, rows, range(core, configs, cores)), daemon=True).start()
        lines.append(line)
    best_score, epochs = halve(lines, configs)
    report("floor", configs, best_score=best_score, epochs=epochs, fit_s=time.perf_counter() - began)


def halve(lines: list[Connection], configs: int) -> tuple[float, int]:
    """Trains all to the first rung, the best third to the next, and so on; the best score and all epochs trained."""
    alive, reached, epochs = list(range(configs)), 0, 0
    scores: dict[int, float] = {}
    for rung in rungs():
        for core, line in enumerate(lines):
            line.send([(number, rung - reached) for number in alive if number % len(lines) == core])
        for line in lines:
            scores |= line.recv()
        epochs, reached = epochs + len(alive) * (rung - reached), rung
        alive.sort(key=lambda number: -scores[number])
        del alive[max(1, len(alive) // job_a.REDUCTION_FACTOR) :]
    return max(scores.values()), epochs


def rungs() -> list[int]:
    """1, 3, 9, 27: where nets are compared, and the end."""
    found = [job_a.GRACE_PERIOD]
    while found[-1] * job_a.REDUCTION_FACTOR <= job_a.MAX_EPOCHS:
        found.append(found[-1] * job_a.REDUCTION_FACTOR)
    return found


def serve(line: Connection, drawn: list[dict[str, Any]], rows: tuple[Rows, Rows], numbers: range) -> None:
    """Trains its own nets as it is told, and answers with their scores."""
    trainings = {number: train_of(drawn[number], rows) for number in numbers}
    while True:
        line.send({number: [trainings[number].run_epoch() for _ in range(n)][-1] for number, n in line.recv()})


def train_of(config: dict[str, Any], rows: tuple[Rows, Rows]) -> BareTraining:
    """The training of a config."""
    module = partial(job_a.MLP, hidden=config["module__hidden"], layers=config["module__layers"])
    return BareTraining(module, *rows, lr=config["lr"], batch_size=config["batch_size"])


if __name__ == "__main__":
    main()
