"""Kills drivers with SIGKILL, at random and at aimed moments, and keeps what they had said and done until then.

A driver is forked from this process, so that a life takes milliseconds, and leaves by SIGKILL or `os._exit`. What it
does comes back in files that it appends to with single writes, which survive it as they would a crash of the program
(not one of the machine: nothing here loses what the kernel already has). Judges nothing; that is in `checker`.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import nets
import pyarrow.parquet as pq
import torch
from skorch.callbacks import Callback

from sweeps import Sweep
from sweeps.journal_files import GrowingFile
from sweeps.records import SweepState
from sweeps.schedulers import AshaScheduler
from trainables import checkpoint

NAME = "killed"
PATIENCE_S = 120.0

# What a driver does to the world outside, by the names that `Aim.what` has.
BOUNDARY: dict[str, tuple[Any, str]] = {
    "fsync": (os, "fsync"),
    "replace": (os, "replace"),
    "rename": (os, "rename"),
    "unlink": (os, "unlink"),
    "rmdir": (os, "rmdir"),
    "mkdir": (os, "mkdir"),
    "link": (os, "link"),
    "rmtree": (shutil, "rmtree"),
    "journal": (GrowingFile, "write"),
    "state": (torch, "save"),
    "weights": (checkpoint, "save_file"),
    "table": (pq, "write_table"),
}


@dataclass(frozen=True)
class Aim:
    """The moment of a kill.

    Attributes
    ----------
    what : str
        A key of `BOUNDARY`; ``epoch``, the end of one; or ``time``.
    n : int
        At the so-manieth call of this life.
    when : {"before", "after", "within"}
        Of the call; within a write, a part of it is written.
    after_s : float
        For ``time``: so many seconds after the life began.
    """

    what: str
    n: int = 1
    when: str = "before"
    after_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.after_s * 1000:.0f} ms" if self.what == "time" else f"{self.when} {self.what} {self.n}"


class Log:
    """A file of JSON lines, each one write, that a killed process leaves whole lines in."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, said: Any) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(descriptor, json.dumps(said).encode() + b"\n")
        finally:
            os.close(descriptor)

    def read(self) -> list[Any]:
        return [json.loads(line) for line in self.path.read_bytes().splitlines()] if self.path.exists() else []


@dataclass(frozen=True)
class Logs:
    """What drivers leave beside a sweep: trained epochs, what was shown, rungs, notes, and calls at the boundary."""

    folder: Path

    steps = property(lambda self: Log(self.folder / "steps"))
    shown = property(lambda self: Log(self.folder / "shown"))
    rungs = property(lambda self: Log(self.folder / "rungs"))
    told = property(lambda self: Log(self.folder / "told"))
    calls = property(lambda self: Log(self.folder / "calls"))
    errors = property(lambda self: Log(self.folder / "errors"))


class StepLog(Callback):
    """Notes each trained epoch by its config, as a net does not know its trial's number."""

    is_muted = True
    on_trained: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, path: str = "", jitter: bool = False) -> None:
        self.path = path
        self.jitter = jitter

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        if self.jitter:  # as on a device whose sums differ from run to run
            noise = torch.Generator().manual_seed(int.from_bytes(os.urandom(4), "big"))
            with torch.no_grad():
                for weights in net.module_.parameters():
                    weights += 0.05 * torch.randn(weights.shape, generator=noise)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        if not StepLog.is_muted:
            Log(Path(self.path)).add([config_of(net.get_params()), len(net.history)])
            StepLog.on_trained()


def config_of(params: Any) -> str:
    """A config as the step log has it; distinct among the trials of these sweeps."""
    return json.dumps([params["lr"], params["module__nodes"], params["batch_size"]])


