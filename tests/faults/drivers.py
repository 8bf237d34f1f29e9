"""Drivers of small sweeps that can be killed, and what they leave beside the sweep. Kills and judges nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nets
import torch
from faults.supervisor import Boundary, Log
from skorch.callbacks import Callback

from sweeps import Sweep
from sweeps.records import SweepState
from sweeps.results import SweepResult
from sweeps.schedulers import AshaScheduler
from sweeps.storage import SweepPaths
from trainables.trial import TrialRun

NAME = "killed"


@dataclass(frozen=True)
class Place:
    """Where a sweep lies, and beside it what its drivers left.

    Logs: ``steps`` (trained epochs), ``shown`` (what the watcher was shown), ``told`` (notes), ``rungs`` (what the
    scheduler knew after each decision), ``calls`` (at the boundary).
    """

    folder: Path

    @property
    def storage(self) -> Path:
        return self.folder / "storage"

    @property
    def root(self) -> Path:
        return self.storage / NAME

    @property
    def paths(self) -> SweepPaths:
        return SweepPaths(self.root)

    @property
    def errors(self) -> Path:
        return self.folder / "errors"

    def log(self, name: str) -> Log:
        return Log(self.folder / name)


class Steps(Callback):
    """Notes each trained epoch by its config, as a net does not know its trial's number."""

    on_trained: Callable[[], None] | None = None

    def __init__(self, path: str = "", jitter: bool = False) -> None:
        self.path = path
        self.jitter = jitter

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        if self.jitter:  # no two runs are the same, as on some devices
            noise = torch.Generator().manual_seed(int.from_bytes(os.urandom(4), "big"))
            with torch.no_grad():
                for weights in net.module_.parameters():
                    weights += 0.1 * torch.randn(weights.shape, generator=noise)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        if Steps.on_trained is not None:  # else it is the probe that trains
            Log(Path(self.path)).add([config_of(net.get_params()), len(net.history)])
            Steps.on_trained()


def config_of(params: Any) -> str:
    """What tells the configs of these sweeps apart."""
    return json.dumps([params["lr"], params["module__nodes"], params["batch_size"]])


