"""This project: a Sweep with ASHA, on Ray or, with ``--inline``, in this process without it, one trial at a time."""

from __future__ import annotations

import argparse
import tempfile
from typing import Any

import torch
from skorch import NeuralNetClassifier

from benchmarks import job_a
from benchmarks.outcome import report
from sweeps import Sweep


class DrawnNet(NeuralNetClassifier):
    """Takes ``drawn``, the number of a config of the job, for its values.

    A sweep draws configs of its own, and here all peers are to train the same ones: so a grid walks their numbers.
    """

    def __init__(self, *args: Any, drawn: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.drawn = drawn

    def initialize(self) -> DrawnNet:
        self.set_params(**job_a.draw_configs(self.drawn + 1)[self.drawn])
        return super().initialize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", type=int)
    parser.add_argument("--inline", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as storage:
        result = Sweep(
            job_a.make_net(DrawnNet),
            job_a.make_data(),
            {"drawn": list(range(given.configs)), "max_epochs": job_a.MAX_EPOCHS},
            searcher="grid",
            scheduler={
                "name": "asha",
                "grace_period": job_a.GRACE_PERIOD,
                "reduction_factor": job_a.REDUCTION_FACTOR,
            },
            validation={"type": "holdout", "size": 1 - job_a.N_TRAIN / job_a.N_ROWS, "shuffle": False},
            storage=storage,
        ).run(progress=False, backend="inline" if given.inline else "ray")
        trials = result.trials
        report(
            "ours-inline" if given.inline else "ours",
            len(trials),
            best_score=float(trials["last"].max()),
            epochs=int(trials["epochs"].sum()),
            best_epoch_score=result.best_score,
            fit_s=float(trials["fit_s"].sum()),
        )


if __name__ == "__main__":  # Ray's workers may import this file
    main()
