"""The search of sweep.yaml in Python. Run it with `python examples/digits/run.py`; results go to ./results."""

from __future__ import annotations

from model import make_net  # model.py beside this script

from sweeps import Sweep


def main() -> None:
    sweep = Sweep(
        make_net,
        {"type": "sklearn", "name": "digits"},  # or a pair (X, y)
        {
            "lr": {"distribution": "loguniform", "min": 5e-4, "max": 5e-2},
            "batch_size": [32, 64, 128],
            "module__layers": {"distribution": "int_uniform", "min": 1, "max": 3},
            "module__nodes": {"distribution": "int_loguniform", "min": 32, "max": 256},
            "module__dropout": [0.0, 0.2, 0.4],
            "max_epochs": 27,
        },
        metric="valid_acc",
        searcher={"name": "hyperopt", "num_samples": 24, "seed": 1},
        scheduler={"name": "asha", "grace_period": 3, "reduction_factor": 3},
    )
    result = sweep.run()
    print(f"results: {result.paths.root}")
    print(f"best: {result.best_score:.4f} in epoch {result.best_epoch} of trial {result.best_trial.trial}")
    print(result.best_params)

    # One row a trial, as a DataFrame: what each config scored and what it cost.
    columns = ["trial", "status", "epochs", "score", "n_parameters", "predict_ms_p50", "fit_s"]
    print(result.trials.sort_values("score", ascending=False)[columns].head().to_string(index=False))

    # The net of the best epoch, ready to use.
    net = result.best_net
    print(type(net).__name__, "with", sum(weights.numel() for weights in net.module_.parameters()), "parameters")


# Ray starts other Python processes, which may import this file: without this guard each would start a sweep.
if __name__ == "__main__":
    main()