@dataclass(frozen=True)
class Setting:
    """What sweep is run, and how.

    Attributes
    ----------
    searcher, scheduler : str
        By name.
    concurrency : int
        Trials at once.
    every_s : float
        0 saves a checkpoint at every report, that is every epoch; else only at rungs and ends.
    keep : dict
        Section ``checkpoint.keep``.
    jitter : bool
        Whether an epoch that is trained again gives other weights.
    n_trials, max_epochs : int
        Size.
    """

    searcher: str = "random"
    scheduler: str = "fifo"
    concurrency: int = 1
    every_s: float = 0.0
    keep: dict[str, int] = field(default_factory=dict)
    jitter: bool = False
    n_trials: int = 8
    max_epochs: int = 6

    def net(self, logs: Logs) -> Any:
        steps = StepLog(str(logs.steps.path), self.jitter)
        return nets.make_net(max_epochs=self.max_epochs, callbacks=[("steps", steps)])

    def data(self) -> Any:
        return nets.make_data(96)

    def sweep(self, storage: Path, logs: Logs) -> Sweep:
        grid = {"lr": [0.01, 0.03, 0.1, 0.3], "module__nodes": [2, 4, 8], "batch_size": [32]}
        drawn = {"lr": {"distribution": "loguniform", "min": 1e-3, "max": 1.0}, "module__nodes": [2, 4, 8, 16]}
        searcher: dict[str, Any] = {"name": self.searcher}
        if self.searcher != "grid":
            searcher["num_samples"] = self.n_trials
        if self.searcher == "hyperopt":
            searcher["n_startup"] = 3
        if self.searcher == "grid":
            drawn = {**grid, "lr": grid["lr"][: -(-self.n_trials // 3)]}
        return Sweep(
            self.net(logs),
            self.data(),
            {"batch_size": 32, **drawn},
            name=NAME,
            storage=storage,
            metric="valid_loss",
            searcher=searcher,
            scheduler={"name": "asha", "reduction_factor": 2} if self.scheduler == "asha" else self.scheduler,
            resources={"max_concurrent_trials": self.concurrency},
            checkpoint={"every_s": self.every_s, "min_free_gb": 0, **({"keep": self.keep} if self.keep else {})},
            report_every_s=0.0,
            seed=3,
        )


@dataclass(frozen=True)
class Watch:
    """The watcher of a driver: whatever it is shown is acknowledged."""

    logs: Logs
    seen: dict[int, Any] = field(default_factory=dict)

    def __call__(self, state: SweepState) -> None:
        news = []
        for number, record in state.trials.items():
            rows = {epoch: row["valid_loss"] for epoch, row in record.rows.items()}
            now = (str(record.status), record.rung, rows)
            if self.seen.get(number) != now:
                known = self.seen.get(number, (None, None, {}))[2]
                new = {epoch: value for epoch, value in rows.items() if known.get(epoch) != value}
                news.append([number, now[0], now[1], new])
                self.seen[number] = now
        if news:
            self.logs.shown.add(news)

    def tell(self, line: str) -> None:
        self.logs.told.add(line)


def kill() -> None:
    """Ends this process as nothing can prevent or notice."""
    os.kill(os.getpid(), signal.SIGKILL)


class Driver:
    """Runs or resumes a sweep in the process that was forked for it."""

    def __init__(self, setting: Setting, storage: Path, logs: Logs, aim: Aim | None, *, by_run: bool = False) -> None:
        self._setting, self._storage, self._logs, self._aim = setting, storage, logs, aim
        self._by_run = by_run
        self._calls: Counter[str] = Counter()

    def __call__(self) -> None:
        sweep = self._setting.sweep(self._storage, self._logs)
        root = self._storage / NAME
        watch = Watch(self._logs)
        plan = sweep.plan

        def muted(*args: Any) -> Any:
            StepLog.is_muted = True  # the probe trains, too
            try:
                return plan(*args)
            finally:
                StepLog.is_muted = False

        StepLog.on_trained = lambda: self._count("epoch", lambda: None)
        self._watch_the_boundary()
        self._watch_the_rungs()
        with mock.patch.object(Sweep, "plan", lambda _, *args: muted(*args)):
            if self._by_run or not root.exists():
                sweep.run(backend="inline", progress=watch, resume="auto")
            else:
                plan = lambda records=(): Sweep_plan(self, records)  # noqa: E731
        self._logs.calls.add(self._calls)

    def _count(self, what: str, act: Callable[[], Any], part: Callable[[], Any] | None = None) -> Any:
        self._calls[what] += 1
        aim = self._aim
        if aim is None or (aim.what, aim.n) != (what, self._calls[what]):
            return act()
        if aim.when == "after":
            act()
        elif aim.when == "within" and part is not None:
            part()
        kill()
