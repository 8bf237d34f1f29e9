"""What the driver adds to trainings of no length: wall and CPU seconds per trial and per report, on a warm Ray."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from skorch import NeuralNetClassifier
from torch import nn

from benchmarks.micro.figures import Figure
from sweeps import Sweep
from trainables.data import TrialData
from trainables.training import NetTraining

SLOTS = 2
N_ROWS = 64


@dataclass(frozen=True)
class Cost:
    """Of a sweep in this process.

    Attributes
    ----------
    trial_s : float
        Seconds from the end of one trial to that of the next, once all slots were busy.
    cpu_s : float
        CPU seconds of the driver in all.
    """

    trial_s: float
    cpu_s: float


def measure(*, trials: int = 200, epochs: int = 20) -> Iterator[Figure]:
    """Figures per trial, from many trials of one epoch; per report, from more epochs that are reported one by one."""
    ray.init(address="local", num_cpus=SLOTS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        run(8, 1)  # what happens once in a process
        few, many, long = run(8, 1), run(8 + trials, 1), run(8 + trials, epochs)
    finally:
        ray.shutdown()
    bare_trial_ms, bare_epoch_ms = (ms / SLOTS for ms in bare_ms(epochs))
    floor = f"the training alone, on {SLOTS} slots"
    trial_cpu_s = (many.cpu_s - few.cpu_s) / trials
    report_s = (long.trial_s - many.trial_s) / (epochs - 1)
    report_cpu_s = (long.cpu_s - many.cpu_s) / ((8 + trials) * (epochs - 1))
    yield Figure("a trial of one epoch: wall", 1e3 * many.trial_s, "ms", bare_trial_ms, floor)
    yield Figure("a trial of one epoch: CPU of the driver", 1e3 * trial_cpu_s, "ms")
    yield Figure("a report: wall", 1e3 * report_s, "ms", bare_epoch_ms, floor)
    yield Figure("a report: CPU of the driver", 1e3 * report_cpu_s, "ms")
    yield Figure(f"reports a second, from {SLOTS} slots", 1 / report_s, "1/s", 1e3 / bare_epoch_ms, floor)
    yield Figure("reports a second, by the driver's CPU", 1 / report_cpu_s, "1/s")


def run(trials: int, epochs: int) -> Cost:
    """A sweep that stops nothing and reports each epoch."""
    cpu_s = time.process_time()
    with tempfile.TemporaryDirectory() as storage:
        result = Sweep(
            make_net(),
            make_rows(),
            {"lr": {"distribution": "loguniform", "min": 1e-4, "max": 1e-2}, "max_epochs": epochs},
            scheduler="fifo",
            num_samples=trials,
            report_every_s=0.0,
            resources={"max_concurrent_trials": SLOTS},
            storage=storage,
        ).run(progress=False)
        ended = sorted(result.trials["ended"])[2 * SLOTS :]
    return Cost((ended[-1] - ended[0]).total_seconds() / (len(ended) - 1), time.process_time() - cpu_s)


def bare_ms(epochs: int) -> tuple[float, float]:
    """A training of one epoch from its making to its end, and an epoch more."""
    data = TrialData.make(*make_rows(), target="classifier")
    net, seconds = make_net(), []
    for n_epochs in (1, 1, epochs):  # the first one warms up
        began = time.perf_counter()
        for _ in range(10):
            training = NetTraining(net, data, {"max_epochs": n_epochs}, seed=0)
            while not training.finished:
                training.run_epoch()
        seconds.append((time.perf_counter() - began) / 10)
    return 1e3 * seconds[1], 1e3 * (seconds[2] - seconds[1]) / (epochs - 1)


def make_net() -> NeuralNetClassifier:
    return NeuralNetClassifier(
        nn.Linear,
        module__in_features=4,
        module__out_features=2,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        verbose=0,
    )


def make_rows() -> tuple[Any, Any]:
    X = np.random.default_rng(0).standard_normal((N_ROWS, 4)).astype("float32")
    return X, (X[:, 0] > 0).astype("int64")


os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