@dataclass(frozen=True)
class Setting:
    """A sweep, and how it runs.

    Attributes
    ----------
    searcher, scheduler : str
        By name.
    concurrency : int
        Trials at once.
    every_s : float
        0 saves a checkpoint at every report, which is every epoch; else only at rungs and ends.
    latest : int
        ``checkpoint.keep.trial_latest``.
    jitter : bool
        Whether an epoch that is trained again gives other weights.
    n_trials, max_epochs : int
        Size; a grid has a multiple of three.
    """

    searcher: str = "random"
    scheduler: str = "fifo"
    concurrency: int = 1
    every_s: float = 0.0
    latest: int = 1
    jitter: bool = False
    n_trials: int = 6
    max_epochs: int = 6

    def __str__(self) -> str:
        saved = "each" if self.every_s == 0 else "end"
        jitter = "-jitter" if self.jitter else ""
        return f"{self.searcher}-{self.scheduler}-x{self.concurrency}-{saved}-keep{self.latest}{jitter}"

    def net(self, place: Place) -> Any:
        steps = Steps(str(place.log("steps").path), self.jitter)
        return nets.make_net(max_epochs=self.max_epochs, callbacks=[("steps", steps)])

    def data(self) -> Any:
        return nets.make_data(96)

    def sweep(self, place: Place) -> Sweep:
        grid: dict[str, Any] = {"lr": [0.01 * 3**k for k in range(self.n_trials // 3)], "module__nodes": [2, 4, 8]}
        drawn = {"lr": {"distribution": "loguniform", "min": 1e-3, "max": 1.0}, "module__nodes": [2, 4, 8, 16]}
        searcher = {"hyperopt": {"name": "hyperopt", "n_startup": 3}}.get(self.searcher, {"name": self.searcher})
        is_grid = self.searcher == "grid"
        return Sweep(
            self.net(place),
            self.data(),
            {"batch_size": 32, **(grid if is_grid else drawn)},
            name=NAME,
            storage=place.storage,
            metric="valid_loss",
            searcher=searcher,
            num_samples=None if is_grid else self.n_trials,
            scheduler={"name": "asha", "reduction_factor": 2} if self.scheduler == "asha" else self.scheduler,
            resources={"max_concurrent_trials": self.concurrency},
            checkpoint={
                "every_s": self.every_s,
                "min_free_gb": 0,
                "keep": {"sweep_best": 1, "trial_latest": self.latest},
            },
            report_every_s=0.0,
            seed=3,
        )


@dataclass(frozen=True)
class Watch:
    """The watcher of a driver: whatever it is shown counts as acknowledged."""

    place: Place
    seen: dict[int, Any] = field(default_factory=dict)

    def __call__(self, state: SweepState) -> None:
        news = [told for record in state.trials.values() if (told := self._news(record))]
        if news:
            self.place.log("shown").add(news)
        self.place.log("rungs").add("shown")

    def tell(self, line: str) -> None:
        self.place.log("told").add(line)

    def _news(self, record: Any) -> list[Any] | None:
        rows = {epoch: row["valid_loss"] for epoch, row in record.rows.items()}
        now = (str(record.status), record.rung, rows)
        before = self.seen.get(record.trial, (None, None, {}))
        if now == before:
            return None
        self.seen[record.trial] = now
        return [record.trial, now[0], now[1], [pair for pair in rows.items() if before[2].get(pair[0]) != pair[1]]]


def drive(setting: Setting, place: Place, boundary: Boundary, *, by_run: bool = False) -> None:
    """Runs the sweep, or goes on with it, to its end; ``by_run`` by `Sweep.run`, else by `Sweep.resume`."""
    _watch_steps(lambda: boundary.count("epoch", lambda: None))
    _watch_rungs(place.log("rungs"))
    watch = Watch(place)
    if by_run or not place.root.exists():
        setting.sweep(place).run(backend="inline", progress=watch, resume="auto")
    else:
        Sweep.resume(place.root, net=setting.net(place), data=setting.data(), backend="inline", progress=watch)
    place.log("calls").add(boundary.calls)


def rungs_of(scheduler: AshaScheduler) -> dict[str, dict[str, float]]:
    """Epoch of a rung -> trial -> what it reached, as JSON has it."""
    return {str(milestone): dict(recorded) for milestone, recorded in scheduler._brackets[0]._rungs}


def _watch_steps(on_trained: Callable[[], None]) -> None:
    """Epochs count while a trial trains: those of the probe, before a sweep begins, do not."""
    real = TrialRun.step

    def step(run: TrialRun) -> Any:
        Steps.on_trained = on_trained
        try:
            return real(run)
        finally:
            Steps.on_trained = None

    TrialRun.step = step  # type: ignore[method-assign]


def _watch_rungs(log: Log) -> None:
    for name in ("recall", "on_trial_result", "on_trial_complete"):
        setattr(AshaScheduler, name, _followed_by_rungs(name, getattr(AshaScheduler, name), log))


def _followed_by_rungs(name: str, real: Any, log: Log) -> Any:
    def method(scheduler: AshaScheduler, *args: Any) -> Any:
        found = real(scheduler, *args)
        log.add([name, rungs_of(scheduler)])
        return found

    return method


def warm_up(folder: Path) -> None:
    """Loads, in the process that drivers are forked from, what a sweep loads on the way: a run of its own does."""
    torch.set_num_threads(1)
    for searcher, scheduler in (("random", "fifo"), ("hyperopt", "asha")):
        place = Place(folder / searcher)
        place.storage.mkdir(parents=True)
        result = Setting(searcher, scheduler).sweep(place).run(backend="inline", progress=False)
        SweepResult.load(place.root, net=result.best_net)
