"""What the driver adds to trainings of no length, how many reports it takes, how busy it keeps slots.

On few cores it is the workers that bound the rate at which reports arrive, even with hardly anything to train; what the
driver itself could take is told by its CPU.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback
from torch import nn

from benchmarks.micro.bare_tune import result_times
from benchmarks.micro.figures import Figure
from sweeps import Sweep, SweepResult, journal
from trainables.data import TrialData
from trainables.training import NetTraining

SLOTS = 2
MANY_SLOTS = 8
EPOCH_S = 0.5
N_ROWS = 64
SPACE = {"lr": {"distribution": "loguniform", "min": 1e-4, "max": 1e-2}}


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


class Sleep(Callback):
    """Makes an epoch last, and needs no core for that."""

    def on_epoch_begin(self, net: NeuralNet, **given: Any) -> None:
        time.sleep(EPOCH_S)


def measure(*, trials: int = 200, epochs: int = 20, reports: int = 300, long_epochs: int = 20) -> Iterator[Figure]:
    """Figures of each trial and report, of reports from many slots, and of trials with ``long_epochs`` of 0.5 s."""
    busy, beside_s = busy_slots(long_epochs)
    with ray_of(SLOTS):
        yield from costs(trials, epochs)
    long = f"trials of {long_epochs * EPOCH_S:g} s"
    yield Figure(f"slots that train, with {long}", 100 * busy, "%", 100.0, "from the first start to the last end")
    yield Figure(f"a slot's time beside the epochs, per trial, with {long}", 1e3 * beside_s, "ms")
    with ray_of(MANY_SLOTS):
        yield from many_slots(reports)


@contextmanager
def ray_of(slots: int) -> Iterator[None]:
    """A Ray with so many logical CPUs."""
    ray.init(address="local", num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


def costs(trials: int, epochs: int) -> Iterator[Figure]:
    """Per trial, from many trials of one epoch; per report, from more epochs that are reported one by one."""
    run(8, 1)  # what happens once in a process
    few, many, long = run(8, 1), run(8 + trials, 1), run(8 + trials, epochs)
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
    with sweep_of(make_net(), SLOTS, trials, epochs, report_every_s=0.0) as result:
        ended = sorted(result.trials["ended"])[2 * SLOTS :]
    return Cost((ended[-1] - ended[0]).total_seconds() / (len(ended) - 1), time.process_time() - cpu_s)


def many_slots(reports: int) -> Iterator[Figure]:
    """Reports from more slots than two, of the shortest trainings that there are."""
    few, many = short_epochs(3), short_epochs(reports)
    cpu_s = (many.cpu_s - few.cpu_s) / (MANY_SLOTS * (reports - 3))
    began_s = time.process_time()
    result_times(MANY_SLOTS, 3)
    fixed_s, began_s = time.process_time() - began_s, time.process_time()
    bare_rate = middle_rate(result_times(MANY_SLOTS, reports))
    bare_cpu_s = (time.process_time() - began_s - fixed_s) / (MANY_SLOTS * (reports - 3))
    floor = "Ray Tune as it comes, nothing trained or kept"
    yield Figure(f"reports a second, from {MANY_SLOTS} slots", many.rate, "1/s", bare_rate, floor)
    yield Figure(f"the same, by the driver's CPU, from {MANY_SLOTS} slots", 1 / cpu_s, "1/s", 1 / bare_cpu_s, floor)


@dataclass(frozen=True)
class Pace:
    """How many reports a second came, and the CPU seconds of the driver in all."""

    rate: float
    cpu_s: float


def short_epochs(reports: int) -> Pace:
    """One trial a slot, which reports each epoch; a regressor, whose epochs are shorter since none computes a score."""
    cpu_s = time.process_time()
    net = NeuralNetRegressor(
        nn.Linear, module__in_features=4, module__out_features=2, optimizer=torch.optim.SGD, verbose=0
    )
    with sweep_of(net, MANY_SLOTS, MANY_SLOTS, reports, report_every_s=0.0) as result:
        rate = middle_rate([event["time"] for event in journal.read(result.paths.journal) if event["type"] == "report"])
    return Pace(rate, time.process_time() - cpu_s)


def middle_rate(times: Sequence[float]) -> float:
    """How many a second there are, but for the first and the last quarter, when not all slots are at work."""
    quarter = len(times) // 4
    middle = times[quarter : len(times) - quarter]
    return (len(middle) - 1) / (middle[-1] - middle[0])


def busy_slots(epochs: int) -> tuple[float, float]:
    """Share of the slots' time that epochs take, of five trials a slot; and a slot's seconds beside them per trial.

    On a Ray that the sweep starts for itself. The first trial of a slot includes what torch imports in its first step.
    """
    with sweep_of(make_net(callbacks=[("sleep", Sleep())]), SLOTS, 5 * SLOTS, epochs) as result:
        table, trained_s = result.trials, result.metrics["epoch_s"].sum()
    span_s = (table["ended"].max() - table["started"].min()).total_seconds()
    by_slot = table.groupby("pid")
    spans_s = (by_slot["ended"].max() - by_slot["started"].min()).dt.total_seconds()
    return trained_s / (SLOTS * span_s), (spans_s.sum() - trained_s) / len(table)


@contextmanager
def sweep_of(net: NeuralNet, slots: int, trials: int, epochs: int, **options: Any) -> Iterator[SweepResult]:
    """A sweep that stops nothing, and its files for as long as the context lasts."""
    with tempfile.TemporaryDirectory() as storage:
        yield Sweep(
            net,
            make_rows(is_regression=isinstance(net, NeuralNetRegressor)),
            SPACE | {"max_epochs": epochs},
            scheduler="fifo",
            num_samples=trials,
            resources={"max_concurrent_trials": slots},
            storage=storage,
            **options,
        ).run(progress=False)


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


def make_net(**options: Any) -> NeuralNetClassifier:
    return NeuralNetClassifier(
        nn.Linear,
        module__in_features=4,
        module__out_features=2,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        verbose=0,
        **options,
    )


def make_rows(*, is_regression: bool = False) -> tuple[Any, Any]:
    X = np.random.default_rng(0).standard_normal((N_ROWS, 4)).astype("float32")
    return X, X[:, :2] if is_regression else (X[:, 0] > 0).astype("int64")


os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
