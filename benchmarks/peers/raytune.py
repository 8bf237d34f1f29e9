"""Ray Tune with ASHA and skorch as Ray's documentation teaches it: a class Trainable, one epoch a step.

``--reuse`` keeps an actor for the next trial, which the documentation offers as an option.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from skorch.dataset import Dataset
from skorch.helper import predefined_split

from benchmarks import job_a
from benchmarks.outcome import report


class Net(tune.Trainable):
    """A trial; `setup` gets the data by ``tune.with_parameters``."""

    def setup(self, config: dict[str, Any], data: job_a.Arrays) -> None:
        torch.set_num_threads(1)
        self.train_rows, self.valid_rows = job_a.split(*data)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        train_split = predefined_split(Dataset(*self.valid_rows))
        self.net = job_a.make_net(train_split=train_split, **new_config["params"]).initialize()
        return True

    def step(self) -> dict[str, float]:
        self.net.partial_fit(*self.train_rows, epochs=1)
        return {"valid_acc": float(self.net.history[-1, "valid_acc"])}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.net.save_params(**_files(checkpoint_dir))

    def load_checkpoint(self, checkpoint: str) -> None:
        self.net.load_params(**_files(checkpoint))


def _files(folder: str) -> dict[str, str]:
    names = {"f_params": "params.pt", "f_optimizer": "optimizer.pt", "f_history": "history.json"}
    return {key: str(Path(folder) / name) for key, name in names.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", type=int)
    parser.add_argument("--reuse", action="store_true")
    given = parser.parse_args()
    ray.init(num_cpus=job_a.n_cores(), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    trainable = tune.with_parameters(Net, data=job_a.make_data())
    with tempfile.TemporaryDirectory() as storage:
        results = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space={"params": tune.grid_search(job_a.draw_configs(given.configs))},
            tune_config=tune.TuneConfig(
                metric="valid_acc",
                mode="max",
                reuse_actors=given.reuse,
                scheduler=ASHAScheduler(
                    max_t=job_a.MAX_EPOCHS,
                    grace_period=job_a.GRACE_PERIOD,
                    reduction_factor=job_a.REDUCTION_FACTOR,
                ),
            ),
            run_config=tune.RunConfig(
                storage_path=storage, name="job", verbose=0, stop={"training_iteration": job_a.MAX_EPOCHS}
            ),
        ).fit()
        ray.shutdown()
    scores = [result.metrics["valid_acc"] for result in results]
    epochs = sum(result.metrics["training_iteration"] for result in results)
    name = "raytune-reuse" if given.reuse else "raytune"
    report(name, len(scores), best_score=max(scores), epochs=epochs)


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    main()
