"""A sweep on a thousand workers in virtual time: what our driver costs, and whether it keeps them busy. Trains nothing.

The searcher, the scheduler, the recorder and the journal are the real ones, and the seconds that they take are real.
Workers and trainings are made up. The driver is a queue: a worker that has reported waits until the driver has dealt
with all reports before its own, so a driver that is too slow shows as workers that wait.
"""

from __future__ import annotations

import argparse
import heapq
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.tables import text_table
from search_spaces.space import SearchSpace
from sweeps.config import SchedulerConfig, SearcherConfig
from sweeps.journal import Journal, create
from sweeps.proposals import make_proposals
from sweeps.recorder import Recorder
from sweeps.records import SweepState
from sweeps.schedulers import make_scheduler
from sweeps.searchers import SweepSearcher
from trainables.objective import Objective
from trainables.trial import tune_result

OBJECTIVE = Objective("valid_acc", maximize=True)
MAX_EPOCHS = 27
COSTS = (
    "n_parameters", "predict_ms_p50", "predict_ms_p95", "predict_rows_per_s", "peak_memory_bytes", "stability", "fit_s",
)  # fmt: skip
SPACE = SearchSpace(
    {
        "lr": {"distribution": "loguniform", "min": 1e-4, "max": 1e-1},
        "batch_size": [32, 64, 128, 256],
        "module__layers": {"min": 1, "max": 4},
        "module__nodes": {"distribution": "int_loguniform", "min": 16, "max": 512},
        "max_epochs": MAX_EPOCHS,
    }
)
GRID = SearchSpace(
    {
        "lr": [10 ** (-4 + step / 33) for step in range(100)],
        "batch_size": [32, 64, 128, 256],
        "module__layers": [1, 2, 3, 4],
        "module__nodes": list(range(16, 513, 16)),
        "max_epochs": MAX_EPOCHS,
    }
)


@dataclass(frozen=True)
class Scene:
    """What is simulated.

    Attributes
    ----------
    workers, trials : int
        How many.
    epoch_s : float
        Virtual seconds of a typical epoch; each trial has its own length around it.
    tune_s : float
        Virtual seconds that Ray Tune itself takes for an event, in the same one thread: 1.8 ms a result without
        loggers. Zero shows our part alone.
    searcher, scheduler : str
        Names: ``random``, ``grid`` or ``hyperopt``; ``fifo``, ``asha`` or ``median``.
    """

    workers: int = 1_000
    trials: int = 1_000
    epoch_s: float = 10.0
    tune_s: float = 0.0018
    searcher: str = "random"
    scheduler: str = "asha"


@dataclass
class Trial:
    """A made-up training: a learning curve towards an end of its own, and a length of epoch of its own."""

    handle: Any
    worker: int
    epoch_s: float
    limit: float
    epoch: int = 0

    def report(self) -> dict[str, Any]:
        """Trains an epoch and reports it as a worker would."""
        self.epoch += 1
        value = self.limit * (1 - 0.7**self.epoch)
        row = {
            "epoch": self.epoch,
            "train_loss": 1 - value,
            "valid_loss": 1.1 - value,
            "valid_acc": value,
            "train_s": self.epoch_s * 0.9,
            "epoch_s": self.epoch_s,
        }
        costs = dict.fromkeys(COSTS, self.limit)
        told = {"last": row, "rows": [row], "costs": costs, "checkpoint": None, "notes": []}
        ended = "completed" if self.epoch == MAX_EPOCHS else None
        resumed_at = 0 if self.epoch == 1 else None
        report = tune_result(told | {"ended": ended, "resumed_at": resumed_at}, OBJECTIVE)
        return report | {"hostname": f"worker-{self.worker}", "pid": 1, "gpu": None, "ray_node": None}


@dataclass
class Clock:
    """Virtual time of the driver, and what it really took.

    Attributes
    ----------
    driver_s : float
        Virtual time at which the driver has dealt with all so far.
    cpu_s : float
        CPU time of this process for all of that: what it would take on a machine of its own, but for the disk.
    real_s : dict
        What it did -> real seconds of each time.
    """

    tune_s: float
    driver_s: float = 0.0
    cpu_s: float = 0.0
    real_s: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def event(self, name: str, at_s: float) -> Iterator[None]:
        """Lets the driver deal with something that came at ``at_s``, when it is free."""
        began, cpu_began_s = time.perf_counter(), time.process_time()
        yield
        real_s = time.perf_counter() - began
        self.cpu_s += time.process_time() - cpu_began_s
        self.real_s.setdefault(name, []).append(real_s)
        self.driver_s = max(self.driver_s, at_s) + real_s + self.tune_s


class Watcher:
    """Watches nothing."""

    def __call__(self, state: SweepState) -> None:
        return

    def tell(self, line: str) -> None:
        return


