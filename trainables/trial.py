"""TrialRun: one trial from its first epoch, or its newest checkpoint, to its end. Knows nothing of other trials."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from trainables import checkpoint
from trainables.acceleration import without_compilation
from trainables.claim import Claim
from trainables.folds import FoldsTraining
from trainables.job import TrialJob
from trainables.measurements import PeakMemory, count_parameters, inference_speed, stability
from trainables.mirror import fetch_newest, keep_only, send
from trainables.objective import Objective
from trainables.randomness import OwnRandomness
from trainables.scoring import Metrics, has_diverged
from trainables.suggestions import did_you_mean
from trainables.tensors import TensorData
from trainables.training import BestEpoch, NetTraining

Training = NetTraining | FoldsTraining
"""What a trial trains: one net, or one per fold."""

# Rows whose prediction at once gives predict_rows_per_s; fewer where the net makes smaller batches itself.
_ROWS_AT_ONCE = 1000


class TrialRun:
    """One trial's training, reports and checkpoints.

    Parameters
    ----------
    job : TrialJob
        What it shares with the others.
    data : TensorData
        The job's data; shared with trials that ran in this process before.
    config : mapping
        ``{"trial": int, "params": {...}}``; only read.
    fresh : bool, default=False
        Begin at epoch 0 even where checkpoints exist.

    Attributes
    ----------
    on_epoch : callable
        Told after each epoch how many are trained and how many seconds the last one took; does nothing by default.
    on_save : callable
        Told before a checkpoint is written how many epochs are trained; does nothing by default.
    """

    def __init__(self, job: TrialJob, data: TensorData, config: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.job = job
        self.trial = int(config["trial"])
        self.on_epoch: Callable[[int, float], None] = lambda epoch, epoch_s: None
        self.on_save: Callable[[int], None] = lambda epoch: None
        self.training = make_training(job, data, config)
        self._params = dict(config["params"])
        self._memory = PeakMemory(self.training.net.device)
        self._memory.reset()
        self._claim = Claim(job.trials, job.attempt, job.mirror)
        self._folder = job.trials / checkpoint.trial_name(self.trial)
        self._mirror = None if job.mirror is None else job.mirror / checkpoint.trial_name(self.trial)
        self._reported = 0
        self._between_epochs = True
        self._saved_at, self._saved_epoch = time.monotonic(), 0
        self._costs: Metrics = {}
        self._passed_over: list[str] = []
        self._resumed = not fresh and self._resume()
        self._begins_at = None if fresh else self.training.epoch

    def step(self) -> dict[str, Any]:
        """Trains up to the next report: a rung, the trial's end, or the first epoch after ``report_every_s``.

        Returns
        -------
        dict
            ``last``: metrics of the latest epoch; ``rows``: metrics of each epoch since the last report (all since
            epoch 1 in the first report of a run that goes on from its checkpoint, which trains nothing); ``ended``:
            None, ``"completed"`` or ``"diverged"``; ``resumed_at``: that checkpoint's epoch in that first report, else
            None; ``checkpoint``: name of the checkpoint of the latest epoch if one is due, or None; ``costs``: what the
            trial has cost so far; ``notes``: what a person should know.

        Raises
        ------
        LookupError
            An epoch does not report the sweep's metric, or not as a number; the message names what it reports.
        """
        with ExitStack() as stack:
            stack.push(self._note_on)
            return self._step()

    def _step(self) -> dict[str, Any]:
        resumed_at, self._begins_at = self._begins_at, None
        idle = self._resumed or self.training.finished
        ended = self._ended_at(self.training.log[-1]) if idle else self._train()
        self._resumed = False
        rows, self._reported = self.training.log[self._reported :], self.training.epoch
        written = self._save_if_due(ended)
        notes, self._passed_over = self._passed_over, []
        report = {"last": self.training.log[-1], "rows": rows, "ended": ended, "checkpoint": written}
        return report | {"resumed_at": resumed_at, "costs": self._measure(), "notes": notes}

    def save(self, directory: Path, claim: Claim | None = None) -> None:
        """Writes the training's state, and the params it was reached with, to ``directory``; checks a claim to it."""
        self.on_save(self.training.epoch)
        state = self.training.state() | {"params": self._described_params()}
        best_epoch, log = self.training.best.epoch, self.training.log
        checkpoint.save(state, directory, epoch=self.training.epoch, best_epoch=best_epoch, log=log, claim=claim)

    def load(self, directory: Path) -> None:
        """Goes on from a state that `save` wrote; its epochs count as reported.

        A state reached with other params (another member of a population) gives its weights and momenta; the
        optimiser's options stay this trial's own, and so does its best epoch, which its own checkpoint has.
        """
        state = checkpoint.load(directory)
        other = state["params"] != self._described_params()
        self.training.load_state(state, keep_options=other)
        if other:
            fetch_newest(self.job.trials, self.job.mirror, self.trial)
            own, _ = checkpoint.newest(self._folder)
            self.training.best = BestEpoch.of(checkpoint.load(own)) if own else BestEpoch()
        self._reported = self.training.epoch
        self._resumed, self._begins_at = False, None

    def close(self) -> None:
        """Ends the run from outside, as a scheduler or a time limit does: what was reached since is saved.

        Nothing is saved after an error or an interrupt in the middle of an epoch.
        """
        if self._between_epochs and self.training.epoch != self._saved_epoch:
            self._save()

    def _resume(self) -> bool:
        fetched = fetch_newest(self.job.trials, self.job.mirror, self.trial)
        newest, passed_over = checkpoint.newest(self._folder)
        self._passed_over = fetched + passed_over
        if newest is None:
            return False
        state = checkpoint.load(newest)
        is_other = _of_any_length(state["params"]) != _of_any_length(self._described_params())
        if is_other and not self.job.exploits:
            self._passed_over.append(f"{newest}: was reached with other params, so the trial begins anew")
            return False
        self.training.load_state(state, keep_options=is_other)
        self._saved_epoch = self.training.epoch
        return True

    def _train(self) -> str | None:
        started = time.monotonic()
        while True:
            self._between_epochs = False
            metrics = self.training.run_epoch()
            self._between_epochs = True
            self.on_epoch(self.training.epoch, metrics["epoch_s"])
            ended = self._ended_at(metrics)
            at_rung = self.training.epoch in self.job.rungs
            if ended or at_rung or time.monotonic() - started >= self.job.report_every_s:
                return ended

    def _ended_at(self, metrics: Metrics) -> str | None:
        metric = self.job.objective.metric
        if metric not in metrics:
            raise LookupError(f"epoch {self.training.epoch} reported {self._instead_of(metric, metrics)}")
        if has_diverged(metrics, metric):
            return "diverged"
        return "completed" if self.training.finished else None

    def _instead_of(self, metric: str, metrics: Metrics) -> str:
        row = self.training.net.history[-1]
        if metric in row:
            found = row[metric]
            return f"{metric!r} as {found!r}, a {type(found).__name__}; give a number (of a tensor, its item())"
        return f"no {metric!r}; it reported {', '.join(sorted(metrics))}{did_you_mean(metric, metrics)}"

    def _note_on(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Says in an error's traceback, which is all that leaves a process, how far the trial was."""
        if error is not None:
            error.add_note(f"sweeps: epoch {self.training.epoch}, peak_memory_bytes {self._memory.read()}")

    def _save_if_due(self, ended: str | None) -> str | None:
        due = time.monotonic() - self._saved_at >= self.job.checkpoint_every_s
        if not (ended or due or self.training.epoch in self.job.rungs):
            return None
        if self.training.epoch != self._saved_epoch:
            self._save()
        return checkpoint.directory_name(self.training.epoch)

    def _save(self) -> None:
        newest = self._folder / checkpoint.directory_name(self.training.epoch)
        self._claim.check()
        self.save(newest, self._claim)
        if self._mirror is not None:
            send(newest, self._mirror)
        self._saved_at, self._saved_epoch = time.monotonic(), self.training.epoch
        self._prune(newest)

    def _prune(self, newest: Path) -> None:
        saved = sorted(self._folder.glob("checkpoint-*"))
        # One of a later epoch was left behind when the trial began anew or took over from another.
        kept = [directory for directory in saved if directory <= newest][-self.job.keep_latest :]
        unfinished = [*self._folder.glob(".checkpoint-*.part")]  # of processes that were killed
        self._claim.check()  # so that all that was listed is older than a later attempt, which may begin right now
        for directory in {*saved, *unfinished} - {*kept}:
            with suppress(OSError):  # no reason for a trial to fail: `sweeps gc` deletes what stays
                checkpoint.delete(directory)
        if self._mirror is not None:
            with suppress(OSError):
                keep_only([directory.name for directory in kept], self._mirror)

    def _described_params(self) -> str:
        return json.dumps(self._params, sort_keys=True, default=str)

    def _measure(self) -> Metrics:
        self._costs = self._costs or inference_costs(self.training)
        losses = [row["valid_loss"] for row in self.training.log if "valid_loss" in row]
        return self._costs | {
            "peak_memory_bytes": self._memory.read(),
            "stability": stability(losses),
            "fit_s": sum(row["epoch_s"] for row in self.training.log),
        }


def _of_any_length(params: str) -> dict[str, Any]:
    # A trial that was given more epochs goes on from where it was.
    return {name: value for name, value in json.loads(params).items() if name != "max_epochs"}


def tune_result(report: Mapping[str, Any], objective: Objective) -> dict[str, Any]:
    """A report of `TrialRun.step` as a scheduler reads it.

    Returns
    -------
    dict
        The report; beside it ``epoch``, the sweep's metric (a finite worst value when the trial diverged) and ``done``.
    """
    last, ended = report["last"], report["ended"]
    value = objective.worst if ended == "diverged" else last[objective.metric]
    return {**report, "epoch": last["epoch"], objective.metric: value, "done": ended is not None}


def inference_costs(training: Training) -> Metrics:
    """Parameters of a training's net and how fast it answers; changes neither training nor random numbers.

    Returns
    -------
    dict of str to float
        ``n_parameters`` and what `inference_speed` returns.
    """
    net = training.net
    # A dataset may augment, a module sample; and the best net is handed over without compilation.
    with OwnRandomness(0, net.device).in_use(), without_compilation(net):
        one, many = training.first_batch(1), training.first_batch(_ROWS_AT_ONCE)
        return {"n_parameters": count_parameters(net.module_)} | inference_speed(net.evaluation_step, one, many)


def make_training(job: TrialJob, data: TensorData, config: Mapping[str, Any]) -> Training:
    """The training that a config describes: one net, or one net per fold where the data has several splits."""
    params = resolve_params(config["params"], job.objects)
    seed = trial_seed(job.seed, int(config["trial"]))
    training = NetTraining if len(job.data.splits) == 1 else FoldsTraining
    options: dict[str, Any] = {"objective": job.objective, "matmul_precision": job.matmul_precision}
    return training(job.net, data, params, seed, scorers=job.scorers, **options)


def resolve_params(params: Mapping[str, Any], objects: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A config's params with each label replaced by the object that it stands for."""
    return {key: _resolve(value, objects.get(key, {})) for key, value in params.items()}


def trial_seed(seed: int, trial: int) -> int:
    """The seed of a trial's net: the same for the same sweep seed and trial number, on every machine."""
    return int(np.random.SeedSequence([seed, trial]).generate_state(1)[0])


def _resolve(value: Any, objects: Mapping[str, Any]) -> Any:
    return objects.get(value, value) if isinstance(value, str) else value
