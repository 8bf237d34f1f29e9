"""NetTrainable: a TrialRun as a Ray Tune trainable. Each method is one step of Tune's protocol and nothing more."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from trainables.checkpoint import trial_name
from trainables.devices import claim, release, see_only
from trainables.job import PackedJob, TrialJob
from trainables.tensors import TensorData
from trainables.trial import TrialRun, tune_result
from trainables.uncollected import stay
from trainables.watchdog import Watchdog

CHECKPOINT = "training"
"""Name of the checkpoint directory inside the one that Tune hands out."""

PARCEL = "sweeps_report"
"""Key of the `Parcel` in what `NetTrainable.step` returns."""


class Parcel:
    """A report on its way to the driver.

    Of a dict Tune would copy, flatten and print each part, and keep statistics of each number: twice the cost of all
    else that is done for a report.

    Parameters
    ----------
    content : mapping
        The report.

    Attributes
    ----------
    content : mapping
        The same.
    """

    __slots__ = ("content",)

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content

    def __reduce__(self) -> tuple[type[Parcel], tuple[Mapping[str, Any]]]:
        return Parcel, (self.content,)

    def __repr__(self) -> str:
        return "Parcel"  # Tune formats each result for a log that is off


class NetTrainable(tune.Trainable):
    """Trains skorch nets, one trial after another in the same process.

    Tune calls every method in the actor's process: ``setup`` once, ``step`` until the trial ends, then
    ``reset_config`` for the next trial. What fails is raised, so that Tune replaces an actor whose trial ended badly.
    The trial itself is built in the first ``step``, because Tune survives an error there and not in a reset.
    """

    def setup(self, config: dict[str, Any], job: PackedJob) -> None:  # type: ignore[override]  # as with_parameters has it
        """Keeps the job and fits the process into the trial's share of CPUs and GPU.

        Parameters
        ----------
        config : dict
            ``{"trial": int, "params": {...}}``; only read.
        job : PackedJob
            Shared by all trials; handed over by ``tune.with_parameters``.
        """
        self._config = dict(config)
        share = _share(self.trial_resources)
        gpu_share = share.get("GPU", 0.0)
        see_only(gpu_share)  # first of all: the user's modules may ask CUDA when they are imported
        torch.set_num_threads(max(1, int(share.get("CPU", 1))))
        unpacked = job.unpack()
        _refuse_other_storage(unpacked)
        device = claim(gpu_share, unpacked.net.device)
        self._job = unpacked if device is None else unpacked.on_device(device)
        self._data = TensorData(self._job.data)
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES")
        self._place = {"hostname": socket.gethostname(), "pid": os.getpid(), "gpu": gpu, "ray_node": _ray_node()}
        self._watchdog = Watchdog(self._job.hang_s, self._job.epoch_estimate_s)
        self._run: TrialRun | None = None
        stay()  # what was imported; `worker_start` has kept the collector from it

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Drops the ended trial; the tensors of the data stay. Always possible."""
        self._end_run()
        self._config = dict(new_config)
        self._watchdog.new_trial()
        release()
        return True

    def step(self) -> dict[str, Any]:
        """Trains to the next report.

        Returns
        -------
        dict
            What a scheduler reads: ``epoch``, the sweep's metric and ``done``; and under `PARCEL` what `tune_result`
            makes of the report, with ``hostname``, ``pid``, ``gpu``, the devices that the process may see, and
            ``ray_node``, Ray's id of the machine.
        """
        # A run that raises is let go: what it leaves in the middle of an epoch must not be saved.
        run, self._run = self._run, None
        run = run or self._make_run()
        with self._guarded(run.training.epoch):
            report = run.step()
        self._run = run
        result = tune_result(report, self._job.objective)
        told = {key: result[key] for key in ("epoch", self._job.objective.metric, "done")}
        return told | {PARCEL: Parcel(result | self._place)}

    def get_auto_filled_metrics(self, *asked: Any, **more: Any) -> dict[str, Any]:
        """None: what Tune would add to each result says nothing that the report does not."""
        return {}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Saves for a pause or for another trial to take over (Hyperband, PBT); crashes use the trial's own."""
        if self._run is None:
            raise RuntimeError("Tune asked to save a trial that has not reported anything")
        with self._guarded(self._run.training.epoch):
            self._run.save(Path(checkpoint_dir) / CHECKPOINT)

    def load_checkpoint(self, checkpoint: str) -> None:  # type: ignore[override]  # Ray's hint is of another time
        """Goes on from what `save_checkpoint` wrote, with this trial's own params."""
        run = self._make_run(fresh=True)
        with self._guarded():
            run.load(Path(checkpoint) / CHECKPOINT)
        self._run = run

    def cleanup(self) -> None:
        """Saves what a trial that was stopped from outside has reached, before the process ends."""
        self._end_run()

    def _make_run(self, *, fresh: bool = False) -> TrialRun:
        with self._guarded():
            run = TrialRun(self._job, self._data, self._config, fresh=fresh)
        run.on_epoch, run.on_save = self._watchdog.epoch_done, self._watchdog.saving
        return run

    @contextmanager
    def _guarded(self, epoch: int | None = None) -> Iterator[None]:
        """Lets user code neither hold up this process for ever nor end it without a word."""
        folder = self._job.trials / trial_name(self._config["trial"])
        try:
            with self._watchdog.watching(folder, epoch):
                yield
        except (SystemExit, KeyboardInterrupt) as error:
            raise RuntimeError(f"the net raised {error!r}, which would end its process") from error

    def _end_run(self) -> None:
        if self._run is not None:
            with self._guarded(self._run.training.epoch):
                self._run.close()
        self._run = None


def _refuse_other_storage(job: TrialJob) -> None:
    # A machine that joined after the sweep began was not asked before. A driver makes the folder before any trial.
    if job.mirror is None and not job.trials.is_dir():
        raise RuntimeError(
            f"{job.trials} is not on {socket.gethostname()}: a sweep on several machines needs a storage that each of "
            "them reaches; mount it there, or use an object store"
        )


def _ray_node() -> str | None:
    return ray.get_runtime_context().get_node_id() if ray.is_initialized() else None


def _share(resources: Any) -> dict[str, float]:
    return dict(resources.required_resources) if resources is not None else {}