class Simulation:
    """The driver's loop, with Tune's calls in Tune's order.

    Parameters
    ----------
    scene : Scene
        What is simulated.
    journal : Journal
        Where it is recorded.
    """

    def __init__(self, scene: Scene, journal: Journal) -> None:
        self._scene, self._state = scene, SweepState(OBJECTIVE)
        self._recorder = Recorder(journal, self._state, Watcher(), Path("unused"), max_failures=3)
        asked = {} if scene.searcher == "grid" else {"num_samples": scene.trials}
        config = SearcherConfig.model_validate({"name": scene.searcher, **asked})
        proposals = make_proposals(config, GRID if scene.searcher == "grid" else SPACE, OBJECTIVE)
        self._searcher = SweepSearcher(proposals, self._state, scene.trials, self._recorder.announce, scene.workers)
        named = SchedulerConfig.model_validate({"name": scene.scheduler})
        self._scheduler: Any = make_scheduler(named, SPACE, OBJECTIVE, max_epochs=MAX_EPOCHS, seed=0)
        self._rng = np.random.default_rng(0)
        self._clock = Clock(scene.tune_s)
        self._queue: list[tuple[float, int, Trial]] = []
        self._busy_s = self._waited_s = 0.0

    def run(self) -> dict[str, float]:
        """Runs to the end; the figures."""
        began = time.perf_counter()
        for worker in range(self._scene.workers):
            self._hand_out(worker, 0.0)
        while self._queue:
            at_s, _, trial = heapq.heappop(self._queue)
            self._report(trial, at_s)
        return self._figures(time.perf_counter() - began)

    def _hand_out(self, worker: int, free_s: float) -> None:
        if len(self._state.trials) == self._scene.trials:
            return
        handle: Any = SimpleNamespace(trial_id=f"{worker}-{free_s}", config=None)
        with self._clock.event("start", free_s):
            handle.config = self._searcher.suggest(handle.trial_id)
            self._scheduler.on_trial_add(None, handle)
            self._recorder.started(handle.config["trial"])
            self._recorder.sync()
        epoch_s = self._scene.epoch_s * float(self._rng.lognormal(0, 0.5))
        self._train(Trial(handle, worker, epoch_s, float(self._rng.uniform(0.1, 0.9))), free_s)

    def _train(self, trial: Trial, free_s: float) -> None:
        begins_s = self._clock.driver_s
        self._waited_s += begins_s - free_s
        self._busy_s += trial.epoch_s
        heapq.heappush(self._queue, (begins_s + trial.epoch_s, trial.worker, trial))

    def _report(self, trial: Trial, at_s: float) -> None:
        number, result = trial.handle.config["trial"], trial.report()
        with self._clock.event("report", at_s):
            self._recorder.reported(number, result)
            goes_on = not result["done"] and self._scheduler.on_trial_result(None, trial.handle, result) == "CONTINUE"
            if not goes_on:
                self._searcher.on_trial_complete(trial.handle.trial_id, result)
                self._scheduler.on_trial_complete(None, trial.handle, result)
                self._recorder.ended(number, result)
            self._recorder.sync()
        if goes_on:
            self._train(trial, at_s)
        else:
            self._hand_out(trial.worker, at_s)

    def _figures(self, real_s: float) -> dict[str, float]:
        events = {name: np.array(seconds) * 1e3 for name, seconds in self._clock.real_s.items()}
        every = np.concatenate(list(events.values()))
        return {
            "workers": self._scene.workers,
            "trials": len(self._state.trials),
            "epochs": self._state.epochs,
            "virtual_s": self._clock.driver_s,
            "busy": self._busy_s / (self._busy_s + self._waited_s),
            "ms_per_event": float(np.mean(every)),
            "ms_per_event_p99": float(np.percentile(every, 99)),
            "cpu_ms_per_event": self._clock.cpu_s / len(every) * 1e3,
            "start_ms_p50": float(np.median(events["start"])),
            "report_ms_p50": float(np.median(events["report"])),
            "real_s": real_s,
        }


def simulate(scene: Scene) -> dict[str, float]:
    """Simulates a sweep.

    Returns
    -------
    dict of str to float
        ``busy``: share of the time for which workers had a trial or waited for the driver that they trained;
        ``ms_per_event``, ``ms_per_event_p99``: real milliseconds of our part of the driver for an event, which is a
        new trial or a report, in the mean of all and of the slowest hundredth, the journal's sync included;
        ``cpu_ms_per_event``: of these, what the processor took; ``start_ms_p50``, ``report_ms_p50``: of the median new
        trial and report.
    """
    with tempfile.TemporaryDirectory() as folder:
        create(Path(folder) / "journal")
        with Journal(Path(folder) / "journal") as journal:
            return Simulation(scene, journal).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=Scene.workers)
    parser.add_argument("--trials", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--epoch-s", type=float, default=Scene.epoch_s)
    parser.add_argument("--tune-ms", type=float, default=Scene.tune_s * 1e3)
    parser.add_argument("--searcher", choices=("random", "grid", "hyperopt"), default=Scene.searcher)
    parser.add_argument("--scheduler", choices=("fifo", "asha", "median"), default=Scene.scheduler)
    given = parser.parse_args()
    names = given.searcher, given.scheduler
    scenes = [Scene(given.workers, trials, given.epoch_s, given.tune_ms / 1e3, *names) for trials in given.trials]
    found = [simulate(scene) for scene in scenes]
    print(text_table(tuple(found[0]), [tuple(f"{value:.4g}" for value in figures.values()) for figures in found]))


if __name__ == "__main__":
    main()
