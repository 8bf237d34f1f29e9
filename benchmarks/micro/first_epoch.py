"""A process that runs a small sweep of job A and prints when what happened; `startup` starts it and reads that."""

from __future__ import annotations

import time

STARTED = time.time()  # before the imports that are to be measured

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import psutil  # noqa: E402
import ray  # noqa: E402
from skorch import NeuralNet  # noqa: E402
from skorch.callbacks import Callback  # noqa: E402

from benchmarks import job_a  # noqa: E402
from sweeps import Sweep  # noqa: E402


class Stamp(Callback):
    """Writes down when the first training of its process begins, and when that process began."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def on_train_begin(self, net: NeuralNet, **given: Any) -> None:
        path = Path(self.folder) / str(os.getpid())
        if not path.exists():
            path.write_text(json.dumps(time.time()))


class FirstEpoch:
    """Notes when the sweep first shows an epoch."""

    def __init__(self) -> None:
        self.seen: float | None = None

    def __call__(self, state: Any) -> None:
        if self.seen is None and state.epochs:
            self.seen = time.time()

    def tell(self, line: str) -> None:
        return


def run() -> dict[str, float]:
    """Runs a sweep of one trial; when it began, first trained in a worker, first showed an epoch, and ended."""
    watcher, began = FirstEpoch(), time.time()
    with tempfile.TemporaryDirectory() as folder:
        stamps = Path(folder) / "stamps"
        stamps.mkdir()
        net = job_a.make_net(callbacks=[("stamp", Stamp(str(stamps)))])
        parameters = {"lr": [0.1], "batch_size": 256, "max_epochs": 1}
        Sweep(net, job_a.make_data(), parameters, searcher="grid", storage=folder).run(progress=watcher)
        trained = [json.loads(path.read_text()) for path in stamps.iterdir() if path.name != str(os.getpid())]
    return {"began": began, "trained": min(trained), "shown": watcher.seen or time.time(), "ended": time.time()}


def main() -> None:
    """Prints the stamps of a sweep that starts Ray itself, or with ``warm`` of a second one on a Ray that runs."""
    stamps: dict[str, Any] = {"created": psutil.Process().create_time(), "python": STARTED, "imported": time.time()}
    init = ray.init

    def timed_init(*arguments: Any, **options: Any) -> Any:
        stamps["ray_began"] = time.time()
        context = init(*arguments, **options)
        stamps["ray_ready"] = time.time()
        return context

    ray.init = timed_init
    if "warm" in sys.argv[1:]:
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        run()
    print(json.dumps(stamps | run()))


if __name__ == "__main__":
    main()
