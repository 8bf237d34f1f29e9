"""Runs a sweep's trials on Ray Tune: the one place that builds a Tuner. What is run, recorded and stopped is given."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE
from ray.tune.experiment import Trial

from sweeps.cluster_watch import HeadWatch, deserted, headless
from sweeps.config import SweepConfig
from sweeps.execution import Execution
from sweeps.ray_session import machines
from sweeps.recorder import Recorder
from sweeps.resources import Node, share_of
from sweeps.stop_rules import HEADLESS, Rule, StopRules
from trainables.job import PackedJob
from trainables.net import PARCEL, NetTrainable

# What Tune and its schedulers may still ask of an ended trial.
_KEPT = ("done", "epoch", "training_iteration", "trial_id")
# Tune would hand these on from the driver, through Ray's state, where anybody who reaches it can read them. Workers on
# this machine have them from the process anyway; other machines bring their own.
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
# Seconds for which reports are collected. To wait for the disk takes as long as all else that is done for a report, and
# once for several of them as long as for one.
_COLLECT_S = 0.02


class TuneRecorder(tune.Callback):
    """Tells a recorder what Tune does.

    What was decided of a trial is synced at the end of the turn of Tune's loop in which it was recorded; reports in the
    first turn that ends 0.02 seconds after the last sync or later, and no turn waits longer than 0.1 seconds.

    Parameters
    ----------
    recorder : Recorder
        Told of every start, report and end, and when to sync.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._synced_at = -math.inf

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial trains."""
        self._recorder.started(trial.config["trial"])

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial reports."""
        self._recorder.reported(trial.config["trial"], result[PARCEL].content)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial has ended by itself, or was stopped."""
        parcel = trial.last_result.get(PARCEL)
        self._recorder.ended(trial.config["trial"], parcel and parcel.content)
        _forget(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial has failed."""
        text = Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
        self._recorder.failed(trial.config["trial"], text)
        _forget(trial)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """A turn of Tune's loop is over."""
        if self._recorder.is_urgent or time.monotonic() - self._synced_at >= _COLLECT_S:
            self._recorder.sync()
            self._synced_at = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks for a restore that is never made


class _Headless(BaseException):
    """Leaves Tune's loop without what Tune does in its end, which would wait for the head; so it is no Exception."""


class TuneStopper(tune.Stopper):
    """Lets Tune ask the rules that end the whole sweep.

    Parameters
    ----------
    rules : StopRules
        Asked in each turn.
    """

    def __init__(self, rules: StopRules) -> None:
        self._rules = rules

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """False: no rule ends a single trial."""
        return False

    def stop_all(self) -> bool:
        """Whether the sweep ends now."""
        ends = self._rules.stop_all()
        if self._rules.reason == HEADLESS:
            raise _Headless
        return ends

    def __getstate__(self) -> dict[str, Any]:
        return {}  # as the recorder's


def on_ray(search_path: Sequence[Path], folder: Path, head: HeadWatch | None = None) -> Callable[[Execution], None]:
    """Runs trials on the Ray that this process is connected to.

    Parameters
    ----------
    search_path : sequence of Path
        Folders from which workers import user modules.
    folder : Path
        For Ray's own files.
    head : HeadWatch, optional
        Of a cluster, which may lose its head, or all machines for trials; either ends the sweep.
    """

    def run(execution: Execution) -> None:
        if head is not None:
            execution.stop.add(*_cluster_rules(execution, head))
        ENV_VARS_TO_PROPAGATE.difference_update(_SECRETS)
        job = PackedJob.pack(execution.job, search_path)
        trainable = tune.with_parameters(NetTrainable, job=job)
        tuner = tune.Tuner(
            tune.with_resources(trainable, _placement_of(execution.config)),
            tune_config=tune.TuneConfig(
                num_samples=-1, search_alg=execution.searcher, scheduler=execution.scheduler, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                name=folder.name,
                storage_path=str(folder.parent),
                callbacks=[TuneRecorder(execution.recorder)],
                stop=TuneStopper(execution.stop),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        with suppress(_Headless):
            tuner.fit()

    return run


def _cluster_rules(execution: Execution, head: HeadWatch) -> list[Rule]:
    config, state = execution.config, execution.recorder.state

    def machines_now() -> Sequence[Node] | None:
        return machines() if head.answers() else None  # Ray's call would wait for it

    return [headless(head), deserted(config.resources, state, machines_now, config.failure.wait_for_machines_s)]


def _placement_of(config: SweepConfig) -> Callable[[Mapping[str, Any]], tune.PlacementGroupFactory]:
    def placement(trial_config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        share = share_of(config.resources, trial_config["params"])
        return _placement(share.cpu, share.gpu)

    return placement


@lru_cache
def _placement(cpu: float, gpu: float) -> tune.PlacementGroupFactory:
    return tune.PlacementGroupFactory([{"CPU": cpu, **({"GPU": gpu} if gpu else {})}])


def _forget(trial: Trial) -> None:
    # Tune keeps every trial to the end, each with 80 kB of statistics that nobody reads.
    known = trial.run_metadata
    known.metric_analysis, known.metric_n_steps = {}, {}
    known.last_result = {key: known.last_result[key] for key in _KEPT if key in known.last_result}
    trial.evaluated_params = {}
