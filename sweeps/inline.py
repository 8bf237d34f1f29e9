"""Runs a sweep's trials in this process, without Ray: one small loop around the same searcher and records."""

from __future__ import annotations

import os
import socket
import traceback
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import torch

from sweeps.execution import Execution
from trainables.tensors import TensorData
from trainables.trial import TrialRun, tune_result

SCHEDULERS = ("fifo", "asha", "median")
"""Those that only go on or stop; the others pause trials."""


@dataclass
class InlineTrial:
    """A trial as searcher and scheduler want to see one.

    Attributes
    ----------
    trial_id : str
        Unique among the starts of this attempt.
    config : dict
        ``{"trial": int, "params": {...}}``.
    run : TrialRun or None
        Its training, from the first step on.
    last_result : dict
        What it reported last.
    """

    trial_id: str
    config: dict[str, Any]
    run: TrialRun | None = None
    last_result: dict[str, Any] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Its number in the sweep."""
        return int(self.config["trial"])


def in_process(execution: Execution) -> None:
    """Runs trials in this process: ``resources.max_concurrent_trials`` of them take turns, one by default.

    A turn is a report. Nets that end the process (``os._exit``, a crash in native code) end the driver; what they
    raise ends their trial only. The schedulers fifo, asha and median are possible: the others pause trials.

    Parameters
    ----------
    execution : Execution
        What to run.
    """
    _Loop(execution).run()


class _Loop:
    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._scheduler: Any = execution.scheduler  # whose hints ask for Tune's own controller and trials
        self._job = execution.job if torch.cuda.is_available() else execution.job.on_device("cpu")
        self._data = TensorData(self._job.data)
        self._slots = execution.config.resources.max_concurrent_trials or 1
        self._trials: list[InlineTrial] = []
        self._started = 0
        self._place = {"hostname": socket.gethostname(), "pid": os.getpid(), "gpu": None, "ray_node": None}

    def run(self) -> None:
        stop, recorder = self._execution.stop, self._execution.recorder
        while not stop.stop_all() and self._fill():
            for trial in list(self._trials):
                self._take_turn(trial)
                recorder.sync()
                if stop.stop_all():
                    break
        for trial in list(self._trials):
            self._close(trial)

    def _fill(self) -> bool:
        """Starts trials while there is room; whether any is running."""
        while len(self._trials) < self._slots:
            config = self._execution.searcher.suggest(str(self._started))
            if not isinstance(config, dict):
                break
            trial: Any = InlineTrial(str(self._started), config)
            self._started += 1
            self._scheduler.on_trial_add(None, trial)
            self._execution.recorder.started(trial.number)
            self._trials.append(trial)
        return bool(self._trials)

    def _take_turn(self, trial: Any) -> None:
        with _Failure() as failure:
            trial.run = trial.run or TrialRun(self._job, self._data, trial.config)
            result = tune_result(trial.run.step(), self._job.objective) | self._place
        if failure.text:
            self._fail(trial, failure.text)
        else:
            self._report(trial, result)

    def _report(self, trial: Any, result: dict[str, Any]) -> None:
        scheduler, recorder = self._scheduler, self._execution.recorder
        trial.last_result = result
        recorder.reported(trial.number, result)
        if not result["done"] and scheduler.on_trial_result(None, trial, result) != scheduler.STOP:
            return
        if self._close(trial):
            self._leave(trial)
            scheduler.on_trial_complete(None, trial, result)
            recorder.ended(trial.number, result)

    def _close(self, trial: Any) -> bool:
        """Lets a trial save what it has reached; whether it could."""
        with _Failure() as failure:
            if trial.run is not None:
                trial.run.close()
        if failure.text:
            self._fail(trial, failure.text)
        return not failure.text

    def _fail(self, trial: Any, text: str) -> None:
        self._leave(trial)
        self._scheduler.on_trial_error(None, trial)
        self._execution.recorder.failed(trial.number, text)

    def _leave(self, trial: InlineTrial) -> None:
        self._trials.remove(trial)
        self._execution.searcher.on_trial_complete(trial.trial_id)


class _Failure:
    """Keeps the text of what user code raises; also of `sys.exit`, which in a worker would end the trial only."""

    def __init__(self) -> None:
        self.text = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, (Exception, SystemExit)):
            return False
        self.text = "".join(traceback.format_exception(error))
        return True
