"""The search of sweep.yaml in Python. Run it with `python examples/convnet/run.py`; results go to ./results."""

from __future__ import annotations

import torch
from model import load, make_net  # model.py beside this script
from scipy.stats import loguniform, uniform

from sweeps import Sweep


def main() -> None:
    X, y = load()
    sweep = Sweep(
        make_net(),
        (X, y),
        {
            # Distributions of scipy.stats are taken as they are, and so are domains of ray.tune and classes of torch.
            "lr": loguniform(1e-3, 1e-1),
            "batch_size": [32, 64, 128],
            "module__layers": [1, 2],
            "module__channels": {"distribution": "int_uniform", "min": 8, "max": 32, "q": 8},
            "optimizer": [torch.optim.SGD, torch.optim.Adam],
            # `when` goes beside the domain; a distribution's own place is then the key `domain`.
            "optimizer__momentum": {"domain": uniform(0.5, 0.45), "when": {"optimizer": torch.optim.SGD}},
            "max_epochs": 9,
        },
        metric="valid_acc",
        scoring=["f1_macro"],
        num_samples=12,
    )
    result = sweep.run()
    print(f"results: {result.paths.root}")
    print(f"best: {result.best_score:.4f} with {result.best_params}")

    # One row a trial and epoch: the learning curve of the best trial.
    metrics = result.metrics
    curve = metrics[metrics.trial == result.best_trial.trial]
    print(curve[["epoch", "train_loss", "valid_loss", "valid_acc", "valid_f1_macro"]].to_string(index=False))


# Ray starts other Python processes, which may import this file: without this guard each would start a sweep.
if __name__ == "__main__":
    main()
