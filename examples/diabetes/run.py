"""The search of sweep.yaml in Python. Run it with `python examples/diabetes/run.py`; results go to ./results."""

from __future__ import annotations

from model import load, make_net  # model.py beside this script

from sweeps import Sweep


def main() -> None:
    X, y = load()
    sweep = Sweep(
        make_net(),
        (X, y),
        {"lr": [0.001, 0.01, 0.1], "batch_size": [16, 32, 64], "max_epochs": [10, 20, 50]},
        metric="valid_r2",
        validation={"type": "cv", "n_splits": 3},
        searcher="random",
        num_samples=10,
        scheduler="fifo",
    )
    result = sweep.run()
    print(f"results: {result.paths.root}")
    print(f"best R² {result.best_score:.3f}, the mean of 3 folds, after {result.best_epoch} epochs")
    print(result.best_params)

    # After cross-validation the best net is trained once more, on all rows, for as many epochs as were best.
    print("the first three targets:   ", y[:3].ravel().round(2))
    print("the first three predictions:", result.best_net.predict(X[:3].astype("float32")).ravel().round(2))


# Ray starts other Python processes, which may import this file: without this guard each would start a sweep.
if __name__ == "__main__":
    main()
